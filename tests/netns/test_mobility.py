#!/usr/bin/env python3
"""The daemon on a machine that moves between networks (A14, D3) and whose resolv.conf changes (B1).

Each test makes namespaces of its own: root is needed.
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "live"))
from live import BUILD, Daemon, Skip, addresses, ask_unix, check, equal, run, until  # noqa: E402
from netns import Namespace, pair  # noqa: E402

SERVER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "dns_server.py")
DNS = "10.53.0.1"
NXDOMAIN = 3


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


class Inside(Daemon):
    """A daemon in a namespace; `before` is a shell's words before it starts."""

    def __init__(self, ns, before="", **more):
        super().__init__(**more)
        self.ns, self.before = ns, before

    def spawn(self):
        self.write_config()
        words = [os.path.join(BUILD, "stubbornd"), "-c", self.path]
        if self.before:
            words = ["unshare", "-m", "sh", "-c", self.before + '\nexec "$@"', "sh", *words]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.ns.command(*words), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd="/")
        return self

    def ask(self, name, kind="A", **more):
        return ask_unix(self.socket, name, kind, **more)

    def mobility(self):
        return self.control({"verb": "status"})["status"]["mobility"]


class Server:
    """dns_server.py in a namespace."""

    def __init__(self, ns, *words):
        self.process = subprocess.Popen(ns.command(sys.executable, SERVER, *words),
                                        stdout=subprocess.PIPE, text=True)
        equal(self.process.stdout.readline().strip(), "up", "the name server")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def join(ns, router, network):
    """Plugs the machine into a router's network; the router is always the same box."""
    pair(ns, router)
    router.ip("link", "set", "eth0", "address", f"02:00:00:00:00:{network:02x}")
    router.ip("addr", "add", f"10.{network}.0.1/24", "dev", "eth0")
    router.ip("addr", "replace", f"{DNS}/32", "dev", "lo")
    ns.ip("addr", "add", f"10.{network}.0.2/24", "dev", "eth0")
    ns.ip("route", "add", "default", "via", f"10.{network}.0.1")


def settled(daemon, moves):
    started = time.monotonic()
    until(lambda: daemon.mobility()["moves"] == moves and daemon.mobility()["settled"],
          f"{moves} moves noticed")
    return time.monotonic() - started


def quick(daemon, name, wanted, what):
    started = time.monotonic()
    reply = daemon.ask(name)
    took = time.monotonic() - started
    equal(addresses(reply), wanted, what)
    check(took < 2.0, f"{what}: {took:.3f} s")
    return reply


def private_answers():
    """A private answer stays with its network and is back with it; public names go on"""
    need_root()
    with Namespace() as ns, Namespace() as home, Namespace() as cafe, \
            Inside(ns, upstreams=[DNS]) as d:
        join(ns, home, 7)
        with Server(home, DNS, "intra.example=10.1.1.1", "www.example=192.0.2.1"):
            d.start()
            equal(addresses(d.ask("intra.example")), ["10.1.1.1"], "at home")
            equal(addresses(d.ask("www.example")), ["192.0.2.1"], "at home")
            until(lambda: d.mobility()["settled"], "the network is known")
            first = d.mobility()["identity"]
            check(first & 0xffff, f"the gateway is part of it: {first:08x}")
            equal(addresses(d.ask("intra.example")), ["10.1.1.1"], "kept")
        ns.ip("link", "del", "eth0")
        until(lambda: not d.mobility()["present"], "no network")
        equal(addresses(d.ask("intra.example")), ["10.1.1.1"], "between networks")
        join(ns, cafe, 8)
        with Server(cafe, DNS, "www.example=192.0.2.1"):
            settled(d, 1)
            check(d.mobility()["identity"] != first, "another network")
            equal(d.ask("intra.example").rcode, NXDOMAIN, "a private name elsewhere")
            quick(d, "www.example", ["192.0.2.1"], "a public name elsewhere")
        quick(d, "www.example", ["192.0.2.1"], "a public name, the DNS dead")
        check("10.1.1.1" not in addresses(d.ask("intra.example")), "a private name, the DNS dead")
        ns.ip("link", "del", "eth0")
        join(ns, home, 7)  # nobody answers there
        until(lambda: d.mobility()["identity"] == first, "at home again")
        quick(d, "intra.example", ["10.1.1.1"], "at home again, the DNS dead")
        quick(d, "www.example", ["192.0.2.1"], "at home again, the DNS dead")
        equal(d.mobility()["moves"], 2, "moves")
        check('msg="moved to another network"' in d.log(), "the log says so")


