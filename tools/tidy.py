#!/usr/bin/env python3
"""Holds the laws of the code that no compiler knows: floors, sizes, bans, effects, comments.

    tools/tidy.py [ROOT]        prints `file:line: sentence` per finding; exit 1 when there is one
    tools/tidy.py --self-test   plants a breach of every rule in a scratch tree and sees it reported
    tools/tidy.py --rules       lists the rules

The tables below are the rules; the functions only read them. Standard library only.
"""
import os
import re
import sys
import tempfile

FILE_LINES, FUNCTION_LINES, LINE_COLUMNS = 900, 70, 100

# Folder under src/ and its floor. Includes go downward; folders on one floor are strangers.
FLOORS = {"base": 0, "dns": 1, "core": 2, "store": 3, "net": 3, "resolve": 4, "io": 5, "conf": 5,
          "front": 6, "cmd": 7}
# Beside the floors: whole folders, or single headers, that they may include besides their own.
BESIDE = {
    "edge": ({"base", "dns"}, {"core/settings.h", "store/l1_read.h"}),
    "adapters": ({"edge"}, set()),
}
MAY_INCLUDE_EDGE = {"edge", "adapters", "cmd"}
STRATEGIES = {"pin", "hosts", "cached", "wire", "local", "doubt", "stale", "guess", "emergency",
              "shared", "validate"}
FRONTS = {"dns_front", "http_front", "control", "dashboard"}

# System headers of libraries (prefix) and the folders that may see them.
LIBRARIES = {
    "uv.h": {"io", "cmd"}, "openssl/": {"io"}, "microhttpd": {"io"}, "libmnl/": {"net"},
    "jansson": {"front", "cmd"}, "yaml": {"conf"}, "hiredis": {"store"}, "unbound": {"cmd"},
    "seccomp": {"cmd"}, "curl/": {"adapters"}, "grpc/": {"adapters"},
    "ctype.h": set(), "wctype.h": set(), "locale.h": set(),
}

# Never called anywhere, and what to use instead.
BANNED = {
    "strcpy": "sb_writer", "stpcpy": "sb_writer", "strcat": "sb_writer", "strncat": "sb_writer",
    "sprintf": "snprintf or sb_write_format", "vsprintf": "vsnprintf", "gets": "sb_reader",
    "strtok": "sb_reader", "atoi": "sb_parse_u64", "atol": "sb_parse_u64",
    "atoll": "sb_parse_u64", "atof": "sb_parse_u64", "rand": "base/rand.h or env entropy",
    "srand": "base/rand.h", "random": "base/rand.h or env entropy", "gmtime": "gmtime_r",
    "localtime": "localtime_r", "ctime": "strftime", "asctime": "strftime",
    "inet_addr": "sb_addr_parse", "inet_ntoa": "sb_addr_text", "select": "env or poll",
    "system": "env spawn", "popen": "env spawn", "alloca": "sb_arena_alloc",
    "setlocale": "nothing: there is no locale here", "tolower": "sb_ascii_lower",
    "toupper": "sb_ascii_lower", "isalpha": "ASCII by hand", "isdigit": "sb_ascii_digit",
    "isalnum": "ASCII by hand", "isspace": "ASCII by hand", "isxdigit": "ASCII by hand",
    "isprint": "ASCII by hand", "strcasecmp": "sb_ascii_equal", "strncasecmp": "sb_ascii_equal",
}
# Effects: only where the seam is implemented, and in the edge, which has none.
EFFECT_FOLDERS = {"io", "edge", "cmd", "adapters"}
EFFECTS = set("""socket socketpair bind connect accept accept4 listen recv recvfrom recvmsg recvmmsg
    send sendto sendmsg sendmmsg getsockopt setsockopt getsockname getpeername shutdown poll ppoll
    epoll_create1 epoll_ctl epoll_wait clock_gettime clock_nanosleep gettimeofday time nanosleep
    usleep sleep getrandom getentropy open openat creat close fopen fdopen freopen fclose read write
    readv writev pread pwrite mmap munmap msync mremap ftruncate truncate fallocate posix_fallocate
    memfd_create unlink unlinkat rename renameat stat fstat lstat statx mkdir rmdir chmod fchmod
    chown fchown fsync fdatasync opendir readdir scandir pipe pipe2 dup dup2 dup3 fcntl flock ioctl
    fork vfork execv execve execvp posix_spawn waitpid kill signal sigaction pthread_create
    if_nametoindex if_indextoname getifaddrs getaddrinfo getnameinfo gethostbyname gethostname
    res_init res_query syscall inotify_init1 timerfd_create eventfd mnl_socket_open
    mnl_socket_open2 mnl_socket_bind mnl_socket_sendto mnl_socket_recvfrom mnl_socket_close
    mnl_socket_setsockopt""".split())
