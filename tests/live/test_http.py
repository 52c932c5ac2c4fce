#!/usr/bin/env python3
"""The HTTP front of the real daemon: every path, who may see what, metrics by a strict parser."""
import json
import re
import shutil
import socket
import subprocess

from badserver import BadServer
from live import Daemon, Skip, check, equal, query, run, until

SERVICES = """services:
  - {name: good, uri: "http://user:secret@good.example:5000/x", required: true}
  - {name: bad, uri: "http://nx.example", required: false}
"""


def get_json(daemon, path, **more):
    status, body = daemon.get(path, **more)
    return status, json.loads(body)


def header_of(daemon, path, method="GET", **headers):
    """(status, headers) of one request by hand, as no library would send it."""
    lines = [f"{method} {path} HTTP/1.1"] + [f"{k.replace('_', '-')}: {v}"
                                             for k, v in headers.items()]
    with socket.create_connection(("127.0.0.1", daemon.http), timeout=10) as s:
        s.sendall(("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode())
        data = b""
        while True:
            more = s.recv(65536)
            if not more:
                break
            data += more
    head = data.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(head[0].split()[1]), {k.lower(): v for k, v in
                                     (line.split(": ", 1) for line in head[1:])}


def every_path():
    """Every path answers with the status and the type it should"""
    with BadServer() as server, Daemon([server], config=SERVICES) as d:
        d.start()
        until(lambda: d.get("/ready")[0] == 200, "ready")
        rows = [("/", 200), ("/health", 200), ("/health?verbose=1", 200), ("/ready", 200),
                ("/health/good", 200), ("/health/bad", 503), ("/health/none", 404),
                ("/health/", 404), ("/metrics", 200), ("/v1/status", 200),
                ("/v1/upstreams", 200), ("/v1/services/good", 200), ("/v1/services/none", 404),
                ("/v1/services/good?where=zone%3Da", 501), ("/v1/events", 501),
                ("/v1/cache", 403), ("/v1/explain?name=a.example", 403), ("/nothing", 404),
                ("/..%2f..%2fetc%2fpasswd", 404)]
        until(lambda: d.get("/health/bad")[0] == 503, "bad is looked up")
        for path, wanted in rows:
            status, headers = header_of(d, path, Host="localhost")
            equal(status, wanted, path)
            kind = ("text/html; charset=utf-8" if path == "/" else
                    "text/plain; version=0.0.4; charset=utf-8" if path == "/metrics" else
                    "application/json")
            equal(headers["content-type"], kind, path)
            if kind == "application/json":
                check(isinstance(get_json(d, path)[1], dict), path)
            equal([h for h in headers if h.startswith("access-control")], [], "no CORS")
        for path in ("/health", "/v1/status", "/metrics"):
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
                status, headers = header_of(d, path, method, Host="localhost")
                equal(status, 405, f"{method} {path}")
                check("GET" in headers.get("allow", ""), "Allow")
            equal(header_of(d, path, "HEAD", Host="localhost")[0], 200, f"HEAD {path}")


def health_document():
    """The health document has what the contract names, and follows the errors"""
    hasty = "query: {timeout: 1s, attempts: 1}"
    with BadServer() as server, Daemon([server], config=SERVICES + hasty) as d:
        d.start()
        for _ in range(9):
            d.ask("a.example")
        until(lambda: d.get("/health/good")[0] == 200, "good is looked up")
        status, body = get_json(d, "/health")
        equal((status, body["status"], body["dns"]["status"]), (200, "healthy", "healthy"), "level")
        equal(body["dns"]["window_s"], 60, "window")
        metrics = body["dns"]["metrics"]
        equal(metrics["resolution_attempts"], metrics["cache_hits"] + metrics["cache_misses"],
              "every question is a hit or a miss")
        exact = metrics["cache_hits"] / metrics["resolution_attempts"]
        check(abs(metrics["cache_hit_rate"] - exact) < 1e-5, "hit rate (six digits)")
        check({"stale", "emergency", "guess"} <= set(metrics["fallback_uses"]), "kinds")
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metrics["last_resolution_time"]),
              "time")
        equal(body["upstreams"][0]["address"], f"127.0.0.1:{server.port}", "upstream")
        equal(set(body["services"]), {"good", "bad"}, "services")
        server.set("servfail")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for i in range(200):
                s.sendto(query(f"x{i}.example"), ("127.0.0.1", d.dns))
            until(lambda: d.get("/health")[0] == 503, "unhealthy is 503")
        status, body = get_json(d, "/health")
        equal((status, body["status"]), (503, "unhealthy"), "level")
        check(body["dns"]["error_rate"] > 0.7, "error rate")
        equal(get_json(d, "/ready")[0], 200, "what was usable stays ready through the outage")
        check("window" in get_json(d, "/health?verbose=1")[1], "verbose tells more")


