"""What a media process may use. Inputs are hostile, and a decoder is a large attack surface."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of one process (``setrlimit``). None means: not limited here."""

    #: Processor seconds over all threads; None for what the deadline allows on every core.
    cpu_seconds: int | None = None
    #: Bytes of address space: a net under runaway allocations. On two cores, 8K into three rungs
    #: took 3.6 GiB.
    address_space: int | None = 16 * 1024 * _MIB
    #: Bytes of all its files in scratch together. Film and sound leave through pipes, so that
    #: without scratch not a byte can be written to any file.
    scratch: int = 64 * _MIB
    open_files: int | None = 256

    def on_a_device(self) -> Limits:
        """The same for a process that uses a graphics processor.

        Its driver maps the device's memory, and reserves room for it by tens of gigabytes, of
        which next to nothing is ever used.
        """
        return replace(self, address_space=None)

    def resources(self, deadline: float, *, writes: bool) -> dict[str, int]:
        """Limits by their ``RLIMIT_`` name for a run that may take ``deadline`` seconds.

        None on the number of processes: it counts those of the user, and of root none at all.
        A child cannot start any (see :mod:`media.seccomp`).
        """
        cpu = self.cpu_seconds or math.ceil(deadline * (os.cpu_count() or 1)) + 1
        wanted = {
            "CPU": cpu,
            "AS": self.address_space,
            "FSIZE": self.scratch if writes else 0,
            "NOFILE": self.open_files,
            "CORE": 0,
        }
        return {name: value for name, value in wanted.items() if value is not None}
