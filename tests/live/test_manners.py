#!/usr/bin/python3
"""What upstreams show besides ID and question: the case of the name (0x20), DNS cookies; and the
connections to them, with real servers and with odd ones."""
import time

from badserver import BadServer, address_of
from live import Daemon, addresses, check, equal, run
from realservers import Knot, Server, Unbound, find, need

SERVERS = {}
NAMES = [f"name-{i}.wild" for i in range(12)]


class Bind(Server):
    """The authority of corp.example, which wants a cookie over UDP."""

    def start(self):
        need("named")
        self.write("corp.zone", "$ORIGIN corp.example.\n$TTL 60\n"
                   "@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\n"
                   "www A 192.0.2.1\n*.wild A 192.0.2.77\n")
        config = self.write("named.conf", f"""
options {{
    directory "{self.dir}";
    pid-file none;
    session-keyfile none;
    managed-keys-directory "{self.dir}";
    listen-on port {self.port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    require-server-cookie yes;
}};
controls {{ }};
zone "corp.example" {{ type primary; file "{self.dir}/corp.zone"; }};
""")
        self.spawn(find("named"), "-g", "-n", "1", "-c", config)
        self.wait_for("www.corp.example")
        return self


def server(kind):
    if kind not in SERVERS:
        SERVERS[kind] = kind()
        SERVERS[kind].start(*([server(Knot)] if kind is Unbound else []))
    return SERVERS[kind]


def asks_all(d):
    for name in NAMES:
        equal(addresses(d.ask(name + ".corp.example")), ["192.0.2.77"], name)


def case_is_kept():
    """Knot and Unbound repeat the case of the question: nothing is asked twice"""
    for kind in (Knot, Unbound):
        with Daemon([f"127.0.0.1:{server(kind).port}"]) as d:
            d.start()
            asks_all(d)
            equal(d.metric("upstream_unproven_total"), 0, kind.__name__)
            equal(d.metric("upstream_queries_total"), len(NAMES), kind.__name__)


def cookies_of_bind():
    """BIND that insists on cookies: one BADCOOKIE, then its cookie is known"""
    with Daemon([f"127.0.0.1:{server(Bind).port}"]) as d:
        d.start()
        asks_all(d)
        equal(d.metric("upstream_unproven_total"), 0, "nothing was doubtful")
        equal(d.metric("upstream_connections_total"), 0, "nothing went over TCP")
        queries = d.metric("upstream_queries_total")
        check(len(NAMES) <= queries <= len(NAMES) + 1, f"{queries} queries")


def folds(mode):
    with BadServer(mode=mode) as bad, Daemon([bad]) as d:
        d.start()
        for i in range(6):
            began = time.monotonic()
            equal(addresses(d.ask(f"a{i}.example")), [address_of(f"a{i}.example")], f"question {i}")
            took = time.monotonic() - began
            check(took < 2, f"question {i} took {took:.2f} s")
        # Two are enough; a look whether the server lives, or forwards to us, may be the third.
        unproven = d.metric("upstream_unproven_total")
        check(2 <= unproven <= 3, f"{unproven} doubtful answers")


def folding():
    """A server that folds case is found out by two questions"""
    folds("fold")


def folding_without_tcp():
    """A server that folds case and says nothing over TCP is used all the same"""
    folds("fold-udp-only")


def one_connection():
    """Questions over TCP share a connection; a server that restarts is connected to again"""
    with BadServer(mode="truncate") as bad, Daemon([bad]) as d:
        d.start()
        for i in range(10):
            equal(addresses(d.ask(f"a{i}.example")), [address_of(f"a{i}.example")], f"question {i}")
        equal(d.metric("upstream_connections_total"), 1, "connections")
        bad.set("closed")
        bad.set("truncate")
        for i in range(10, 20):
            equal(addresses(d.ask(f"a{i}.example")), [address_of(f"a{i}.example")], f"question {i}")


try:
    run([case_is_kept, cookies_of_bind, folding, folding_without_tcp, one_connection])
finally:
    for one in SERVERS.values():
        one.stop()
