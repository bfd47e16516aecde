"""A child in a session of its own, which cannot outlive us and is always reaped.

On Linux the child is killed when the *thread* that spawned it ends (``PR_SET_PDEATHSIG``). So
the thread that calls :func:`spawn` must stay until the child has ended; ``execute`` does, for
it waits in the calling thread.
"""

from __future__ import annotations

import json
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

_LAUNCH: Final = str(Path(__file__).with_name("launch.py"))

#: Nothing of ours: no credentials, no proxies, no library paths.
_ENVIRONMENT: Final = {"LC_ALL": "C", "AV_LOG_FORCE_NOCOLOR": "1"}

_POLL: Final = 0.01


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended and what it used."""

    #: Exit status, negative for a signal.
    code: int
    #: Processor seconds, user and system.
    cpu: float
    #: Bytes of resident memory at the most.
    max_rss: int


class Child:
    """A running process group."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
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
        pid, status, usage = os.wait4(self._process.pid, options)
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self.exit = Exit(code, usage.ru_utime + usage.ru_stime, rss)
        return self.exit


def spawn(
    argv: Sequence[str],
    *,
    stderr: int,
    pass_fds: Sequence[int],
    resources: dict[str, int],
    cwd: Path | None,
) -> Child:
    """Start ``argv`` with nothing on stdin and stdout, and only these descriptors open."""
    launcher = (sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), json.dumps(resources))
    return Child(
        subprocess.Popen(
            (*launcher, *argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            env=_ENVIRONMENT,
            cwd=cwd or "/",
        )
    )
