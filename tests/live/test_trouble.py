#!/usr/bin/env python3
"""What is in the way: ports in use, missing rights, cache files in every bad state, bad files.

And who may ask: listen.allow, ownership and modes of sockets and files.
"""
import fcntl
import grp
import json
import os
import pwd
import socket
import stat
import struct
import subprocess
import threading
import time

from badserver import BadServer, address_of
from live import (BUILD, PATIENCE_S, Daemon, Skip, addresses, ask_stream, ask_tcp, ask_udp,
                  ask_unix, check, equal, query, refuses_to_start, run, until)

NOBODY = 65534
NOERROR, SERVFAIL, REFUSED = 0, 2, 5


def need_root(what):
    if os.geteuid() != 0:
        raise Skip(f"{what} needs root")


def hold(kind, port, host="127.0.0.1"):
    s = socket.socket(socket.AF_INET, kind)
    s.bind((host, port))
    if kind == socket.SOCK_STREAM:
        s.listen()
    return s


def port_in_use():
    """A port in use, UDP, TCP or HTTP, is one clear sentence and exit 1"""
    for workers in (0, 1):
        with Daemon(["127.0.0.1:1"], workers=workers) as d:
            for kind, port, word in ((socket.SOCK_DGRAM, d.dns, "UDP"),
                                     (socket.SOCK_STREAM, d.dns, "TCP"),
                                     (socket.SOCK_STREAM, d.http, "HTTP")):
                with hold(kind, port):
                    sentence = refuses_to_start(d)
                    for part in (f"127.0.0.1:{port}", word, "another program uses it"):
                        check(part in sentence, f"no {part!r} in: {sentence}")
                    os.remove(d.log_path)


def second_daemon():
    """A second daemon on the same port ends with a sentence; the first goes on"""
    with BadServer() as server, Daemon([server]) as d, Daemon([server]) as second:
        d.start()
        second.addresses = d.addresses
        check("another program uses it" in refuses_to_start(second), second.log())
        equal(addresses(d.ask("a.example")), [address_of("a.example")], "the first")
        second.addresses, second.log_path = [f"127.0.0.1:{second.dns}"], second.log_path + "2"
        second.socket = d.socket
        sentence = refuses_to_start(second)
        check(d.socket in sentence and "another program listens there" in sentence, sentence)
        equal(addresses(ask_unix(d.socket, "a.example")), [address_of("a.example")], "the first")


def socket_without_permission():
    """A Unix socket whose directory is not ours is one clear sentence and exit 1"""
    need_root("another user")
    with Daemon(["127.0.0.1:1"], user=NOBODY) as d:
        sentence = refuses_to_start(d)
        check("Permission denied" in sentence and d.dir in sentence, sentence)


