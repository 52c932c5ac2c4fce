"""Knot and Unbound from Debian as upstreams on loopback, each in a directory of its own.

Knot is the authority of corp.example (every record type that can be written), signed.example
(signed) and bogus.example (unsigned); Unbound recurses to it and validates: signed.example is
trusted by its key, bogus.example by a key it does not have.
"""
import os
import shutil
import signal
import subprocess
import tempfile

from live import PATIENCE_S, Skip, ask_udp, check, free_port, until

ZONE = r"""
$ORIGIN corp.example.
$TTL 3600
@ SOA ns admin 1 3600 600 86400 60
@ NS ns
ns A 192.0.2.53
www A 192.0.2.1
www A 192.0.2.2
www AAAA 2001:db8::1
alias CNAME alias2
alias2 CNAME alias3
alias3 CNAME www
dangling CNAME nowhere
loop1 CNAME loop2
loop2 CNAME loop1
*.wild A 192.0.2.77
sub DNAME corp-two
x.corp-two A 192.0.2.20
mx MX 10 mail
mx MX 20 mail.elsewhere.example.
mail A 192.0.2.25
txt TXT "one" "two with \"quotes\" and \\ and \000\255"
srv SRV 1 2 5000 www
naptr NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@corp.example!" .
naptr NAPTR 100 20 "s" "SIP+D2U" "" srv
ptr PTR www
ds DS 12345 8 2 49FD46E6C4B45C55D4AC49FD46E6C4B45C55D4AC49FD46E6C4B45C55D4AC1234
sshfp SSHFP 1 1 123456789abcdef67890123456789abcdef67890
tlsa TLSA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
smimea SMIMEA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
caa CAA 0 issue "ca.example"
uri URI 10 1 "https://www.corp.example/"
hinfo HINFO "CPU" "OS"
minfo MINFO mail mail2
rp RP admin txt
afsdb AFSDB 1 www
rt RT 10 www
kx KX 10 www
x25 TYPE19 \# 5 0431323334
loc LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
cert CERT PGP 0 0 MIIBCgKCAQEA
apl APL 1:192.168.32.0/21 !1:192.168.38.0/28
ipseckey IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
dhcid DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=
openpgp OPENPGPKEY AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
csync CSYNC 66 3 A NS AAAA
eui48 EUI48 00-00-5e-00-53-2a
eui64 EUI64 00-00-5e-ef-10-00-00-2a
svcb SVCB 1 www alpn=h2 port=8443
https HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1
https HTTPS 0 www
private TYPE65280 \# 4 0a000001
zero 0 A 192.0.2.99
UPPER A 192.0.2.30
_under.score A 192.0.2.31
esc\.aped A 192.0.2.32
"""

# owner, type: all of them are compared with what Knot itself says.
RECORDS = [
    ("www", "A"), ("www", "AAAA"), ("@", "NS"), ("@", "SOA"), ("mx", "MX"), ("txt", "TXT"),
    ("srv", "SRV"), ("naptr", "NAPTR"), ("ptr", "PTR"), ("ds", "DS"), ("sshfp", "SSHFP"),
    ("tlsa", "TLSA"), ("smimea", "SMIMEA"), ("caa", "CAA"), ("uri", "URI"), ("hinfo", "HINFO"),
    ("minfo", "MINFO"), ("rp", "RP"), ("afsdb", "AFSDB"), ("rt", "RT"), ("kx", "KX"),
    ("x25", "TYPE19"), ("loc", "LOC"), ("cert", "CERT"), ("apl", "APL"),
    ("ipseckey", "IPSECKEY"), ("dhcid", "DHCID"), ("openpgp", "OPENPGPKEY"), ("csync", "CSYNC"),
    ("eui48", "EUI48"), ("eui64", "EUI64"), ("svcb", "SVCB"), ("https", "HTTPS"),
    ("private", "TYPE65280"), ("alias", "A"), ("alias", "CNAME"), ("alias", "AAAA"),
    ("dangling", "A"), ("x.sub", "A"), ("sub", "DNAME"), ("any.thing.wild", "A"),
    ("big", "TXT"), ("UPPER", "A"), ("_under.score", "A"), ("esc\\.aped", "A"), ("zero", "A"),
    ("nowhere", "A"), ("www", "TXT"),
]
BIG_RECORDS, BIG_BYTES = 200, 250 # about 52 kB in one answer


