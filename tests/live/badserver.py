#!/usr/bin/env python3
"""A DNS upstream that misbehaves on demand: UDP and TCP on one port, switchable while it runs.

As a module:    server = BadServer(); server.start(); server.set("drop"); server.stop()
As a program:   badserver.py [--host 127.0.0.1] [--port 5301] [--control PORT] [MODE [ARGUMENT]]

Commands come as lines on stdin, or as datagrams to the control port (each is answered by one):
    mode MODE [ARGUMENT]        see MODES; ARGUMENT: milliseconds for delay
    ttl SECONDS                 of every answer
    set NAME TYPE DATA          a record; `set NAME nxdomain`, `set NAME nodata`
    unset NAME                  back to what every name has
    count                       questions since the last `count`
    quit

An honest answer to A is made from the name, always the same; AAAA has none unless set. Names below
`nx.` in any zone (first label begins with nx) do not exist. Standard library only.
"""
import argparse
import collections
import hashlib
import ipaddress
import random
import socket
import struct
import sys
import threading
import time

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28,
         "SRV": 33, "HTTPS": 65}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
CLASS_IN, TYPE_OPT = 1, 41

MODES = {
    "honest": "answers",
    "delay": "answers ARGUMENT ms later",
    "drop": "says nothing",
    "servfail": "SERVFAIL",
    "refused": "REFUSED",
    "blocked": "REFUSED with EDE 15",
    "notimp": "NOTIMP",
    "formerr": "FORMERR to EDNS, an answer without",
    "nxdomain": "denies every name",
    "nodata": "denies every record",
    "wrongid": "answers under another ID",
    "wrongquestion": "answers another question",
    "wrongtype": "answers another type",
    "truncate": "TC over UDP, the answer over TCP",
    "truncate-udp-only": "TC over UDP, nothing over TCP",
    "garbage": "random bytes under the right ID",
    "noise": "random bytes",
    "short": "the first 11 bytes of an answer",
    "reply-loop": "the question itself, QR not set",
    "two": "a forged answer under a wrong ID, then the right one",
    "closed": "no socket: ICMP refusal, TCP reset",
}


def encode_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            raw = label.encode("latin-1")
            out += bytes([len(raw)]) + raw
    return out + b"\0"


def decode_name(data, at):
    labels, jumped, end = [], 0, None
    while True:
        length = data[at]
        if length & 0xC0 == 0xC0:
            end = at + 2 if end is None else end
            at = struct.unpack_from("!H", data, at)[0] & 0x3FFF
            jumped += 1
            if jumped > 64:
                raise ValueError("compression loop")
            continue
        at += 1
        if length == 0:
            break
        labels.append(data[at:at + length].decode("latin-1"))
        at += length
    return ".".join(labels), at if end is None else end


def encode_rdata(kind, text):
    if kind == "A":
        return ipaddress.IPv4Address(text).packed
    if kind == "AAAA":
        return ipaddress.IPv6Address(text).packed
    if kind in ("CNAME", "NS", "PTR"):
        return encode_name(text)
    if kind == "TXT":
        raw = text.encode()
        return b"".join(bytes([len(raw[i:i + 255])]) + raw[i:i + 255]
                        for i in range(0, max(1, len(raw)), 255))
    if kind == "MX":
        preference, host = text.split()
        return struct.pack("!H", int(preference)) + encode_name(host)
    if kind == "SRV":
        priority, weight, port, host = text.split()
        return struct.pack("!HHH", int(priority), int(weight), int(port)) + encode_name(host)
    raise ValueError(f"no encoder for {kind}")


def address_of(name):
    """The A record every name has: stable, in 198.18.0.0/15 (RFC 2544), where nobody lives."""
    digest = hashlib.sha256(name.lower().encode("latin-1")).digest()
    return f"198.{18 + digest[0] % 2}.{digest[1]}.{digest[2]}"


Query = collections.namedtuple("Query", "id flags name type cls edns raw question_end")


def parse_query(data):
    ident, flags, qd, _, _, ar = struct.unpack_from("!6H", data)
    if qd != 1:
        raise ValueError("one question expected")
    name, at = decode_name(data, 12)
    kind, cls = struct.unpack_from("!HH", data, at)
    return Query(ident, flags, name, kind, cls, ar > 0, data, at + 4)


