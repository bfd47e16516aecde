"""A host whose supervisor is killed: all it had started goes, and the next start goes on."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from farm import running
from media.binaries import Tools
from tests.chaos.checks import RECOVERY, assert_flawless, assert_nothing_left, ended, in_a_chunk
from tests.chaos.test_kill import PROFILE, SPEC
from tests.e2e.farm_process import eventually, running_farm
from tests.numbered import make_clip

pytestmark = pytest.mark.long

#: Seconds for workers to give their parts back, and for the servers to end.
GONE = 20.0


def test_a_killed_supervisor_leaves_no_orphan_and_the_next_start_goes_on(
    tmp_path: Path, tools: Tools
) -> None:
    clip = make_clip(tmp_path / "numbered", tools, SPEC)
    with running_farm(tmp_path, profile=PROFILE) as farm:
        begun = farm.client.upload(clip.path)["id"]
        waiting = farm.client.upload(clip.path)["id"]
        in_a_chunk(farm, begun)
        supervisor = running.find(farm.log.parent / "data")
        assert supervisor is not None
        family = psutil.Process(supervisor.pid).children(recursive=True)
        names = {process.name() for process in family}
        assert {"weed", "valkey-server"} <= names, names
        os.kill(supervisor.pid, signal.SIGKILL)
        eventually(lambda: not alive(family), GONE, lambda: alive(family))
    with running_farm(tmp_path, profile=PROFILE) as farm:
        for video_id in (begun, waiting):
            assert_flawless(farm, tools, clip, ended(farm, video_id, 2 * RECOVERY))
        assert_nothing_left(farm)


def alive(family: list[psutil.Process]) -> list[str]:
    """Those that still run."""
    found = []
    for process in family:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.name()}")
    return found
