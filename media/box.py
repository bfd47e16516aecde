"""What one media process may reach, told from its own arguments.

Sources follow ``-i``; everything else leaves through descriptors that are open already. The
kernel's side of it is in :mod:`media.landlock` and :mod:`media.seccomp`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from media.command import Device
from media.devices import Access, access
from media.libraries import needed_by

#: Libraries of the system, from which one is also loaded by name while running; and what tells a
#: program how many threads are worth it.
_SYSTEM: Final = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/dev/null", "/dev/urandom", "/proc/cpuinfo", "/sys/devices/system/cpu"),
)

#: What names are looked up with.
_NAMES: Final = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
)
_NAME_SERVICE: Final = 53

_URL: Final = "http://"
_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Box:
    """Paths are absolute; a folder stands for all below it."""

    reads: tuple[str, ...]
    executes: tuple[str, ...]
    #: The scratch folder, or nothing.
    writes: tuple[str, ...] = ()
    #: TCP ports, of any host, since the kernel knows no finer rule.
    ports: tuple[int, ...] = ()
    #: Whether a host is given by name.
    resolves: bool = False
    #: Device files to read, write and control.
    devices: tuple[str, ...] = ()

    def rules(self, parent: int, limits: Mapping[str, int]) -> dict[str, Any]:
        """What :mod:`media.launch` is told, in plain types."""
        return {
            "parent": parent,
            "limits": dict(limits),
            "reads": self.reads,
            "executes": self.executes,
            "writes": self.writes,
            "ports": self.ports,
            "resolves": self.resolves,
            "devices": self.devices,
        }


def box_for(
    program: Path,
    arguments: Sequence[str],
    *,
    scratch: Path | None = None,
    reads: Sequence[Path] = (),
    device: Device | None = None,
) -> Box:
    """The box in which ``program`` can do what ``arguments`` say; ``reads`` are allowed besides.

    It holds nothing of any graphics processor but of the one ``device`` that is named.
    """
    sources = tuple(_values(arguments, "-i"))
    hosts = [urlsplit(source) for source in sources if source.startswith(_URL)]
    resolves = any(not _is_address(url.hostname or "") for url in hosts)
    libraries = needed_by(program)
    held = Access((), ()) if device is None else access(device)
    return Box(
        reads=(
            *(*_SYSTEM, *libraries.folders, *(_NAMES if resolves else ()), *held.reads),
            *(file for file in sources if file.startswith("/")),
            *map(str, reads),
        ),
        executes=(str(program), *libraries.loader),
        writes=() if scratch is None else (str(scratch),),
        ports=(*dict.fromkeys(map(_port, hosts)), *((_NAME_SERVICE,) if resolves else ())),
        resolves=resolves,
        devices=held.nodes,
    )


def _values(arguments: Sequence[str], option: str) -> Iterator[str]:
    return (value for name, value in pairwise(arguments) if name == option)


def _port(url: SplitResult) -> int:
    return url.port or _PORT


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
