#!/usr/bin/env python3
"""The command: exit codes, refusals, JSON, with the daemon and without."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from badserver import BadServer, address_of
from live import BUILD, PATIENCE_S, Daemon, Skip, check, equal, run, until

STUBBORN = os.path.join(BUILD, "stubborn")
OK, USAGE, DEGRADED, NO_NAME, FAILED, NO_DAEMON = 0, 2, 3, 4, 5, 6
RESOLVE_KEYS = {"query", "name", "addresses", "status", "source", "stale", "age_s", "ttl_s",
                "upstream", "network", "url", "tried", "daemon"}


class Said:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        check(self.code != 99, "a sanitizer complained:\n" + self.err)
        check(self.code >= 0, f"ended by signal {-self.code}:\n" + self.err)

    @property
    def json(self):
        equal(self.out.count("\n"), 1, "lines of JSON")
        return json.loads(self.out)

    @property
    def lines(self):
        return self.out.splitlines()


def environment(**more):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("STUBBORN_", "DNS_", "MLFLOW_", "XDG_"))}
    env.update(more)
    return env


def cli(*words, config=None, env=None, stdin=None):
    options = ["-c", config] if config else []
    return Said(subprocess.run([STUBBORN, *words, *options], capture_output=True, text=True,
                               env=environment(**(env or {})), timeout=6 * PATIENCE_S, cwd="/",
                               input=stdin, check=False))


class Alone:
    """A configuration and a cache file, but no daemon."""

    def __init__(self, upstreams, more=""):
        self.dir = tempfile.mkdtemp(prefix="stubborn-cli-", dir="/tmp")
        self.config = os.path.join(self.dir, "c.yaml")
        self.cache = os.path.join(self.dir, "cache.l1")
        servers = ", ".join(f'"127.0.0.1:{u.port}"' for u in upstreams)
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(f"listen: {{socket: {self.dir}/run/s.sock, http: false}}\n"
                    f"upstreams: [{servers}]\n"
                    f"cache: {{file: {self.cache}, size: 1MiB}}\n{more}\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def cli(self, *words, **more):
        return cli(*words, config=self.config, **more)


def one_line(said, code, *words):
    """Exit code, nothing on stdout, one clear line that holds these words."""
    equal(said.code, code, f"exit code ({said.err!r})")
    equal(said.out, "", "stdout")
    equal(said.err.count("\n"), 1, f"lines of {said.err!r}")
    check(said.err.startswith("stubborn: "), said.err)
    for word in words:
        check(word in said.err, f"{word!r} is not in {said.err!r}")


def json_error(said, code, *words):
    """Exit code and the same sentence as JSON on stdout, nothing on stderr."""
    equal((said.code, said.err), (code, ""), "exit code, stderr")
    equal(set(said.json), {"error"}, "keys")
    for word in words:
        check(word in said.json["error"], f"{word!r} is not in {said.json}")


def refusals():
    """Bad targets are refused with one clear line and exit 2"""
    for target, word in (("", "empty"), ("a b.example", "white space"), ("a\tb", "white space"),
                         ("a..b", "empty label"), (".a", "empty label"),
                         ("a" * 64 + ".example", "63"), ("a." * 127 + "example", "name"),
                         ("host:", "port"), ("host:0", "port"), ("host:65536", "port"),
                         ("host:12x", "port"), ("[::1", "bracket"), ("::1]", "bracket"),
                         ("[::1]x", ""), ("[zz]", ""), ("http://", "host"), ("http:///x", "host"),
                         ("http://[::1/x", "bracket"), ("1.2.3", "IPv4"), ("1.2.3.4.5", "IPv4"),
                         ("256.1.1.1", "IPv4"), ("bücher.example", "A-label")):
        one_line(cli("resolve", target), USAGE, word)
    one_line(cli("resolve", "http://user:hunter2@bad host/"), USAGE, "***")
    check("hunter2" not in cli("resolve", "http://user:hunter2@bad host/").err, "a password shown")


def usage():
    """Whatever makes no sense ends with exit 2 and one line"""
    for words in ((), ("frobnicate",), ("resolv", "x"), ("resolve",), ("resolve", "a", "b"),
                  ("cache",), ("cache", "frob"), ("resolve", "--frob", "x"), ("resolve", "-z", "x"),
                  ("resolve", "x", "--timeout"), ("resolve", "x", "--timeout", "soon"),
                  ("resolve", "x", "--timeout=0s"), ("resolve", "--json=1", "x"),
                  ("status", "--url"), ("query", "a..b"), ("query", "a", "FROB"),
                  ("cache", "flush"), ("cache", "flush", "a", "--all"), ("log", "upstream"),
                  ("pin", "a", "not-an-address"), ("pin", "a", "1.2.3.4", "--for", "x"),
                  ("pin", "a", "0.0.0.0"), ("pin", "a", "1.2.3.4", "ff02::1"),
                  ("pin", "a", "255.255.255.255"), ("pin", "a", "224.0.0.1"),
                  ("pin", "a b", "1.2.3.4"), ("pin", "*.a", "1.2.3.4"), ("pin", ".", "1.2.3.4"),
                  ("cache", "warm", "a", "*.b"), ("resolve", "--force", "a"),
                  ("completion", "tcsh"), ("help", "frobnicate")):
        one_line(cli(*words), USAGE)
        json_error(cli(*words, "--json"), USAGE)
    one_line(cli("query", "http://u:secret@a.example/"), USAGE, "URL", "stubborn resolve", "***")
    check("resolve" in cli("resolv", "x").err, "the near command is named")
    for command in ("services", "connect", "top", "drill", "exec", "doctor"):
        one_line(cli(*command.split(), "x"), USAGE, "not there yet")
        json_error(cli(*command.split(), "--json"), USAGE, "not there yet")
    one_line(cli("resolve", "x", config="/nonexistent.yaml"), USAGE, "/nonexistent.yaml")


def help_and_completions():
    """Help names every command; each shell reads its completions"""
    text = cli("help").out
    for command in ("resolve", "query", "explain", "cache warm", "config check", "doctor"):
        check(command in text, command)
    for words in (("help", "pin"), ("pin", "--help"), ("help", "cache", "list")):
        said = cli(*words)
        equal((said.code, said.err), (OK, ""), str(words))
        check("usage: stubborn" in said.out, said.out)
    commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?) .*", text, re.M)
    check(len(commands) > 20, text)
    for command in commands:
        said = cli(*command.split(), "--help")
        equal((said.code, said.err), (OK, ""), command)
        check(said.out.startswith(f"usage: stubborn {command} "), said.out)
        equal(cli(*command.split(), "--version").out, cli("--version").out, command)
    equal(cli("--help").out, text, "--help")
    equal(cli("-V").out, cli("--version").out, "-V")
    check(cli("version", "--json").json["version"] in cli("--version").out, "version")
    for shell in ("bash", "zsh", "fish"):
        said = cli("completion", shell)
        equal(said.code, OK, shell)
        for word in ("resolve", "pass-through", "warm"):
            check(word in said.out, f"{word} is not in the completions of {shell}")
        if shutil.which(shell):
            with tempfile.NamedTemporaryFile("w") as f:
                f.write(said.out)
                f.flush()
                done = subprocess.run([shell, "-n", f.name], capture_output=True, check=False)
                equal((done.returncode, done.stderr), (0, b""), shell)
    script = cli("completion", "bash").out
    for words, wanted in (("ca", "cache"), ("cache fl", "flush"), ("cache ob", "obey"), ("ser", ""),
                          ("resolve --pass", "--pass-through"), ("pin x --fo", "--for"),
                          ("-c /etc/x resolve --ur", "--url"), ("-t 3s query --dns", "--dnssec"),
                          ("-c /etc/x rel", "reload"), ("--config = /etc/x rel", "reload"),
                          ("config check /etc/host", "/etc/hosts"), ("-c /etc/host", "/etc/hosts"),
                          ("cache load /etc/host", "/etc/hosts"), ("completion f", "fish"),
                          ("help rel", "reload"), ("log ups", "upstream"), ("log net deb", "debug"),
                          ("upstreams re", "reset"), ("pin --for 1", ""),
                          ("pin l", "list"), ("pin x l", ""), ("pin --fo", "--for")):
        words = ["stubborn", *words.split()]
        line = (f'{script}\nCOMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}\n'
                '_stubborn; echo "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        check(wanted in done.stdout.split() if wanted else not done.stdout.strip(),
              f"{words}: {done.stdout!r}")
        equal(done.stderr, "", str(words))
    check("doctor" not in script.replace("'doctor", ""), "not there yet is not offered")
    for words in (("help", "upstreams"), ("upstreams", "--help"), ("help",)):
        check("upstreams [reset]" in cli(*words).out.replace("[OPTION...] ", ""), str(words))
    one_line(cli("upstreams", "foo"), USAGE, "[reset]")
    check("compadd -- list" in cli("completion", "zsh").out, "zsh: pin list")
    check("-a 'list '" in cli("completion", "fish").out, "fish: pin list")
    for words in (("cache", "--help"), ("help", "cache")):
        said = cli(*words)
        equal((said.code, said.err), (OK, ""), str(words))
        check("cache list" in said.out and "cache obey" in said.out, said.out)
    for line in cli("help").lines:
        if line.split()[:1] == ["doctor"] or line.split()[:1] == ["exec"]:
            check("(not there yet)" in line, line)
    for words in (("help",), ("help", "cache"), ("pin", "--help"), ("--help",)):
        check(cli(*words, "--json").json["commands"], str(words))
    check("_stubborn" in cli("completion", "bash", "--json").json["script"], "completion --json")


def literals():
    """A literal never touches the network, nor configuration, nor daemon"""
    nowhere = {"STUBBORN_CONFIG": "/nonexistent.yaml"}
    for target, address, url in (
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"), ("::1", "::1", "[::1]"),
            ("[2001:DB8::1]", "2001:db8::1", None), ("[::1]:80", "::1", "[::1]:80"),
            ("1.2.3.4:53", "1.2.3.4", "1.2.3.4:53"),
            ("http://u:p@[::1]:8/x?y#z", "::1", "http://u:p@[::1]:8/x?y#z"),
            ("https://192.0.2.1/", "192.0.2.1", "https://192.0.2.1/")):
        said = cli("resolve", target, env=nowhere)
        equal((said.code, said.lines, said.err), (OK, [address], ""), target)
        found = cli("resolve", "--json", target, "--url", env=nowhere).json
        equal(set(found), RESOLVE_KEYS, "keys")
        equal((found["source"], found["status"], found["stale"], found["tried"]),
              ("literal", "ok", False, []), target)
        if url:
            equal(cli("resolve", "--url", target, env=nowhere).lines, [url], target)


def urls():
    """The host of a URL is replaced; for TLS schemes it stays and the address stands beside"""
    with BadServer() as server, Alone([server]) as a:
        ip = address_of("a.example")
        server.record("six.example", "AAAA", "2001:db8::6")
        for target, url in (("http://a.example/x?y#z", f"http://{ip}/x?y#z"),
                            ("http://u:p@a.example:81/", f"http://u:p@{ip}:81/"),
                            ("a.example:5000", f"{ip}:5000"), ("a.example", ip),
                            ("https://a.example/x", f"https://a.example/x {ip}"),
                            ("grpcs://a.example:443", f"grpcs://a.example:443 {ip}")):
            equal(a.cli("resolve", "--url", target).lines, [url], target)
        equal(a.cli("resolve", "--url", "--force", "https://a.example/x").lines,
              [f"https://{ip}/x"], "forced")
        found = a.cli("resolve", "--url", "--json", "http://u:p@a.example:81/").json
        equal((found["query"], found["url"]),
              ("http://***@a.example:81/", f"http://u:p@{ip}:81/"), "userinfo")


def same_with_and_without():
    """resolve, query and explain say the same with the daemon and without"""
    with BadServer() as server, Daemon([server], workers=0) as d, Alone([server]) as a:
        d.start()
        for daemon, ask in ((True, lambda *w: cli(*w, config=d.path)), (False, a.cli)):
            ip = address_of("b.example")
            said = ask("resolve", "b.example")
            equal((said.code, said.lines, said.err), (OK, [ip], ""), "resolve")
            found = ask("resolve", "b.example", "--json").json
            equal(set(found), RESOLVE_KEYS, "keys")
            equal((found["name"], found["addresses"], found["status"], found["stale"], found["url"],
                   found["upstream"]),
                  ("b.example", [ip], "ok", False, None, f"127.0.0.1:{server.port}"), "resolve")
            check(found["source"] == "cache" and found["age_s"] >= 0 and found["ttl_s"] > 200,
                  str(found))
            said = ask("query", "b.example")
            equal(said.code, OK, "query")
            check("NOERROR" in said.out and f"IN A {ip}" in said.out, said.out)
            found = ask("query", "b.example", "A", "--json").json
            equal((found["rcode"], found["answer"][0]["data"], found["ede"]),
                  ("NOERROR", ip, None), "query")
            said = ask("query", "b.example", "TXT")
            equal(said.code, NO_NAME, "no such record")
            before = server.count()
            said = ask("explain", "b.example")
            equal(said.code, OK, "explain")
            check("wire" in said.out and ip in said.out and "└─ ok" in said.out, said.out)
            check(server.count() > 0 or before > 0, "explain asks a live question")
            found = ask("explain", "b.example", "A", "--json").json
            equal(found["daemon"], daemon, "daemon")
            equal([q["answer"] for q in found["questions"]], [[ip]], "explain")
            check(any(t["strategy"] == "wire" and t["server"] == f"127.0.0.1:{server.port}"
                      for t in found["questions"][0]["tried"]), str(found))
            equal(ask("resolve", "nx.example").code, NO_NAME, "no such name")
            equal(ask("query", "nx.example").code, NO_NAME, "no such name")
            found = ask("resolve", "nx.example", "--json").json
            equal((found["status"], found["addresses"]), ("nxdomain", []), "no such name")


def an_outage():
    """Stale without the upstream: with the daemon, without it, and marked; --strict exits 3"""
    with BadServer() as server, Daemon([server], workers=0) as d:
        d.start()
        server.ttl = 1
        ip = address_of("c.example")
        equal(cli("resolve", "c.example", config=d.path).lines, [ip], "fresh")
        equal(cli("resolve", "c.example", "--strict", config=d.path).code, OK, "fresh")
        server.set("closed")
        time.sleep(1.2)
        for way in ("daemon", "alone"):
            said = cli("resolve", "c.example", config=d.path)
            equal((said.code, said.lines), (OK, [ip]), way)
            check("stale" in said.err, said.err)
            found = cli("resolve", "c.example", "--json", "--strict", config=d.path)
            equal(found.code, DEGRADED, way)
            equal((found.json["stale"], found.json["source"]), (True, "stale"), way)
            check(found.json["age_s"] >= 1, "age")
            said = cli("query", "c.example", "--strict", "-v", config=d.path)
            equal(said.code, DEGRADED, way)
            check("EDE: 3" in said.out, said.out)
            check(re.search(r"^;;   stale +ok ", said.out, re.M), said.out)
            said = cli("explain", "c.example", "A", config=d.path)
            check(re.search(r"├─ stale +ok ", said.out), said.out)
            check(not re.search(r"cached +miss", said.out), said.out)
            if way == "daemon":
                d.kill()


def read_beside_another():
    """Where another holds the cache file it is read: fresh, and stale when all else fails"""
    if os.geteuid() != 0:
        raise Skip("needs root to make a file of another user's")
    with BadServer() as server, Daemon([server], workers=0) as d:
        d.start()
        server.ttl = 3
        ip = address_of("e.example")
        equal(cli("resolve", "e.example", config=d.path).lines, [ip], "fresh")
        os.unlink(d.socket)  # the daemon lives, holds the file, and cannot be reached
        server.set("closed")
        found = cli("resolve", "e.example", "--json", config=d.path).json
        equal((found["addresses"], found["source"]), ([ip], "cache"), "from the file")
        time.sleep(3.2)
        found = cli("resolve", "e.example", "--json", config=d.path).json
        equal((found["addresses"], found["source"], found["stale"]), ([ip], "stale", True),
              "from the file")
        equal(cli("explain", "e.example", config=d.path).code, OK, "explain")


def a_verdict_stands():
    """What the daemon answered is the answer: a blocked name does not come back from the file"""
    with BadServer() as server, Daemon([server], workers=0) as d:
        d.start()
        server.ttl = 1
        equal(cli("resolve", "b.example", config=d.path).lines, [address_of("b.example")], "fresh")
        server.set("blocked")
        time.sleep(1.2)
        for words in (("resolve", "b.example"), ("query", "b.example", "A")):
            for _ in range(2):
                said = cli(*words, config=d.path)
                equal(said.code, FAILED, words)
                check(address_of("b.example") not in said.out, said.out)


def interrupted():
    """Ctrl-C ends a question under way at once; nothing stays behind, the cache file is whole"""
    with BadServer() as server, Alone([server]) as a:
        equal(a.cli("resolve", "a.example").code, OK, "learned")
        server.set("drop")
        for words in (("resolve", "b.example"), ("query", "b.example"), ("explain", "b.example")):
            server.count()
            process = subprocess.Popen([STUBBORN, *words, "-c", a.config], cwd="/",
                                       env=environment(TMPDIR=a.dir), stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT)
            until(lambda: server.count() > 0, "the question is under way")
            process.send_signal(signal.SIGINT)
            equal((process.wait(2), process.stdout.read()), (-signal.SIGINT, b""), words[0])
            equal(sorted(os.listdir(a.dir)), ["c.yaml", "cache.l1"], "what is left")
        found = a.cli("resolve", "a.example", "--json").json
        equal(found["addresses"], [address_of("a.example")], "still known")


def total_failure():
    """With nothing at all: exit 5, what was tried, in order, how long; pass-through on request"""
    with BadServer() as one, BadServer() as two, Alone([one, two]) as a:
        one.set("servfail")
        two.set("closed")
        said = a.cli("resolve", "f.example", "--timeout", "3s")
        equal((said.code, said.out), (FAILED, ""), "exit")
        check(f"127.0.0.1:{one.port}" in said.err and f"127.0.0.1:{two.port}" in said.err
              and "servfail" in said.err and " ms" in said.err, said.err)
        found = a.cli("resolve", "f.example", "--json", "--timeout", "3s")
        equal(found.code, FAILED, "exit")
        check(found.json["status"] in ("servfail", "unreachable", "timeout"), str(found.json))
        equal((found.json["addresses"], found.json["source"]), ([], None), "nothing")
        check(found.json["tried"] and set(found.json["tried"][0]) ==
              {"name", "type", "strategy", "server", "result", "ms"}, str(found.json))
        why = found.json["failures"]
        equal([(f["name"], f["type"]) for f in why], [("f.example", "A"), ("f.example", "AAAA")],
              "failures")
        check(all(f["status"] and f["ede"]["code"] and f["ede"]["purpose"] for f in why), str(why))
        said = a.cli("resolve", "http://u:p@f.example/x", "--pass-through", "--timeout", "2s")
        equal((said.code, said.lines), (OK, ["http://u:p@f.example/x"]), "passed through")
        check("passed through" in said.err and "u:p" not in said.err, said.err)
        found = a.cli("resolve", "f.example", "--pass-through", "--json", "--strict", "--timeout",
                      "2s")
        equal((found.code, found.json["pass_through"]), (DEGRADED, True), "flagged")
        equal(a.cli("resolve", "nx.example", "--pass-through", "--timeout", "2s").code, OK,
              "all failed")
        one.set("honest")
        equal(a.cli("resolve", "nx.other", "--pass-through").code, NO_NAME, "a true negative")


def deadline():
    """--timeout ends a silent server's question in time, with exit 5"""
    with BadServer() as server, Alone([server]) as a, Daemon([server], workers=0) as d:
        d.start()
        server.set("drop")
        for ask in (a.cli, lambda *w: cli(*w, config=d.path)):
            began = time.monotonic()
            said = ask("resolve", "g.example", "--timeout", "500ms")
            took = time.monotonic() - began
            equal(said.code, FAILED, "exit")
            check(0.4 < took < 0.5 + PATIENCE_S / 5, f"took {took:.2f} s")
            check("timed out" in said.err, said.err)