def abandoned_socket():
    """A socket left behind by a killed daemon is taken over; a file in its place is not"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        d.kill()
        check(os.path.exists(d.socket), "left behind")
        d.start()
        equal(addresses(ask_unix(d.socket, "a.example")), [address_of("a.example")], "answer")
        d.kill()
        os.remove(d.socket)
        with open(d.socket, "w", encoding="utf-8") as f:
            f.write("precious")
        os.rename(d.log_path, d.log_path + ".old")
        check("not a socket" in refuses_to_start(d), d.log())
        with open(d.socket, encoding="utf-8") as f:
            equal(f.read(), "precious", "the file")


def warnings(d):
    return [l for l in d.log_tail().splitlines() if "level=warn" in l and "subsystem=cache" in l]


def serves(d, name="a.example"):
    equal(addresses(d.ask(name)), [address_of(name)], "service goes on")
    equal(addresses(d.ask(name)), [address_of(name)], "service goes on from the cache")


def taught(server, d):
    """A daemon with 50 names in its cache, ended in order."""
    server.ttl = 86400
    d.start()
    for i in range(50):
        equal(addresses(d.ask(f"c{i}.example")), [address_of(f"c{i}.example")], "learned")
    equal(d.end(), 0, "exit status")


def cache_damaged():
    """A damaged cache file: service goes on; nothing wrong is served, what is whole may be"""
    import random
    rng = random.Random(7)
    for share in (0.0005, 0.01, 0.5):
        with BadServer() as server, Daemon([server]) as d:
            taught(server, d)
            with open(d.cache, "r+b") as f:
                data = bytearray(f.read())
                for _ in range(int(len(data) * share)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                f.seek(0)
                f.write(data)
            d.start()
            for i in range(50):
                equal(addresses(d.ask(f"c{i}.example")), [address_of(f"c{i}.example")], "answer")
            serves(d)


def cache_damaged_in_the_middle():
    """What of a cache file was damaged is told in one line; so is an empty one"""
    with BadServer() as server, Daemon([server], workers=0) as d:
        taught(server, d)
        with open(d.cache, "r+b") as f:
            data = f.read()
            used = [at for at in range(0, len(data), 4096) if any(data[at:at + 4096])]
            f.seek(used[len(used) // 2])
            f.write(os.urandom(4096 * (len(used) // 2)))
        d.start()
        until(lambda: 'msg="damaged entries dropped"' in d.log_tail(), "damage is told")
        equal(d.log_tail().count("damaged entries dropped"), 1, "once")
        serves(d)
        d.end()
        os.truncate(d.cache, 0)
        d.start()
        check("it was empty" in d.log_tail(), d.log_tail())
        serves(d)


def cache_of_others():
    """A cache file of garbage, a link, another owner: one warning, service goes on"""
    def garbage(d):
        with open(d.cache, "r+b") as f:
            f.write(os.urandom(65536))

    def empty(d):
        with open(d.cache, "r+b") as f:
            f.truncate(0)

    def cut(d):
        with open(d.cache, "r+b") as f:
            f.truncate(100000)

    def link(d):
        os.rename(d.cache, d.cache + ".real")
        os.symlink(d.cache + ".real", d.cache)

    def directory(d):
        os.remove(d.cache)
        os.mkdir(d.cache)

    def foreign(d):
        os.chown(d.cache, NOBODY, NOBODY)

    def open_to_all(d):
        os.chmod(d.cache, 0o666)

    kept = {link, directory, foreign, open_to_all}
    for spoil in (garbage, empty, cut, link, directory, foreign, open_to_all):
        if spoil is foreign and os.geteuid() != 0:
            continue
        with BadServer() as server, Daemon([server]) as d:
            taught(server, d)
            spoil(d)
            before = os.lstat(d.cache)
            d.start()
            least = 0 if spoil is empty else 1  # an empty file holds nothing that could be lost
            check(least <= len(warnings(d)) <= 1,
                  f"warnings after {spoil.__name__}: {warnings(d)}")
            serves(d)
            if spoil in kept:
                equal(os.lstat(d.cache).st_ino, before.st_ino, f"{spoil.__name__}: left alone")


def cache_is_no_file():
    """A device, a FIFO, a link to nothing in the cache file's place: one warning, left alone"""
    def fifo(path):
        os.mkfifo(path)

    def device(path):
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))

    def link(path):
        os.symlink(path + ".nowhere", path)

    def socket_file(path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.bind(path)

    for make in (fifo, device, link, socket_file):
        if make is device and os.geteuid() != 0:
            continue
        for beside in ("", ".new"):
            with BadServer() as server, Daemon([server]) as d:
                os.makedirs(os.path.dirname(d.cache), mode=0o700)
                try:
                    make(d.cache + beside)
                except PermissionError:
                    break  # a container that makes no devices
                before = os.lstat(d.cache + beside)
                d.start()
                equal(len(warnings(d)), 1, f"warnings after {make.__name__}: {warnings(d)}")
                check("not a regular file" in warnings(d)[0], warnings(d)[0])
                check("in memory only" in warnings(d)[0], warnings(d)[0])
                serves(d)
                equal(d.end(), 0, "exit status")
                after = os.lstat(d.cache + beside)
                equal((after.st_ino, after.st_mode), (before.st_ino, before.st_mode), "left alone")
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        serves(d)
        os.remove(d.cache)
        os.mkfifo(d.cache)
        before = os.lstat(d.cache)
        until(lambda: any("not a regular file" in w for w in warnings(d)), "it is told")
        time.sleep(1.2)  # the next try says nothing new
        equal(len(warnings(d)), 2, f"warnings: {warnings(d)}")
        serves(d, "later.example")
        equal(os.lstat(d.cache).st_ino, before.st_ino, "left alone while running")


def cache_locked():
    """A cache file locked by another: one warning, service goes on, the file is untouched"""
    with BadServer() as server, Daemon([server]) as d:
        taught(server, d)
        with open(d.cache, "r+b") as f:
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(f, 37, lock)  # F_OFD_SETLK
            inode = os.stat(d.cache).st_ino
            d.start()
            equal(len(warnings(d)), 1, f"warnings: {warnings(d)}")
            check("locked" in warnings(d)[0], warnings(d)[0])
            serves(d)
            equal(os.stat(d.cache).st_ino, inode, "the file stays")
            equal(d.end(), 0, "exit status")
        server.set("closed")
        d.start()  # the lock is gone: what was known is known again
        equal(addresses(d.ask("c3.example")), [address_of("c3.example")], "known")
        equal(warnings(d), [], "warnings")


def cache_lock_is_freed():
    """A cache file that becomes free is taken: old and new are known, also after a kill"""
    for workers in (0, 1):
        with BadServer() as server, Daemon([server], workers=workers) as d:
            taught(server, d)
            with open(d.cache, "r+b") as f:
                fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
                d.start()
                check("locked" in warnings(d)[0], warnings(d)[0])
                for i in range(20):
                    equal(addresses(d.ask(f"new{i}.example")), [address_of(f"new{i}.example")],
                          "learned in memory")
                server.record("c7.example", "A", "192.0.2.77")
                equal(addresses(d.ask("c7.example")), ["192.0.2.77"], "moved meanwhile")
                server.record("c8.example", "nxdomain")
                equal(d.ask("c8.example").rcode, 3, "deleted meanwhile")
                check(d.control({"verb": "pin", "name": "pin.example",
                                 "addresses": ["192.0.2.9"]})["ok"], "pinned")
            until(lambda: "cache file taken" in d.log_tail(), "the file is taken")
            for again in (False, True):
                server.set("closed")
                for name in ("c3.example", "new3.example", "new19.example"):
                    equal(addresses(d.ask(name)), [address_of(name)], name)
                equal(addresses(d.ask("c7.example")), ["192.0.2.77"], "the newer one")
                equal(d.ask("c8.example").rcode, 3, "stays deleted")
                equal(addresses(d.ask("pin.example")), ["192.0.2.9"], "pin")
                if not again:
                    d.kill()
                    d.start()
                    equal(warnings(d), [], "warnings")


def cache_read_only():
    """A cache directory that is read-only: one warning, service goes on in memory"""
    need_root("another user")
    with BadServer() as server, Daemon([server], user=NOBODY) as d:
        os.makedirs(os.path.dirname(d.socket))
        os.chown(os.path.dirname(d.socket), NOBODY, NOBODY)
        os.makedirs(os.path.dirname(d.cache), mode=0o755)
        d.start()
        equal(len(warnings(d)), 1, f"warnings: {warnings(d)}")
        check("Permission denied" in warnings(d)[0], warnings(d)[0])
        serves(d)


def cache_on_read_only_disk():
    """A cache file that can be read but not written: what it holds is served, with one warning"""
    need_root("mounting a tmpfs")
    for workers in (0, 1):
        with BadServer() as server, Daemon([server], workers=workers) as d:
            directory = os.path.dirname(d.cache)
            os.makedirs(directory)
            mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", directory]
            if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
                raise Skip("a tmpfs cannot be mounted here")
            try:
                taught(server, d)
                subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
                server.set("closed")
                d.start()
                equal(len(warnings(d)), 1, f"warnings: {warnings(d)}")
                for part in ("in memory only", "Read-only file system",
                             "what it holds is served, nothing new is kept"):
                    check(part in warnings(d)[0], warnings(d)[0])
                for i in range(50):
                    equal(addresses(d.ask(f"c{i}.example")), [address_of(f"c{i}.example")], "known")
                said = subprocess.run([os.path.join(BUILD, "stubborn"), "-c", d.path, "status",
                                       "--json"], capture_output=True, text=True, check=False)
                equal(json.loads(said.stdout)["cache"]["in_file"], False, "in_file")
                server.set("honest")
                until(lambda: addresses(d.ask("later.example")) == [address_of("later.example")],
                      "new names")
                equal(d.end(), 0, "exit status")
                subprocess.run(["mount", "-o", "remount,rw", directory], check=True)
                server.set("closed")
                d.start()
                equal(warnings(d), [], "warnings")
                equal(addresses(d.ask("c3.example")), [address_of("c3.example")], "still there")
            finally:
                subprocess.run(["umount", "-l", directory], check=False)


def cache_full_disk():
    """A full disk: one warning, service goes on in memory"""
    need_root("mounting a tmpfs")
    with BadServer() as server, Daemon([server]) as d:
        directory = os.path.dirname(d.cache)
        os.makedirs(directory)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", directory],
                              check=False, capture_output=True)
        if done.returncode != 0:
            raise Skip("a tmpfs cannot be mounted here")
        try:
            d.start()
            equal(len(warnings(d)), 1, f"warnings: {warnings(d)}")
            check("No space left" in warnings(d)[0], warnings(d)[0])
            serves(d)
            equal(d.end(), 0, "exit status")
        finally:
            subprocess.run(["umount", "-l", directory], check=False)