def readiness():
    """/ready waits for required services"""
    with BadServer() as server, Daemon([server], config=SERVICES) as d:
        server.set("drop")
        d.start()
        status, body = get_json(d, "/ready")
        equal((status, body["ready"]), (503, False), "a required service is not known yet")
        check("good" in body["reason"], "the reason names it")


def hosts_and_sites():
    """/ and /v1/ answer known Hosts only, and no other site's requests"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        port = d.http
        good = ["localhost", f"localhost:{port}", "127.0.0.1", f"127.0.0.1:{port}", "[::1]",
                f"[::1]:{port}", "LOCALHOST"]
        evil = ["evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.x",
                "[::1", "localhost:x", "127.0.0.1@evil", "\"", "0x7f000001", "127.1"]
        for path in ("/", "/v1/status"):
            for host in good:
                equal(header_of(d, path, Host=host)[0], 200, f"{path} Host {host}")
            for host in evil:
                equal(header_of(d, path, Host=host)[0], 403, f"{path} Host {host}")
            equal(header_of(d, path, Host="localhost", Origin="http://evil.example")[0], 403,
                  "another origin")
            equal(header_of(d, path, Host="localhost", Origin="null")[0], 403, "no origin")
            equal(header_of(d, path, Host="localhost", Origin="http://localhost")[0], 200, "own")
            for site, wanted in (("cross-site", 403), ("same-site", 403), ("same-origin", 200),
                                 ("none", 200)):
                equal(header_of(d, path, Host="localhost", Sec_Fetch_Site=site)[0], wanted, site)
        for path in ("/health", "/ready", "/metrics"):
            equal(header_of(d, path, Host="evil.example")[0], 200, f"{path} is for everybody")


def names_stay_private():
    """Without share: all no name is shown, and no secret ever"""
    for share in ("user", "all"):
        with BadServer() as server, Daemon([server], config=SERVICES, share=share) as d:
            d.start()
            d.ask("private-name.example")
            until(lambda: d.get("/health/good")[0] == 200, "good is looked up")
            shown = b""
            for path in ("/", "/health?verbose=1", "/ready", "/health/good?verbose=1", "/metrics",
                         "/v1/status", "/v1/upstreams", "/v1/services/good", "/v1/cache",
                         "/v1/explain?name=private-name.example"):
                status, body = d.get(path)
                wanted = 403 if share == "user" and ("cache" in path or "explain" in path) else 200
                equal(status, wanted, f"{path} under share: {share}")
                shown += body
            check(b"secret" not in shown, "a password")
            for word in (b"private-name", b"good.example"):
                equal(word in shown, share == "all", f"{word} under share: {share}")


def cache_pages():
    """The cache is listed in pages, below a suffix, without a query"""
    with BadServer() as server, Daemon([server], share="all") as d:
        d.start()
        names = {f"n{i}.one.example" for i in range(40)}
        for name in names | {f"n{i}.two.example" for i in range(10)}:
            d.ask(name)
        server.count()
        seen, cursor, pages = [], "", 0
        while cursor is not None:
            status, body = get_json(d, f"/v1/cache?suffix=one.example&limit=9{cursor}")
            equal(status, 200, "page")
            check(len(body["entries"]) <= 9, "limit")
            seen += [e["name"] for e in body["entries"]]
            cursor = body["cursor"] and "&cursor=" + body["cursor"]
            pages += 1
        check(pages >= 5, "pages")
        equal(sorted(seen), sorted(names), "every entry once")
        body = get_json(d, "/v1/explain?name=N1.one.example&type=a")[1]
        equal((body["name"], body["outlook"]), ("n1.one.example", "the cached answer"), "explain")
        for bad in ("/v1/cache?limit=0", "/v1/cache?limit=1001", "/v1/cache?cursor=x",
                    "/v1/cache?suffix=a..b", "/v1/explain", "/v1/explain?name=a..b",
                    "/v1/explain?name=a&type=NOSUCH"):
            status, body = get_json(d, bad)
            equal(status, 400, bad)
            check(body["error"], bad)
        equal(server.count(), 0, "questions upstream")


# -- the text format 0.0.4, strictly -------------------------------------------------------------

METRIC = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|Inf|NaN)")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def parse_labels(text, line):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        check(match, f"labels of {line!r}")
        check(match[1] not in labels, f"a label twice in {line!r}")
        labels[match[1]] = match[2]
        at = match.end()
        if at < len(text):
            check(text[at] == "," and at + 1 < len(text), f"labels of {line!r}")
            at += 1
    return labels


def parse_metrics(text):
    """{family: (type, {(name, labels): value})}; raises at the first thing that is not right."""
    check(text.endswith("\n"), "the last line ends")
    families, helped, current = {}, set(), None
    for line in text[:-1].split("\n"):
        match = re.fullmatch(rf"# HELP ({METRIC}) (.+)", line)
        if match:
            check(match[1] not in helped, f"HELP twice: {line!r}")
            helped.add(match[1])
            continue
        match = re.fullmatch(rf"# TYPE ({METRIC}) (counter|gauge|histogram)", line)
        if match:
            current = match[1]
            check(current not in families, f"TYPE twice: {line!r}")
            check(current in helped, f"no HELP before {line!r}")
            families[current] = (match[2], {})
            continue
        match = re.fullmatch(rf"({METRIC})(?:\{{(.*)\}})? (\S+)", line)
        check(match and NUMBER.fullmatch(match[3]), f"a line like {line!r}")
        check(current, f"a sample before any family: {line!r}")
        kind, samples = families[current]
        check(match[1] in [current + s for s in SUFFIXES[kind]], f"not of its family: {line!r}")
        labels = parse_labels(match[2] or "", line)
        key = (match[1], tuple(sorted(labels.items())))
        check(key not in samples, f"a sample twice: {line!r}")
        samples[key] = float(match[3])
        if kind == "counter":
            check(current.endswith("_total") and samples[key] >= 0, f"a counter: {line!r}")
    for family, (kind, samples) in families.items():
        check(samples, f"{family} has samples")
        if kind == "histogram":
            check_histogram(family, samples)
    return families


def check_histogram(family, samples):
    buckets = [(dict(labels)["le"], value) for (name, labels), value in samples.items()
               if name.endswith("_bucket")]
    bounds = [float(le.replace("+Inf", "inf")) for le, _ in buckets]
    counts = [value for _, value in buckets]
    equal(bounds, sorted(set(bounds)), f"bounds of {family} rise")
    equal(counts, sorted(counts), f"buckets of {family} are cumulative")
    equal(buckets[-1][0], "+Inf", f"last bucket of {family}")
    equal(samples[(family + "_count", ())], counts[-1], f"count of {family}")
    check(samples[(family + "_sum", ())] >= 0, f"sum of {family}")


def metrics():
    """/metrics passes a strict parser and counts what happened"""
    with BadServer() as server, Daemon([server], workers=1) as d:
        d.start()
        for _ in range(5):
            d.ask("a.example")
        families = parse_metrics(d.get("/metrics")[1].decode())
        wanted = ["resolution_attempts_total", "cache_hits_total", "cache_misses_total",
                  "fallback_uses_total", "resolution_errors_total", "error_rate", "cache_entries",
                  "cache_expired_total", "last_resolution_timestamp_seconds",
                  "resolution_seconds", "upstream_rtt_seconds", "server_queries_total",
                  "server_up", "server_srtt_seconds", "server_breaker_state",
                  "strategy_answers_total", "build_info", "up", "health_level",
                  "cache_capacity_bytes", "cache_used_bytes", "limit_reached_total"]
        for family in wanted:
            check("stubborn_" + family in families, f"the family {family}")
        value = lambda name: sum(families["stubborn_" + name][1].values())
        equal(value("resolution_attempts_total"), 5, "attempts")
        equal(value("cache_hits_total"), 4, "hits")
        equal(value("upstream_queries_total"), 1, "queries upstream")
        equal(value("up"), 1, "up")
        (_, labels), = families["stubborn_server_up"][1]
        equal(dict(labels)["server"], f"127.0.0.1:{server.port}", "label of the server")


def metrics_by_promtool():
    """promtool finds nothing to complain of in /metrics"""
    promtool = shutil.which("promtool")
    if not promtool:
        raise Skip("promtool (Debian's prometheus) is not installed")
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        d.ask("a.example")
        body = d.get("/metrics")[1]
        result = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True,
                                timeout=30, check=False)
        equal((result.returncode, result.stderr), (0, b""), "promtool check metrics")


def the_page():
    """The page is self-contained: nothing from elsewhere, scripts only its own"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        _, headers = header_of(d, "/", Host="localhost")
        check("default-src 'none'" in headers["content-security-policy"], "its policy")
        page = d.get("/")[1].decode()
        check("/v1/status" in page, "it reads the status")
        check("http://" not in page and "https://" not in page, "it fetches from nowhere else")
        check("innerHTML" not in page, "text stays text")
        status = get_json(d, "/v1/status")[1]
        for field in ("version", "status", "dns", "cache", "upstreams", "services"):
            check(field in status, field)


