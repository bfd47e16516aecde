"""Runs in the child: bind it to its parent, limit it, and become the media program.

Started as ``python -I -S launch.py PARENT LIMITS PROGRAM ARGUMENTS…`` instead of a
``preexec_fn``, which may deadlock in a process with threads. It costs about 12 ms.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

#: The kernel should take a decoder before it takes the worker (proc(5), oom_score_adj).
_OOM_SCORE = b"500"


def _die_with_parent(parent: int) -> None:
    """Be killed when the thread that spawned us ends. The signal survives ``execve``."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call above
        os._exit(125)


def _offer_to_oom_killer() -> None:
    with suppress(OSError):
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, _OOM_SCORE)
        os.close(score)


def _limit(resources: dict[str, int]) -> None:
    for name, value in resources.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(ValueError, OSError):  # macOS knows no RLIMIT_AS
            resource.setrlimit(kind, (ceiling, ceiling))


def _restore_signals() -> None:
    """Undo what the interpreter ignores, for ignored signals stay so across ``execve``."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(parent: str, resources: str, program: str, *arguments: str) -> None:
    """Never returns."""
    _die_with_parent(int(parent))
    _offer_to_oom_killer()
    _restore_signals()
    _limit(json.loads(resources))
    try:
        os.execve(program, (program, *arguments), os.environ)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{program} cannot be started: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(126)


if __name__ == "__main__":
    main(*sys.argv[1:])
