"""What the live tests share: TAP, DNS messages by hand, the daemon with a world of its own.

Standard library only; nothing leaves loopback. SB_BUILD names the build, else build/ beside tests/.
"""
import collections
import http.client
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

from badserver import TYPES, decode_name, encode_name

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("SB_BUILD") or os.path.join(SOURCE, "build")
SANITIZED = os.environ.get("SB_SANITIZER", "")
PATIENCE_S = 30 if SANITIZED else 10
NAMES = {number: name for name, number in TYPES.items()}

# -- TAP ---------------------------------------------------------------------------------------


class Skip(Exception):
    """Raised by a test that cannot run here; the reason is its text."""


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r} instead of {wanted!r}")


def run(tests):
    """Runs functions, prints TAP, ends the process. Words on the command line choose by name."""
    chosen = [t for t in tests if not sys.argv[1:] or any(w in t.__name__ for w in sys.argv[1:])]
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    for number, test in enumerate(chosen, 1):
        title = (test.__doc__ or test.__name__).strip().split("\n")[0].rstrip(".")
        title = title.replace("#", "")
        started = time.monotonic()
        try:
            test()
            print(f"ok {number} - {title}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {title} # SKIP {reason}", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {title}")
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"# replay: {sys.argv[0]} {test.__name__}", flush=True)
        took = time.monotonic() - started
        if took > 5:
            print(f"# {test.__name__} took {took:.1f} s", flush=True)
    sys.exit(1 if failed else 0)


def until(condition, what, patience_s=PATIENCE_S, step_s=0.02):
    """Waits for what will come; its value."""
    end = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience_s} s: {what}")
        time.sleep(step_s)


# -- DNS ---------------------------------------------------------------------------------------

Record = collections.namedtuple("Record", "name type ttl data")
Reply = collections.namedtuple("Reply", "id flags rcode answers authority edes raw")


def query(name, kind="A", ident=None, rd=True, edns=True, size=1232):
    ident = random.randrange(65536) if ident is None else ident
    head = struct.pack("!6H", ident, 0x0100 if rd else 0, 1, 0, 0, 1 if edns else 0)
    number = TYPES.get(kind, kind)
    opt = b"\0" + struct.pack("!HHIH", 41, size, 0, 0) if edns else b""
    return head + encode_name(name) + struct.pack("!HH", number, 1) + opt


def parse(data):
    ident, flags, qd, an, ns, ar = struct.unpack_from("!6H", data)
    at = 12
    for _ in range(qd):
        _, at = decode_name(data, at)
        at += 4
    sections, edes, upper = [], [], 0
    for count in (an, ns, ar):
        records = []
        for _ in range(count):
            name, at = decode_name(data, at)
            kind, _, ttl, size = struct.unpack_from("!HHIH", data, at)
            at += 10
            rdata = data[at:at + size]
            if kind == 41:
                upper = ttl >> 24
                option = 0
                while option + 4 <= size:
                    code, length = struct.unpack_from("!HH", rdata, option)
                    if code == 15:
                        edes.append(struct.unpack_from("!H", rdata, option + 4)[0])
                    option += 4 + length
            if kind == 1:
                rdata = socket.inet_ntop(socket.AF_INET, rdata)
            elif kind == 28:
                rdata = socket.inet_ntop(socket.AF_INET6, rdata)
            records.append(Record(name, NAMES.get(kind, kind), ttl, rdata))
            at += size
        sections.append(records)
    return Reply(ident, flags, flags & 15 | upper << 4, sections[0], sections[1], edes, data)