def control_socket():
    """The control socket pins, flushes, dumps, loads, warms and lists"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        first = d.ask("a.example").answers
        equal(d.control({"verb": "health"})["health"]["status"], "healthy", "health")
        equal(d.control({"verb": "pin", "name": "a.example", "addresses": ["192.0.2.77"],
                         "for_s": 60}), {"ok": True}, "pin")
        until(lambda: d.ask("a.example").answers[0].data == "192.0.2.77", "the pin is served")
        equal(d.control({"verb": "pins"})["pins"][0]["addresses"], ["192.0.2.77"], "pins")
        equal(d.control({"verb": "unpin", "name": "a.example"}), {"ok": True}, "unpin")
        until(lambda: d.ask("a.example").answers[0].data == first[0].data, "the pin is gone")
        for i in range(20):
            d.ask(f"n{i}.example")
        dump = d.control({"verb": "dump"})["entries"]
        check(len(dump) >= 20, "entries dumped")
        check(d.control({"verb": "flush", "all": True})["removed"] >= 20, "flushed")
        equal(d.control({"verb": "cache-list"})["entries"], [], "nothing left")
        server.set("closed")
        loaded = d.control({"verb": "load", "entries": dump})
        equal((loaded["loaded"], loaded["refused"]), (len(dump), 0), "loaded")
        equal(d.ask("a.example").answers[0].data, first[0].data, "served without an upstream")
        server.set("honest")
        equal(d.control({"verb": "upstreams-reset"}), {"ok": True}, "reset")
        equal(d.control({"verb": "warm", "names": ["warm.example"]})["warming"], 1, "warm")
        until(lambda: d.control({"verb": "cache-list", "suffix": "warm.example"})["entries"],
              "warmed")
        equal(d.control({"verb": "log", "subsystem": "front", "level": "debug"})["levels"]["front"],
              "debug", "log")
        equal(d.control({"verb": "obey", "name": "a"})["ok"], False, "nothing to obey")
        equal(d.control({"verb": "drill"})["ok"], False, "a later verb")
        equal(d.control({"verb": "reload"})["ok"], True, "reload")
        d.write_config("listen: {dns: 7}")
        reply = d.control({"verb": "reload"})
        check(not reply["ok"] and ":1:" in reply["error"], f"the line of the error: {reply}")


run([every_path, health_document, readiness, hosts_and_sites, names_stay_private, cache_pages,
     metrics, metrics_by_promtool, the_page, control_socket])
