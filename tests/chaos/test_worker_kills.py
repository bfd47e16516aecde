"""A worker killed at its worst moments: while a segment or a receipt is stored, and just after.

The proxy in front of S3 holds the worker's request at that very point until the worker is dead.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from jobs.parts import PartRef
from jobs.workers import list_workers
from media.binaries import Tools
from storage import layout
from tests.chaos.checks import RECOVERY, assert_flawless, assert_nothing_left, encoders
from tests.chaos.rig import Rig
from tests.chaos.s3_proxy import HALFWAY, UNHEARD, Fault, Request
from tests.e2e.farm_process import Farm, eventually
from tests.numbered import Clip

SEGMENT = r"/play/1/\w+/180p-0*[1-9]\d*\.m4s$"
RECEIPT = r"/parts/1/v\d+\.\d+\.json$"


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that was killed while a request of its was held."""

    part: PartRef
    #: The object that it was writing, and the run that the part's receipt named at its death.
    key: str
    counted: str | None
    pid: int
    ffmpegs: list[psutil.Process]


def killed(rigged: Rig, video_id: str, fault: Fault, key: str) -> Death:
    """Hold the first such request about the video, and kill the worker that sent it."""
    farm, requests = rigged.farm, list[Request]()

    def met(request: Request) -> bool:
        mine = video_id in request.key and request.method == "PUT"
        requests.extend([request] if mine else [])
        return mine

    with rigged.proxy.failing(fault, key=key, match=met, times=1) as rule:
        eventually(lambda: rule.done, RECOVERY, lambda: farm.last_words(video_id))
        held = requests[0].key
        part = PartRef(video_id, 1, _part(farm, video_id, held))
        eventually(lambda: fault is not UNHEARD or _counted(farm, part), RECOVERY)
        workers = list_workers(farm.redis, farm.namespace)
        (worker,) = (each for each in workers if each.part == str(part))
        death = Death(part, held, _counted(farm, part), worker.pid, encoders(worker))
        os.kill(worker.pid, signal.SIGKILL)
        eventually(lambda: worker.pid not in {each.pid for each in rigged.workers()}, 10.0)
    return death


def _part(farm: Farm, video_id: str, key: str) -> str:
    """The part to which a receipt, or a segment of a chunk, belongs."""
    if not key.endswith(".m4s"):
        return layout.receipt_name(key)[0]
    plan = farm.plan(video_id)
    assert plan.video is not None
    track, number = Path(key).stem.split("-")
    frame = plan.video.gop + (int(number) - 1) * plan.video.segment
    mine = [part for part in plan.parts if track in part.tracks and part.first <= frame]
    return max(mine, key=lambda part: part.first).id


def _counted(farm: Farm, part: PartRef) -> str | None:
    """The run that the part's receipt names; None where there is none."""
    found = (each.run for each in farm.receipts(part.video_id) if each.part == part.part)
    return next(found, None)


@pytest.mark.long
def test_a_worker_killed_at_its_worst_moments_changes_nothing(
    rigged: Rig, tools: Tools, film: Clip
) -> None:
    """In a segment half-way, in a receipt half-way, and with a receipt that it did not hear of."""
    farm = rigged.farm
    segment, receipt, unheard = deaths = [
        killed(rigged, farm.client.upload(film.path)["id"], fault, key)
        for fault, key in ((HALFWAY, SEGMENT), (HALFWAY, RECEIPT), (UNHEARD, RECEIPT))
    ]
    for death in deaths:
        video = rigged.ended(death.part.video_id, RECOVERY)
        assert not psutil.wait_procs(death.ffmpegs, timeout=0.0)[1], "ffmpeg outlives its worker"
        assert_flawless(farm, tools, film, video)
    assert (segment.counted, receipt.counted) == (None, None)
    assert _counted(farm, segment.part) != Path(segment.key).parent.name, "half a segment counts"
    assert _counted(farm, unheard.part) == unheard.counted, "what was committed is made again"
    assert_nothing_left(farm)
    workers = {worker.pid for worker in list_workers(farm.redis, farm.namespace)}
    assert not {death.pid for death in deaths} & workers
    assert len(workers) >= 2, "the dead workers are replaced"
