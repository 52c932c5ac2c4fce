#!/usr/bin/env python3
"""What `make install` leaves: every file, its mode, and a unit that systemd takes."""
import os
import shutil
import stat
import subprocess
import tempfile

from live import Skip, check, equal, run

FILES = {
    "bin/stubborn": 0o755,
    "sbin/stubbornd": 0o755,
    "lib/systemd/system/stubborn.service": 0o644,
    "lib/sysusers.d/stubborn.conf": 0o644,
    "share/bash-completion/completions/stubborn.bash": 0o644,
    "share/doc/stubborn/examples/stubborn.yaml": 0o644,
    "share/fish/vendor_completions.d/stubborn.fish": 0o644,
    "share/man/man1/stubborn.1": 0o644,
    "share/man/man5/stubborn.yaml.5": 0o644,
    "share/man/man8/stubbornd.8": 0o644,
    "share/zsh/site-functions/_stubborn": 0o644,
}


class Installed:
    """An installation below a folder that goes away; self.prefix is where /usr/local is."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="stubborn-install-")
        self.prefix = os.path.join(self.folder.name, "usr", "local")
        done = subprocess.run(["meson", "install", "--no-rebuild", "-C", os.environ["SB_BUILD"],
                               "--destdir", self.folder.name], capture_output=True, check=False)
        equal(done.returncode, 0, done.stderr.decode())
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def text(self, path):
        with open(os.path.join(self.prefix, path), encoding="utf-8") as f:
            return f.read()


def files():
    """Every file is installed with its mode, and no other"""
    with Installed() as there:
        found = {}
        for folder, _, names in os.walk(there.folder.name):
            for name in names:
                path = os.path.join(folder, name)
                mode = stat.S_IMODE(os.stat(path).st_mode)
                found[os.path.relpath(path, there.prefix)] = mode
                check(os.path.getsize(path) > 0, f"{path} is empty")
        equal(found, FILES, "installed")


def programs():
    """The installed programs run, and the documented configuration is a good one"""
    with Installed() as there:
        bin_dir, sbin_dir = os.path.join(there.prefix, "bin"), os.path.join(there.prefix, "sbin")
        example = os.path.join(there.prefix, "share/doc/stubborn/examples/stubborn.yaml")
        for command in ([f"{bin_dir}/stubborn", "--version"],
                        [f"{sbin_dir}/stubbornd", "--version"],
                        [f"{sbin_dir}/stubbornd", "--check", "-c", example]):
            done = subprocess.run(command, capture_output=True, check=False)
            equal(done.returncode, 0, f"{command}: {done.stderr.decode()}")


def need_analyze():
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not here")


def unit():
    """systemd has nothing to say about the unit"""
    need_analyze()
    with Installed() as there:
        text = there.text("lib/systemd/system/stubborn.service")
        check("ExecStart=/usr/local/sbin/stubbornd\n" in text, text)
        path = os.path.join(there.folder.name, "stubborn.service")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("/usr/local", there.prefix))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", path],
                              capture_output=True, check=False)
        said = done.stderr.decode()
        if "Failed to" in said and "stubborn.service" not in said:
            raise Skip(said.strip().splitlines()[0])
        check(done.returncode == 0 and "stubborn.service" not in said, said)


def calls_of(group):
    """The system calls of a group, groups within it taken apart."""
    done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True,
                          check=True)
    calls = set()
    for word in done.stdout.decode().splitlines()[1:]:
        word = word.strip()
        if word.startswith("@"):
            calls |= calls_of(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def system_calls():
    """The unit leaves the calls that give files to a group, and no others that need privileges"""
    need_analyze()
    with Installed() as there:
        allowed = set()
        for line in there.text("lib/systemd/system/stubborn.service").splitlines():
            if line.startswith("SystemCallFilter="):
                words = line.split("=", 1)[1]
                for word in words.lstrip("~").split():
                    allowed = (allowed - calls_of(word) if words.startswith("~")
                               else allowed | calls_of(word))
        for call in ("fchown", "lchown", "fchmod", "chmod", "mmap", "socket", "sendmmsg",
                     "eventfd2", "inotify_add_watch"):
            check(call in allowed, f"{call} is denied")
        equal(allowed & calls_of("@privileged"), calls_of("@chown"), "of the privileged")


if __name__ == "__main__":
    run([files, programs, unit, system_calls])