class BadServer:
    def __init__(self, host="127.0.0.1", port=0, mode="honest", ttl=300):
        self.host, self.port, self.mode, self.argument = host, port, mode, 0
        self.ttl = ttl
        self.records = {}       # folded name: {type number: [rdata]}, "nxdomain" or "nodata"
        self.asked = []         # (name, type, "udp" | "tcp")
        self.lock = threading.Lock()
        self.sockets, self.running = [], False
        self.random = random.Random(1)

    # -- life ----------------------------------------------------------------------------------

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.running = True
        self._reserve()
        if self.mode != "closed":
            self._open()
        return self

    def stop(self):
        self.running = False
        self._close()

    def _reserve(self):
        """A port that is free for UDP and TCP alike; kept while closed by nobody, as in life."""
        for _ in range(200):
            try:
                tcp = self._socket(socket.SOCK_STREAM)
                tcp.bind((self.host, self.port))
                port = tcp.getsockname()[1]
                udp = self._socket(socket.SOCK_DGRAM)
                udp.bind((self.host, port))
                tcp.close()
                udp.close()
                self.port = port
                return
            except OSError:
                if self.port:
                    raise
        raise OSError("no free port")

    def _socket(self, kind):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        made = socket.socket(family, kind)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made

    def _open(self):
        udp = self._socket(socket.SOCK_DGRAM)
        udp.bind((self.host, self.port))
        tcp = self._socket(socket.SOCK_STREAM)
        tcp.bind((self.host, self.port))
        tcp.listen(64)
        self.sockets = [udp, tcp]
        threading.Thread(target=self._serve_udp, args=(udp,), daemon=True).start()
        threading.Thread(target=self._serve_tcp, args=(tcp,), daemon=True).start()

    def _close(self):
        for s in self.sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
            except OSError:
                pass
            s.close()
        self.sockets = []

    # -- control -------------------------------------------------------------------------------

    def set(self, mode, argument=0):
        if mode not in MODES:
            raise ValueError(f"no mode {mode}; there are: {' '.join(MODES)}")
        with self.lock:
            self.mode, self.argument = mode, argument
            if mode == "closed":
                self._close()
            elif not self.sockets and self.running:
                self._open()

    def record(self, name, kind, *data):
        """kind: a type's name with its data, "nxdomain" or "nodata"."""
        with self.lock:
            key = name.lower().rstrip(".")
            if kind in ("nxdomain", "nodata"):
                self.records[key] = kind
                return
            if not isinstance(self.records.get(key), dict):
                self.records[key] = {}
            self.records[key][TYPES[kind]] = [encode_rdata(kind, d) for d in data]

    def forget(self, name):
        with self.lock:
            self.records.pop(name.lower().rstrip("."), None)

    def count(self):
        """Questions since the last call."""
        with self.lock:
            asked, self.asked = self.asked, []
        return len(asked)

    def seen(self):
        with self.lock:
            return list(self.asked)

    # -- answers -------------------------------------------------------------------------------

    def _honest(self, query, rcode=None):
        """The reply as bytes."""
        key = query.name.lower().rstrip(".")
        with self.lock:
            known = self.records.get(key)
            ttl = self.ttl
        found, result = [], NOERROR
        if rcode is not None:
            result = rcode
        elif known == "nxdomain" or (known is None and key.startswith("nx")):
            result = NXDOMAIN
        elif isinstance(known, dict):
            found = [(query.type, r) for r in known.get(query.type, [])]
            if not found and TYPES["CNAME"] in known:
                found = [(TYPES["CNAME"], r) for r in known[TYPES["CNAME"]]]
        elif known is None and query.type == TYPES["A"]:
            found = [(query.type, encode_rdata("A", address_of(key)))]
        answers = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, CLASS_IN, ttl, len(r)) + r
                           for kind, r in found)
        authority, authorities = b"", 0
        if not found and result in (NOERROR, NXDOMAIN):
            soa = (encode_name("ns.bad.test") + encode_name("root.bad.test")
                   + struct.pack("!5I", 1, 3600, 600, 86400, ttl))
            zone = encode_name(".".join(key.split(".")[-1:]))
            authority = zone + struct.pack("!HHIH", TYPES["SOA"], CLASS_IN, ttl, len(soa)) + soa
            authorities = 1
        return self._frame(query, result, answers, len(found), authority, authorities)

    def _frame(self, query, rcode, answers=b"", count=0, authority=b"", authorities=0, flags=0):
        head = struct.pack("!6H", query.id, QR | RA | (query.flags & RD) | flags | rcode, 1, count,
                           authorities, 1 if query.edns else 0)
        opt = b"\0" + struct.pack("!HHIH", TYPE_OPT, 1232, 0, 0) if query.edns else b""
        return head + query.raw[12:query.question_end] + answers + authority + opt

    def _replies(self, data, transport):
        """What to send for these bytes: a list, often empty."""
        try:
            query = parse_query(data)
        except (ValueError, IndexError, struct.error):
            return []
        with self.lock:
            self.asked.append((query.name, query.type, transport))
            mode, argument = self.mode, self.argument
        honest = self._honest(query)
        ident = struct.pack("!H", query.id)
        other = struct.pack("!H", query.id ^ 0x5555)
        if mode == "delay":
            time.sleep(float(argument) / 1000)
            return [honest]
        if mode == "truncate" and transport == "udp":
            return [self._frame(query, NOERROR, flags=TC)]
        if mode == "truncate-udp-only":
            return [self._frame(query, NOERROR, flags=TC)] if transport == "udp" else []
        codes = {"servfail": SERVFAIL, "refused": REFUSED, "notimp": NOTIMP, "nxdomain": NXDOMAIN}
        if mode in codes:
            return [self._honest(query, codes[mode])]
        if mode == "blocked":
            bare = self._frame(query, REFUSED)
            return [bare[:-2] + struct.pack("!4H", 6, 15, 2, 15) if query.edns else bare]
        if mode == "formerr" and query.edns:
            return [struct.pack("!6H", query.id, QR | RA | FORMERR, 0, 0, 0, 0)]
        if mode == "nodata":
            return [self._honest(query._replace(type=65280), NOERROR)]
        if mode == "wrongquestion":
            return [self._honest(query._replace(
                raw=query.raw[:12] + encode_name("other.test") + query.raw[query.question_end - 4:
                                                                           query.question_end],
                question_end=12 + len(encode_name("other.test")) + 4))]
        if mode == "wrongtype":
            end = query.question_end
            raw = query.raw[:end - 4] + struct.pack("!HH", 99, CLASS_IN)
            return [self._honest(query._replace(raw=raw))]
        simple = {"honest": [honest], "truncate": [honest], "formerr": [honest], "drop": [],
                  "wrongid": [other + honest[2:]], "short": [honest[:11]],
                  "garbage": [ident + self.random.randbytes(60)],
                  "noise": [self.random.randbytes(60)], "reply-loop": [data],
                  "two": [other + self._frame(query, SERVFAIL)[2:], honest]}
        return simple.get(mode, [])

    # -- sockets -------------------------------------------------------------------------------

    def _serve_udp(self, udp):
        while True:
            try:
                data, peer = udp.recvfrom(65535)
            except OSError:
                return
            if not data:
                continue
            if self.mode == "delay":  # each question waits by itself
                threading.Thread(target=self._reply_udp, args=(udp, data, peer),
                                 daemon=True).start()
            else:
                self._reply_udp(udp, data, peer)

    def _reply_udp(self, udp, data, peer):
        for reply in self._replies(data, "udp"):
            try:
                udp.sendto(reply, peer)
            except OSError:
                return

    def _serve_tcp(self, tcp):
        while True:
            try:
                connection, _ = tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_connection, args=(connection,),
                             daemon=True).start()

    def _serve_connection(self, connection):
        with connection:
            connection.settimeout(30)
            buffer = b""
            try:
                while True:
                    more = connection.recv(65535)
                    if not more:
                        return
                    buffer += more
                    while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2], "big"):
                        size = int.from_bytes(buffer[:2], "big")
                        data, buffer = buffer[2:2 + size], buffer[2 + size:]
                        for reply in self._replies(data, "tcp"):
                            connection.sendall(struct.pack("!H", len(reply)) + reply)
            except OSError:
                return


