"""Harm done to a running farm delays a film; it neither loses it nor changes a picture of it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from dramatiq import Message

from farm.client import Video
from jobs.board import Board
from jobs.parts import PartRef, Pool, Priority, queue_name
from jobs.workers import WorkerInfo, list_workers
from media.binaries import Tools, find_tools
from storage import layout
from tests.e2e import playlists
from tests.e2e.farm_process import Farm, eventually, running_farm
from tests.numbered import Clip, ClipSpec, make_clip, read_numbers

PROFILE = Path(__file__).with_name("slow.toml")
SPEC = ClipSpec(frames=500, size=(640, 360))
SIZES = ((640, 360), (320, 180))
CPU_QUEUE = queue_name(Pool.CPU, Priority.NORMAL)

#: Seconds: for a lease to lapse and the rest of the film, or for a lost message to be missed.
RECOVERY = 60.0
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
    victim = _in_a_chunk(farm, video_id)
    assert victim.part is not None
    encoders = psutil.Process(victim.pid).children(recursive=True)
    assert encoders

    os.kill(victim.pid, signal.SIGKILL)
    killed = time.monotonic()
    _, alive = psutil.wait_procs(encoders, timeout=2.0)
    assert not alive, "ffmpeg outlives its worker"

    part, board = PartRef.parse(victim.part), Board(farm.redis, farm.namespace)
    eventually(lambda: board.attempts(part).starts == 2, RECOVERY, lambda: board.attempts(part))
    attempts = board.attempts(part)
    assert (attempts.crashes, attempts.errors, attempts.drains) == (1, 0, 0)

    video = _ended(farm, video_id, RECOVERY - (time.monotonic() - killed))
    assert_flawless(farm, tools, clip, video)
    workers = list_workers(farm.redis, farm.namespace)
    assert victim.pid not in {worker.pid for worker in workers}
    assert len(workers) >= 2, "the dead worker is replaced"


def test_a_lost_message_is_sent_again(farm: Farm, tools: Tools, clip: Clip) -> None:
    video_id = farm.client.upload(clip.path)["id"]
    lost = _steal(farm)
    assert lost.video_id == video_id
    assert_flawless(farm, tools, clip, _ended(farm, video_id, LOST_MESSAGE))
    missed = [json.loads(line) for line in farm.last_words(video_id).splitlines()]
    assert ("message_lost", lost.part) in {(each["event"], each.get("part")) for each in missed}


def test_an_emptied_redis_changes_nothing(farm: Farm, tools: Tools, clip: Clip) -> None:
    video_id = farm.client.upload(clip.path)["id"]
    _in_a_chunk(farm, video_id)
    farm.redis.flushall()
    assert_flawless(farm, tools, clip, _ended(farm, video_id, RECOVERY))


def assert_flawless(farm: Farm, tools: Tools, clip: Clip, video: Video) -> None:
    """Every picture in its place in every rung, one event, and nothing under ``play/`` unnamed."""
    assert video["status"] == "ready", f"{video['error']}\n{farm.last_words(video['id'])}"
    assert not video["warnings"]
    hls = playlists.multivariant(
        video["playback"]["hls"], farm.client.fetch(video["playback"]["hls"]).text
    )
    for variant, size in zip(hls.variants, SIZES, strict=True):
        assert read_numbers(tools, variant.url, size) == list(clip.numbers)
    names = [event.name for event in farm.record(video["id"]).events]
    assert names == ["accepted", "playable", "ready"]
    assert _present(farm, video) == _named(farm, video, hls)


def _named(farm: Farm, video: Video, hls: playlists.Multivariant) -> set[str]:
    """Paths below ``play/`` of everything that a viewer may ask for."""
    playback = video["playback"]
    found = {playback["hls"], playback["dash"], playback["poster"], playback["storyboard"]}
    for url in hls.named:
        found |= {url} | playlists.media_playlist(url, farm.client.fetch(url).text).named
    root = playback["hls"].removesuffix("master.m3u8")
    return {url.removeprefix(root) for url in found} | {"storyboard.json", "storyboard_0.jpg"}


def _present(farm: Farm, video: Video) -> set[str]:
    root = layout.play(video["id"])
    return {info.key.removeprefix(root) for info in farm.store.list(root)}


def _ended(farm: Farm, video_id: str, timeout: float) -> Video:
    def ended() -> bool:
        return farm.client.video(video_id)["status"] in ("ready", "errored", "canceled")

    eventually(ended, timeout, lambda: farm.last_words(video_id))
    return farm.client.video(video_id)


def _in_a_chunk(farm: Farm, video_id: str) -> WorkerInfo:
    """A worker that has encoded some, and not nearly all, of a chunk."""
    board = Board(farm.redis, farm.namespace)
    found: list[WorkerInfo] = []

    def looked() -> bool:
        done = board.progress(video_id)
        for worker in list_workers(farm.redis, farm.namespace):
            part = PartRef.parse(worker.part) if worker.part else None
            if part is None or part.video_id != video_id or not part.part.startswith("v"):
                continue
            if 0.0 < done.get(f"1/{part.part}", 0.0) < 0.7 and not _is_head(farm, part):
                found.append(worker)
        return bool(found)

    eventually(looked, RECOVERY, lambda: farm.last_words(video_id))
    return found[0]


def _is_head(farm: Farm, ref: PartRef) -> bool:
    return farm.plan(ref.video_id).part(ref.part).head


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
