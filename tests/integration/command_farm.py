"""A farm that the command started, and the command run against it as scripts do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from typer.testing import CliRunner

from farm import running
from farm.cli import app
from farm.errors import FarmError

REELFARM = (sys.executable, "-P", "-m", "farm")


@dataclass(frozen=True)
class Farm:
    """A farm's process, and how to talk to it."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """Run the command as its user."""
        return subprocess.run(
            (*REELFARM, *arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def here(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same within this process, which is a second quicker."""
        done = CliRunner().invoke(app, arguments, env=self.environment)
        error, status, said = done.exception, done.exit_code, done.stderr
        if isinstance(error, FarmError):
            status, said = error.exit_status, f"{said}error: {error}"
        elif error is not None and not isinstance(error, SystemExit):
            raise error
        return subprocess.CompletedProcess(arguments, status, done.stdout, said)

    @property
    def url(self) -> str:
        found = running.find(self.data_dir)
        assert found is not None
        return found.url

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


Start = Callable[[], Farm]


def until(holds: Callable[[], bool], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def documents(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