def need(*programs):
    for program in programs:
        if not find(program):
            raise Skip(f"{program} is not installed")


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Server:
    """A process in a scratch directory, ended by its pid."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="stubborn-live-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.port = free_port()
        self.process = None

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def spawn(self, *command):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.dir)

    def log(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    def wait_for(self, name, rcode=0, **more):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("the server ended:\n" + self.log())
            reply = ask_udp(self.port, name, timeout=0.5, **more)
            return reply and reply.rcode == rcode
        try:
            until(ready, f"{type(self).__name__} answers for {name}", 2 * PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{self.log()}") from None

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Knot(Server):
    def start(self):
        need("knotd", "kdig")
        big = "".join(f'big TXT "{i:03d}{"x" * (BIG_BYTES - 3)}"\n' for i in range(BIG_RECORDS))
        self.write("corp.zone", ZONE + big)
        for zone in ("signed", "bogus"):
            self.write(zone + ".zone", f"$ORIGIN {zone}.example.\n$TTL 3600\n"
                       "@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\n"
                       "www A 192.0.2.40\nalias CNAME www\n")
        os.mkdir(os.path.join(self.dir, "db"))
        config = self.write("knot.conf", f"""
server:
    rundir: {self.dir}
    listen: 127.0.0.1@{self.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {self.dir}/db
log:
  - target: stderr
    any: warning
policy:
  - id: quick
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: {self.dir}
    zonefile-sync: -1
    journal-content: none
zone:
  - domain: corp.example
    file: corp.zone
  - domain: signed.example
    file: signed.zone
    dnssec-signing: on
    dnssec-policy: quick
    zonefile-load: whole
    journal-content: changes
  - domain: bogus.example
    file: bogus.zone
""")
        self.spawn(find("knotd"), "-c", config)
        self.wait_for("www.corp.example")
        self.wait_for("www.signed.example")
        return self

    def key(self, zone):
        """The zone's trust anchor in Unbound's form."""
        def fetch():
            lines = kdig(self.port, zone, "DNSKEY", "+noall", "+answer").splitlines()
            return next((line for line in lines if " 257 " in line.replace("\t", " ")), None)
        return until(fetch, f"{zone} has a key")


class Unbound(Server):
    def start(self, knot):
        need("unbound")
        stubs = "".join(f"stub-zone:\n    name: {zone}.example\n"
                        f"    stub-addr: 127.0.0.1@{knot.port}\n"
                        for zone in ("corp", "signed", "bogus"))
        key = knot.key("signed.example")
        wrong = ("bogus.example. DS 12345 13 2 "
                 "49FD46E6C4B45C55D4AC49FD46E6C4B45C55D4AC49FD46E6C4B45C55D4AC1234")
        config = self.write("unbound.conf", f"""
server:
    directory: "{self.dir}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    interface: 127.0.0.1
    port: {self.port}
    num-threads: 1
    so-rcvbuf: 0
    do-not-query-localhost: no
    module-config: "validator iterator"
    trust-anchor: "{' '.join(key.split())}"
    trust-anchor: "{wrong}"
    domain-insecure: "corp.example"
    target-fetch-policy: "0 0 0 0 0"
    ede: yes
    harden-referral-path: no
remote-control:
    control-enable: no
{stubs}""")
        self.spawn(find("unbound"), "-d", "-c", config)
        self.wait_for("www.corp.example")
        self.wait_for("www.signed.example")
        return self


def kdig(port, name, kind, *more, tool="kdig"):
    """Text of kdig (or dig) on stdout."""
    need(tool)
    result = subprocess.run([find(tool), "@127.0.0.1", "-p", str(port), *more, name, kind],
                            capture_output=True, timeout=30, check=False)
    check(result.returncode == 0, f"{tool} {name} {kind}: {result.stdout} {result.stderr}")
    return result.stdout.decode()
