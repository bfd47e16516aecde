"""How many parts this host has room for: by its cores, and by its memory.

Both may be less than the machine has: a container is told its share by its control group.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

import psutil

#: Bytes that a slot takes at most: its worker, and the largest ffmpeg that was measured.
SLOT_MEMORY: Final = 500 * 2**20

_CGROUP: Final = Path("/sys/fs/cgroup")


def slots(cores: int, memory: int) -> int:
    """Encode slots for so many cores and bytes; one in any case."""
    return max(1, min(cores, memory // SLOT_MEMORY))


def cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may use."""
    able = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    count = len(able) or os.cpu_count() or 1
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period):
        count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def memory(cgroup: Path = _CGROUP) -> int:
    """Bytes of memory that this process and its like may use."""
    most: int = psutil.virtual_memory().total
    limit = _read(cgroup / "memory.max")
    return min(most, int(limit)) if limit.isdecimal() else most


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