def families_and_search():
    """Family preference with fallback, search list and ndots"""
    with BadServer() as server:
        server.record("d.example", "AAAA", "2001:db8::d")
        server.record("six.example", "AAAA", "2001:db8::6")
        server.record("www.corp.example", "A", "192.0.2.33")
        server.record("www", "nxdomain")
        ip = "192.0.2.13"
        server.record("d.example", "A", ip)
        for family, wanted in (("ipv4-first", {ip, "2001:db8::d"}), ("ipv4-only", {ip}),
                               ("ipv6-only", {"2001:db8::d"}), ("rfc6724", {ip, "2001:db8::d"}),
                               ("ipv6-first", {ip, "2001:db8::d"})):
            with Alone([server], f"query: {{family: {family}}}") as a:
                found = a.cli("resolve", "d.example").lines
                equal(set(found), wanted, family)
                if family == "ipv4-first":
                    equal(found[0], ip, family)
        with Alone([server], "query: {family: ipv6-only}") as a:
            equal(a.cli("resolve", "h.example").code, NO_NAME, "only the other family")
        with Alone([server], "query: {search: [corp.example], ndots: 1}") as a:
            found = a.cli("resolve", "www", "--json").json
            equal((found["name"], found["addresses"]), ("www.corp.example", ["192.0.2.33"]),
                  "search")
            equal(a.cli("resolve", "www.").code, NO_NAME, "a final dot: no search")


