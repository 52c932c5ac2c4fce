#!/usr/bin/env python3
"""DNS over TLS to a real upstream: Unbound with a certificate of an authority made here.

Who is believed, who is passed over for the next server, and answers of every size.
"""
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

from badserver import BadServer
from live import PATIENCE_S, Daemon, Skip, addresses, ask_tcp, check, equal, run, until
from realservers import Server, find, need

NAME, OTHER = "dns.example", "other.example"
ADDRESS = "192.0.2.1"
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
BIG_RECORDS = 200
SHARED = {}


class Authority:
    """Signs certificates with the openssl command."""

    def __init__(self):
        need("openssl")
        self.dir = tempfile.mkdtemp(prefix="stubborn-live-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.file = os.path.join(self.dir, "ca.pem")
        self.openssl("req", "-x509", *self.new_key("ca"), "-out", "ca.pem", "-days", "2",
                     "-subj", "/CN=test authority")

    def openssl(self, *arguments):
        done = subprocess.run([find("openssl"), *arguments], cwd=self.dir, capture_output=True,
                              check=False)
        check(done.returncode == 0, f"openssl {arguments}: {done.stderr.decode()}")

    @staticmethod
    def new_key(name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                name + ".key")

    def sign(self, name, names):
        """Paths of certificate and key."""
        with open(os.path.join(self.dir, name + ".ext"), "w", encoding="ascii") as f:
            f.write(f"subjectAltName={names}\n")
        self.openssl("req", *self.new_key(name), "-out", name + ".csr", "-subj", "/CN=server")
        self.openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-days", "1", "-extfile", name + ".ext", "-out",
                     name + ".pem")
        return [os.path.join(self.dir, name + end) for end in (".pem", ".key")]


class TlsUnbound(Server):
    """Answers for corp.example over TLS alone, on one port."""

    def start(self, certificate, key, address=ADDRESS):
        need("unbound", "kdig")
        big = "".join(f"    local-data: 'big.corp.example. TXT \"{i:03d}{'x' * 240}\"'\n"
                      for i in range(BIG_RECORDS))
        config = self.write("unbound.conf", f"""
server:
    directory: "{self.dir}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    interface: 127.0.0.1@{self.port}
    tls-port: {self.port}
    tls-service-pem: "{certificate}"
    tls-service-key: "{key}"
    num-threads: 1
    so-rcvbuf: 0
    local-zone: "corp.example." static
    local-data: "corp.example. 60 SOA ns.corp.example. admin.corp.example. 1 60 60 60 60"
    local-data: "www.corp.example. 300 A {address}"
{big}remote-control:
    control-enable: no
""")
        self.command = (find("unbound"), "-d", "-c", config)
        return self.run()

    def run(self):
        self.spawn(*self.command)
        until(self.answers, "Unbound answers over TLS", 2 * PATIENCE_S)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("the server ended:\n" + self.log())
        done = subprocess.run([find("kdig"), "@127.0.0.1", "-p", str(self.port), "+tls", "+short",
                               "+timeout=1", "+retry=0", "www.corp.example", "A"],
                              capture_output=True, timeout=30, check=False)
        return done.returncode == 0 and done.stdout.startswith(b"192.0.2.")

    def upstream(self, name=None):
        return f"tls://127.0.0.1:{self.port}" + (f"#{name}" if name else "")


def authority():
    if "authority" not in SHARED:
        SHARED["authority"] = Authority()
    return SHARED["authority"]


def server():
    if "server" not in SHARED:
        pair = authority().sign("server", f"DNS:{NAME},IP:127.0.0.1")
        SHARED["server"] = TlsUnbound()
        SHARED["server"].start(*pair)
    return SHARED["server"]


def daemon(upstreams, store=None, log="info", config=""):
    """Trusts the test's authority alone."""
    return Daemon(upstreams, config=config,
                  env={"SSL_CERT_FILE": store or authority().file, "SSL_CERT_DIR": "/nonexistent",
                       "STUBBORN_LOG": log})


def verified():
    """Answers come over a verified connection, by name and by address"""
    for name in (NAME, "127.0.0.1"):
        with daemon([server().upstream(name)]) as d:
            d.start()
            equal(addresses(d.ask("www.corp.example")), [ADDRESS], f"verified as {name}")
            equal(d.ask("nowhere.corp.example").rcode, NXDOMAIN, "a name that is not there")
            check(d.metric("upstream_responses_total") >= 2, "responses are counted")


