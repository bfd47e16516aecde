"""Processor time of a running farm, by what it is spent on.

Read from the kernel for every process below the supervisor, with the time of children that ended
and were waited for. A process that ends between two readings moves its time to its parent.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass

import psutil

_MODULES = ("farm.api_process", "farm.worker_process")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of processor time so far."""

    #: The API, the workers and the supervisor, in Python.
    farm: float = 0.0
    #: ffmpeg and ffprobe, from start to end.
    media: float = 0.0
    #: SeaweedFS and Valkey.
    servers: float = 0.0

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(
            self.farm - earlier.farm, self.media - earlier.media, self.servers - earlier.servers
        )

    @property
    def total(self) -> float:
        """The farm with its media processes; what it costs where the servers are elsewhere."""
        return self.farm + self.media


def usage_below(supervisor: int) -> Usage:
    """Of the farm whose supervisor has that process id.

    Children of workers and of the API are media processes; other children of the supervisor that
    do not run this Python are servers.
    """
    root = psutil.Process(supervisor)
    own, ended = _times(root)
    farm, media, servers = own + ended, 0.0, 0.0
    for child in root.children():
        with suppress(psutil.NoSuchProcess):
            if _is_ours(child):
                own, ended = _times(child)
                running = sum(_total(each) for each in child.children(recursive=True))
                farm, media = farm + own, media + ended + running
            else:
                servers += _total(child)
                servers += sum(_total(each) for each in child.children(recursive=True))
    return Usage(farm, media, servers)


def _is_ours(process: psutil.Process) -> bool:
    words = process.cmdline()
    return bool(words) and (words[0] == sys.executable or any(w in _MODULES for w in words))


def _total(process: psutil.Process) -> float:
    try:
        return sum(_times(process))
    except psutil.NoSuchProcess:
        return 0.0


def _times(process: psutil.Process) -> tuple[float, float]:
    """Of the process itself, and of its children that were waited for."""
    times = process.cpu_times()
    return times.user + times.system, times.children_user + times.children_system
