"""Watches the worker processes of a farm: their memory, and what lies on disk meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Final

import psutil

#: Seconds between two looks.
_EVERY: Final = 0.25
_MODULE: Final = "farm.worker_process"


@dataclass(slots=True)
class Peaks:
    """The most that was seen, in bytes."""

    #: Of one worker process: resident, and of that its own alone.
    rss: int = 0
    uss: int = 0
    #: Of what the folders hold beyond what they held at first, logs aside.
    scratch: int = 0


@contextmanager
def watched(supervisor: int, folders: tuple[Path, ...]) -> Iterator[Peaks]:
    """What the workers below that process use for as long as the block."""
    peaks, stop = Peaks(), Event()
    before = sum(map(_size, folders))

    def look() -> None:
        while not stop.wait(_EVERY):
            peaks.scratch = max(peaks.scratch, sum(map(_size, folders)) - before)
            for worker in _workers(supervisor):
                with suppress(psutil.Error):
                    memory = worker.memory_full_info()
                    peaks.rss, peaks.uss = max(peaks.rss, memory.rss), max(peaks.uss, memory.uss)

    thread = Thread(target=look, name="peaks", daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


def _workers(supervisor: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(supervisor).children():
        with suppress(psutil.Error):
            if _MODULE in child.cmdline():
                found.append(child)
    return found


def _size(folder: Path) -> int:
    """Bytes that its files take on disk, without those of servers, which are no scratch."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            if not {"valkey", "seaweedfs"} & set(path.relative_to(folder).parts):
                total += path.lstat().st_blocks * 512
    return total
