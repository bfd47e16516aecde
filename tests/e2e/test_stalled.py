"""An ffmpeg that stops getting on costs its video four tries, and nobody else anything.

The farm is real and so is the ffmpeg; it is stopped by SIGSTOP each time it starts on one video.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest

from jobs.workers import list_workers
from media.binaries import Tools
from tests.chaos.test_kill import PROFILE
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import Farm, eventually, running_farm
from tests.numbered import ClipSpec

SPEC = ClipSpec(frames=200, size=(640, 360), sound=False)

#: Seconds without progress, those until KILL follows TERM, and the pauses between four tries.
STALL, GRACE, PAUSES = 30.0, 2.0, 1.5 * (1 + 2 + 4)
#: Seconds more for each try, on a busy machine.
ROOM = 8.0


@dataclass
class Stopper:
    """Stops each ffmpeg that works on a video as soon as it is seen."""

    workers: set[int]
    ffmpeg: Path
    video_id: str = ""
    #: Each one's parent, by its process id.
    stopped: dict[int, int] = field(default_factory=dict)

    def run(self, stop: Event) -> None:
        while not stop.wait(0.01):
            for worker in self.workers if self.video_id else ():
                with suppress(psutil.Error):
                    self._look_at(psutil.Process(worker))

    def _look_at(self, worker: psutil.Process) -> None:
        for child in worker.children():
            with suppress(psutil.Error):
                program, *arguments = child.cmdline() or [""]
                about = any(self.video_id in each for each in arguments)
                if about and program == str(self.ffmpeg) and child.pid not in self.stopped:
                    os.kill(child.pid, signal.SIGSTOP)
                    self.stopped[child.pid] = worker.pid


@contextmanager
def at_work(stopper: Stopper) -> Iterator[None]:
    """In a thread, until the block ends."""
    stop = Event()
    thread = Thread(target=stopper.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def worker_pids(farm: Farm) -> set[int]:
    return {info.pid for info in list_workers(farm.redis, farm.namespace)}


@pytest.mark.long
def test_an_ffmpeg_that_stands_still_is_ended_and_its_worker_goes_on(
    tools: Tools, clip: MakeClip, tmp_path: Path
) -> None:
    film = clip("standing.mp4", SPEC).path
    profile = tmp_path / "slower.toml"  # no part is made before the ffmpeg at work on it is seen
    text = PROFILE.read_text().replace("gop = 1.0", "gop = 4.0")
    profile.write_text(text.replace("segment = 2.0", "segment = 4.0"))
    with running_farm(tmp_path, profile=profile, slots=1) as farm:  # no worker comes later
        eventually(lambda: len(worker_pids(farm)) >= 2, 30.0)
        stopper = Stopper(worker_pids(farm), tools.ffmpeg)
        with at_work(stopper):
            bad = stopper.video_id = farm.client.upload(film)["id"]
            began = time.monotonic()
            eventually(lambda: stopper.stopped, 30.0, lambda: farm.last_words(bad))
            good = farm.client.upload(film)["id"]
            over = ("ready", "errored")
            longest = 4 * (STALL + GRACE + ROOM) + PAUSES
            for video_id in (bad, good):
                left = longest - (time.monotonic() - began)
                eventually(
                    lambda each=video_id: farm.client.video(each)["status"] in over,
                    left,
                    lambda: farm.last_words(bad),
                )
        assert farm.client.video(good)["status"] == "ready", farm.last_words(good)
        assert_given_up(farm, bad, stopper)
        assert stopper.workers <= worker_pids(farm), "no worker has ended over it"
        eventually(lambda: not any(map(psutil.pid_exists, stopper.stopped)), GRACE + ROOM)


def assert_given_up(farm: Farm, video_id: str, stopper: Stopper) -> None:
    """After four tries, and somebody who looks into it learns why."""
    video = farm.client.video(video_id)
    assert video["status"] == "errored", farm.last_words(video_id)
    assert video["error"]["code"] == "encode_failed"
    assert f"no progress for {STALL:.0f} s" in video["error"]["message"]
    (row,) = farm.client.dead_letters(10)["dead_letters"]
    letter = farm.client.dead_letter(row["id"])
    assert (letter["video_id"], letter["problem"]) == (video_id, video["error"])
    assert letter["counts"] == {"crashes": 0, "errors": 4, "drains": 0}
    assert len(letter["attempts"]) == 4
    for attempt in letter["attempts"]:
        assert_attempt(attempt, stopper)
    evidence = letter["evidence"]
    assert evidence["argv"][0] == str(stopper.ffmpeg)
    assert STALL <= evidence["seconds"] < STALL + GRACE + ROOM


def assert_attempt(attempt: dict[str, Any], stopper: Stopper) -> None:
    assert (attempt["ending"], attempt["code"]) == ("error", "encode_failed")
    assert "no progress" in attempt["message"]
    assert attempt["pid"] in stopper.stopped.values()
    assert STALL <= attempt["seconds"] < STALL + GRACE + ROOM
