#!/usr/bin/env python3
"""The daemon through an outage: answers, stale ones, kill -9, restart, emergency, recovery."""
import os
import signal
import socket
import statistics
import struct
import subprocess
import threading
import time

from badserver import BadServer, address_of
from live import (BUILD, PATIENCE_S, SANITIZED, Daemon, Skip, addresses, ask_tcp, ask_udp, ask_unix,
                  check, equal, parse, query, read_message, run, until)

EDE_STALE, EDE_STALE_NXDOMAIN, EDE_SYNTHESIZED, EDE_NOT_READY = 3, 19, 29, 14
FORGED = 4
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


def answers_everywhere():
    """A name is answered over UDP, TCP and the Unix socket, with workers and without"""
    for workers in (0, 1, 2):
        with BadServer() as server, Daemon([server], workers=workers) as d:
            d.addresses = [f"127.0.0.1:{d.dns}", f'"[::1]:{d.dns}"']
            d.start()
            wanted = [address_of("a.example")]
            for reply in (d.ask("a.example"), d.ask("A.eXample"), d.ask("a.example", host="::1"),
                          ask_tcp(d.dns, "a.example"), ask_tcp(d.dns, "a.example", host="::1"),
                          ask_unix(d.socket, "a.example")):
                check(reply, "no reply")
                equal((reply.rcode, addresses(reply), reply.edes), (NOERROR, wanted, []), "reply")
            equal(server.count(), 1, "questions upstream")
            equal(d.ask("nx.example").rcode, NXDOMAIN, "rcode")
            reply = d.ask("a.example", "AAAA")
            equal((reply.rcode, reply.answers), (NOERROR, []), "AAAA")
            check(b"\x01A\x07eXample" in d.ask("A.eXample").raw, "the case of the question is kept")


def leaves_from_the_address_asked():
    """Replies leave from the address asked, with a worker and without"""
    for workers in (0, 1):
        with BadServer() as server, Daemon([server], workers=workers,
                                           listen="allow: [127.0.0.0/8]") as d:
            d.addresses = [f"0.0.0.0:{d.dns}"]
            d.start()
            for host in ("127.0.0.5", "127.0.0.6", "127.0.0.5"):  # our sockets are connected
                equal(addresses(d.ask("a.example", host=host)), [address_of("a.example")], host)


def expire(d, server, name):
    """Teaches a name with a TTL of one second."""
    server.ttl = 1
    equal(addresses(d.ask(name)), [address_of(name)], "first answer")


def wait_stale(d, name, **more):
    """The first stale answer."""
    def stale():
        reply = d.ask(name, **more)
        return reply if reply and reply.edes else None
    return until(stale, f"a stale answer for {name}")


def stale_through_every_failure():
    """Whatever the upstream does, a known name is answered, stale, with EDE 3"""
    modes = ["drop", "servfail", "refused", "notimp", "garbage", "noise", "short", "wrongid",
             "wrongquestion", "wrongtype", "truncate-udp-only", "reply-loop", "closed"]
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        for i, mode in enumerate(modes):
            expire(d, server, f"n{i}.example")
        for i, mode in enumerate(modes):
            server.set(mode)
            reply = wait_stale(d, f"n{i}.example")
            equal((reply.rcode, addresses(reply), reply.edes),
                  (NOERROR, [address_of(f"n{i}.example")], [EDE_STALE]), mode)
            check(1 <= reply.answers[0].ttl <= 30, f"TTL {reply.answers[0].ttl} in {mode}")
        check(d.metric("fallback_uses_total") >= len(modes), "fallbacks are counted")


def logged_on_the_change():
    """A fall-back is logged when it begins and when it ends, not per question"""
    with BadServer() as server, Daemon([server]) as d:
        lines = lambda text: [l for l in d.log().splitlines() if text in l and "l.example" in l]
        d.start()
        expire(d, server, "l.example")
        server.set("closed")
        wait_stale(d, "l.example")
        until(lambda: lines("serving a fall-back"), "a line")  # with the end of the flight
        for _ in range(50):
            equal(addresses(d.ask("l.example")), [address_of("l.example")], "stale")
        equal(len(lines("serving a fall-back")), 1, "lines")
        check("level=warn" in d.log() and "source=stale" in lines("serving")[0], d.log())
        server.ttl = 60
        server.set("honest")
        until(lambda: (r := d.ask("l.example")) and not r.edes, "a fresh answer")
        equal((len(lines("serving a fall-back")), len(lines("answers are fresh again"))), (1, 1),
              "lines in " + d.log())