def search_order():
    """Special names and those of the hosts file are not searched; nor is behind a failure"""
    with BadServer() as server, BadServer() as dead:
        dead.set("servfail")
        names = ["localhost", "LOCALHOST", "x.localhost"]
        with open("/etc/hosts", encoding="utf-8") as f:
            for line in f:
                names += line.split("#")[0].split()[1:]
        with Alone([server], "query: {search: [wild.example], ndots: 3}\n"
                   f'routes: [{{suffix: test, upstreams: ["127.0.0.1:{dead.port}"]}}]') as a:
            for name in names:
                found = a.cli("resolve", name, "--json").json
                equal(found["name"].lower(), name.lower(), name)
                check(found["source"] in ("special", "hosts"), str(found))
            check(not any("wild" in name for name, *_ in server.seen()), str(server.seen()))
            equal(a.cli("resolve", "invalid").code, NO_NAME, "invalid")
        with Alone([server], "query: {search: [wild.example]}\n"
                   f'routes: [{{suffix: test, upstreams: ["127.0.0.1:{dead.port}"]}}]') as a:
            server.record("gone.one", "nxdomain")
            equal(a.cli("resolve", "gone.one").lines, [address_of("gone.one.wild.example")],
                  "after a denial the list")
            said = a.cli("resolve", "a.test", "--timeout", "3s")
            equal((said.code, said.out), (FAILED, ""), "after a failure nothing: " + said.err)
            found = a.cli("resolve", "a.test", "--timeout", "3s", "--json").json
            equal({(t["name"], t["type"]) for t in found["tried"]},
                  {("a.test", "A"), ("a.test", "AAAA")}, "tried")


