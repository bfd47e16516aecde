"""What a media process may use. Inputs are hostile, and a decoder is a large attack surface."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of one process (``setrlimit``). None means: not limited here."""

    #: Processor seconds over all threads; None for what the deadline allows on every core.
    cpu_seconds: int | None = None
    #: Bytes of address space: a net under runaway allocations. On two cores, 8K into three rungs
    #: took 3.6 GiB.
    address_space: int | None = 16 * 1024 * _MIB
    #: Bytes of the largest file it may write. Film and sound leave through pipes.
    file_size: int | None = 64 * _MIB
    open_files: int | None = 256

    def resources(self, deadline: float) -> dict[str, int]:
        """Limits by their ``RLIMIT_`` name for a run that may take ``deadline`` seconds."""
        cpu = self.cpu_seconds or math.ceil(deadline * (os.cpu_count() or 1)) + 1
        wanted = {
            "CPU": cpu,
            "AS": self.address_space,
            "FSIZE": self.file_size,
            "NOFILE": self.open_files,
            "CORE": 0,
        }
        return {name: value for name, value in wanted.items() if value is not None}
