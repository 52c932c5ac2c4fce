#!/usr/bin/env python3
"""What the README tells people to type: make run and make demo, as they type it."""
import os
import signal
import subprocess
import time

from badserver import BadServer, address_of
from live import BUILD, PATIENCE_S, SANITIZED, SOURCE, Daemon, addresses, check, equal, run, until


def make(target, **more):
    return subprocess.Popen(["make", "-s", target, f"BUILD={BUILD}",
                             *(f"{k}={v}" for k, v in more.items())], cwd=SOURCE, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, start_new_session=True)


def make_run():
    """make run builds, says what to type next, serves; Ctrl-C ends it cleanly"""
    with BadServer() as server, Daemon([server]) as d:
        d.write_config()
        process = make("run", ARGS=f"-c {d.path}")
        try:
            until(lambda: process.poll() is not None or d.ask("a.example", timeout=0.2),
                  "it serves", 6 * PATIENCE_S)
            equal(addresses(d.ask("a.example")), [address_of("a.example")], "answer")
            equal(d.get("/ready")[0], 200, "/ready")
        finally:
            os.killpg(process.pid, signal.SIGINT)
            text, _ = process.communicate(timeout=PATIENCE_S)
        for part in ("dig @127.0.0.1 -p", "stubborn resolve", "/health", "Ctrl-C",
                     'msg="ready"', 'msg="ending"'):
            check(part in text, f"{part!r} is not in:\n{text}")
        check(process.returncode in (0, -signal.SIGINT), f"make: {process.returncode}")
        check("Error" not in text, text)  # the daemon's own status is 0; make dies of its signal
        check(not os.path.exists(d.socket), "its socket is gone")


def make_demo():
    """make demo shows the whole outage in under 30 s, every answer the promised one"""
    started = time.monotonic()
    process = make("demo")
    text, _ = process.communicate(timeout=120)
    took = time.monotonic() - started
    equal(process.returncode, 0, "exit status; it said:\n" + text)
    for part in ("source: stale", "source: emergency", "SIGKILL", "The name was never lost."):
        check(part in text, f"{part!r} is not in:\n{text}")
    check(took < 30 or SANITIZED, f"{took:.1f} s")


if __name__ == "__main__":
    run([make_run, make_demo])