def mistakes_in_the_configuration():
    """A mistake in file or environment is a warning; where it hides the socket, exit 2"""
    with BadServer() as server, Daemon([server], workers=0) as d:
        d.start()
        ip = address_of("h.example")
        for wrong, shown in (("cache: {file: /nonexistent/x/y, sise: 4MiB}", "cache.sise"),
                             ("names: [{match: 3.example, ttl_max: soon}]", "names[0].ttl_max"),
                             ("frob: 1", "frob"), ("query: {timeout: [}", "not YAML"),
                             ("health: {degraded: 50%, unhealthy: 20%}", "health")):
            with open(d.path, "w", encoding="utf-8") as f:
                f.write(f"listen: {{socket: {d.socket}}}\n{wrong}\n")
            for words in (("resolve", "h.example"), ("status",), ("health",), ("upstreams",),
                          ("pin", "p.example", "192.0.2.1"), ("unpin", "p.example")):
                said = cli(*words, config=d.path)
                equal(said.code, OK, f"{wrong}: {words}: {said.err}")
                equal(said.err.count("\n"), 1, said.err)
                check(said.err.startswith("stubborn: warning: ") and shown in said.err, said.err)
            found = cli("resolve", "h.example", "--json", config=d.path).json
            equal((found["addresses"], found["daemon"]), ([ip], True), wrong)
            equal(cli("config", "check", d.path).code, USAGE, "the check is strict")
        for wrong in ("listen: {socket: relative.sock}", "listen: [1]", "query: {timeout: [}"):
            d.write_config(wrong + "\n")
            said = cli("status", config=d.path)
            check(said.code == USAGE and "where the daemon listens" in said.err, said.err)
            equal(cli("status", "-s", d.socket, config=d.path).code, OK, "-s")
            equal(cli("status", config=d.path, env={"STUBBORN_SOCKET": d.socket}).code, OK, wrong)
        d.write_config()
        said = cli("status", config=d.path, env={"DNS_TIMEOUT": "abc"})
        check(said.code == OK and "DNS_TIMEOUT" in said.err, said.err)
        said = cli("status", config=d.path, env={"STUBBORN_SERVER": "192.0.2.1"})
        check(said.code == OK and "STUBBORN_SERVER is read by nobody" in said.err, said.err)
        equal(said.err.count("\n"), 1, said.err)
        said = cli("config", "check", d.path, "--json", env={"STUBBORN_SERVER": "192.0.2.1"})
        equal((said.code, len(said.json["warnings"])), (OK, 1), "config check")
        said = cli("status", config=d.path, env={"STUBBORN_SOCKET": "rel"})
        check(said.code == USAGE and "STUBBORN_SOCKET" in said.err, said.err)