def big_answer():
    """An answer of 50 kB comes whole"""
    with daemon([server().upstream(NAME)]) as d:
        d.start()
        reply = ask_tcp(d.dns, "big.corp.example", "TXT")
        equal(len(reply.answers), BIG_RECORDS, "records")


def wrong_name():
    """A certificate for another name is passed over for the next server"""
    pair = authority().sign("second", f"DNS:{NAME}")
    second = TlsUnbound()
    try:
        second.start(*pair, address="192.0.2.2")
        with daemon([server().upstream(OTHER), second.upstream(NAME)], log="net=debug") as d:
            d.start()
            for turn in range(5):
                reply = d.ask("www.corp.example")
                equal(addresses(reply), ["192.0.2.2"], f"turn {turn}: never the first server's")
                check("removed" in d.control({"verb": "flush", "all": True}), "flushed")
            until(lambda: "does not verify: hostname mismatch" in d.log(), "the log names it")
            check(f"server=127.0.0.1:{server().port}" in d.log(), "and the server")
    finally:
        second.stop()


def unknown_authority():
    """An unknown authority is not believed, and is once the file of authorities has it"""
    store = os.path.join(authority().dir, "store.pem")
    stranger = Authority()
    shutil.copy(stranger.file, store)
    shutil.rmtree(stranger.dir)
    with daemon([server().upstream(NAME)], store=store, log="net=debug") as d:
        d.start()
        equal(d.ask("www.corp.example").rcode, SERVFAIL, "not believed")
        check("unable to get local issuer certificate" in d.log(), "the log has the reason")
        shutil.copy(authority().file, store + ".new")
        os.rename(store + ".new", store)
        until(lambda: addresses(d.ask("www.corp.example")) == [ADDRESS], "believed now")


def opportunistic():
    """Without a name any certificate will do"""
    with daemon([server().upstream()], store="/nonexistent") as d:
        d.start()
        equal(addresses(d.ask("www.corp.example")), [ADDRESS], "unverified")


def no_tls_there():
    """A server without TLS on its port fails, and the next one answers"""
    with BadServer() as plain, \
            daemon([f"tls://127.0.0.1:{plain.port}#{NAME}", server().upstream(NAME)]) as d:
        d.start()
        equal(addresses(d.ask("www.corp.example")), [ADDRESS], "the next server's")


def restarted():
    """The upstream restarts: old connections and tickets are worth nothing, answers come"""
    with daemon([server().upstream(NAME)]) as d:
        d.start()
        equal(addresses(d.ask("www.corp.example")), [ADDRESS], "before")
        server().process.terminate()
        server().process.wait(10)
        server().run()
        check("removed" in d.control({"verb": "flush", "all": True}), "flushed")
        until(lambda: addresses(d.ask("www.corp.example")) == [ADDRESS], "after")


def one_connection():
    """Questions share one connection, those of a moment are pipelined on it"""
    with daemon([server().upstream(NAME)]) as d:
        d.start()
        for i in range(10):
            equal(d.ask(f"one-{i}.corp.example").rcode, NXDOMAIN, f"question {i}")
        with ThreadPoolExecutor(8) as pool:
            for reply in pool.map(d.ask, [f"many-{i}.corp.example" for i in range(40)]):
                equal(reply.rcode, NXDOMAIN, "one of many")
        equal(d.metric("upstream_connections_total"), 1, "connections")


def untrusted_alone():
    """A server that never proves itself is marked down, also for one name and without others"""
    with daemon([server().upstream(OTHER)]) as d:
        d.start()
        until(lambda: d.ask("www.corp.example").rcode == SERVFAIL and "upstream down" in d.log(),
              "marked down")
        check("certificate does not verify" in d.log(), "with the reason")


def main():
    try:
        need("unbound", "kdig", "openssl")
    except Skip as reason:
        print(f"1..0 # SKIP {reason}")
        return
    try:
        run([verified, big_answer, wrong_name, unknown_authority, opportunistic, no_tls_there,
             one_connection, untrusted_alone, restarted])
    finally:
        if "server" in SHARED:
            SHARED["server"].stop()
        if "authority" in SHARED:
            shutil.rmtree(SHARED["authority"].dir, ignore_errors=True)


if __name__ == "__main__":
    main()
