#!/usr/bin/python3
"""The DNS front against real servers and real clients: Knot, Unbound, kdig, dig, dnspython."""
import re
import socket
import struct
import threading

from badserver import BadServer, encode_name
from live import Daemon, Skip, check, equal, free_port, read_message, run, until
from realservers import BIG_RECORDS, RECORDS, Knot, Unbound, find, kdig

try:
    import dns.edns
    import dns.flags
    import dns.message
    import dns.query
    import dns.rcode
except ImportError:
    dns = None

SERVERS = {}
TXT, HINFO, ANY = 16, 13, 255


def knot():
    if "knot" not in SERVERS:
        SERVERS["knot"] = Knot()
        SERVERS["knot"].start()
    return SERVERS["knot"]


def unbound():
    if "unbound" not in SERVERS:
        server = Unbound()
        SERVERS["unbound"] = server
        server.start(knot())
    return SERVERS["unbound"]


def need_dnspython():
    if not dns:
        raise Skip("python3-dnspython is not installed")


def ask(daemon, name, kind="A", tcp=False, want_dnssec=False, payload=1232, flags=None, **more):
    """A dnspython response; its own checks of ID and question are on."""
    message = dns.message.make_query(name, kind, want_dnssec=want_dnssec, use_edns=0,
                                     payload=payload, **more)
    if flags is not None:
        message.flags = flags
    call = dns.query.tcp if tcp else dns.query.udp
    return call(message, "127.0.0.1", port=daemon.dns, timeout=8)


def exchange(port, message, tcp=False):
    """Raw bytes both ways."""
    if tcp:
        with socket.create_connection(("127.0.0.1", port), timeout=8) as s:
            s.sendall(struct.pack("!H", len(message)) + message)
            return read_message(s)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(8)
        s.connect(("127.0.0.1", port))
        s.send(message)
        return s.recv(65535)


def raw_query(name, kind=1, qclass=1, flags=0x0100, ident=0x4242, opt=None):
    message = struct.pack("!6H", ident, flags, 1, 0, 0, 0 if opt is None else 1)
    message += encode_name(name) + struct.pack("!HH", kind, qclass)
    if opt is not None:
        message += b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(opt)) + opt
    return message


def rcode_of(reply):
    return struct.unpack_from("!H", reply, 2)[0] & 15


def sections(text):
    """kdig's records, order and TTL aside, names folded where DNS folds them."""
    lines = []
    for line in text.splitlines():
        if not line or line.startswith(";"):
            continue
        owner, _, rest = line.partition(" ")
        lines.append((owner.lower(), re.sub(r"\s+", " ", rest)))
    return sorted(lines)


def every_type_is_what_the_authority_says():
    """Every record type reads as kdig reads it from Knot itself, fetched and cached"""
    options = ("+noall", "+answer", "+nottl", "+generic", "+tcp")
    readable = ("+noall", "+answer", "+nottl", "+tcp")
    with Daemon([knot()], size="4MiB") as d:
        d.start()
        for owner, kind in RECORDS:
            name = "corp.example." if owner == "@" else owner + ".corp.example."
            for form in (readable, options):
                wanted = sections(kdig(knot().port, name, kind, *form))
                for _ in range(2):
                    equal(sections(kdig(d.dns, name, kind, *form)), wanted, f"{name} {kind}")
        equal(len(sections(kdig(d.dns, "big.corp.example", "TXT", *readable))), BIG_RECORDS,
              "records of a large answer")


def question_is_echoed():
    """The question comes back byte for byte; RA is set, AA is not"""
    with Daemon([knot()]) as d:
        d.start()
        for name in ("www.corp.example", "WwW.CoRp.ExAmPlE", "UPPER.corp.example",
                     "upper.corp.example", "nowhere.corp.example"):
            for _ in range(2):
                for tcp in (False, True):
                    message = raw_query(name)
                    reply = exchange(d.dns, message, tcp)
                    equal(reply[12:len(message)], message[12:], f"question of {name}")
                    flags = struct.unpack_from("!H", reply, 2)[0]
                    equal(flags & 0x8580, 0x8180, f"QR, RD, RA and no AA for {name}")


