"""Films do not get in each other's way, and a message that comes twice does nothing twice."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from dramatiq import Message

from farm.client import Video
from jobs.broker import ACTOR, REDIS_ID, FarmBroker
from jobs.parts import Pool, Priority, queue_name
from media.binaries import Tools
from storage import layout
from storage.errors import NotFoundError
from tests import numbered
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import READY, Farm, eventually
from tests.e2e.published import published
from tests.numbered import ClipSpec

ONE = ClipSpec(frames=300)
OTHER = ClipSpec(container="mkv", frames=260, gop=33)


def test_two_films_at_once_keep_to_themselves(farm: Farm, tools: Tools, clip: MakeClip) -> None:
    files = [clip("one", ONE).path, clip("other", OTHER).path]
    with ThreadPoolExecutor(2) as pool:
        uploaded = list(pool.map(farm.client.upload, files))
    ids = [video["id"] for video in uploaded]
    for video_id, spec in zip(ids, (ONE, OTHER), strict=True):
        video = farm.ready(video_id)
        assert numbers(farm, tools, video) == list(range(spec.frames))
        assert_whole(farm, video_id)
    listed = [video["id"] for video in farm.client.videos(50)["videos"]]
    assert sorted(video_id for video_id in listed if video_id in ids) == sorted(ids)


def test_parts_that_are_delivered_twice_are_made_once(
    farm: Farm, tools: Tools, clip: MakeClip
) -> None:
    video_id = farm.client.upload(clip("one", ONE).path)["id"]
    deliver_again(farm, video_id, "inspect")
    eventually(lambda: is_planned(farm, video_id), READY)
    parts = [part.id for part in farm.plan(video_id).parts]
    for part in [*parts, *reversed(parts)]:
        deliver_again(farm, video_id, part)
    video = farm.ready(video_id)
    assert numbers(farm, tools, video) == list(range(ONE.frames))
    assert_whole(farm, video_id)
    before = stored(farm, video_id)
    for part in ("inspect", *parts):
        deliver_again(farm, video_id, part)
    eventually(lambda: not farm.keys_about(video_id), READY, lambda: farm.keys_about(video_id))
    assert stored(farm, video_id) == before


def numbers(farm: Farm, tools: Tools, video: Video) -> list[int]:
    """What the largest rung shows."""
    playlist = published(farm.client, video).track("180p").url
    return numbered.read_numbers(tools, playlist, ONE.size)


def deliver_again(farm: Farm, video_id: str, part: str) -> None:
    """Put a message for the part on the queue, as a broker does that delivers at least once."""
    queue = queue_name(Pool.HEAD if part == "inspect" else Pool.CPU, Priority.NORMAL)
    options = {REDIS_ID: str(uuid4())}
    message: Message[None] = Message(queue, ACTOR, (video_id, 1, part), {}, options)
    FarmBroker(farm.redis, farm.namespace).enqueue(message)


def is_planned(farm: Farm, video_id: str) -> bool:
    try:
        return farm.plan(video_id) is not None
    except NotFoundError:
        return False


def stored(farm: Farm, video_id: str) -> dict[str, str]:
    """What a video has in storage, by key, with what tells one content from another."""
    return {info.key: info.etag for info in farm.store.list(layout.video(video_id))}


def assert_whole(farm: Farm, video_id: str) -> None:
    """One event of a kind, one receipt of a part, nothing under ``play/`` that nobody names."""
    record = farm.record(video_id)
    assert [event.name for event in record.events] == ["accepted", "playable", "ready"]
    assert not record.warnings
    lasts = Counter(receipt.part for receipt in farm.receipts(video_id) if receipt.last)
    assert lasts == Counter(part.id for part in farm.plan(video_id).parts)
    root = layout.play(video_id)
    there = {info.key.removeprefix(root) for info in farm.store.list(root)}
    named = published(farm.client, farm.client.video(video_id)).named
    pictures = {path for path in there if path.startswith(("poster", "storyboard"))}
    assert there - pictures == named
