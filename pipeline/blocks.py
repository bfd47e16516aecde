"""Sources on the disk of this host, in blocks, so that its slots read each from storage but once.

It is a cache and nothing else: whatever goes wrong with it, a full disk above all, means that the
bytes come from storage. A block is written under a name of its own and then renamed, so that one
that is there is whole; its folder's name tells the object, its version, and the boot of this
machine, for files that were not yet on the disk when its power went are not to be believed. Killed
processes leave nothing but files that age. Locks only spare work: no file is wrong without them.
What has another name than the cache gives is somebody else's, and is not touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, Final

import psutil
import structlog

from jobs.ids import is_video_id

_LOG = structlog.get_logger(__name__)

#: Bytes; the last block of an object is shorter.
BLOCK: Final = 512 * 1024
#: Blocks that are fetched at once at the most, and by one process at a time.
SPAN: Final = 8

#: The bound where none is set: bytes, and a share of the disk that is free.
_DEFAULT: Final = 4 * 1024**3
_SHARE: Final = 10
#: Bytes of free disk below which the cache gives way to whoever else needs them.
_LEAST_FREE: Final = 1024**3
#: Seconds after which what nobody has read is removed.
AGE: Final = 1800.0

#: Seconds to wait for another process that fetches the same, and for the ledger.
_PATIENCE: Final = 3.0
_MOMENT: Final = 0.01

_LEDGER: Final = "ledger"
#: What the cache's own are called: after the video's id, and in such a folder.
_VERSION: Final = re.compile(r"[0-9a-f]{24}")
_FILE: Final = re.compile(r"[0-9]+(\.turn|\.[0-9a-f]{8}\.new)?")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def default_limit(folder: Path) -> int:
    """Bytes the cache may take where nobody says: 4 GiB, or a tenth of the free disk.

    None where that cannot be told.
    """
    try:
        places = (folder.absolute(), *folder.absolute().parents)
        free = shutil.disk_usage(next(path for path in places if path.exists())).free
    except OSError as error:
        _LOG.warning("no_source_cache", error=str(error))
        return 0
    return min(_DEFAULT, free // _SHARE)


@dataclass(frozen=True, slots=True)
class _File:
    used: float
    size: int
    path: Path


class BlockCache:
    """Blocks below ``folder``, of ``limit`` bytes in all. Shared by processes and threads.

    Nothing here raises: a block that cannot be had is not there.
    """

    def __init__(
        self,
        folder: Path,
        limit: int,
        *,
        age: float = AGE,
        clock: Callable[[], float] = time.time,
        least_free: int = _LEAST_FREE,
    ) -> None:
        self._folder = folder
        self._limit = limit
        self._age = age
        self._clock = clock
        self._least_free = least_free
        with suppress(OSError):
            self._folder = folder.absolute()
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def shelf(self, video_id: str, address: str, etag: str, size: int) -> Shelf:
        """The place of one version of a source; ``address`` tells it from those of other farms."""
        told = "\n".join((address, etag, str(size), _boot()))
        digest = hashlib.sha256(told.encode()).hexdigest()[:24]
        return Shelf(self, self._folder / f"{video_id}.{digest}", size)

    def forget(self, video_id: str) -> None:
        """Remove the blocks of a video."""
        with suppress(OSError):
            for folder in self._folders():
                if folder.stem == video_id:
                    shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what was not read for long, whosever it was."""
        oldest = self._clock() - self._age
        with suppress(OSError), _turn(self._folder / _LEDGER) as ledger:
            if ledger is not None:
                left = sum(f.size for f in self._files() if f.used >= oldest or not _removed(f))
                _write_total(ledger, left)
        with suppress(OSError):
            for folder in self._folders():
                with suppress(OSError):
                    folder.rmdir()  # one that is not empty stays

    def admit(self, size: int) -> bool:
        """Whether so many bytes more may be written; room is made for them."""
        try:
            with _turn(self._folder / _LEDGER) as ledger:
                return ledger is not None and self._admit(ledger, size)
        except OSError as error:
            _LOG.debug("block_not_kept", error=str(error))
            return False

    def _admit(self, ledger: BinaryIO, size: int) -> bool:
        total, most = _total(ledger), self._limit
        if shutil.disk_usage(self._folder).free - size < self._least_free:
            most = 0
        if total + size > most:  # an eighth more than it has to be, so that this is seldom
            total = self._evict(max(most - most // 8 - size, 0))
        fits = total + size <= most
        _write_total(ledger, total + size if fits else total)
        return fits

    def _evict(self, most: int) -> int:
        """Remove blocks, those read longest ago first, until ``most`` bytes are left; how many."""
        files = sorted(self._files(), key=lambda file: file.used)
        total = sum(file.size for file in files)
        for file in files:
            if total <= most:
                break
            if file.size and _removed(file):
                total -= file.size
        return total

    def _folders(self) -> tuple[Path, ...]:
        """The cache's own. Raises OSError."""
        with os.scandir(self._folder) as entries:
            return tuple(Path(entry.path) for entry in entries if _is_own_folder(entry))

    def _files(self) -> Iterator[_File]:
        """The cache's own. Raises OSError."""
        for folder in self._folders():
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(OSError):
                        if _FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                            status = entry.stat(follow_symlinks=False)
                            yield _File(status.st_mtime, status.st_size, Path(entry.path))


@dataclass(frozen=True, slots=True)
class Shelf:
    """The blocks of one version of one source."""

    cache: BlockCache
    folder: Path
    #: Bytes of the object.
    size: int

    def length(self, number: int) -> int:
        """Bytes of a block."""
        return min(BLOCK, self.size - number * BLOCK)

    def open(self, number: int) -> BinaryIO | None:
        """The file of a block, if it is there."""
        try:
            file = self._path(number).open("rb", buffering=0)
            if os.fstat(file.fileno()).st_size == self.length(number):
                os.utime(file.fileno())
                return file
            file.close()
        except OSError:
            pass
        return None

    def missing(self, number: int, most: int) -> int:
        """How many blocks from ``number`` on are not there without a gap, up to ``most``."""
        end = min(number - number % SPAN + SPAN, -(-self.size // BLOCK), number + most)
        return next((n for n in range(number, end) if self._is_there(n)), end) - number

    def _is_there(self, number: int) -> bool:
        try:
            return self._path(number).stat().st_size == self.length(number)
        except OSError:
            return False

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait, for a short time, until no other process fetches this block or its neighbours."""
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, exist_ok=True)
        with _turn(self.folder / f"{number // SPAN}.turn"):
            yield

    def store(self, number: int, data: bytes | memoryview) -> bool:
        """Keep a block; whether that went well."""
        if not self.cache.admit(len(data)):
            return False
        temporary = self.folder / f"{number}.{token_hex(4)}.new"
        try:
            with _private(temporary) as file:
                file.write(data)
            temporary.replace(self._path(number))
        except OSError as error:
            _LOG.debug("block_not_kept", error=str(error))
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            return False
        return True

    def _path(self, number: int) -> Path:
        return self.folder / str(number)


@cache
def _boot() -> str:
    """What tells this run of the machine from those before it."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return str(psutil.boot_time())


def _is_own_folder(entry: os.DirEntry[str]) -> bool:
    video_id, _, version = entry.name.partition(".")
    named = is_video_id(video_id) and _VERSION.fullmatch(version) is not None
    return named and entry.is_dir(follow_symlinks=False)


def _removed(file: _File) -> bool:
    try:
        file.path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _private(path: Path) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)


def _total(ledger: BinaryIO) -> int:
    told = ledger.read(32)
    return int(told) if told.isdigit() else 0


def _write_total(ledger: BinaryIO, total: int) -> None:
    ledger.seek(0)
    ledger.truncate()
    ledger.write(str(total).encode())


@contextmanager
def _turn(path: Path) -> Iterator[BinaryIO | None]:
    """The file at ``path``, alone; None where it cannot be had, or not within a short time.

    Whoever holds it may have been stopped: nobody waits for that.
    """
    try:
        file = _private(path)
    except OSError:
        yield None
        return
    with file:
        yield file if _locked(file) else None


def _locked(file: BinaryIO) -> bool:
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > give_up:
                return False
            time.sleep(_MOMENT)
        else:
            return True
