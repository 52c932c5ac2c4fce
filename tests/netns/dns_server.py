#!/usr/bin/env python3
"""A name server in a network namespace: dns_server.py ADDRESS[:PORT] [NAME=ADDRESS ...]

Answers A with TTL 300, denies all else. `forward=ADDRESS:PORT` as a name makes it a forwarder
instead. Prints a line when it listens.
"""
import os
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "live"))
from badserver import decode_name, encode_name  # noqa: E402


def place(text, port=53):
    host, _, number = text.partition(":")
    return host, int(number or port)


def respond(query, zone):
    ident, flags = struct.unpack_from("!2H", query)
    name, at = decode_name(query, 12)
    kind = struct.unpack_from("!H", query, at)[0]
    question = query[12:at + 4]
    address = zone.get(name.rstrip(".").lower())
    answer = authority = b""
    if address and kind == 1:
        answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 300, 4) + socket.inet_aton(address)
    else:
        soa = encode_name("ns.example") + encode_name("ns.example") + struct.pack(
            "!5I", 1, 3600, 600, 86400, 300)
        authority = encode_name("") + struct.pack("!HHIH", 6, 1, 300, len(soa)) + soa
    rcode = 0 if address else 3
    return struct.pack("!6H", ident, 0x8080 | flags & 0x0100 | rcode, 1, 1 if answer else 0,
                       1 if authority else 0, 0) + question + answer + authority


def forward(server, query, client, to):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.settimeout(3)
        out.sendto(query, to)
        try:
            server.sendto(out.recv(4096), client)
        except OSError:
            pass


def main():
    zone = dict(word.split("=", 1) for word in sys.argv[2:])
    to = zone.pop("forward", None)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(place(sys.argv[1]))
    print("up", flush=True)
    while True:
        query, client = server.recvfrom(4096)
        if to:
            threading.Thread(target=forward, args=(server, query, client, place(to)),
                             daemon=True).start()
        else:
            server.sendto(respond(query, zone), client)


if __name__ == "__main__":
    main()