def failures_without_history():
    """A name never seen fails with SERVFAIL and an EDE, within the time-out, and is not stale"""
    with BadServer(mode="servfail") as server, Daemon([server],
                                                     config="query: {timeout: 2s}") as d:
        d.start()
        reply = d.ask("never.example", timeout=8)
        equal((reply.rcode, reply.answers), (SERVFAIL, []), "reply")
        check(reply.edes, "it says why")
        server.set("drop")
        started = time.monotonic()
        equal(d.ask("other.example", timeout=8).rcode, SERVFAIL, "rcode")
        check(time.monotonic() - started < 4, "the time-out of the question holds")
        server.set("closed")
        names = (f"new{i}.example" for i in range(1000))
        until(lambda: (r := d.ask(next(names), timeout=8)) and
              b"all upstream servers are marked down" in r.raw, "the reason in words")


def slow_and_truncated():
    """Slow: waited for. Truncated: asked again over TCP. Forged ID: ignored. No EDNS: without"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        server.set("delay", 150)
        equal(addresses(d.ask("slow.example")), [address_of("slow.example")], "slow")
        server.set("truncate")
        equal(addresses(d.ask("large.example")), [address_of("large.example")], "truncated")
        check(any(t == "tcp" for _, _, t in server.seen()), "TCP was used")
        server.set("two")
        equal(addresses(d.ask("forged.example")), [address_of("forged.example")], "forged")
        server.set("formerr")
        equal(addresses(d.ask("old.example")), [address_of("old.example")], "without EDNS")


def killed_in_the_outage():
    """kill -9 and a restart while every upstream is dead: known names answered, then recovery"""
    emergency = ('names:\n  - {match: mlflow.example, emergency: [10.9.8.7]}\n')
    with BadServer() as server, Daemon([server], config=emergency) as d:
        d.start()
        names = [f"k{i}.example" for i in range(200)]
        server.ttl = 1
        for name in names:
            equal(addresses(d.ask(name)), [address_of(name)], "learned")
        server.set("closed")
        d.kill()
        d.start()
        for name in names:
            equal(addresses(d.ask(name)), [address_of(name)], f"{name} after the restart")
        reply = wait_stale(d, names[0])
        equal(reply.edes, [EDE_STALE], "EDE")
        reply = d.ask("mlflow.example")
        equal(addresses(reply), ["10.9.8.7"], "emergency address")
        check(reply.edes and reply.answers[0].ttl <= 30, f"degraded: {reply}")
        equal(d.ask("mlflow.example", "AAAA").rcode, NOERROR, "AAAA of an emergency name")
        status, body = d.get("/health")
        check(status in (200, 503) and b'"status"' in body, "health is served meanwhile")
        server.ttl = 300
        server.set("honest")
        until(lambda: (r := d.ask(names[1])) and not r.edes and r.answers[0].ttl > 30,
              "fresh again")
        until(lambda: addresses(d.ask("mlflow.example")) == [address_of("mlflow.example")],
              "the DNS is believed again")


def restart_time():
    """A restart with every upstream dead answers a known name within 50 ms of the exec"""
    if SANITIZED:
        raise Skip("a sanitizer's start is not ours to time")
    with BadServer() as server, Daemon([server], size="64MiB") as d:
        d.start()
        server.ttl = 1
        for i in range(300):
            d.ask(f"r{i}.example")
        server.set("closed")
        times = []
        for _ in range(7):
            d.kill()
            d.write_config()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, \
                    open(d.log_path, "ab") as log:
                s.connect(("127.0.0.1", d.dns))
                s.settimeout(0.001)
                started = time.monotonic()
                d.process = subprocess.Popen([os.path.join(BUILD, "stubbornd"), "-c", d.path],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                while time.monotonic() - started < 5:
                    try:
                        s.send(query("r7.example"))
                        if len(s.recv(4096)) > 40:
                            break
                    except OSError:
                        continue
                times.append((time.monotonic() - started) * 1000)
            equal(addresses(d.ask("r8.example")), [address_of("r8.example")], "another name")
        print("# from exec to the first answer, ms: " + " ".join(f"{t:.1f}" for t in times))
        check(statistics.median(times) <= 50, f"median {statistics.median(times):.1f} ms")


def obeyed_deletion():
    """A deletion is obeyed, and stays obeyed in the outage after it (EDE 19)"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        expire(d, server, "gone.example")
        server.record("gone.example", "nxdomain")
        until(lambda: d.ask("gone.example").rcode == NXDOMAIN, "the deletion is seen")
        server.set("closed")
        reply = until(lambda: (r := d.ask("gone.example")) and r.edes and r, "the stale negative")
        equal((reply.rcode, reply.edes), (NXDOMAIN, [EDE_STALE_NXDOMAIN]), "reply")


