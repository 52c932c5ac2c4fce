#!/usr/bin/env python3
"""Junk on every listener never stops service to others.

Random bytes, every header field mutated, messages of 0 and 65,535 bytes, half-sent lengths, idle
connections by the thousand; meanwhile and afterwards an honest client is answered.
"""
import os
import random
import resource
import socket
import struct
import threading
import time

from badserver import BadServer, address_of
from live import (SANITIZED, Daemon, Skip, addresses, ask_tcp, ask_unix, check, equal, query, run,
                  until)

SEED = 20
IDLE = 500 if SANITIZED else 2000


class Honest:
    """A client that asks all the time, over UDP; every question must be answered."""

    def __init__(self, d):
        self.daemon, self.lost, self.asked, self.slowest = d, 0, 0, 0.0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.is_set():
            name = f"h{self.asked % 20}.example"
            started = time.monotonic()
            reply = self.daemon.ask(name, timeout=2.0)
            self.slowest = max(self.slowest, time.monotonic() - started)
            self.asked += 1
            if addresses(reply) != [address_of(name)]:
                self.lost += 1
            time.sleep(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def judge(self):
        self.ended.set()
        self.thread.join()
        check(self.asked > 3, f"only {self.asked} questions")
        equal(self.lost, 0, f"unanswered of {self.asked}, slowest {self.slowest:.3f} s")


def served(d):
    """Every door still opens."""
    check(d.process.poll() is None, "the daemon ended:\n" + d.log())
    equal(addresses(d.ask("after.example")), [address_of("after.example")], "UDP")
    equal(addresses(ask_tcp(d.dns, "after.example")), [address_of("after.example")], "TCP")
    equal(addresses(ask_unix(d.socket, "after.example")), [address_of("after.example")], "Unix")
    equal(d.get("/health")[0], 200, "HTTP")
    check(d.control({"verb": "status"}).get("ok"), "control")


def mutations(rng):
    """Messages that are nearly questions."""
    good = query("mutant.example")
    for at in range(12):                      # each byte of the header
        for value in (0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)):
            yield good[:at] + bytes([value]) + good[at + 1:]
    for field in range(2, 6):                 # each count, absurd
        for value in (0, 2, 255, 65535):
            yield good[:field * 2] + struct.pack("!H", value) + good[field * 2 + 2:]
    for opcode in range(16):
        yield good[:2] + struct.pack("!H", opcode << 11 | 0x0100) + good[4:]
    for size in range(len(good)):             # every length
        yield good[:size]
    yield good[:12] + b"\xc0\x0c" + good[-15:]            # a name that points at itself
    yield good[:12] + b"\xc0\xff\x00\x01\x00\x01"         # beyond the end
    yield good[:12] + b"\x3f" * 300                       # labels without end
    yield good[:12] + (b"\x01a" * 140) + b"\0\0\x01\0\x01"  # longer than a name may be
    for kind in (0, 41, 249, 250, 251, 252, 253, 254, 255, 65535):
        for cls in (0, 1, 3, 254, 255, 65535):
            yield good[:12] + b"\x01m\x00" + struct.pack("!HH", kind, cls)
    plain = query("mutant.example", edns=False)
    for version in (1, 255):                  # EDNS of the future
        yield plain[:10] + b"\0\1" + plain[12:] + b"\0" + struct.pack("!HHBBHH", 41, 1232, 0,
                                                                        version, 0, 0)
    for size in (0, 1, 511, 65535):           # buffer sizes
        yield plain[:10] + b"\0\1" + plain[12:] + b"\0" + struct.pack("!HHIH", 41, size, 0, 0)
    two = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
    yield plain[:10] + b"\0\2" + plain[12:] + two + two
    yield plain[:10] + b"\0\1" + plain[12:] + b"\0" + struct.pack("!HHIHHH", 41, 1232, 0, 4, 15, 99)
    for _ in range(300):                      # bits flipped at random
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield bytes(data)
    for _ in range(200):                      # and noise
        yield rng.randbytes(rng.randrange(0, 1500))
    yield rng.randbytes(9000)