ALLOCATORS = set("""malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf
    aligned_alloc posix_memalign memalign valloc getline getdelim""".split())
# (file, name): why the rule above does not bind there.
EXCEPTIONS = {
    ("src/base/log.c", "clock_gettime"): "a log that needs an env cannot tell why there is none",
    ("src/base/log.c", "write"): "the default sink is stderr, from the first line of main on",
    ("src/base/addr.c", "if_nametoindex"): "a scope by name in a configuration; never in the sim",
    ("src/base/mem.c", "malloc"): "the allocator", ("src/base/mem.c", "calloc"): "the allocator",
    ("src/base/mem.c", "realloc"): "the allocator", ("src/base/mem.c", "free"): "the allocator",
}
# Spelled in pieces, or this file would report itself. Home of `u` or `user` is nobody's.
MACHINE_PATHS = re.compile(
    "(?<![\\w.])/" + "(?:wor" + r"k/\w|hom" + r"e/(?!u\b|user\b)[a-z]|roo" + r"t/\w|tm"
    + r"p/(?:brief|build-|bash_jobs)|Use" + r"rs/\w|build" + r"s/\w)")

LOCKS = re.compile(r"pthread_(mutex|rwlock|cond|spin)|mtx_|sem_")
KEYWORDS = {"if", "for", "while", "switch", "return", "sizeof", "_Alignof", "typeof", "defined",
            "__attribute__", "_Static_assert", "_Alignas", "_Atomic", "alignof"}
TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
CALL = re.compile(r"(?<![\w.])(?<!->)([A-Za-z_]\w*)\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class File:
    """One file: its text, its code without comments and strings, its comments alone."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace", newline="") as f:
            self.text = f.read()
        self.lines = self.text.split("\n")
        if self.lines and self.lines[-1] == "":
            self.lines.pop()
        parts = path.split("/")
        self.folder = parts[1] if parts[0] == "src" and len(parts) > 2 else None
        self.stem = os.path.splitext(parts[-1])[0]
        self.is_c = path.endswith((".c", ".h"))
        if self.is_c:
            blank = lambda m: re.sub(r"[^\n]", " ", m.group())
            keep = lambda m: m.group() if m.group()[:2] in ("/*", "//") else blank(m)
            self.code = TOKENS.sub(blank, self.text).split("\n")
            self.comment = self.comments_only()

    def comments_only(self):
        out = [" "] * len(self.text)
        for m in TOKENS.finditer(self.text):
            if m.group()[:2] in ("/*", "//"):
                out[m.start():m.end()] = m.group()
        for i, c in enumerate(self.text):
            if c == "\n":
                out[i] = "\n"
        return "".join(out).split("\n")

    def calls(self):
        """(line, name) of everything that looks like a call and is not a member."""
        for number, line in enumerate(self.code, 1):
            if line.lstrip().startswith("#"):
                continue
            for m in CALL.finditer(line):
                if m.group(1) not in KEYWORDS:
                    yield number, m.group(1)

    def own_statics(self):
        """Static functions of this file: a helper called `send` is not the system's."""
        return set(re.findall(r"^static\s[^;={(]*?\b(\w+)\(", "\n".join(self.code), re.M))

    def functions(self):
        """(first line, last line, name) of each definition, by the brace style of the project."""
        for number, line in enumerate(self.code, 1):
            if line.rstrip() != "{" or line[0] != "{":
                continue
            first = number - 1
            while first > 1 and (self.code[first - 1][:1] in (" ", "\t", ")") or
                                 not self.code[first - 1].strip()):
                first -= 1
            head = " ".join(self.code[first - 1:number - 1])
            m = re.search(r"([A-Za-z_]\w*)\s*\(", head)
            last = number
            while last < len(self.code) and self.code[last - 1][:1] != "}":
                last += 1
            if m and not re.match(r"\s*(struct|enum|union|typedef)\b[^(]*$", head):
                yield first, last, m.group(1)


def shape(f):
    """A file has at most 900 lines of at most 100 columns; no tabs, no blanks at line ends."""
    if len(f.lines) > FILE_LINES:
        yield FILE_LINES + 1, f"the file has {len(f.lines)} lines, {FILE_LINES} are allowed"
    if f.text and not f.text.endswith("\n"):
        yield len(f.lines), "the last line has no end"
    for number, line in enumerate(f.lines, 1):
        if len(line) > LINE_COLUMNS:
            yield number, f"the line has {len(line)} columns, {LINE_COLUMNS} are allowed"
        if line != line.rstrip():
            yield number, "blanks at the end of the line"
        if "\t" in line and not f.path.endswith("Makefile"):
            yield number, "a tab; blanks are used here"


def machine_path(f):
    """No file names a path of a build machine."""
    for number, line in enumerate(f.lines, 1):
        if MACHINE_PATHS.search(line):
            yield number, "names a path of one machine"


def todo(f):
    """What is left to do says why it is not done, after a colon, in three words or more."""
    for number, line in enumerate(f.comment if f.is_c else f.lines, 1):
        m = re.search(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b(.*)", line)
        if m and (m.group(1) != "TO" + "DO" or not re.match(r": \S+ \S+ \S+", m.group(2))):
            yield number, f"{m.group(1)} without a reason"


def function_size(f):
    """A function has at most 70 lines, its head included."""
    for first, last, name in f.functions():
        if last - first + 1 > FUNCTION_LINES:
            yield first, (f"{name} has {last - first + 1} lines, "
                          f"{FUNCTION_LINES} are allowed")


def banned(f):
    """No banned function is called, not even a test calls one."""
    statics = f.own_statics()
    for number, name in f.calls():
        if name in BANNED and name not in statics:
            yield number, f"{name} is banned; use {BANNED[name]}"


def effects(f):
    """Sockets, clocks, entropy, files and processes only in io/, edge/ and cmd/."""
    if f.folder is None or f.folder in EFFECT_FOLDERS:
        return
    statics = f.own_statics()
    for number, name in f.calls():
        if name in EFFECTS and name not in statics and (f.path, name) not in EXCEPTIONS:
            yield number, f"{name} is an effect: it belongs behind core/env.h"


def allocators(f):
    """The allocator is called in base/mem.c only."""
    if f.folder is None:
        return
    for number, name in f.calls():
        if name in ALLOCATORS and (f.path, name) not in EXCEPTIONS:
            yield number, f"{name} outside base/mem.c; use sb_alloc, sb_free and their like"


def locks(f):
    """No mutex below F5, and SB_ASSERT instead of assert."""
    if f.folder is None:
        return
    for number, name in f.calls():
        if name == "assert":
            yield number, "assert vanishes with NDEBUG; use SB_ASSERT"
        if FLOORS.get(f.folder, 9) < 5 and LOCKS.match(name):
            yield number, f"{name}: there is no lock below F5"


def recursion(f):
    """No function calls itself, unless the comment above it says (`Recursion:`) why it ends."""
    if f.folder is None:
        return
    for first, last, name in f.functions():
        pattern = re.compile(r"(?<![\w.])(?<!->)" + re.escape(name) + r"\s*\(")
        body = next((n for n in range(first, last + 1) if f.code[n - 1].rstrip() == "{"), last)
        above = " ".join(f.comment[max(0, first - 9):first])
        for number in range(body + 1, last + 1):
            if pattern.search(f.code[number - 1]) and "Recursion:" not in above:
                yield number, f"{name} calls itself; say above it (`Recursion:`) what bounds it"


def exits(f):
    """The one label to go to is `done`."""
    if f.folder is None:
        return
    for number, line in enumerate(f.code, 1):
        m = re.search(r"\bgoto\s+(\w+)", line)
        if m and m.group(1) != "done":
            yield number, f"goto {m.group(1)}; the one exit label is done"


def floors(f):
    """Includes go downward; strategies, fronts, and folders on one floor are strangers."""
    if f.folder is None:
        return
    for number, line in enumerate(f.lines, 1):
        m = INCLUDE.match(line)
        if not m:
            continue
        if m.group(1) == "<":
            for prefix, allowed in LIBRARIES.items():
                if m.group(2).startswith(prefix) and f.folder not in allowed:
                    yield number, f"<{m.group(2)}> is not for {f.folder}/"
            continue
        if "/" not in m.group(2):
            yield number, f'"{m.group(2)}": includes are relative to src/'
            continue
        folder, name = m.group(2).split("/", 1)
        sentence = floor_breach(f, folder, m.group(2)) or sibling_breach(f, folder, name)
        if sentence:
            yield number, sentence


def floor_breach(f, folder, header):
    if folder == f.folder or folder == "stubborn":
        return None
    if f.folder in BESIDE:
        folders, headers = BESIDE[f.folder]
        if folder not in folders and header not in headers:
            return f"{f.folder}/ does not include {header}"
    elif folder == "edge":
        return None if f.folder in MAY_INCLUDE_EDGE else f"{f.folder}/ does not include edge/"
    elif f.folder not in FLOORS or folder not in FLOORS:
        return f"{folder}/ or {f.folder}/ stands on no floor known to tools/tidy.py"
    elif FLOORS[folder] == FLOORS[f.folder]:
        return f"{f.folder}/ and {folder}/ share a floor and are strangers"
    elif FLOORS[folder] > FLOORS[f.folder]:
        return f"{f.folder}/ includes upward: {header}"
    return None


def sibling_breach(f, folder, name):
    other = os.path.splitext(name)[0]
    if folder == f.folder == "resolve":
        if f.stem in STRATEGIES and other in STRATEGIES and other != f.stem:
            return f"strategy {f.stem} includes strategy {other}"
    if folder == f.folder == "front":
        mine = front_of(f.path.split("/", 2)[2])
        theirs = front_of(name)
        if mine and theirs and mine != theirs:
            return f"front {mine} includes front {theirs}"
    return None


def front_of(name):
    """dns_front.c, dns_front_tcp.c and dashboard/page.c belong to a front; helpers to none."""
    return next((front for front in FRONTS if re.match(front + r"(_|\.|/)", name)), None)


def installed_headers(f):
    """Installed headers include the C library and one another only."""
    if not f.path.startswith("include/"):
        return
    for number, line in enumerate(f.lines, 1):
        m = INCLUDE.match(line)
        if m and (m.group(1) == '"' or any(m.group(2).startswith(p) for p in LIBRARIES)):
            yield number, f"an installed header does not include {m.group(2)}"


def file_header(f):
    """A source file begins with a comment on what it owns; a header has its guard."""
    if f.folder is None:
        return
    if not f.lines or not f.lines[0].startswith("/*"):
        yield 1, "the file does not begin with a comment on what it owns and never does"
    if f.path.endswith(".h"):
        guard = "SB_" + re.sub(r"\W", "_", f.path[len("src/"):]).upper()
        if f"#ifndef {guard}" not in f.text or f"#define {guard}" not in f.text:
            yield 1, f"the include guard is not {guard}"


def public_comments(f):
    """A function in a header under src/ is named sb_* and has a comment in its paragraph."""
    if f.folder is None or not f.path.endswith(".h"):
        return
    start = 0
    numbers = range(len(f.lines))
    paragraph = {}
    for i in numbers:
        if not f.lines[i].strip():
            start = i + 1
        paragraph[i] = start
    for i in numbers:
        m = re.match(r"(?!#|typedef|struct\s+\w+\s*\{|enum|union|extern|_Static_assert|return)"
                     r"[A-Za-z_][\w \*]*?\b(\w+)\([^;{]*", f.code[i])
        if not m or m.group(1) in KEYWORDS or m.group(1).isupper():
            continue
        head = m.group(1)
        if head == "__attribute__" or re.match(r"\w+\($", f.code[i]):
            continue
        typed = " " in f.code[i].split("(")[0]
        if typed and not head.startswith(("sb_", "stubborn_", "LLVMFuzzer")):
            yield i + 1, f"{head} is public and not named sb_<noun>_<verb>"
        first = paragraph[i]
        has = any(f.comment[n].strip() for n in numbers if paragraph[n] == first)
        above = first >= 2 and f.comment[first - 2].strip().endswith("*/")
        if not has and not above:
            yield i + 1, f"{head} is public and no comment is near it"


ANY_RULES = [shape, machine_path, todo]
C_RULES = [function_size, banned, effects, allocators, locks, recursion, exits, floors,
           installed_headers, file_header, public_comments]
CODE_SUFFIXES = (".c", ".h", ".py", ".sh", ".build", ".scene")
TEXT_SUFFIXES = CODE_SUFFIXES + (".md", ".yaml", ".yml", ".txt", ".1", ".3", ".5", ".7", ".8",
                                 ".service", ".in", ".html", ".js", ".css", ".patch", ".conf")


def tree(root):
    for folder, folders, names in os.walk(root):
        relative = os.path.relpath(folder, root)
        folders[:] = sorted(d for d in folders if d not in
                            ("build", "__pycache__", "corpus", "_site", ".git", ".cache")
                            and not d.startswith("build-"))
        for name in sorted(names):
            yield os.path.normpath(os.path.join(relative, name))


def is_script(root, path):
    with open(os.path.join(root, path), "rb") as f:
        return f.read(2) == b"#!"


def check(root):
    """All findings of a tree as (path, line, sentence), and the number of files read."""
    findings, count = [], 0
    for path in tree(root):
        if not os.path.isfile(os.path.join(root, path)):
            continue
        script = "." not in os.path.basename(path) and is_script(root, path)
        if not (script or path.endswith(TEXT_SUFFIXES) or path == "Makefile"):
            continue
        f = File(root, path)
        count += 1
        rules = [machine_path]
        if script or path.endswith(CODE_SUFFIXES):
            rules = ANY_RULES + (C_RULES if f.is_c else [])
        for rule in rules:
            findings += [(path, line, sentence) for line, sentence in rule(f)]
    return findings, count


HEAD = "/* Owns nothing. */\n"
LONG = "x" * 120
# (what is breached, file, text after the head comment, part of the sentence). None: no head.
PLANTS = [
    ("file size", "src/base/a.c", "int a;\n" * 900, "901 lines"),
    ("line width", "src/base/a.c", f"/* {LONG} */\n", "columns"),
    ("line width in scripts", "tools/a.py", f"# {LONG}\n", "columns"),
    ("tab", "src/base/a.c", "\tint a;\n", "a tab"),
    ("trailing blank", "src/base/a.c", "int a; \n", "blanks at the end"),
    ("last line", "src/base/a.c", "int a;", "no end"),
    ("function size", "src/base/a.c",
     "static int f(void)\n{\n" + "    f1;\n" * 70 + "}\n", "f has 73 lines"),
    ("function size, long head", "src/base/a.c",
     "static int f(int a,\n             int b)\n{\n" + "    f1;\n" * 67 + "}\n", "f has 71 lines"),
    ("machine path", "docs/a.md", "see /wor" + "k/main/x\n", "path of one machine"),
    ("machine path in code", "tests/unit/a.c", '/* /ho' + 'me/jane/x */\n', "path of one machine"),
    ("todo", "src/base/a.c", "/* TO" + "DO */\n", "without a reason"),
    ("fixme", "src/base/a.c", "/* FIX" + "ME: some day or other */\n", "without a reason"),
    ("effect", "src/resolve/a.c", "static int f(void)\n{\n    return socket(1, 2, 3);\n}\n",
     "socket is an effect"),
    ("clock", "src/net/a.c", "int f(void)\n{\n    clock_gettime(0, 0);\n}\n", "an effect"),
    ("entropy", "src/store/a.c", "int f(void)\n{\n    getrandom(0, 0, 0);\n}\n", "an effect"),
    ("file", "src/conf/a.c", "int f(void)\n{\n    fopen(0, 0);\n}\n", "an effect"),
    ("clock in base", "src/base/b.c", "int f(void)\n{\n    clock_gettime(0, 0);\n}\n", "an effect"),
    ("malloc", "src/core/a.c", "void *f(void)\n{\n    return malloc(1);\n}\n", "use sb_alloc"),
    ("free", "src/cmd/a.c", "void f(void *p)\n{\n    free(p);\n}\n", "outside base/mem.c"),
    ("mutex", "src/store/a.c", "int f(void)\n{\n    pthread_mutex_lock(0);\n}\n", "no lock below"),
    ("assert", "src/io/a.c", "int f(void)\n{\n    assert(1);\n}\n", "SB_ASSERT"),
    ("recursion", "src/dns/a.c", "int f(int n)\n{\n    return f(n - 1);\n}\n", "calls itself"),
    ("goto", "src/dns/a.c", "int f(void)\n{\n    goto out;\nout:\n    return 0;\n}\n", "goto out"),
    ("upward", "src/dns/a.c", '#include "core/env.h"\n', "upward"),
    ("net includes store", "src/net/a.c", '#include "store/l1.h"\n', "strangers"),
    ("store includes net", "src/store/a.c", '#include "net/exchange.h"\n', "strangers"),
    ("conf includes io", "src/conf/a.c", '#include "io/tls.h"\n', "strangers"),
    ("strategies", "src/resolve/stale.c", '#include "resolve/wire.h"\n', "strategy stale"),
    ("fronts", "src/front/http_front.c", '#include "front/control.h"\n', "front http_front"),
    ("fronts by part", "src/front/dns_front_tcp.c", '#include "front/http_front.h"\n', "dns_front"),
    ("edge and engine", "src/edge/a.c", '#include "resolve/engine.h"\n', "edge/ does not include"),
    ("edge and writer", "src/edge/a.c", '#include "store/l1_write.h"\n', "edge/ does not include"),
    ("edge and env", "src/edge/a.c", '#include "core/env.h"\n', "edge/ does not include"),
    ("edge and a library", "src/edge/a.c", "#include <openssl/ssl.h>\n", "not for edge/"),
    ("front and edge", "src/front/a.c", '#include "edge/client.h"\n', "does not include edge/"),
    ("unknown folder", "src/base/a.c", '#include "misc/a.h"\n', "no floor"),
    ("uv", "src/resolve/a.c", "#include <uv.h>\n", "<uv.h> is not for resolve/"),
    ("uv installed", "include/stubborn/a.h", "#include <uv.h>\n", "installed header"),
    ("ours installed", "include/stubborn/a.h", '#include "base/mem.h"\n', "installed header"),
    ("ctype", "src/dns/a.c", "#include <ctype.h>\n", "<ctype.h>"),
    ("bare include", "src/dns/a.c", '#include "name.h"\n', "relative to src/"),
    ("file header", "src/dns/a.c", None, "does not begin with a comment"),
    ("guard", "src/dns/a.h", "#ifndef A_H\n#define A_H\n#endif\n", "SB_DNS_A_H"),
    ("comment", "src/dns/a.h", "#ifndef SB_DNS_A_H\n#define SB_DNS_A_H\n\nint sb_a_get(int a);\n"
     "\n#endif\n", "no comment is near"),
    ("name", "src/dns/a.h", "#ifndef SB_DNS_A_H\n#define SB_DNS_A_H\n\n/* Gets. */\n"
     "int get(int a);\n\n#endif\n", "not named sb_"),
] + [("banned " + name, "tests/unit/a.c", f"int f(void)\n{{\n    {name}(0);\n}}\n",
      f"{name} is banned") for name in sorted(BANNED)]

# What must not be reported: the same words where they are harmless.
INNOCENT = {
    "src/base/a.c": HEAD + "#include <uv_not.h>\n\n/* TO" + "DO: waits for a kernel with it */\n"
                    "/* system(1) and malloc(1) in a comment */\n"
                    'static const char *t = "select(1) free(2)";\n\nint f(struct s *s)\n{\n'
                    "    s->connect(s);\n    s->ops.send(s);\n    my_free(t);\n    goto done;\n"
                    "done:\n    return 0;\n}\n",
    "src/base/log.c": HEAD + "int f(void)\n{\n    return clock_gettime(0, 0);\n}\n",
    "src/net/a.c": HEAD + '#include "core/env.h"\n\nstatic void send(int a);\n\nint g(void)\n{\n'
                   "    send(1);\n}\n",
    "src/edge/a.c": HEAD + '#include "store/l1_read.h"\n#include <sys/socket.h>\n\nint g(void)\n{\n'
                    "    return socket(1, 2, 3);\n}\n",
    "src/resolve/engine.c": HEAD + '#include "resolve/wire.h"\n#include "store/l1.h"\n',
    "src/front/http_front.c": HEAD + '#include "front/json.h"\n#include "front/http_front.h"\n',
    "src/dns/walk.c": HEAD + "/* Recursion: bounded by the depth of 3 levels. */\nint f(int n)\n{\n"
                      "    return n > 3 ? n : f(n + 1);\n}\n",
    "src/dns/a.h": HEAD + "#ifndef SB_DNS_A_H\n#define SB_DNS_A_H\n\n/* Two of a kind. */\n"
                   "int sb_a_get(int a);\nint sb_a_put(int a);\n\n"
                   "int sb_a_end(int a); /* ends */\n\n#endif\n",
    "docs/a.md": "x" * 300 + " /hom" + "e/u/.cache\n",
    "Makefile": "all:\n\ttrue\n",
}


def plant(root, path, text):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        f.write(text)


def self_test():
    """TAP: the innocent tree is clean, and each planted breach is found, in its own file."""
    results = []
    with tempfile.TemporaryDirectory() as root:
        for path, text in INNOCENT.items():
            plant(root, path, text)
        findings = check(root)[0]
        results.append((not findings, f"innocent tree is clean {findings or ''}"))
    for what, path, text, expected in PLANTS:
        with tempfile.TemporaryDirectory() as root:
            head = HEAD if path.endswith((".c", ".h")) else ""
            plant(root, path, "int a;\n" if text is None else head + text)
            findings = check(root)[0]
            found = any(p == path and expected in s for p, _, s in findings)
            results.append((found, f"planted: {what}" + ("" if found else f": {findings}")))
    for number, (ok, name) in enumerate(results, 1):
        print(f"{'ok' if ok else 'not ok'} {number} - {name}")
    print(f"1..{len(results)}")
    return 0 if all(ok for ok, _ in results) else 1


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if arguments == ["--rules"]:
        for rule in ANY_RULES + C_RULES:
            print(f"{rule.__name__:18} {rule.__doc__}")
        return 0
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        print(__doc__, file=sys.stderr)
        return 2
    root = arguments[0] if arguments else os.path.join(os.path.dirname(__file__), "..")
    findings, count = check(root)
    for path, line, sentence in findings:
        print(f"{path}:{line}: {sentence}")
    print(f"tidy: {count} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