def single_flight():
    """A hundred askers of one name, over UDP, TCP and the Unix socket: one question upstream"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        server.set("delay", 200)
        results = []
        doors = (lambda: d.ask("f.example"), lambda: ask_tcp(d.dns, "f.example"),
                 lambda: ask_unix(d.socket, "f.example"))
        threads = [threading.Thread(target=lambda door=doors[i % 3]:
                                    results.append(addresses(door()))) for i in range(100)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(results, [[address_of("f.example")]] * 100, "answers")
        equal(server.count(), 1, "questions upstream")


def clean_end():
    """SIGTERM answers what is under way, then ends with 0 within 5 s; its sockets are gone"""
    for workers in (0, 1):
        # They are alive, so that nobody gives the question up, and have no word for it.
        with BadServer() as server, BadServer(mode="truncate-udp-only") as second, \
                BadServer(mode="truncate-udp-only") as third, \
                Daemon([server], workers=workers) as d:
            d.start()
            server.set("delay", 600)
            results = []
            asker = threading.Thread(target=lambda: results.append(d.ask("late.example")))
            asker.start()
            until(server.seen, "the question is under way")
            started = time.monotonic()
            equal(d.end(), 0, "exit status")
            check(time.monotonic() - started < 5, "it took too long")
            asker.join()
            equal(addresses(results[0]), [address_of("late.example")], "the answer")
            check(not os.path.exists(d.socket), "the Unix socket is gone")
            server.set("truncate-udp-only")
            d.config = "query: {timeout: 20s, attempts: 16}"
            d.upstreams = [server, second, third]
            d.start()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(query("stuck.example"), ("127.0.0.1", d.dns))
                until(lambda: any("stuck" in str(q) for q in server.seen()), "nobody answers it")
                started = time.monotonic()
                d.process.send_signal(signal.SIGTERM)
                until(lambda: "ending" in d.log_tail(), "the end begins")
                equal(addresses(d.ask("late.example")), [address_of("late.example")], "known")
                reply = d.ask("never.example")
                equal((reply.rcode, reply.edes), (SERVFAIL, [EDE_NOT_READY]), "not known")
                check(time.monotonic() - started < 1.5, "nobody waits at a deaf socket")
                equal(d.process.wait(PATIENCE_S), 0, "exit status")
                s.settimeout(PATIENCE_S)
                reply = parse(s.recv(4096))
                equal((reply.rcode, reply.edes), (SERVFAIL, [EDE_NOT_READY]), "the last word")
            check(time.monotonic() - started < (10 if SANITIZED else 3), "it took too long")


def half_close():
    """TCP and Unix: a client that ends its side after the question still gets the answer"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        server.set("delay", 200)
        for i, (family, where) in enumerate(((socket.AF_INET, ("127.0.0.1", d.dns)),
                                             (socket.AF_UNIX, d.socket))):
            name = f"half{i}.example"
            message = query(name)
            with socket.socket(family, socket.SOCK_STREAM) as s:
                s.settimeout(PATIENCE_S)
                s.connect(where)
                s.sendall(struct.pack("!H", len(message)) + message + b"\0")
                s.shutdown(socket.SHUT_WR)
                equal(addresses(parse(read_message(s))), [address_of(name)], "the answer")
                equal(s.recv(1), b"", "the end")