def ask_udp(port, name, kind="A", host="127.0.0.1", timeout=5.0, source=None, **more):
    """The reply, or None after the time-out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        if source:
            s.bind((source, 0))
        s.connect((host, port))
        s.settimeout(timeout)
        message = query(name, kind, **more)
        try:
            s.send(message)
            while True:
                data = s.recv(65535)
                if data[:2] == message[:2]:
                    return parse(data)
        except (socket.timeout, ConnectionRefusedError):
            return None


def read_exactly(stream, size):
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def read_message(stream):
    return read_exactly(stream, struct.unpack("!H", read_exactly(stream, 2))[0])


def ask_stream(stream, name, kind="A", **more):
    message = query(name, kind, **more)
    stream.sendall(struct.pack("!H", len(message)) + message)
    return parse(read_message(stream))


def ask_tcp(port, name, kind="A", host="127.0.0.1", timeout=5.0, **more):
    with socket.create_connection((host, port), timeout=timeout) as stream:
        return ask_stream(stream, name, kind, **more)


def ask_unix(path, name, kind="A", timeout=5.0):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(timeout)
        stream.connect(path)
        return ask_stream(stream, name, kind)


def addresses(reply):
    return [r.data for r in reply.answers if r.type in ("A", "AAAA")] if reply else None


# -- the daemon --------------------------------------------------------------------------------


def free_port():
    """Free for UDP and TCP on 127.0.0.1 and ::1 alike, high and random."""
    for _ in range(200):
        port = random.randrange(20000, 60000)
        try:
            for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(family, kind) as s:
                        s.bind((host, port))
            return port
        except OSError:
            continue
    raise OSError("no free port")


class Daemon:
    """One stubbornd with its own directory, ports, cache file. Use as a context."""

    def __init__(self, upstreams=(), workers=1, config="", listen="", size="1MiB", env=None,
                 cache=None, share="user", user=None, dns=None,
                 prefix=()):
        self.dir = tempfile.mkdtemp(prefix="stubborn-live-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.dns, self.http = free_port(), free_port()
        self.addresses = dns or [f"127.0.0.1:{self.dns}"]
        self.socket = os.path.join(self.dir, "run", "s.sock")
        self.cache = os.path.join(self.dir, "cache", "cache.l1") if cache is None else cache
        self.upstreams, self.workers, self.config, self.listen = upstreams, workers, config, listen
        self.size, self.share, self.env, self.user = size, share, dict(env or {}), user
        self.prefix = list(prefix)  # a program that starts it
        self.log_path = os.path.join(self.dir, "log")
        self.path = os.path.join(self.dir, "stubborn.yaml")
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        problem = None
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                problem = "the daemon did not end on SIGTERM"
        if self.process and self.process.returncode == 99:
            problem = "a sanitizer complained:\n" + self.log()
        subprocess.run(["rm", "-rf", self.dir], check=False)
        if problem:
            raise AssertionError(problem)

    def yaml(self):
        servers = ", ".join(f'"{u}"' if isinstance(u, str) else f'"127.0.0.1:{u.port}"'
                            for u in self.upstreams)
        cache = f'"{self.cache}"'
        listen = "\n".join("  " + line for line in self.listen.splitlines())
        return (f"listen:\n  dns: [{', '.join(self.addresses)}]\n"
                f"  http: 127.0.0.1:{self.http}\n  socket: {self.socket}\n"
                f"  workers: {self.workers}\n{listen}\n"
                f"upstreams: [{servers}]\n"
                f"cache: {{file: {cache}, size: {self.size}, share: {self.share}}}\n"
                f"{self.config}\n")

    def write_config(self, text=None):
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(self.yaml() if text is None else text)

    def spawn(self):
        """Starts without waiting. A user to run as needs root."""
        self.write_config()
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith(("STUBBORN_", "DNS_", "MLFLOW_"))}
        environment.update(self.env)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.prefix + [os.path.join(BUILD, "stubbornd"), "-c", self.path],
                stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=environment, user=self.user, group=self.user,
                extra_groups=[] if self.user else None, cwd="/")
        return self

    def start(self):
        self.spawn()
        until(lambda: self.process.poll() is not None or 'msg="ready"' in self.log_tail(),
              "the daemon is ready")
        if self.process.poll() is not None:
            raise AssertionError("the daemon ended:\n" + self.log())
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_tail(self):
        """The log of the present process alone."""
        return self.log()[getattr(self, "log_from", 0):]

    def ask(self, name, kind="A", **more):
        return ask_udp(self.dns, name, kind, **more)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log_from = len(self.log())

    def end(self, patience_s=PATIENCE_S):
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(patience_s)
        self.log_from = len(self.log())
        return status

    def hup(self):
        self.process.send_signal(signal.SIGHUP)

    def get(self, path, host=None, method="GET", body=None, headers=None):
        """(status, body) of the HTTP listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=10)
        sent = dict(headers or {})
        if host is not None:
            sent["Host"] = host
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, data

    def metric(self, name):
        """Sum over the labels of a metric."""
        _, body = self.get("/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in body.decode().splitlines()
                   if line.split("{")[0].split(" ")[0] == "stubborn_" + name)

    def control(self, request):
        """One line of JSON each way."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(10)
            s.connect(os.path.join(os.path.dirname(self.socket), "stubborn.ctl"))
            s.sendall(json.dumps(request).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                more = s.recv(65536)
                if not more:
                    break
                data += more
            return json.loads(data)


def refuses_to_start(daemon):
    """The one sentence of a daemon that ends with 1 (stderr)."""
    daemon.spawn()
    status = daemon.process.wait(PATIENCE_S)
    equal(status, 1, "exit status; its log: " + daemon.log())
    lines = [l for l in daemon.log().splitlines() if l.startswith("stubbornd: ")]
    equal(len(lines), 1, "sentences in " + daemon.log())
    return lines[0]
