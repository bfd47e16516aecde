"""The processes of a farm beside its supervisor: what they are started as.

Each is this Python running a module of ours, with the supervisor's settings as its environment.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final

from autoscaler.processes import ChildProcess

#: Names of the groups of processes; the worker groups are named for what they scale with.
API: Final = "api"
HEAD: Final = "head"
CPU: Final = "cpu"
GPU: Final = "gpu"

#: What each group runs. An encode slot looks after heads before anything else.
_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    API: ("farm.api_process",),
    HEAD: ("farm.worker_process", "head"),
    CPU: ("farm.worker_process", "head", "cpu"),
    GPU: ("farm.worker_process", "gpu"),
}


def starter(environment: Mapping[str, str]) -> Callable[[str], ChildProcess]:
    """What starts one process of the named group; they log where the supervisor does."""

    def start(group: str) -> ChildProcess:
        return ChildProcess((sys.executable, "-P", "-m", *_MODULES[group]), environment)

    return start


def end_with_parent() -> None:
    """Have this process told to end at once when the one that started it has died.

    Its end of the pipe at our standard input is closed by its death, whatever the cause.
    """
    threading.Thread(target=_await_end_of_stdin, name="parent-watch", daemon=True).start()


def _await_end_of_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