def a_hung_daemon():
    """A daemon that hangs is gone round within query.timeout: the file, or an engine of our own"""
    def timed(*words, **more):
        began = time.monotonic()
        said = cli(*words, "--json", config=d.path, **more)
        return said, said.json, time.monotonic() - began

    extra = PATIENCE_S / 10
    with BadServer() as server, Daemon([server], workers=0) as d:
        d.start()
        ip = address_of("known.example")
        equal(cli("resolve", "known.example", config=d.path).lines, [ip], "known")
        d.process.send_signal(signal.SIGSTOP)
        try:
            said, found, took = timed("resolve", "known.example")
            equal((found["addresses"], found["daemon"]), ([ip], False), "known")
            check(took < 1.5 + extra, f"known took {took:.1f} s")
            said, found, took = timed("resolve", "never.example")
            equal((said.code, found["addresses"], found["daemon"]),
                  (OK, [address_of("never.example")], False), "never seen")
            check(took < 2.5 + extra, f"never seen took {took:.1f} s")
            said = cli("query", "known.example", config=d.path)
            check(f"through: the cache file {d.cache}" in said.out, said.out)
            check("does not answer" in said.err, said.err)
            began = time.monotonic()
            said = cli("explain", "known.example", "A", config=d.path)
            took = time.monotonic() - began
            check("through this process" in said.out, said.out)
            check(took < 1.5 + extra, f"explain took {took:.1f} s")
            time.sleep(2)
            said, found, took = timed("resolve", "known.example")
            equal((found["addresses"], found["daemon"]), ([ip], False), "the heart stands")
            check(took < 0.5 + extra, f"took {took:.1f} s")
            said, found, took = timed("resolve", "never2.example")
            equal((said.code, found["daemon"]), (OK, False), "the heart stands")
            check(took < 1.5 + extra, f"took {took:.1f} s")
            server.set("drop")
            said, found, took = timed("resolve", "never3.example", env={"DNS_TIMEOUT": "3"})
            equal(said.code, FAILED, "nobody answers")
            check(took < 3.3 + extra, f"took {took:.1f} s")
        finally:
            d.process.send_signal(signal.SIGCONT)


