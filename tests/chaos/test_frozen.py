"""A worker that stands still for longer than its lease, and then goes on as if nothing had been."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from jobs.board import Board
from jobs.parts import PartRef
from jobs.workers import WorkerInfo, list_workers
from media.binaries import Tools
from tests.chaos.checks import (
    RECOVERY,
    assert_flawless,
    assert_nothing_left,
    at_work,
    encoders,
    is_chunk,
)
from tests.chaos.rig import Rig
from tests.chaos.s3_proxy import HALFWAY
from tests.e2e.farm_process import eventually
from tests.numbered import Clip

pytestmark = pytest.mark.long


def frozen(worker: WorkerInfo) -> list[psutil.Process]:
    """The worker and its ffmpeg, stopped in the middle of whatever they do."""
    processes = [psutil.Process(worker.pid), *encoders(worker)]
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    return processes


def thawed(processes: list[psutil.Process]) -> None:
    """They go on."""
    for process in reversed(processes):
        os.kill(process.pid, signal.SIGCONT)


def test_a_worker_frozen_past_its_lease_does_no_harm_and_goes_on_to_serve(
    rigged: Rig, tools: Tools, film: Clip
) -> None:
    farm = rigged.farm
    board = Board(farm.redis, farm.namespace)
    video_id = farm.client.upload(film.path)["id"]
    # Held for a moment, so that there is a part to be caught at.
    with rigged.proxy.failing(HALFWAY, key=rf"{video_id}/play/1/\w+/180p-0*[1-9]\d*\.m4s"):
        zombie = at_work(farm, video_id, lambda part: is_chunk(farm, part))
        assert zombie.part is not None
        part = PartRef.parse(zombie.part)
        mine = board.holder(part)
        assert mine is not None
        stopped = frozen(zombie)
    try:
        video = rigged.ended(video_id, RECOVERY)
        assert_flawless(farm, tools, film, video)
        assert zombie.pid not in {worker.pid for worker in list_workers(farm.redis, farm.namespace)}
        before = farm.record(video_id)
    finally:
        thawed(stopped)

    def back() -> bool:
        workers = list_workers(farm.redis, farm.namespace)
        return zombie.pid in {worker.pid for worker in workers if not worker.part}

    eventually(back, RECOVERY, lambda: farm.last_words(video_id))
    assert_nothing_left(farm)
    assert farm.record(video_id) == before, "a worker of the past has changed the record"
    assert_flawless(farm, tools, film, farm.client.video(video_id))
    _serves(rigged, zombie, film)
    assert_nothing_left(farm)


def _serves(rigged: Rig, zombie: WorkerInfo, film: Clip) -> None:
    """See the worker make another film all by itself."""
    others = [process for process in rigged.workers() if process.pid != zombie.pid]
    for process in others:
        process.suspend()
    try:
        video_id = rigged.farm.client.upload(film.path)["id"]
        assert rigged.ended(video_id, RECOVERY)["status"] == "ready"
    finally:
        for process in others:
            process.resume()
