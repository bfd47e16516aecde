"""Watches a farm while it is given files that mean harm.

A canary is a file and an address that nobody has any business to open; the kernel tells when
somebody does (inotify(7)). Media processes are looked at in /proc, so both need Linux.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import pytest

from farm import running
from storage import layout
from tests.e2e.farm_process import Farm, eventually

# linux/inotify.h
_ACCESS: Final = 0x1
_OPEN: Final = 0x20
_EVENT: Final = struct.Struct("iIII")

#: Seconds between two looks at the processes. Each tells its own peak, so only those that live
#: shorter are missed.
_LOOK: Final = 0.02


@dataclass
class Canary:
    """A film that must not be read, and an address that must not be called."""

    file: Path
    port: int
    _watch: int
    #: What was said by those who came.
    visits: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}/secret.ts"

    def openings(self) -> int:
        """How often the file was opened or read since the last time."""
        seen = 0
        with suppress(BlockingIOError):
            while data := os.read(self._watch, 4096):
                seen += len(data) // _EVENT.size
        return seen


@contextmanager
def canary(file: Path) -> Iterator[Canary]:
    """A canary of that file, which exists, and of a free port."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells who opens a file")
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watch >= 0, os.strerror(ctypes.get_errno())
    added = libc.inotify_add_watch(watch, os.fsencode(file), _ACCESS | _OPEN)
    assert added >= 0, os.strerror(ctypes.get_errno())
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            found = Canary(file, server.getsockname()[1], watch)
            watcher = Thread(target=_listen, args=(server, found.visits), daemon=True)
            watcher.start()
            try:
                yield found
            finally:
                server.shutdown(socket.SHUT_RDWR)
                watcher.join(5.0)
    finally:
        os.close(watch)


def _listen(server: socket.socket, visits: list[bytes]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.settimeout(1.0)
            visits.append(connection.recv(1000))


class MediaWatch:
    """The media processes of a farm: what they take at the most, and which there are."""

    def __init__(self, farm: Farm) -> None:
        note = running.find(farm.log.parent / "data")
        assert note is not None
        self._farm = note.pid
        self._over = Event()
        self._thread = Thread(target=self._look, daemon=True)
        #: Bytes of resident memory of the largest since :meth:`start_over`.
        self.peak = 0

    def __enter__(self) -> MediaWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5.0)

    def start_over(self) -> None:
        """Forget the peak."""
        self.peak = 0

    def running(self) -> list[int]:
        """The media processes there are."""
        return [pid for pid in _descendants(self._farm) if _is_media(pid)]

    def assert_over(self) -> None:
        """No media process is left."""
        eventually(lambda: not self.running(), 5.0, self.running)

    def _look(self) -> None:
        while not self._over.wait(_LOOK):
            self.peak = max([self.peak, *map(_peak, self.running())])


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _children(pid: int) -> list[int]:
    """Of all threads; a child belongs to the one that started it."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _is_media(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("ff")
    return False


def _peak(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


@contextmanager
def no_complaints(farm: Farm) -> Iterator[None]:
    """Nothing in any log of the farm tells of an exception nobody foresaw, or of a lost worker."""
    before = farm.log.stat().st_size
    yield
    with farm.log.open("rb") as log:
        log.seek(before)
        said = log.read().decode(errors="replace")
    complaints = [line for line in said.splitlines() if complains(line)]
    assert not complaints, "\n".join(complaints)[:4000]


def complains(line: str) -> bool:
    """Whether a line of the log tells of a fault of the farm's own."""
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return bool(line.strip())
    return "exception" in entry or "Traceback" in line or entry.get("event") == "process_died"


def assert_nothing_left(farm: Farm, video_ids: Sequence[str]) -> None:
    """Delete them all; nothing but tombstones stays behind, and no upload is open."""
    for video_id in video_ids:
        farm.client.delete(video_id)

    def left() -> list[str]:
        return [
            info.key
            for video_id in video_ids
            for info in farm.store.list(layout.video(video_id))
            if info.key != layout.record(video_id)
        ]

    eventually(lambda: not left(), 60.0, left)
    assert not list(farm.store.uploads(""))


def assert_told_plainly(error: dict[str, Any]) -> None:
    """What happened and what to do, for somebody who knows nothing of the farm's inside."""
    assert len(error["message"]) > 10
    assert len(error["hint"]) > 10
    for secret in ("://", "0x", "Signature", "Traceback", "/tmp", "/home", ".venv", "videos/"):
        assert secret not in error["message"], error["message"]
    assert len(error["message"]) < 500


def now() -> float:
    """Seconds on a clock that only goes forward."""
    return time.monotonic()