def whom_it_asks():
    """A named socket nobody answers is said once; so is one that may not be used"""
    with BadServer() as server, Alone([server]) as a:
        ip = address_of("k.example")
        absent = os.path.join(a.dir, "none.sock")
        for said in (a.cli("resolve", "k.example", "-s", absent),
                     a.cli("resolve", "k.example", env={"STUBBORN_SOCKET": absent})):
            equal((said.code, said.lines), (OK, [ip]), "asks itself")
            equal(said.err, f"stubborn: no daemon at {absent}; asking the configured servers "
                            "myself\n", "note")
        equal(a.cli("resolve", "k.example").err, "", "not named, not missed")
        said = a.cli("resolve", "k.example", "-s", absent, "--json")
        equal((said.err, said.json["daemon"]), ("", False), "JSON")
        server.set("closed")
        said = a.cli("resolve", "never.example", "--json", "--timeout", "2s")
        equal(said.code, FAILED, "exit")
        check(said.json["error"], str(said.json))


def another_user():
    """Another user may ask; for the rest permission is denied, and it says so"""
    if os.geteuid() != 0:
        raise Skip("needs root to become another user")
    with BadServer() as server, Daemon([server], workers=0) as d:
        d.start()

        def say(*words):
            return Said(subprocess.run(
                [STUBBORN, *words, "-s", d.socket], capture_output=True, text=True, user=65534,
                group=65534, extra_groups=[], env=environment(), cwd="/", check=False))
        found = say("resolve", "l.example", "--json").json
        equal((found["addresses"], found["daemon"]), ([address_of("l.example")], True), "resolve")
        one_line(say("status"), FAILED, "Permission denied", "listen.control")
        json_error(say("upstreams", "--json"), FAILED, "Permission denied")
        os.chmod(d.path, 0o644)
        for verb in ("status", "health", "upstreams"):  # open to everybody over HTTP
            said = say(verb, "-c", d.path)
            equal((said.code, said.err), (OK, ""), verb)
            check("healthy" in said.out or "closed" in said.out, said.out)
            check(say(verb, "-c", d.path, "--json").json, verb)
        one_line(say("pins", "-c", d.path), FAILED, "Permission denied", "listen.control")
        os.chmod(d.socket, 0o600)
        said = say("resolve", "127.0.0.1.example", "--timeout", "1s")
        check("permission denied" in said.err and d.socket in said.err, said.err)


def emergency():
    """A name never seen is served its emergency address, marked"""
    with BadServer() as server, Alone([server]) as a:
        server.set("closed")
        env = {"STUBBORN_FALLBACK": "m.example=10.1.2.3,10.1.2.4"}
        found = a.cli("resolve", "m.example", "--json", "--strict", env=env)
        equal(found.code, DEGRADED, "exit")
        equal((found.json["addresses"], found.json["source"]), (["10.1.2.3", "10.1.2.4"],
                                                                "emergency"), "emergency")
    with BadServer() as server, Alone([server], "names: [{match: n.example, emergency: [10.1.2.5],"
                                                " protect_confirm: 1s}]") as a:
        server.record("n.example", "nxdomain")  # denied, though never known: doubted
        found = a.cli("resolve", "n.example", "--json", "--strict")
        equal((found.code, found.json["addresses"], found.json["source"], found.json["age_s"]),
              (DEGRADED, ["10.1.2.5"], "emergency", None), "denied")


