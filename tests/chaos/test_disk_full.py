"""Full disks: a worker's does not matter, and the storage's stops the farm only while it lasts.

Small file systems of their own stand for the disks; where they may not be mounted, these skip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from farm.errors import RefusedError
from media.binaries import Tools
from tests.chaos.checks import (
    RECOVERY,
    assert_flawless,
    assert_nothing_left,
    ended,
    expire_uploads,
    in_a_chunk,
)
from tests.chaos.rig import Rig, rig
from tests.chaos.test_kill import PROFILE as SLOW
from tests.chaos.test_kill import SPEC
from tests.e2e.farm_process import PROFILE, Farm, eventually, running_farm
from tests.numbered import Clip, make_clip

pytestmark = pytest.mark.long

#: Seconds until SeaweedFS looks at its disk again, which it does every minute, until what failed
#: for want of room is tried again, and for the film.
GOES_ON = 60.0 + 45.0 + RECOVERY


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """A file system of that size at ``directory``, for as long as the block."""
    directory.mkdir(parents=True, exist_ok=True)
    options = ("-t", "tmpfs", "-o", f"size={size},mode=700", "reelfarm-test", str(directory))
    done = subprocess.run(["mount", *options], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Take every byte that is free; the file that does."""
    ballast = directory / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        for block in (1 << 20, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(block)) == block:
                    pass
    with pytest.raises(OSError, match="No space left"):
        (directory / "one-more").write_bytes(bytes(8192))
    (directory / "one-more").unlink(missing_ok=True)
    return ballast


def test_full_temporary_and_data_directories_do_not_matter(
    tmp_path: Path, tools: Tools, film: Clip
) -> None:
    with (
        small_disk(tmp_path / "tmp", "64k") as scratch,
        small_disk(tmp_path / "data", "256k") as data,
        rig(tmp_path, profile=PROFILE) as rigged,
    ):
        ballast = [fill(scratch), fill(data)]
        raw = rigged.farm.client.upload(film.path)["id"]
        form = _upload_form(rigged, film)
        for video_id in (raw, form):
            assert_flawless(rigged.farm, tools, film, rigged.ended(video_id, RECOVERY))
        assert "No space left" not in rigged.farm.log.read_text()
        for file in ballast:
            file.unlink()
        assert_nothing_left(rigged.farm)


def _upload_form(rigged: Rig, film: Clip) -> str:
    """Upload as pages do, which other programs would keep in a file first; the id."""
    command = ["curl", "-sS", "-F", f"file=@{film.path}", f"{rigged.settings.address}/v1/videos"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return str(json.loads(done.stdout)["id"])


def test_a_farm_on_a_full_disk_says_so_and_goes_on_once_there_is_room(
    tmp_path: Path, tools: Tools
) -> None:
    """With everything on one disk: the storage, Redis, and the farm's own notes."""
    clip = make_clip(tmp_path / "numbered", tools, SPEC)
    with (
        small_disk(tmp_path / "data", "192m") as disk,
        running_farm(tmp_path, profile=SLOW) as farm,
    ):
        running = farm.client.upload(clip.path)["id"]
        in_a_chunk(farm, running)
        queued = farm.client.upload(clip.path)["id"]
        ballast = fill(disk)

        refused = _refusal(farm, clip)
        assert refused.code == "storage_unavailable"
        assert "doctor" in str(refused)
        eventually(lambda: "waiting_for" in farm.log.read_text(), RECOVERY)
        (said, *_) = _told(farm, "waiting_for")
        assert said["what"] == "disk"
        assert "Free some" in said["to_do"]
        assert "fail  disk" in _doctor(disk)
        now = {farm.client.video(each)["status"] for each in (running, queued)}
        assert now <= {"queued", "processing"}

        ballast.unlink()
        for video_id in (running, queued):
            assert_flawless(farm, tools, clip, ended(farm, video_id, GOES_ON))
        farm.process(clip.path)
        expire_uploads(farm)
        assert_nothing_left(farm)


def _refusal(farm: Farm, clip: Clip) -> RefusedError:
    """Upload until that is refused."""
    for _ in range(20):
        try:
            farm.client.upload(clip.path)
        except RefusedError as error:
            return error
    raise AssertionError("a full disk takes one film after another")


def _told(farm: Farm, event: str) -> list[dict[str, Any]]:
    """What the farm's log says of an event."""
    lines = map(json.loads, farm.log.read_text().splitlines())
    return [line for line in lines if line.get("event") == event]


def _doctor(data_dir: Path) -> str:
    """What ``reelfarm doctor`` says of a data directory."""
    environment = os.environ | {"REELFARM_DATA_DIR": str(data_dir), "COLUMNS": "200"}
    command = [sys.executable, "-P", "-m", "farm", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    return done.stdout + done.stderr
