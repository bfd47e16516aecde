"""A child in a session of its own, which cannot outlive us and is always reaped.

On Linux the child is killed when the *thread* that spawned it ends (``PR_SET_PDEATHSIG``). So
the thread that calls :func:`spawn` must stay until the child has ended; ``execute`` does, for
it waits in the calling thread.

An exit status does not tell whether the program was ever started: an interpreter that cannot
start ends with 1, as ffprobe does at a source that it cannot read. So the launcher says so
through a pipe of its own, which closes when it becomes the program.
"""

from __future__ import annotations

import marshal
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from media.box import Box
from media.launch import STARTED

#: ``-I -S`` sees the standard library alone, so it is told where this package is.
_LAUNCH: Final = (
    f"import sys; sys.path.append({str(Path(__file__).resolve().parents[1])!r});"
    "from media import launch; launch.main(*sys.argv[1:])"
)

#: Nothing of ours: no credentials, no proxies, no library paths.
_ENVIRONMENT: Final = {"LC_ALL": "C", "AV_LOG_FORCE_NOCOLOR": "1"}
#: Of a process that uses a device: its driver has nowhere to keep what it compiles.
_OF_A_DEVICE: Final = {"CUDA_CACHE_DISABLE": "1"}

_POLL: Final = 0.01

#: What a loader ends with where a library is missing or cannot be mapped; ffmpeg never does.
_NO_LIBRARY: Final = 127


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended and what it used."""

    #: Exit status, negative for a signal.
    code: int
    #: Processor seconds, user and system.
    cpu: float
    #: Bytes of resident memory at the most.
    max_rss: int
    #: Whether the program itself was started: not its launcher alone, and not a loader that did
    #: not find its libraries.
    started: bool


class Child:
    """A running process group."""

    def __init__(self, process: subprocess.Popen[bytes], started: int) -> None:
        self._process = process
        #: The reading end of the launcher's pipe; closed when the child is reaped.
        self._started = started
        self.exit: Exit | None = None

    def cpu(self) -> float:
        """Processor seconds used so far; 0 where that cannot be told."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def poll(self) -> Exit | None:
        """Reap the child if it has ended."""
        return self.exit or self._reap(os.WNOHANG)

    def end(self, grace: float = 2.0) -> Exit:
        """TERM to the group, KILL after ``grace`` seconds; returns when it is reaped."""
        self._signal(signal.SIGTERM)
        give_up = time.monotonic() + grace
        while time.monotonic() < give_up:
            if ended := self.poll():
                return ended
            time.sleep(_POLL)
        self._signal(signal.SIGKILL)
        ended = self.exit or self._reap(0)
        assert ended is not None
        return ended

    def _signal(self, number: signal.Signals) -> None:
        if self.exit is None:  # once reaped, the number may be somebody else's
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _reap(self, options: int) -> Exit | None:
        if not self._has_ended(options):
            return None
        pid, status, usage = os.wait4(self._process.pid, options)
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        cpu = usage.ru_utime + usage.ru_stime
        self.exit = Exit(code, cpu, rss, self._was_started() and code != _NO_LIBRARY)
        return self.exit

    def _was_started(self) -> bool:
        try:
            return os.read(self._started, 8)[-1:] == STARTED
        except BlockingIOError:  # nothing was written, and somebody else still could
            return False
        finally:
            os.close(self._started)

    def _has_ended(self, options: int) -> bool:
        """Look without reaping, and take along what is left of the group while its number is ours.

        Where a system cannot look so, nothing is taken along; our pipes are closed all the same.
        """
        if not hasattr(os, "waitid"):
            return True
        pid = self._process.pid
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | options) is None:
            return False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        return True


def spawn(
    argv: Sequence[str],
    *,
    stderr: int,
    pass_fds: Sequence[int],
    resources: dict[str, int],
    niceness: int,
    box: Box,
    cwd: Path | None,
) -> Child:
    """Start ``argv`` in ``box``, nothing on stdin and stdout, and only these descriptors open.

    Raises :class:`OSError` where this machine has no room for a process.
    """
    started, tells = os.pipe()
    os.set_blocking(started, False)
    ours = {"started": tells, "niceness": niceness}
    rules = marshal.dumps({**box.rules(os.getpid(), resources), **ours})
    launcher = (sys.executable, "-I", "-S", "-c", _LAUNCH, rules.hex())
    try:
        process = subprocess.Popen(
            (*launcher, *argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(*pass_fds, tells),
            start_new_session=True,
            env=_ENVIRONMENT | (_OF_A_DEVICE if box.devices else {}),
            cwd=cwd or "/",
        )
    except BaseException:
        os.close(started)
        raise
    finally:
        os.close(tells)
    return Child(process, started)