def udp():
    """UDP: random bytes and every header field mutated, with workers and without"""
    for workers in (0, 1):
        with BadServer() as server, Daemon([server], workers=workers) as d:
            d.start()
            with Honest(d) as honest, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                for message in mutations(random.Random(SEED)):
                    s.sendto(message, ("127.0.0.1", d.dns))
                    if random.random() < 0.05:
                        time.sleep(0.001)
                honest.judge()
            served(d)


def streams_of(d):
    return {"TCP": lambda: socket.create_connection(("127.0.0.1", d.dns), timeout=5),
            "Unix": lambda: connect_unix(d.socket),
            "HTTP": lambda: socket.create_connection(("127.0.0.1", d.http), timeout=5),
            "control": lambda: connect_unix(os.path.join(os.path.dirname(d.socket),
                                                         "stubborn.ctl"))}


def connect_unix(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(5)
    s.connect(path)
    return s


def push(connection, data):
    """Sends and reads what comes, until the other side has had enough."""
    with connection as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            s.settimeout(0.5)
            while s.recv(65536):
                pass
        except OSError:
            pass


def streams():
    """TCP, Unix, HTTP, control: mutants, 0 and 65,535 bytes, noise, half-sent lengths"""
    rng = random.Random(SEED)
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        with Honest(d) as honest:
            mutants = list(mutations(rng))
            for name, connect in streams_of(d).items():
                chosen = rng.sample(mutants, 60) if name in ("TCP", "Unix") else []
                for m in chosen:
                    push(connect(), struct.pack("!H", len(m)) + m)
                framed = b"".join(struct.pack("!H", len(m)) + m for m in mutants)
                for data in (b"\0\0", b"\0\0" * 1000, b"\xff\xff" + bytes(65535),
                             b"\xff\xff" + rng.randbytes(65535), b"\x00", b"\x40\x00half", framed,
                             rng.randbytes(100000), b"\n" * 5000, b"{" * 70000 + b"\n",
                             b'{"verb":"status"' + b" " * 200000, b'{"verb":' + b"[" * 5000 + b"\n",
                             b"GET /" + b"a" * 20000, b"GET / HTTP/9.9\r\n\r\n",
                             b"GET /%zz?%ff=%00 HTTP/1.1\r\nHost: \0\r\n\r\n",
                             b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                             b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 3000 + b"\r\n"):
                    push(connect(), data)
            honest.judge()
        served(d)


def idle_connections():
    """Two thousand idle connections on each stream listener keep nobody out"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Skip(f"only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        with Honest(d) as honest:
            for name, connect in streams_of(d).items():
                held = []
                try:
                    for i in range(IDLE):
                        try:
                            held.append(connect())
                            if i % 3 == 0:
                                held[-1].send(b"\x00" if name != "HTTP" else b"GET /h")
                        except OSError:  # turned away, or closed to make room
                            continue
                        if i % 500 == 499:
                            served(d)
                    served(d)
                finally:
                    for s in held:
                        s.close()
            honest.judge()
        until(lambda: served(d) is None, "service after it")


def one_byte_at_a_time():
    """A question that trickles in is answered; one that never ends is not waited for for ever"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        m = query("slow.example")
        with socket.create_connection(("127.0.0.1", d.dns), timeout=10) as s:
            for byte in struct.pack("!H", len(m)) + m:
                s.send(bytes([byte]))
            check(s.recv(4096), "an answer")
            s.send(b"\x00")
            s.settimeout(40)
            started = time.monotonic()
            try:
                equal(s.recv(10), b"", "the end of an idle connection")
            except ConnectionResetError:
                pass
            check(5 < time.monotonic() - started < 35, "idle time-out")


if __name__ == "__main__":
    run([udp, streams, idle_connections, one_byte_at_a_time])