def cache_above_a_limit():
    """A limit on the size of files: one warning, service goes on in memory; the command as well"""
    for workers in (0, 1):
        with BadServer() as server, Daemon([server], workers=workers,
                                           prefix=["prlimit", "--fsize=102400"]) as d:
            d.start()
            equal(len(warnings(d)), 1, f"warnings: {warnings(d)}")
            check("File too large" in warnings(d)[0], warnings(d)[0])
            check("in memory only" in warnings(d)[0], warnings(d)[0])
            equal(os.listdir(os.path.dirname(d.cache)), [], "nothing is left")
            serves(d)
            equal(d.end(), 0, "exit status")
            said = subprocess.run(
                ["prlimit", "--fsize=102400", os.path.join(BUILD, "stubborn"), "-c", d.path,
                 "query", "a.example"], capture_output=True, text=True, check=False)
            equal(said.returncode, 0, f"exit status of the command: {said}")
            check(address_of("a.example") in said.stdout, said.stdout)
            equal(os.listdir(os.path.dirname(d.cache)), [], "nothing is left by the command")
            d.prefix = []
            d.start()  # the limit gone
            equal(warnings(d), [], "warnings")
            serves(d)


def cache_cut_while_mapped():
    """A cache file cut short or removed under the running daemon costs data, not service"""
    for workers in (0, 1):
        with BadServer() as server, Daemon([server], workers=workers) as d:
            d.start()
            for i in range(50):
                d.ask(f"c{i}.example")
            os.truncate(d.cache, 4096)
            for i in range(50):
                equal(addresses(d.ask(f"c{i}.example")), [address_of(f"c{i}.example")], "cut")
            until(lambda: any("damaged while mapped" in w for w in warnings(d)), "a warning")
            os.remove(d.cache)
            serves(d, "later.example")
            check(d.process.poll() is None, "alive")


