"""One child process of the farm, and the three ways of ending it.

A child is the head of its own session, so that a Ctrl-C in the terminal reaches the supervisor
alone, which then ends its children one by one. It holds the reading end of a pipe whose writing
end dies with the supervisor: that is how it learns of a supervisor that was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class ChildProcess:
    """A started process. SIGTERM means to it: finish and go; SIGINT: go now."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path | None = None
    ) -> None:
        """Start ``arguments``; what it says goes to the end of ``log``, or where ours goes."""
        output = log.open("ab") if log is not None else None
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """How it ended, a signal as its negative number; None while it runs."""
        return self._process.poll()

    def drain(self) -> None:
        """Ask it to finish what it is doing and go."""
        self._signal(signal.SIGTERM)

    def release(self) -> None:
        """Ask it to give back what it is doing and go at once.

        Another signal than the first, since two equal ones in quick succession arrive as one.
        """
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End it and whatever it left in its session's process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._process.wait()

    def close(self) -> None:
        """Let go of the pipe of a process that has ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