def control():
    """The verbs of the control socket"""
    with BadServer() as server, Daemon([server], workers=0,
                                       config="names: [{match: kept.example, protect: true}]") as d:
        d.start()

        def say(*words, **more):
            return cli(*words, config=d.path, **more)
        equal(say("resolve", "i.example").code, OK, "resolve")
        for words in (("status",), ("health",), ("upstreams",), ("cache", "list"), ("log",),
                      ("cache", "list", "example")):
            said = say(*words)
            equal((said.code, said.err), (OK, ""), str(words))
            check(said.out, str(words))
            check(isinstance(say(*words, "--json").json, dict), str(words))
        process = say("status", "--json").json["process"]
        equal((process["pid"], process["config"]), (d.process.pid, d.path), "process")
        check(0 <= process["uptime_s"] < 100, str(process))
        check(f"process {d.process.pid}, up " in say("status").out, "status")
        equal(say("health", "--json").json["status"], "healthy", "health")
        equal(say("upstreams", "--json").json["upstreams"][0]["address"],
              f"127.0.0.1:{server.port}", "upstreams")
        check("i.example" in say("cache", "list").out, "cache list")
        check("i.example" not in say("cache", "list", "other").out, "cache list SUFFIX")
        equal(say("pin", "p.example", "192.0.2.9", "2001:db8::9", "--for", "1h").code, OK, "pin")
        found = say("resolve", "p.example", "--json").json
        equal((found["addresses"][0], found["source"]), ("192.0.2.9", "pin"), "pin")
        equal(say("pin", "q.example", "192.0.2.8").code, OK, "pin")
        said = say("pins").lines
        check("q.example 192.0.2.8, until unpinned" in said, str(said))
        check(any(line.endswith("q.example pin set: by the operator") for line in said), str(said))
        equal(len(say("pin", "list").lines), len(said), "pin list")
        one_line(say("cache", "obey"), USAGE)
        one_line(say("cache", "obey", "never.example"), USAGE, "doubted")
        server.ttl = 1
        kept = say("resolve", "kept.example").lines
        server.record("kept.example", "nxdomain")
        until(lambda: equal(say("resolve", "kept.example").lines, kept, "the old answer") or
              d.control({"verb": "explain", "name": "kept.example"})["explain"]["doubt"], "doubt")
        server.ttl = 300
        equal(say("cache", "obey", "kept.example").lines,
              ["obeyed until the name is answered again"], "cache obey")
        until(lambda: say("resolve", "kept.example").code == NO_NAME, "obeyed")
        check(any(p["name"] == "p.example" and 3500 < p["left_s"] <= 3600
                  for p in say("pins", "--json").json["pins"]), "pins --json")
        check("q.example A pin, until unpinned; A 192.0.2.8" in say("cache", "list").lines,
              say("cache", "list").out)
        equal(say("unpin", "q.example").code, OK, "unpin")
        equal(say("unpin", "p.example").code, OK, "unpin")
        equal(say("resolve", "p.example").lines, [address_of("p.example")], "unpinned")
        one_line(say("unpin", "p.example"), USAGE)
        check("nothing" in say("pins").out, "no pins")
        equal(say("pin", "short.example", "192.0.2.7", "--for", "1s").code, OK, "pin")
        time.sleep(1.05)
        one_line(say("unpin", "short.example"), USAGE, "not pinned")
        said = say("pin", "list").out
        check("short.example: pin" not in said
              and "short.example pin expired: its time is over" in said, said)
        for name in ("localhost", "a.LOCALHOST", "1.2.3.4", "x.invalid", "y.onion"):
            one_line(say("pin", name, "1.2.3.5"), USAGE, "no effect")
        one_line(say("pin", "a.example", *["192.0.2.1"] * 17), USAGE, "16")
        for words in (("cache", "list", "http://x/"), ("cache", "flush", "http://x/"),
                      ("cache", "flush", "--below", "http://x/")):
            one_line(say(*words), USAGE, "URL")
        uid = os.geteuid()
        for line in (f'msg="done" verb=pin name=p.example addresses=192.0.2.9,2001:db8::9 '
                     f'for_s=3600 uid={uid}', f'msg="done" verb=unpin name=p.example uid={uid}',
                     'msg="refused" verb=pin name=localhost addresses=1.2.3.5'):
            check(line in d.log(), f"{line!r} is not in\n{d.log()}")
        equal(say("log", "upstream", "debug").code, OK, "log")
        equal(say("log", "--json").json["upstream"], "debug", "log")
        one_line(say("log", "upstream", "shout"), USAGE)
        equal(say("cache", "warm", "w1.example", "w2.example").code, OK, "warm")
        until(lambda: "w2.example" in say("cache", "list").out, "w2.example is warm")
        dump = os.path.join(d.dir, "dump")
        equal(say("cache", "dump", dump).code, OK, "dump")
        equal(say("cache", "flush", "i.example").code, OK, "flush")
        check("i.example" not in say("cache", "list").out, "flush")
        equal(say("cache", "flush", "--below", "example").code, OK, "flush --below")
        equal(say("cache", "list").out, "", "all below example")
        found = say("cache", "load", dump, "--json")
        equal(found.code, OK, "load")
        check(found.json["loaded"] > 0 and found.json["refused"] == 0, str(found.json))
        check("i.example" in say("cache", "list").out, "load")
        with open(dump, encoding="utf-8") as f:
            equal(say("cache", "load", stdin=f.read()).code, OK, "load from stdin")
        equal(say("cache", "load", stdin="{frob").code, USAGE, "load nonsense")
        said = say("cache", "load", stdin='{"message":"00"}\n')
        equal(said.code, FAILED, "load refused")
        check("1 refused" in said.out and "entry 1" in said.err, said.out + said.err)
        found = say("cache", "load", "-", "--json", stdin='{"message":"00"}\n').json
        check(found["refused"] == 1 and found["first_refused"], str(found))
        check("1 refused" in say("cache", "load", stdin='{"message":"00"}\n{frob').err, "so far")
        equal(say("cache", "flush", "--all").code, OK, "flush --all")
        equal(say("reload").lines, ["reloaded"], "reload")
        d.size = "2MiB"
        d.config = "mdns: {timeout: 2s}"
        d.write_config()
        equal(say("reload").lines, ["reloaded", "cache.size takes effect with the next start"],
              "reload")
        check("mdns" in d.log() and "no effect yet" in d.log(), "a key without effect is named")
        d.config = ""
        d.write_config()
        equal(say("reload", "--json").json, {"next_start": ["cache.size"]}, "still waiting")
        d.size = "1MiB"
        d.write_config()
        equal(say("reload", "--json").json, {"next_start": []}, "back to what runs")
        with open(d.path, "a", encoding="utf-8") as f:
            f.write("frob: 1\n")
        for said in (cli("reload", "-s", d.socket), say("reload")):
            one_line(said, USAGE, "frob")
            check("going on" not in said.err, said.err)
        other = os.path.join(d.dir, "other.yaml")
        with open(other, "w", encoding="utf-8") as f:
            f.write("froc: 1\n")
        d.write_config()  # good again; what the command reads is not
        said = cli("reload", "-s", d.socket, config=other)
        check(said.code == OK and "froc" in said.err, said.err)
        with open(d.path, "a", encoding="utf-8") as f:
            f.write("frob: 1\n")
        one_line(say("reload"), USAGE, "frob")
        check('msg="not reloaded, the old configuration stays"' in d.log()
              and f"verb=reload uid={uid} reason=" in d.log(), d.log())
        d.write_config()
        server.set("closed")
        until(lambda: say("resolve", "z1.example", "--timeout", "2s").code == FAILED and
              say("upstreams", "--json").json["upstreams"][0]["breaker"] != "closed", "breaker")
        found = say("resolve", "z2.example", "--json").json  # why, though nobody could be asked
        equal([(t["type"], t["strategy"], t["result"]) for t in found["tried"]],
              [("A", "wire", "skipped"), ("AAAA", "wire", "skipped")], "tried")
        equal({f["ede"]["code"] for f in found["failures"]}, {23}, str(found))
        check("marked down" in found["failures"][0]["ede"]["text"], str(found))
        found = say("explain", "z3.example", "A", "--json").json["questions"][0]
        equal((found["tried"][-1]["strategy"], found["ede"]), ("wire", 23), str(found))