def cache_lost_is_told():
    """A cache file removed or cut under the daemon: the log says how much of it went over"""
    def moved(d):
        line = until(lambda: [l for l in d.log().splitlines() if "cache file made anew" in l],
                     "made anew")[-1]
        return int(line.split(" entries=")[1].split()[0]), int(line.split(" of=")[1].split()[0])

    for size in (None, 4096):
        with BadServer() as server, Daemon([server]) as d:
            server.ttl = 86400
            d.start()
            for i in range(50):
                equal(addresses(d.ask(f"c{i}.example")), [address_of(f"c{i}.example")], "learned")
            if size is None:
                os.remove(d.cache)
            else:
                os.truncate(d.cache, size)
            went, of = moved(d)
            equal(of, 50, "known before")
            equal(went, 50 if size is None else 0, "went over")
            lost = any("cut; what lay beyond the cut is lost" in w for w in warnings(d))
            equal(lost, size is not None, f"it is said: {warnings(d)}")
            serves(d)


class Forwarder:
    """Sends every question on to a port, and says nothing itself."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port, self.to = self.socket.getsockname()[1], None
        threading.Thread(target=self.forward, daemon=True).start()

    def forward(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while True:
                try:
                    data = self.socket.recv(4096)
                except OSError:
                    return
                if self.to:
                    out.sendto(data, ("127.0.0.1", self.to))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def forwarding_loop_alone():
    """The only server forwards to the daemon: the answer and `upstreams` say who and why"""
    with Forwarder() as server, Daemon([server]) as d:
        server.to = d.dns
        d.start()
        d.ask("a.example")
        until(lambda: "forwarding loop" in d.log_tail(), "it is found")
        where = f"127.0.0.1:{server.port}"
        reply = until(lambda: (r := d.ask("b.example")) and 23 in r.edes and r, "it is left out")
        equal(reply.rcode, SERVFAIL, "rcode")
        check(f"{where} forwards to this daemon".encode() in reply.raw, reply.raw)
        equal(d.control({"verb": "upstreams"})["loops"], [where], "control")
        equal(json.loads(d.get("/v1/upstreams")[1])["loops"], [where], "http")
        for words in (["upstreams"], ["status"]):
            said = subprocess.run([os.path.join(BUILD, "stubborn"), "-c", d.path] + words,
                                  capture_output=True, text=True, check=True).stdout
            check(where in said and "forwards to this daemon and is not asked" in said, said)


def reload_good_and_bad():
    """SIGHUP: a good file is taken over whole, of a bad one nothing"""
    for workers in (0, 1):
        with BadServer() as first, BadServer() as second, Daemon([first], workers=workers) as d:
            second.record("a.example", "A", "192.0.2.2")
            d.start()
            equal(addresses(d.ask("a.example")), [address_of("a.example")], "first upstream")
            process = d.process.pid
            # Bad: a wrong key, then an address that is taken; both leave everything as it was.
            d.write_config(d.yaml() + "quary: {}\n")
            d.hup()
            until(lambda: "not reloaded" in d.log() and "query" in d.log(), "the complaint")
            taken = [f"127.0.0.1:{d.dns}", f"127.0.0.1:{first.port}"]
            d.upstreams, d.addresses = [second], taken
            d.write_config()
            d.hup()
            until(lambda: "another program uses it" in d.log(), "the second complaint")
            first.count()
            equal(addresses(d.ask("b.example")), [address_of("b.example")], "still answered")
            equal(first.count(), 1, "still asked of the first")
            # Good: another upstream, one address more.
            d.addresses = [f"127.0.0.1:{d.dns}", f"127.0.0.2:{d.dns}"]
            d.listen = "allow: [127.0.0.0/8]"
            d.write_config()
            d.hup()
            until(lambda: 'msg="reloaded"' in d.log(), "the reload")
            equal(addresses(d.ask("new.example", host="127.0.0.2")),
                  [address_of("new.example")], "the new address")
            check(second.count() >= 1 and first.count() == 0, "asked of the second")
            reloads = d.metric("config_reloads_total")
            check(reloads >= 1, "reloads are counted")
            # The address goes again.
            d.addresses = [f"127.0.0.1:{d.dns}"]
            d.write_config()
            d.hup()
            until(lambda: d.metric("config_reloads_total") > reloads, "the next reload")
            equal(ask_udp(d.dns, "new.example", host="127.0.0.2", timeout=0.3), None, "gone")
            serves(d, "new.example")
            equal(d.process.pid, process, "one process")


def allow_list():
    """Clients outside listen.allow are refused, and dropped above a rate; others do not notice"""
    for workers in (0, 1):
        with BadServer() as server, Daemon([server], workers=workers,
                                           listen="allow: [127.0.0.1/32]") as d:
            d.start()
            equal(addresses(d.ask("a.example")), [address_of("a.example")], "allowed")
            equal(d.ask("a.example", source="127.0.0.2").rcode, REFUSED, "not allowed")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind(("127.0.0.3", 0))
                s.settimeout(0.5)
                for i in range(300):
                    s.sendto(query("a.example", ident=i), ("127.0.0.1", d.dns))
                replies = 0
                try:
                    while True:
                        s.recv(4096)
                        replies += 1
                except socket.timeout:
                    pass
            check(1 <= replies <= 30, f"{replies} replies to 300 questions of an outsider")
            equal(addresses(d.ask("a.example")), [address_of("a.example")], "allowed meanwhile")
            check(d.metric("front_refused_total") >= 2, "refusals are counted")
            check(d.metric("front_dropped_total") >= 200, "drops are counted")
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
                s.bind(("127.0.0.2", 0))
                s.settimeout(PATIENCE_S)
                s.connect(("127.0.0.1", d.dns))
                m = query("a.example")
                s.sendall(struct.pack("!H", len(m)) + m)
                data = s.recv(4096)
                check(not data or data[5] & 15 == REFUSED, "refused over TCP too")
            # A reload lets them in at once.
            d.listen = "allow: [127.0.0.0/8]"
            d.write_config()
            d.hup()
            until(lambda: (r := d.ask("a.example", source="127.0.0.2")) and r.rcode == NOERROR,
                  "allowed after the reload")


def allow_is_required():
    """A listening address off loopback without listen.allow is an error"""
    with Daemon(["127.0.0.1:1"]) as d:
        d.addresses = [f"0.0.0.0:{d.dns}"]
        check("listen.allow" in refuses_to_start(d), d.log())


def modes():
    """Sockets and the cache file have the owner, group and mode that the settings say"""
    group = grp.getgrgid(NOBODY).gr_name
    wanted = {"user": (0o600, 0o600), "all": (0o666, 0o644), "off": (0o600, 0o600)}
    if os.geteuid() == 0:
        wanted[f"group:{group}"] = (0o660, 0o640)
    closed = "allow: [192.0.2.0/24]"  # else whoever may ask over DNS may ask on the socket too
    for share, (socket_mode, file_mode) in wanted.items():
        with BadServer() as server, Daemon([server], share=f'"{share}"') as d:
            d.start()
            equal(oct(stat.S_IMODE(os.stat(d.socket).st_mode)), oct(0o666), f"open, {share}")
        with BadServer() as server, Daemon([server], share=f'"{share}"', listen=closed) as d:
            if share.startswith("group:"):
                d.listen += f'\ncontrol: "group:{group}"'
            d.start()
            control = os.path.join(os.path.dirname(d.socket), "stubborn.ctl")
            for path, mode in ((d.socket, socket_mode), (d.cache, file_mode), (control, 0o660)):
                st = os.stat(path)
                equal(oct(stat.S_IMODE(st.st_mode)), oct(mode), f"{path} under {share}")
                equal(st.st_uid, os.geteuid(), f"owner of {path}")
                if share.startswith("group:"):
                    equal(st.st_gid, NOBODY, f"group of {path}")
            check(not stat.S_IMODE(os.stat(os.path.dirname(d.socket)).st_mode) & 0o022,
                  "nobody else writes beside the socket")


def reload_rights():
    """SIGHUP: rights that are taken away are gone at once, from sockets, cache file and control"""
    need_root("another group")
    group = grp.getgrgid(NOBODY).gr_name
    closed, ours = "allow: [192.0.2.0/24]", os.getegid()
    with BadServer() as server, Daemon([server], share=f'"group:{group}"',
                                       listen=f'{closed}\ncontrol: "group:{group}"') as d:
        def rights(path):
            st = os.stat(path)
            return oct(stat.S_IMODE(st.st_mode)), st.st_gid

        def reload(share, listen):
            before = d.log().count('msg="reloaded"')
            d.share, d.listen = share, listen
            d.write_config()
            d.hup()
            until(lambda: d.log().count('msg="reloaded"') > before, "the reload")

        def member(path, message):
            """What a member of the group gets there."""
            code = ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(5)\n"
                    f"s.connect({path!r})\ns.sendall({message!r})\n"
                    "sys.stdout.write(s.recv(4096).decode('latin-1'))\n")
            return subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True,
                                  check=False, user=65533, group=NOBODY, extra_groups=[],
                                  cwd="/").stdout

        d.start()
        control = os.path.join(os.path.dirname(d.socket), "stubborn.ctl")
        flush = b'{"verb":"flush","all":true}\n'
        for path, mode in ((d.socket, 0o660), (d.cache, 0o640), (control, 0o660)):
            equal(rights(path), (oct(mode), NOBODY), path)
        check('"ok":true' in member(control, flush), "a member may flush")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(5)
            s.connect(d.socket)
            equal(addresses(ask_stream(s, "a.example")), [address_of("a.example")], "connected")
            reload("user", closed)
            for path, mode in ((d.socket, 0o600), (d.cache, 0o600), (control, 0o660)):
                equal(rights(path), (oct(mode), ours), f"{path} afterwards")
            equal(s.recv(1), b"", "the connection of before")
        equal(member(control, flush), "", "a member who may no longer")
        reload("all", f'control: "group:{group}"')
        for path, mode in ((d.socket, 0o666), (d.cache, 0o644)):
            equal(rights(path)[0], oct(mode), f"{path} for all")
        check('"ok":true' in member(control, flush), "a member again")
        check("next start" not in d.log(), "nothing waits")
        # The cache file of then follows the settings of the next start too.
        d.end()
        d.share = "user"
        d.start()
        equal(rights(d.cache)[0], oct(0o600), "after a restart")


def control_rights():
    """Verbs that change things are for root, the daemon's user, and the control group"""
    need_root("another user")
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        control = os.path.join(os.path.dirname(d.socket), "stubborn.ctl")
        check(d.control({"verb": "flush", "all": True}).get("ok"), "root may")
        os.chmod(control, 0o666)
        code = ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(5)\n"
                f"s.connect({control!r})\ns.sendall(b'{{\"verb\":\"flush\",\"all\":true}}\\n')\n"
                "sys.stdout.write(s.recv(4096).decode())\n")
        done = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True,
                              check=False, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
        check('"ok":false' in done.stdout.replace(" ", ""), done.stdout + done.stderr)