def edns():
    """EDNS is answered with EDNS, its absence with none; an unknown version is BADVERS"""
    need_dnspython()
    with Daemon([knot()]) as d:
        d.start()
        reply = ask(d, "www.corp.example")
        check(reply.edns == 0 and reply.payload == 1232, "EDNS of the reply")
        for _ in range(2):
            message = dns.message.make_query("www.corp.example", "A", use_edns=False)
            reply = dns.query.udp(message, "127.0.0.1", port=d.dns, timeout=8)
            equal(reply.edns, -1, "EDNS unasked")
        message = bytearray(raw_query("www.corp.example", opt=b""))
        message[-5] = 1
        reply = dns.message.from_wire(exchange(d.dns, bytes(message)))
        equal((reply.rcode(), reply.edns), (dns.rcode.BADVERS, 0), "EDNS version 1")
        message = raw_query("www.corp.example", opt=b"\0\0")  # half an option
        equal(rcode_of(exchange(d.dns, message)), 1, "malformed options: FORMERR")
        cookie = dns.edns.GenericOption(10, b"abcdefgh")
        reply = ask(d, "www.corp.example", options=[cookie])
        equal(reply.rcode(), 0, "an option we do not know")


def truncation():
    """TC over the client's size, the whole answer over TCP; dig and kdig follow by themselves"""
    need_dnspython()
    with Daemon([knot()], size="4MiB") as d:
        d.start()
        for _ in range(2):
            for payload in (512, 1232, 4096, 65535):
                reply = ask(d, "big.corp.example", "TXT", payload=payload)
                check(reply.flags & dns.flags.TC, f"TC at {payload} bytes")
                check(len(reply.to_wire()) <= 1232, "size of a truncated reply")
            whole = ask(d, "big.corp.example", "TXT", tcp=True)
            equal(len(whole.answer[0]), BIG_RECORDS, "records over TCP")
            check(not whole.flags & dns.flags.TC, "no TC over TCP")
        message = raw_query("big.corp.example", TXT)
        check(len(exchange(d.dns, message)) <= 512, "no EDNS: at most 512 bytes")
        for tool in ("dig", "kdig"):
            if not find(tool):
                continue
            text = kdig(d.dns, "big.corp.example", "TXT", "+noall", "+answer", tool=tool)
            equal(sum(1 for line in text.splitlines() if "\tTXT\t" in line or " TXT " in line),
                  BIG_RECORDS, f"records {tool} gets")


def tcp_pipelining():
    """TCP: many questions on one connection, answers as they are ready, in any order"""
    with BadServer() as slow, Daemon([knot()], config="routes: [{suffix: slow, upstreams: "
                                     f'["127.0.0.1:{slow.port}"]}}]') as d:
        slow.set("delay", 700)
        d.start()
        names = ["a.slow", "www.corp.example", "mail.corp.example", "b.slow", "ns.corp.example"]
        stream = b""
        for ident, name in enumerate(names):
            message = raw_query(name, ident=ident)
            stream += struct.pack("!H", len(message)) + message
        with socket.create_connection(("127.0.0.1", d.dns), timeout=8) as s:
            s.sendall(stream)
            order = [struct.unpack_from("!H", read_message(s))[0] for _ in names]
        equal(sorted(order[:3]), [1, 2, 4], "the quick ones first")
        equal(sorted(order[3:]), [0, 3], "then the slow ones")
        with socket.create_connection(("127.0.0.1", d.dns), timeout=8) as s:
            for i in range(0, len(stream), 3):  # in shreds
                s.sendall(stream[i:i + 3])
            equal(sorted(struct.unpack_from("!H", read_message(s))[0] for _ in names),
                  list(range(len(names))), "all of them")
        with socket.create_connection(("127.0.0.1", d.dns), timeout=8) as s:
            many = b"".join(struct.pack("!H", len(m)) + m for m in
                            (raw_query("www.corp.example", ident=i) for i in range(2000)))
            reader = []
            thread = threading.Thread(target=lambda: reader.extend(
                read_message(s) for _ in range(2000)))
            thread.start()
            s.sendall(many)
            thread.join(20)
            equal(len(reader), 2000, "replies to a long pipeline")