def control_half_closed():
    """Who ends his side after the requests still gets the whole of large replies"""
    with BadServer() as server, Daemon([server], workers=0) as d:
        d.start()
        for i in range(1000):
            check(d.ask(f"name-{i}.half.example"), "learned")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(PATIENCE_S)
            s.connect(os.path.join(os.path.dirname(d.socket), "stubborn.ctl"))
            s.sendall(b'{"verb":"cache-list"}\n' * 20)
            s.shutdown(socket.SHUT_WR)
            data = b""
            while more := s.recv(65536):
                data += more
        replies = [json.loads(line) for line in data.splitlines()]
        equal(len(replies), 20, "replies")
        check(all(len(r["entries"]) > 500 for r in replies), "entries")


def no_daemon():
    """Verbs that need the daemon exit 6 and say so in one line"""
    with BadServer() as server, Alone([server]) as a:
        for words in (("status",), ("health",), ("upstreams",), ("cache", "list"), ("log",),
                      ("cache", "flush", "--all"), ("cache", "warm", "x"), ("reload",),
                      ("pin", "x", "1.2.3.4"), ("unpin", "x"), ("log", "upstream", "debug"),
                      ("pins",)):
            one_line(a.cli(*words), NO_DAEMON, "stubborn.ctl")
            json_error(a.cli(*words, "--json"), NO_DAEMON, "stubborn.ctl")
        one_line(a.cli("cache", "load", stdin=""), NO_DAEMON, "stubborn.ctl")


def config_check():
    """config check: file, line, column, key path, near name; environment too"""
    with BadServer() as server, Alone([server]) as a:
        equal(cli("config", "check", a.config).lines, [f"{a.config}: ok"], "good")
        bad = os.path.join(a.dir, "bad.yaml")
        with open(bad, "w", encoding="utf-8") as f:
            f.write("cache:\n  szie: 1MiB\n")
        one_line(cli("config", "check", bad), USAGE, f"{bad}:2:3", "cache.szie", "size")
        with open(a.config, "a", encoding="utf-8") as f:
            f.write("health: {alert: {after: 3}}\n")
        said = cli("config", "check", a.config)
        equal((said.code, said.lines), (OK, [f"{a.config}: ok"]), "without effect")
        check("health.alert" in said.err and said.err.count("\n") == 1, said.err)
        equal(len(cli("config", "check", a.config, "--json").json["warnings"]), 1, "json")
        said = cli("config", "check", env={"MLFLOW_FALLBACK_IP": "10.0.0.1"})
        check(said.code == OK and "MLFLOW_FALLBACK_IP" in said.err, said.err)
        if not os.path.exists("/etc/stubborn/stubborn.yaml"):
            check("defaults are in force" in said.out, said.out)
        for text, word in (("cache: {share: 'group:no-such-group'}", ":1:16: cache.share: "),
                           ("listen:\n  control: group:no-such-group", ":2:12: listen.control: "),
                           ("listen: {socket: /" + "x" * 110 + "}", ":1:18: listen.socket: "),
                           ("listen: {dns: [], socket: false, http: false}", "nobody could ask"),
                           ("cache: {warm: [http://foo/]}", ":1:16: cache.warm[0]: "),
                           ("names: [{match: 'http://x/', ttl_max: 1s}]", ":1:17: names[0].match"),
                           ("routes: [{suffix: 'http://x/', upstreams: [127.0.0.1:5]}]",
                            ":1:19: routes[0].suffix: "),
                           ("upstreams: [224.0.0.1]", ":1:13: upstreams[0]: "),
                           ("upstreams: ['fe80::1']", ":1:13: upstreams[0]: "),
                           ("upstreams: [127.0.0.9, 127.0.0.9]", ":1:24: upstreams[1]: "),
                           ("routes: [{suffix: a, upstreams: [127.0.0.9, 127.0.0.9]}]",
                            ":1:45: routes[0].upstreams[1]: "),
                           ("services: [{name: a, uri: x}, {name: a, uri: y}]",
                            ":1:31: services[1].name: "),
                           ("names: [{match: a, emergency: ['ff02::1']}]",
                            ":1:32: names[0].emergency[0]: "),
                           ("names: [{match: localhost, emergency: [10.0.0.1]}]",
                            ":1:39: names[0].emergency: "),
                           ("listen: {dns: ['127.0.0.1:8053'], http: '127.0.0.1:8053'}",
                            ":1:41: listen.http: "),
                           ("listen: {dns: ['127.0.0.1:8053']}", ":1:15: listen.http: ")):
            worse = os.path.join(a.dir, "worse.yaml")
            with open(worse, "w", encoding="utf-8") as f:
                f.write(text + "\n")
            one_line(cli("config", "check", worse), USAGE, word)
            done = subprocess.run([os.path.join(BUILD, "stubbornd"), "--check", "-c", worse],
                                  capture_output=True, text=True, env=environment(), check=False)
            check(done.returncode == 1 and word in done.stderr, done.stderr)
        found = cli("config", "check", bad, "--json")
        equal((found.code, found.json["ok"]), (USAGE, False), "json")
        one_line(cli("config", "check", os.path.join(a.dir, "none")), USAGE, "none")
        one_line(cli("config", "check", a.config, env={"DNS_CACHE_TTL": "x"}), USAGE,
                 "DNS_CACHE_TTL")


if __name__ == "__main__":
    run([refusals, usage, help_and_completions, literals, urls, same_with_and_without, an_outage,
         read_beside_another, a_verdict_stands, total_failure, interrupted, deadline,
         families_and_search, search_order,
         mistakes_in_the_configuration, a_hung_daemon, whom_it_asks, another_user,
         emergency, control, control_half_closed, no_daemon,
         config_check])