def environment():
    """DNS_TIMEOUT, STUBBORN_SERVERS, STUBBORN_FALLBACK, MLFLOW_*: over the file"""
    with BadServer() as server, BadServer(mode="closed") as dead, Daemon([dead]) as d:
        d.env = {"STUBBORN_SERVERS": f"127.0.0.1:{server.port}",
                 "STUBBORN_FALLBACK": "nx.one.example=10.1.1.1,10.1.1.2;two.example=10.2.2.2",
                 "MLFLOW_TRACKING_URI": "http://mlflow.example:5000",
                 "MLFLOW_FALLBACK_IP": "10.3.3.3", "DNS_TIMEOUT": "1.5"}
        server.set("closed")
        d.start()
        equal(addresses(d.ask("two.example")), ["10.2.2.2"], "STUBBORN_FALLBACK")
        equal(sorted(addresses(d.ask("nx.one.example"))), ["10.1.1.1", "10.1.1.2"], "two addresses")
        equal(addresses(d.ask("mlflow.example")), ["10.3.3.3"], "MLFLOW_FALLBACK_IP")
        server.set("honest")
        until(lambda: addresses(d.ask("back.example")) == [address_of("back.example")], "recovery")
        serves(d)
        server.set("drop")
        started = time.monotonic()
        equal(d.ask("never.example", timeout=8).rcode, SERVFAIL, "rcode")
        check(time.monotonic() - started < 4, "DNS_TIMEOUT")
        equal(d.get("/health/mlflow")[0], 200, "the service of MLFLOW_TRACKING_URI")
        d.env["DNS_TIMEOUT"] = "soon"
        d.end()
        d.log_path += "2"
        check("DNS_TIMEOUT" in refuses_to_start(d), d.log())


if __name__ == "__main__":
    run([port_in_use, second_daemon, socket_without_permission, abandoned_socket, cache_damaged,
         cache_damaged_in_the_middle,
         cache_of_others, cache_is_no_file, cache_locked, cache_lock_is_freed, cache_read_only,
         cache_on_read_only_disk, cache_full_disk, cache_above_a_limit, cache_cut_while_mapped,
         cache_lost_is_told, forwarding_loop_alone, reload_good_and_bad, allow_list,
         allow_is_required, modes, reload_rights, control_rights, environment])
