"""Harm done to a running farm delays a film; it neither loses it nor changes a picture of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from dramatiq import Message

from jobs.board import Board
from jobs.parts import PartRef, Pool, Priority, queue_name
from jobs.workers import list_workers
from media.binaries import Tools, find_tools
from storage import layout
from tests.chaos.checks import (
    RECOVERY,
    assert_flawless,
    assert_nothing_left,
    encoders,
    ended,
    in_a_chunk,
    leftovers,
)
from tests.e2e.farm_process import Farm, eventually, running_farm
from tests.numbered import Clip, ClipSpec, make_clip

PROFILE = Path(__file__).with_name("slow.toml")
SPEC = ClipSpec(frames=500, size=(640, 360))
CPU_QUEUE = queue_name(Pool.CPU, Priority.NORMAL)

#: Seconds for a lost message to be missed, and the rest of the film.
LOST_MESSAGE = 100.0


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A farm whose encoder takes its time."""
    with running_farm(tmp_path_factory.mktemp("farm"), profile=PROFILE) as found:
        yield found


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The programs of the wheels."""
    return find_tools()


@pytest.fixture(scope="session")
def clip(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Twenty seconds: heads, five chunks and a sound track."""
    return make_clip(tmp_path_factory.mktemp("clips") / "numbered", tools, SPEC)


def test_a_killed_worker_delays_the_film_and_nothing_else(
    farm: Farm, tools: Tools, clip: Clip
) -> None:
    video_id = farm.client.upload(clip.path)["id"]
    victim = in_a_chunk(farm, video_id)
    assert victim.part is not None
    ffmpegs = encoders(victim)
    assert ffmpegs

    os.kill(victim.pid, signal.SIGKILL)
    killed = time.monotonic()
    _, alive = psutil.wait_procs(ffmpegs, timeout=2.0)
    assert not alive, "ffmpeg outlives its worker"

    part, board = PartRef.parse(victim.part), Board(farm.redis, farm.namespace)
    eventually(lambda: board.attempts(part).starts == 2, RECOVERY, lambda: board.attempts(part))
    attempts = board.attempts(part)
    assert (attempts.crashes, attempts.errors, attempts.drains) == (1, 0, 0)

    video = ended(farm, video_id, RECOVERY - (time.monotonic() - killed))
    assert_flawless(farm, tools, clip, video)
    workers = list_workers(farm.redis, farm.namespace)
    assert victim.pid not in {worker.pid for worker in workers}
    assert len(workers) >= 2, "the dead worker is replaced"


@pytest.mark.long
def test_a_lost_message_is_sent_again(farm: Farm, tools: Tools, clip: Clip) -> None:
    video_id = farm.client.upload(clip.path)["id"]
    lost = _steal(farm)
    assert lost.video_id == video_id
    assert_flawless(farm, tools, clip, ended(farm, video_id, LOST_MESSAGE))
    missed = [json.loads(line) for line in farm.last_words(video_id).splitlines()]
    assert ("message_lost", lost.part) in {(each["event"], each.get("part")) for each in missed}


def test_an_emptied_redis_changes_nothing(farm: Farm, tools: Tools, clip: Clip) -> None:
    video_id = farm.client.upload(clip.path)["id"]
    in_a_chunk(farm, video_id)
    farm.redis.flushall()
    assert_flawless(farm, tools, clip, ended(farm, video_id, RECOVERY))


def test_nothing_is_left_of_all_that(farm: Farm, tools: Tools, clip: Clip) -> None:
    video_id = farm.client.upload(clip.path)["id"]
    ended(farm, video_id)
    assert_nothing_left(farm)
    with traces(farm, tools, clip, video_id) as planted:
        found = leftovers(farm)
        missed = [trace for trace in planted if not any(trace in line for line in found)]
        assert not missed, f"{missed} are not among {found}"
    assert_nothing_left(farm)


@contextmanager
def traces(farm: Farm, tools: Tools, clip: Clip, video_id: str) -> Iterator[list[str]]:
    """One of everything that may be left, and the words by which it is known."""
    keys = Board(farm.redis, farm.namespace).keys
    stray, needed = layout.play(video_id, "1/gone/180p-00001.m4s"), layout.index(video_id)
    farm.store.put(stray, b"")
    farm.store.delete([needed])
    upload = farm.store.multipart(layout.source(video_id))
    farm.redis.hset(keys.progress(video_id), "1/v00001", "0.5")
    farm.redis.zadd(keys.leases, {f"{video_id}/1/v00001": (time.time() + 60.0) * 1000})
    scratch = farm.log.parent / "tmp" / "film"
    scratch.touch()
    reading = (tools.ffmpeg, "-v", "error", "-re", "-i", clip.path, "-metadata")
    orphan = subprocess.Popen((*reading, f"title={layout.source(video_id)}", "-f", "null", "-"))
    try:
        yield [
            f"nothing names: {stray}",
            f"missing: {needed}",
            f"unfinished upload: {layout.source(video_id)}",
            keys.progress(video_id),
            "leases has",
            str(scratch),
            f"process: {orphan.pid}",
        ]
    finally:
        orphan.kill()
        orphan.wait()
        scratch.unlink()
        farm.redis.zrem(keys.leases, f"{video_id}/1/v00001")
        farm.redis.delete(keys.progress(video_id))
        upload.abort()
        farm.store.put(needed, b"")
        farm.store.delete([stray])


def _steal(farm: Farm) -> PartRef:
    """Take a waiting message of an encode slot out of Redis, as if it had never been there."""
    keys = Board(farm.redis, farm.namespace).keys
    queue, messages = keys.queue(CPU_QUEUE), keys.messages(CPU_QUEUE)
    stolen: list[str] = []

    def steal() -> bool:
        redis_id = farm.redis.lpop(queue)
        if isinstance(redis_id, bytes):
            stolen.append(redis_id.decode())
        return bool(stolen)

    eventually(steal, RECOVERY)
    data = farm.redis.hget(messages, stolen[0])
    assert isinstance(data, bytes)
    farm.redis.hdel(messages, stolen[0])
    message: Message[None] = Message.decode(data)
    return PartRef(*message.args)
