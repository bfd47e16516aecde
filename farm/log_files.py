"""The log of one host on its disk: JSON lines of all its processes in one file, a few kept.

Every process appends to the same file, a line by one ``write`` on a descriptor opened for just
that with ``O_APPEND``: lines of several processes never mix, and nobody keeps a file open that is
gone. Whoever finds the file full sets it aside, under a lock that nobody waits for. What is written
to a file that was just set aside is in that one, and not lost.

Nothing here may hold up work: where there is no room, or no permission, lines are dropped, and
their number is told by the first one that is written again.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

#: The file that is written to; older ones are ``reelfarm.1.jsonl`` and on.
NAME: Final = "reelfarm.jsonl"
_LOCK: Final = "lock"
#: Files that are kept, the one that is written to among them.
FILES: Final = 8
#: Bytes of a line that is kept whole.
_LONGEST: Final = 256 * 1024


def folder_of(data_dir: Path) -> Path:
    """Where the files lie."""
    return data_dir / "logs"


def path_of(folder: Path, number: int) -> Path:
    """The file that was set aside so many times; 0 for the one that is written to."""
    return folder / (f"reelfarm.{number}.jsonl" if number else NAME)


def present(folder: Path) -> list[Path]:
    """The files there are, oldest first."""
    paths = [path_of(folder, number) for number in range(FILES)]
    return [path for path in reversed(paths) if path.exists()]


class LogFile:
    """Appends lines to the files in ``folder``, which take some ``limit`` bytes together."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._path = path_of(folder, 0)
        self._limit = limit // FILES
        #: Whether the last line may have been cut short, so that the next one starts afresh.
        self._torn = False
        self._dropped = 0

    def trouble(self) -> str | None:
        """Why nothing can be written, if so."""
        try:
            os.close(self._open())
        except OSError as error:
            return str(error)
        return None

    def append(self, line: bytes) -> None:
        """Write a line, given without its end, or drop it. Never raises OSError."""
        try:
            self._write(line)
        except OSError:
            self._dropped += 1

    def _write(self, line: bytes) -> None:
        file = self._open()
        try:
            if os.fstat(file).st_size >= self._limit and self._set_aside(file):
                os.close(file)
                file = self._open()
            whole = b"\n" * self._torn + self._apology() + line + b"\n"
            self._torn = True
            if os.write(file, whole) < len(whole):
                raise OSError(errno.ENOSPC, "there is no room for a whole line")
            self._torn, self._dropped = False, 0
        finally:
            os.close(file)

    def _apology(self) -> bytes:
        if not self._dropped:
            return b""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        told = {
            "timestamp": now,
            "level": "warning",
            "event": "log_lines_dropped",
            "count": self._dropped,
            "process_id": os.getpid(),
        }
        return json.dumps(told).encode() + b"\n"

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o600)

    def _set_aside(self, file: int) -> bool:
        """Give every file the next number; False where another process is at it."""
        with self._locked() as mine:
            if mine and os.path.samestat(self._path.stat(), os.fstat(file)):
                for number in reversed(range(FILES - 1)):
                    with suppress(FileNotFoundError):
                        path_of(self._folder, number).replace(path_of(self._folder, number + 1))
            return mine

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(self._folder / _LOCK, flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            yield False
            return
        try:
            yield True
        finally:
            os.close(lock)


class LogFileHandler(logging.Handler):
    """What hands formatted records to a :class:`LogFile`."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self._log_file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Append the record as a line."""
        try:
            line = self.format(record).encode(errors="backslashreplace")
        except Exception:  # noqa: BLE001 - what cannot be told ends no work
            line = json.dumps({"level": "error", "event": "log_line_unwritable"}).encode()
        self._log_file.append(line if len(line) <= _LONGEST else _shortened(line))


def _shortened(line: bytes) -> bytes:
    """A line that is still JSON, of one that is too long."""
    text = line[:_LONGEST].decode(errors="replace")
    return json.dumps({"level": "warning", "event": "log_line_too_long", "begins": text}).encode()
