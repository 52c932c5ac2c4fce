"""Network namespaces for a test, taken down with it, whatever happens. Standard library only."""
import os
import random
import re
import subprocess

from live import Skip


def ip(*words, check=True):
    """Runs ip(8); its output."""
    result = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and result.returncode != 0:
        raise AssertionError(f"ip {' '.join(words)}: {result.stderr.strip()}")
    return result.stdout


class Namespace:
    """A namespace of its own with loopback up: `with Namespace() as ns: ns.ip("link", …)`."""

    def __init__(self):
        self.name = f"stubborn-{os.getpid()}-{random.randrange(1 << 32):08x}"

    def __enter__(self):
        try:
            result = subprocess.run(["ip", "netns", "add", self.name], capture_output=True,
                                    text=True, check=False)
        except FileNotFoundError:
            raise Skip("ip (iproute2) is not installed") from None
        if result.returncode != 0:
            reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Skip(f"no network namespace can be made: {reason}")
        self.ip("link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        ip("netns", "del", self.name, check=False)

    def ip(self, *words, check=True):
        return ip("-n", self.name, *words, check=check)

    def command(self, *words):
        """The words of a command that runs in here."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words, **more):
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False,
                              timeout=20, **more)


def pair(here, there, name="eth0", name_there="eth0"):
    """A cable between two namespaces, both ends up.

    Of a carrier lost the kernel tells once a second, except of a virtual link whose other end has
    another index: there at once.
    """
    here.ip("link", "add", name, "index", "77", "type", "veth", "peer", "name", name_there,
            "netns", there.name)
    here.ip("link", "set", name, "up")
    there.ip("link", "set", name_there, "up")


def hardware(ns, name="eth0"):
    """The link-layer address of an interface."""
    return re.search(r"link/ether ([0-9a-f:]+)", ns.ip("link", "show", name)).group(1)
