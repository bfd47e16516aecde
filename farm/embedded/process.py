"""One server process: started apart, ended with its parent, its last words kept.

It runs in a session of its own, so that Ctrl-C in the terminal does not reach it before the farm
has drained. On Linux the kernel kills it when the *thread* that started it ends (PR_SET_PDEATHSIG),
so ``start`` belongs in a thread that lives as long as the server shall. Both servers have written
what they acknowledged before they answer, so a kill loses nothing. Elsewhere a killed farm
leaves its servers behind; the lock that they inherit then says so at the next start.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from farm.embedded.errors import EmbeddedError

#: Seconds between two looks at whether a server is ready.
POLL = 0.05
LOG_LINES = 15
#: Bytes of the log read at once.
MOST_NEWS = 1024**2
#: Seconds a server of a farm that was just killed may still hold the directory.
LOCK_TIMEOUT = 5.0

#: Runs in the new process, since a preexec_fn is not safe beside threads: argv is the parent's
#: pid and the command. The check closes the gap in which the parent died before the call.
_TIED_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ServerProcess:
    """A server's process, log and lock: ``lock``, ``start``, ``wait_ready``, ``stop``."""

    def __init__(
        self,
        name: str,
        directory: Path,
        environment: Mapping[str, str],
        monotonic: Callable[[], float],
    ) -> None:
        self.name = name
        self.directory = directory
        self.log = directory / "server.log"
        self._environment = environment
        self._monotonic = monotonic
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        #: Where in the log the present run begins, and what has not been read of it.
        self._log_start = 0
        self._unread = 0

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def lock(self) -> None:
        """Claim the directory. Raises EmbeddedError if another farm or a leftover server has it."""
        file = (self.directory / "lock").open("a+")
        deadline = self._monotonic() + LOCK_TIMEOUT
        while not _locked(file):
            if self._monotonic() > deadline:
                with file:
                    raise EmbeddedError(self._in_use_by(file))
            time.sleep(POLL)
        self._lock = file

    def start(self, argv: Sequence[str]) -> None:
        """Start the server; it logs to ``log``. The directory must be locked."""
        assert self._lock is not None
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._unread = self._log_start
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                _tied(argv),
                cwd=self.directory,
                env={"HOME": str(self.directory), "PATH": os.defpath, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(self._lock.fileno(),),
            )
        self._lock.truncate(0)
        self._lock.write(str(self._process.pid))
        self._lock.flush()

    def wait_ready(self, is_ready: Callable[[], bool], timeout: float) -> None:
        """Wait until ``is_ready``. Raises EmbeddedError if it dies, or is not ready in time."""
        assert self._process is not None
        deadline = self._monotonic() + timeout
        while not is_ready():
            if self._process.poll() is not None:
                raise EmbeddedError(self._story(f"ended with status {self._process.returncode}"))
            if self._monotonic() > deadline:
                raise EmbeddedError(self._story(f"was not ready after {timeout:.0f} s"))
            time.sleep(POLL)

    def check(self) -> None:
        """Raises EmbeddedError, with the log's last lines, unless the server is running."""
        if self.pid is None:
            status = self._process.returncode if self._process else "none: never started"
            raise EmbeddedError(self._story(f"is not running; its exit status is {status}"))

    def stop(self, timeout: float) -> None:
        """TERM, wait, and KILL after ``timeout`` seconds; unlock. May be called again."""
        self.end(timeout)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def end(self, timeout: float) -> None:
        """Stop the process and keep the directory locked."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def news(self) -> bytes:
        """What was logged since the last call; of much, the end."""
        with self.log.open("rb") as log:
            log.seek(max(self._unread, log.seek(0, os.SEEK_END) - MOST_NEWS))
            news = log.read()
            self._unread = log.tell()
        return news

    def last_lines(self, count: int = LOG_LINES) -> str:
        """The end of the log since the last ``start``."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-count:])

    def _in_use_by(self, file: IO[str]) -> str:
        file.seek(0)
        return (
            f"{self.name} cannot start: {self.directory} is in use by another farm, or by a server "
            f"that a killed farm left behind (process {file.read().strip() or 'unknown'}). Stop "
            "that one, or give this farm another data directory."
        )

    def _story(self, what: str) -> str:
        return f"{self.name} {what}. The end of its log {self.log}:\n{self.last_lines()}"


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tied(argv: Sequence[str]) -> list[str]:
    if sys.platform != "linux":
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", _TIED_TO_PARENT, str(os.getpid()), *argv]
