"""What nobody waits for stands back where others want the processor."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from media.box import box_for
from media.limits import Limits
from media.spawn import Child, spawn

SLEEP = Path("/bin/sleep").resolve()
AUTOGROUP = Path("/proc/self/autogroup")


@contextmanager
def sleeping(niceness: int) -> Iterator[psutil.Process]:
    """A process that is started as ffmpeg is, once it runs; it ends with the block."""
    before = set(psutil.Process().children())
    with Path(os.devnull).open("wb") as stderr:
        child = spawn(
            (str(SLEEP), "60"),
            stderr=stderr.fileno(),
            pass_fds=(),
            resources=Limits().resources(60.0, writes=False),
            niceness=niceness,
            box=box_for(SLEEP, ("60",)),
            cwd=None,
        )
    try:
        yield _running(child, before)
    finally:
        child.end(grace=0.0)


def _running(child: Child, others: set[psutil.Process]) -> psutil.Process:
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline and child.poll() is None:
        for process in set(psutil.Process().children()) - others:
            if process.name() == SLEEP.name:
                return process
        time.sleep(0.01)
    raise AssertionError(f"it does not run: {child.exit}")


def session_of(process: psutil.Process) -> int:
    """The niceness of its session."""
    return int(Path(f"/proc/{process.pid}/autogroup").read_text().split()[-1])


def test_a_process_is_as_nice_as_it_is_told() -> None:
    ours = psutil.Process().nice()
    with sleeping(0) as process:
        assert process.nice() == ours
    with sleeping(7) as process:
        assert process.nice() == min(ours + 7, 19)


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel knows no groups of sessions")
def test_and_its_session_is() -> None:
    """Without it niceness counts for nothing where the kernel weighs sessions."""
    with sleeping(0) as hurried, sleeping(7) as nice:
        assert (session_of(hurried), session_of(nice)) == (0, 7)