def cable():
    """The cable out and in is no move; the servers are asked again at once"""
    need_root()
    with Namespace() as ns, Namespace() as home, Inside(ns, upstreams=[DNS]) as d:
        join(ns, home, 7)
        with Server(home, DNS, "intra.example=10.1.1.1", "more.example=10.1.1.2"):
            d.start()
            equal(addresses(d.ask("intra.example")), ["10.1.1.1"], "before")
            until(lambda: d.mobility()["settled"], "the network is known")
            home.ip("link", "set", "eth0", "down")
            until(lambda: not d.mobility()["present"], "no network")
            d.ask("more.example", timeout=15)  # the server's breaker opens
            home.ip("link", "set", "eth0", "up")
            until(lambda: d.mobility()["present"], "the network is back")
            quick(d, "more.example", ["10.1.1.2"], "asked again")
            equal(d.mobility()["moves"], 0, "moves")


def other_etc():
    """An /etc of the daemon's own, where a test may turn links."""
    return ("mount --make-rprivate / && mount -t tmpfs none /mnt && "
            "cp -a /etc/passwd /etc/group /etc/hosts /etc/nsswitch.conf /mnt/ && "
            "printf 'nameserver 127.0.0.11\\n' > /mnt/a.conf && "
            "printf 'nameserver 127.0.0.12\\n' > /mnt/b.conf && "
            "touch -r /mnt/a.conf /mnt/b.conf && "
            "ln -s a.conf /mnt/resolv.conf && "
            "mount --bind /mnt /etc || exit 1")


def resolv_conf():
    """A resolv.conf whose link moves, that is replaced, or gone for a moment, is followed"""
    need_root()
    with Namespace() as ns, Inside(ns, before=other_etc()) as d, \
            Server(ns, "127.0.0.11", "a.example=192.0.2.11", "b.example=192.0.2.11",
                   "c.example=192.0.2.11"), \
            Server(ns, "127.0.0.12", "a.example=192.0.2.12", "b.example=192.0.2.12",
                   "c.example=192.0.2.12"):
        d.start()
        etc = os.path.join("/proc", str(d.process.pid), "root", "etc", "")
        equal(addresses(d.ask("a.example")), ["192.0.2.11"], "the first file")

        def asked(name):
            d.control({"verb": "flush", "name": name})
            return addresses(d.ask(name))
        os.symlink("b.conf", etc + "next")
        os.rename(etc + "next", etc + "resolv.conf")
        until(lambda: asked("b.example") == ["192.0.2.12"], "the link moved to a twin", 5)
        with open(etc + "next", "w", encoding="ascii") as f:
            f.write("nameserver 127.0.0.11\n")
        os.rename(etc + "next", etc + "resolv.conf")
        until(lambda: asked("b.example") == ["192.0.2.11"], "a file in its place", 5)
        os.unlink(etc + "resolv.conf")
        time.sleep(1.5)  # a look at it falls into this
        equal(asked("c.example"), ["192.0.2.11"], "gone: those of before go on")
        with open(etc + "resolv.conf", "w", encoding="ascii") as f:
            f.write("nameserver 127.0.0.12\n")
        until(lambda: asked("c.example") == ["192.0.2.12"], "there again", 5)


def loop():
    """A forwarder that forwards to the daemon is found, named and not asked"""
    need_root()
    with Namespace() as ns, Inside(ns, upstreams=["127.0.0.11", "127.0.0.12"]) as d, \
            Server(ns, "127.0.0.11", f"forward=127.0.0.1:{d.dns}"), \
            Server(ns, "127.0.0.12", "a.example=192.0.2.12"):
        d.start()
        until(lambda: "forwarding loop" in d.log() and "127.0.0.11:53" in d.log(),
              "the loop is named", 10)
        status = d.control({"verb": "status"})["status"]
        equal(status["loops"], ["127.0.0.11:53"], "status")
        equal([u["address"] for u in status["upstreams"]], ["127.0.0.12:53"], "who is asked")
        quick(d, "a.example", ["192.0.2.12"], "by the other")


if __name__ == "__main__":
    run([private_answers, cable, resolv_conf, loop])