def notifies_the_service_manager():
    """READY=1 and STOPPING=1 reach NOTIFY_SOCKET; SIGUSR1 logs the state"""
    with BadServer() as server, Daemon([server]) as d:
        path = os.path.join(d.dir, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(PATIENCE_S)
            d.env["NOTIFY_SOCKET"] = path
            d.start()
            equal(s.recv(100), b"READY=1", "first")
            d.ask("a.example")
            d.process.send_signal(signal.SIGUSR1)
            until(lambda: 'msg="state"' in d.log() and "questions=1" in d.log(), "the state")
            equal(d.end(), 0, "exit status")
            equal(s.recv(100), b"STOPPING=1", "last")


def command_line():
    """--version, --help, --check, wrong arguments, an absent file"""
    program = os.path.join(BUILD, "stubbornd")

    def call(*words, **environment):
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False,
                              timeout=PATIENCE_S, env={**os.environ, **environment})
        return done.returncode, done.stdout, done.stderr
    status, out, _ = call("--version")
    check(status == 0 and out.startswith("stubbornd "), out)
    status, out, _ = call("--help")
    check(status == 0 and "--check" in out, out)
    for words in (["--what"], ["-c"], ["file"]):
        status, _, err = call(*words)
        check(status == 2 and "usage" in err, f"{words}: {status} {err}")
    with Daemon(["127.0.0.1:1"]) as d:
        d.write_config()
        equal(call("-c", d.path, "--check")[0], 0, "a good file")
        equal(call("--check", STUBBORN_CONFIG=d.path)[0], 0, "a good file of the environment")
        d.write_config("cache:\n  sise: 1MiB\n")
        status, _, err = call("-c", d.path, "--check")
        check(status == 1 and "stubborn.yaml:2:3" in err and "size" in err, err)
        status, _, err = call("-c", os.path.join(d.dir, "absent"), "--check")
        check(status == 1 and "absent" in err, err)
        status, _, err = call("--check", DNS_CACHE_TTL="much")
        check(status == 1 and "DNS_CACHE_TTL" in err, err)


def http():
    """HTTP: GET and HEAD, 405 for others, a long header refused, 404, Host checked"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        equal(d.get("/health")[0], 200, "health")
        equal(d.get("/health", method="HEAD"), (200, b""), "HEAD")
        equal(d.get("/health", method="POST", body=b"x" * 100000)[0], 405, "POST")
        equal(d.get("/nowhere")[0], 404, "absent")
        equal(d.get("/health/nobody")[0], 404, "absent service")
        check(d.get("/v1/status", host="evil.example")[0] in (403, 421), "a foreign Host")
        check(d.get("/health", headers={"X-Long": "x" * 20000})[0] in (413, 431, 400), "long")
        until(lambda: d.get("/ready")[0] == 200, "ready")
        check(b"stubborn_resolution_attempts_total" in d.get("/metrics")[1], "metrics")


def pipelined_tcp():
    """TCP: many questions at once on one connection, answers in any order, one write in halves"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        messages = b""
        for i in range(50):
            m = query(f"p{i}.example", ident=i)
            messages += struct.pack("!H", len(m)) + m
        with socket.create_connection(("127.0.0.1", d.dns), timeout=PATIENCE_S) as s:
            s.sendall(messages[:701])
            s.sendall(messages[701:])
            data, seen = b"", set()
            while len(seen) < 50:
                more = s.recv(65536)
                check(more, "closed early")
                data += more
                while len(data) >= 2 and len(data) >= 2 + int.from_bytes(data[:2], "big"):
                    size = int.from_bytes(data[:2], "big")
                    seen.add(int.from_bytes(data[2:4], "big"))
                    data = data[2 + size:]
            equal(seen, set(range(50)), "answered IDs")


if __name__ == "__main__":
    run([answers_everywhere, leaves_from_the_address_asked, stale_through_every_failure,
         logged_on_the_change, failures_without_history, slow_and_truncated, killed_in_the_outage,
         restart_time, obeyed_deletion, single_flight, clean_end, half_close,
         notifies_the_service_manager, command_line, http, pipelined_tcp])
