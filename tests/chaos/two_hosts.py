"""Two hosts on one machine: network namespaces with a cable between them that can be pulled out. ::

    with two_hosts() as (a, b, cable):
        with a.entered(): ...          # this thread, and what it starts, is on host a
        cable.pull(); cable.plug()

A host here is a network of its own with a loopback of its own; processes and files are shared.
Whoever listens on host ``a`` is reached from ``b`` at ``a.address`` and from nowhere else.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

_NEW_NETWORK: Final = 0x40000000
_LINK: Final = "cable"


@dataclass(frozen=True, slots=True)
class Host:
    """One side."""

    namespace: str
    address: str

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is on the host; so are processes and threads that it starts meanwhile."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(Path("/run/netns", self.namespace), os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    @property
    def named(self) -> tuple[str, ...]:
        """What to put before a command so that it meets the host's own name."""
        naming = 'hostname "$0" && exec "$@"'
        return ("unshare", "--uts", "sh", "-c", naming, self.namespace)


@dataclass(frozen=True, slots=True)
class Cable:
    """Between the two; it is pulled out at the first one's end."""

    host: Host

    def pull(self) -> None:
        """Nothing gets across any more, and nobody is told."""
        ip("-n", self.host.namespace, "link", "set", _LINK, "down")

    def plug(self) -> None:
        """As it was. What was sent meanwhile is sent again by TCP, in its own time."""
        ip("-n", self.host.namespace, "link", "set", _LINK, "up")


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host, Cable]]:
    """Both hosts and their cable; skips the test where they cannot be had."""
    name = f"reelfarm-{secrets.token_hex(4)}"
    hosts = Host(f"{name}-a", "10.202.0.1"), Host(f"{name}-b", "10.202.0.2")
    with ExitStack() as stack:
        for host in hosts:
            try:
                ip("netns", "add", host.namespace)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"network namespaces are not to be had here: {_reason(error)}")
            stack.callback(ip, "netns", "del", host.namespace)
        if shutil.which("unshare") is None:
            pytest.skip("there is no program unshare, to give a host its name")
        first, second = (host.namespace for host in hosts)
        other_end = ("peer", "name", _LINK, "netns", second)
        ip("-n", first, "link", "add", _LINK, "type", "veth", *other_end)
        for host in hosts:
            ip("-n", host.namespace, "address", "add", f"{host.address}/30", "dev", _LINK)
            for link in ("lo", _LINK):
                ip("-n", host.namespace, "link", "set", link, "up")
        yield *hosts, Cable(hosts[0])


def ip(*arguments: str) -> None:
    """The command of that name; raises what a failed command raises."""
    subprocess.run(("ip", *arguments), check=True, capture_output=True, text=True)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")


def _reason(error: Exception) -> str:
    return getattr(error, "stderr", "") or str(error)