def command(server, line):
    """Carries out one line; the answer as text, or None to end."""
    words = line.split()
    try:
        if not words:
            return "ok"
        if words[0] == "mode":
            server.set(words[1], *words[2:3])
        elif words[0] == "ttl":
            server.ttl = int(words[1])
        elif words[0] == "set":
            server.record(words[1], words[2], *([" ".join(words[3:])] if words[3:] else []))
        elif words[0] == "unset":
            server.forget(words[1])
        elif words[0] == "count":
            return str(server.count())
        elif words[0] == "quit":
            return None
        else:
            return f"error: no command {words[0]}"
    except (ValueError, KeyError, IndexError, OSError) as problem:
        return f"error: {problem}"
    return "ok"


def serve_control(server, host, port, ended):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        control.bind((host, port))
        while not ended.is_set():
            data, peer = control.recvfrom(4096)
            answer = command(server, data.decode("utf-8", "replace"))
            control.sendto((answer or "bye").encode(), peer)
            if answer is None:
                ended.set()


def serve_stdin(server, ended):
    for line in sys.stdin:
        answer = command(server, line)
        print(answer or "bye", flush=True)
        if answer is None:
            ended.set()
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control", type=int, help="UDP port for commands")
    parser.add_argument("mode", nargs="?", default="honest", choices=sorted(MODES))
    parser.add_argument("argument", nargs="?", default=0)
    args = parser.parse_args()
    server = BadServer(args.host, args.port).start()
    server.set(args.mode, args.argument)
    print(f"listening on {server.host} {server.port}", flush=True)
    ended = threading.Event()
    if args.control is not None:
        threading.Thread(target=serve_control, args=(server, args.host, args.control, ended),
                         daemon=True).start()
    threading.Thread(target=serve_stdin, args=(server, ended), daemon=True).start()
    try:
        ended.wait()
    except KeyboardInterrupt:
        pass
    server.stop()


if __name__ == "__main__":
    main()