def refused_kinds():
    """AXFR, IXFR, unknown opcodes are NOTIMP; CHAOS is REFUSED; nothing of it goes upstream"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        for tcp in (False, True):
            for kind in (251, 252, 253, 254, 250, 249):
                equal(rcode_of(exchange(d.dns, raw_query("corp.example", kind), tcp)), 4,
                      f"type {kind}")
            for opcode in (1, 2, 4, 5, 6, 15):
                message = raw_query("corp.example", flags=0x0100 | opcode << 11)
                equal(rcode_of(exchange(d.dns, message, tcp)), 4, f"opcode {opcode}")
            for name in ("version.bind", "id.server", "hostname.bind"):
                equal(rcode_of(exchange(d.dns, raw_query(name, TXT, 3), tcp)), 5, name)
        bare = struct.pack("!6H", 1, 0x0100, 0, 0, 0, 0)
        equal(rcode_of(exchange(d.dns, bare)), 1, "no question")
        two = struct.pack("!6H", 1, 0x0100, 2, 0, 0, 0) + raw_query("a.b")[12:] * 2
        equal(rcode_of(exchange(d.dns, two)), 1, "two questions")
        equal(server.count(), 0, "questions upstream")


def any_is_minimal():
    """ANY gets the HINFO of RFC 8482"""
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        reply = exchange(d.dns, raw_query("corp.example", ANY))
        equal(rcode_of(reply), 0, "rcode")
        equal(struct.unpack_from("!H", reply, 6)[0], 1, "one record")
        check(b"\x07RFC8482\0" in reply, "its text")
        equal(server.count(), 0, "questions upstream")


def special_names_stay():
    """localhost, invalid, onion, literals, loopback reverse, two-label .local never go upstream"""
    need_dnspython()
    with BadServer() as server, Daemon([server]) as d:
        d.start()
        for name, kind, data in (("localhost", "A", "127.0.0.1"), ("localhost", "AAAA", "::1"),
                                 ("deep.localhost", "A", "127.0.0.1"),
                                 ("10.1.2.3", "A", "10.1.2.3"),
                                 ("1.0.0.127.in-addr.arpa", "PTR", "localhost.")):
            reply = ask(d, name, kind)
            equal([str(r) for r in reply.answer[0]], [data], f"{name} {kind}")
        for name in ("x.invalid", "invalid", "x.onion"):
            equal(ask(d, name).rcode(), dns.rcode.NXDOMAIN, name)
        reply = ask(d, "printer.local")
        check(not reply.answer, "two-label .local has no answer")
        equal(server.count(), 0, "questions upstream")
        ask(d, "three.labels.local")
        equal(server.count(), 1, "three labels are DNS")


def without_recursion():
    """RD=0: REFUSED, and under share: all the fresh cache or REFUSED"""
    need_dnspython()
    with Daemon([knot()]) as d:
        d.start()
        ask(d, "www.corp.example")
        equal(ask(d, "www.corp.example", flags=0).rcode(), dns.rcode.REFUSED, "share: user")
    for workers in (0, 1):
        with Daemon([knot()], share="all", workers=workers) as d:
            d.start()
            equal(ask(d, "www.corp.example", flags=0).rcode(), dns.rcode.REFUSED, "not known yet")
            ask(d, "www.corp.example")
            reply = ask(d, "www.corp.example", flags=0)
            equal((reply.rcode(), len(reply.answer)), (0, 1), "known and fresh")


def authentic_data():
    """AD: relayed from a trusted upstream to who asks with AD or DO, from the cache too"""
    need_dnspython()
    with Daemon([unbound()]) as d:
        d.start()
        ad, rd = dns.flags.AD, dns.flags.RD
        for _ in range(2):
            check(ask(d, "www.signed.example", flags=rd | ad).flags & ad, "AD asked by AD")
            check(ask(d, "www.signed.example", want_dnssec=True).flags & ad, "AD asked by DO")
            check(not ask(d, "www.signed.example", flags=rd).flags & ad, "AD not asked")
            check(not ask(d, "www.corp.example", flags=rd | ad).flags & ad, "an unsigned name")
        signed = ask(d, "www.signed.example", want_dnssec=True)
        check(any(rrset.rdtype == 46 for rrset in signed.answer), "RRSIG with DO")
        plain = ask(d, "www.signed.example")
        check(all(rrset.rdtype != 46 for rrset in plain.answer), "none without")
    with Daemon([], config="") as d:
        d.upstreams = []
        text = d.yaml().replace("upstreams: []", f"upstreams: [{{address: \"127.0.0.1:"
                                f"{unbound().port}\", trust_ad: no}}]")
        d.yaml = lambda: text
        d.start()
        for _ in range(2):
            check(not ask(d, "www.signed.example", want_dnssec=True).flags & dns.flags.AD,
                  "AD of a server that is not trusted with it")


def checking_disabled():
    """CD goes upstream: a bogus name is SERVFAIL with its EDE, and an answer with CD"""
    need_dnspython()
    with Daemon([unbound()]) as d:
        d.start()
        cd, rd = dns.flags.CD, dns.flags.RD
        for _ in range(2):
            reply = ask(d, "www.bogus.example")
            equal(reply.rcode(), dns.rcode.SERVFAIL, "bogus")
            codes = [int(o.code) for o in reply.options if o.otype == dns.edns.EDE]
            check(codes, "an EDE says why")
            reply = ask(d, "www.bogus.example", flags=rd | cd)
            equal((reply.rcode(), len(reply.answer)), (0, 1), "with CD")


class Recorder:
    """An upstream that keeps what it was sent and answers NODATA."""

    def __init__(self):
        self.port, self.seen = free_port(), []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", self.port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65535)
            except OSError:
                return
            self.seen.append((data, peer[1]))
            message = dns.message.from_wire(data)
            reply = dns.message.make_response(message, recursion_available=True)
            reply.use_edns(0)
            self.socket.sendto(reply.to_wire(), peer)


def nothing_of_the_client_leaks():
    """No EDNS option of a client goes upstream, nor its case; IDs, ports and case are fresh"""
    need_dnspython()
    recorder = Recorder()
    with Daemon([f"127.0.0.1:{recorder.port}"], workers=0) as d:
        d.start()
        ecs = dns.edns.ECSOption("10.1.2.0", 24)
        cookie = dns.edns.GenericOption(10, b"abcdefgh")
        secret = dns.edns.GenericOption(65001, b"private")
        provenance = dns.edns.GenericOption(65430, b"\x01\x01")
        for i in range(20):
            reply = ask(d, f"Leak{i}.ExAmple", options=[ecs, cookie, secret, provenance])
            check(all(o.otype != 65430 for o in reply.options), "no provenance over UDP")
        seen = [(dns.message.from_wire(data), port) for data, port in recorder.seen]
        for message, _ in seen:
            equal([o.otype for o in message.options], [10], "options upstream")
            ours = message.options[0].to_wire()
            check(len(ours) == 8 and ours != b"abcdefgh", "the cookie is ours")
        zones = [message.question[0].name.to_text().split(".")[1] for message, _ in seen]
        check(len(set(zones)) > 10, f"case is not the client's but random: {zones}")
        check(len({m.id for m, _ in seen}) > 15, "IDs differ")
        check(len({port for _, port in seen}) > 15, "ports differ")
    recorder.socket.close()


def alias_chains():
    """CNAME chains come whole; dangling ones are negative; loops end"""
    need_dnspython()
    for server in (knot(), unbound()):
        with Daemon([server]) as d:
            d.start()
            for _ in range(2):
                reply = ask(d, "alias.corp.example")
                equal([rrset.rdtype for rrset in reply.answer], [5, 5, 5, 1], "types of the chain")
                equal(sorted(str(r) for r in reply.answer[-1]), ["192.0.2.1", "192.0.2.2"], "end")
                reply = ask(d, "dangling.corp.example")
                equal((reply.rcode(), len(reply.answer)), (dns.rcode.NXDOMAIN, 1), "dangling")
                equal(reply.authority[0].rdtype, 6, "its SOA")
                reply = ask(d, "alias.corp.example", "TXT")
                equal((reply.rcode(), len(reply.answer)), (0, 3), "no such type at the end")
                equal(ask(d, "loop1.corp.example").rcode(), dns.rcode.SERVFAIL, "a loop")
                reply = ask(d, "x.sub.corp.example")
                equal(sorted(rrset.rdtype for rrset in reply.answer)[0], 1, "through a DNAME")


def ttl_runs_down():
    """TTLs run down in the cache, capped at ttl_max; a TTL of 0 is asked anew each time"""
    need_dnspython()
    with Daemon([knot()]) as d:
        d.start()
        first = ask(d, "www.corp.example").answer[0].ttl
        check(first <= 3600, "TTL")
        second = until(lambda: (lambda t: t if t < first else None)(
            ask(d, "www.corp.example").answer[0].ttl), "a smaller TTL")
        check(second <= 300, "a cached answer is due within ttl_max")
        equal(ask(d, "zero.corp.example").answer[0].ttl, 0, "TTL 0")
        before = d.metric("upstream_queries_total")
        ask(d, "zero.corp.example")
        equal(d.metric("upstream_queries_total"), before + 1, "queries upstream for TTL 0")


def outsiders():
    """An address outside listen.allow gets REFUSED, over TCP too, and at most ten a second"""
    with Daemon([knot()], listen="allow: [127.0.0.1/32]") as d:
        d.start()
        message = raw_query("www.corp.example")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.9", 0))
            s.settimeout(1)
            s.connect(("127.0.0.1", d.dns))
            for _ in range(200):
                s.send(message)
            replies = []
            try:
                while True:
                    replies.append(s.recv(4096))
            except socket.timeout:
                pass
        check(1 <= len(replies) <= 40, f"{len(replies)} replies to 200 questions")
        check(all(rcode_of(r) == 5 for r in replies), "REFUSED")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.bind(("127.0.0.10", 0))
            s.settimeout(5)
            s.connect(("127.0.0.1", d.dns))
            s.sendall(struct.pack("!H", len(message)) + message)
            equal(rcode_of(read_message(s)), 5, "over TCP")
            equal(s.recv(1), b"", "and the end")
        equal(rcode_of(exchange(d.dns, message)), 0, "those allowed are served")


def unix_socket_provenance():
    """The Unix socket takes the ask flags and tells where an answer came from"""
    with Daemon([knot()]) as d:
        d.start()
        for flags, source in ((0, None), (0, None), (1, None)):
            message = raw_query("www.corp.example", opt=struct.pack("!HHBB", 65430, 2, 1, flags))
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.settimeout(8)
                s.connect(d.socket)
                s.sendall(struct.pack("!H", len(message)) + message)
                reply = read_message(s)
            at = reply.find(struct.pack("!H", 65430), 12)
            check(at > 0, "option 65430")
            version, source, _, status = struct.unpack_from("!4B", reply, at + 4)
            equal((version, status), (1, 0), "version and status")
            check(source > 0, "a source")
        equal(d.metric("upstream_queries_total"), 2, "first and live questions")


def main():
    try:
        run([every_type_is_what_the_authority_says, question_is_echoed, edns, truncation,
             tcp_pipelining, refused_kinds, any_is_minimal, special_names_stay, without_recursion,
             authentic_data, checking_disabled, nothing_of_the_client_leaks, alias_chains,
             ttl_runs_down, outsiders, unix_socket_provenance])
    finally:
        for server in SERVERS.values():
            server.stop()


main()
