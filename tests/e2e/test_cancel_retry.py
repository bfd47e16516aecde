"""A film that is canceled stops at once and keeps what it has; a retry makes what is missing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from farm.client import Video
from farm.errors import RefusedError
from jobs.workers import list_workers
from media.binaries import Tools
from storage import layout
from storage.documents import load_document
from storage.errors import NotFoundError
from tests import numbered
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import Farm, eventually, running_farm
from tests.e2e.published import Published, published
from tests.numbered import ClipSpec
from transcoder.segments import Receipt

SLOW = Path(__file__).parents[1] / "chaos" / "slow.toml"
SPEC = ClipSpec(frames=400, size=(640, 360))
SIZES = {"360p": (640, 360), "180p": (320, 180)}

#: Seconds.
PATIENCE = 60.0
AT_ONCE = 2.0


@pytest.fixture(scope="module")
def slow_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A farm whose encoder takes its time."""
    with running_farm(tmp_path_factory.mktemp("farm"), profile=SLOW) as found:
        yield found


def test_a_canceled_film_stops_at_once_and_is_finished_by_a_retry(
    slow_farm: Farm, tools: Tools, clip: MakeClip
) -> None:
    farm = slow_farm
    video_id = farm.client.upload(clip("slow", SPEC).path)["id"]
    eventually(lambda: chunks(farm, video_id) and encoders(farm), PATIENCE)

    running, begun = encoders(farm), time.monotonic()
    assert farm.client.cancel(video_id)["status"] == "canceled"
    _, alive = psutil.wait_procs(running, timeout=AT_ONCE)
    assert not alive, "ffmpeg is still running"
    assert time.monotonic() - begun < AT_ONCE
    eventually(lambda: not farm.keys_about(video_id), PATIENCE, lambda: farm.keys_about(video_id))
    assert not encoders(farm)

    assert_closed(farm, video_id)
    before = receipts(farm, video_id, 1)
    with pytest.raises(RefusedError, match="wrong_state"):
        farm.client.cancel(video_id)

    again = farm.client.retry(video_id)
    assert (again["status"], again["playable"]) == ("queued", False)
    video = farm.ready(video_id)

    after = receipts(farm, video_id, 2)
    kept = {name for name, receipt in after.items() if receipt.run == run_of(before, name)}
    assert kept == set(before)
    done = {part for part, checkpoint in kept if after[part, checkpoint].last}
    assert started(farm, video_id) == {part for part, _ in after} - done
    assert_whole(farm, tools, video)


def test_a_film_that_has_ended_in_any_way_is_not_canceled(farm: Farm, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("This is no film.\n" * 100)
    video_id = farm.client.upload(text)["id"]
    first = farm.ended(video_id)
    assert first["status"] == "errored"
    with pytest.raises(RefusedError, match="wrong_state"):
        farm.client.cancel(video_id)

    assert farm.client.retry(video_id)["error"] is None
    second = farm.ended(video_id)
    assert second["error"] == first["error"]
    ids = [event.id for event in farm.record(video_id).events]
    names = ["1:accepted", "1:errored", "2:retried", "2:errored"]
    assert ids == [f"{video_id}:{name}" for name in names]


def assert_closed(farm: Farm, video_id: str) -> None:
    """Viewers of what there was are not kept waiting, and no object is there that nobody names."""
    root = layout.play(video_id)
    there = {info.key.removeprefix(root) for info in farm.store.list(root)}
    for name in SIZES:
        text = farm.store.get(f"{root}1/{name}.m3u8").body.decode()
        assert text.endswith("#EXT-X-ENDLIST\n")
    found = farm.client.video(video_id)
    assert farm.client.fetch(found["playback"]["hls"]).is_success
    tracks = [t for receipt in receipts(farm, video_id, 1).values() for t in receipt.tracks]
    assert {path for path in there if path.endswith(".m4s")} == {
        segment.path for track in tracks for segment in track.segments
    }
    with pytest.raises(NotFoundError):
        farm.store.head(layout.inbox(video_id))
    listed = farm.client.videos(50, "canceled")["videos"]
    assert video_id in {video["id"] for video in listed}


def assert_whole(farm: Farm, tools: Tools, video: Video) -> None:
    """Every picture once, nothing that no playlist names, one event of a kind and generation."""
    found = published(farm.client, video)
    for name, size in SIZES.items():
        assert numbered.read_numbers(tools, found.track(name).url, size) == list(
            range(SPEC.frames)
        ), name
        order = ("-map", f"0:v:{found.order(name)}")
        by_hls = video["playback"]["hls"]
        assert numbered.read_numbers(tools, by_hls, size, order) == list(range(SPEC.frames)), name
    assert left_over(farm, video, found) == set()
    ids = [event.id.removeprefix(f"{video['id']}:") for event in farm.record(video["id"]).events]
    first = ["1:accepted", "1:playable", "1:canceled"]
    assert ids == [*first, "2:retried", "2:playable", "2:ready"]


def left_over(farm: Farm, video: Video, found: Published) -> set[str]:
    root = layout.play(video["id"])
    there = {info.key.removeprefix(root) for info in farm.store.list(root)}
    pictures = {path for path in there if path.startswith(("poster", "storyboard"))}
    return there - pictures - found.named


def receipts(farm: Farm, video_id: str, generation: int) -> dict[tuple[str, int], Receipt]:
    """The receipts of a generation by part and checkpoint."""
    keys = [info.key for info in farm.store.list(layout.receipts(video_id, generation))]
    loaded = (load_document(farm.store, key)[0] for key in keys)
    found = (Receipt.model_validate(document) for document in loaded)
    return {(receipt.part, receipt.checkpoint): receipt for receipt in found}


def run_of(found: dict[tuple[str, int], Receipt], name: tuple[str, int]) -> str | None:
    return found[name].run if name in found else None


def chunks(farm: Farm, video_id: str) -> list[str]:
    """Parts of the picture with a receipt, but those of the first moments."""
    try:
        begin = {part.id for part in farm.plan(video_id).parts if part.first == 0}
    except NotFoundError:
        return []
    names = {part for part, _ in receipts(farm, video_id, 1)}
    return [name for name in names - begin if name.startswith("v")]


def encoders(farm: Farm) -> list[psutil.Process]:
    """What runs below the workers."""
    workers = [worker.pid for worker in list_workers(farm.redis, farm.namespace)]
    return [child for pid in workers for child in psutil.Process(pid).children(recursive=True)]


def started(farm: Farm, video_id: str) -> set[str]:
    """Parts that were begun after the retry, by the farm's log."""
    told = (line for line in farm.log.read_text().splitlines() if video_id in line)
    lines = [line for line in map(json.loads, told) if line.get("video_id") == video_id]
    (since,) = (n for n, line in enumerate(lines) if line["event"] == "receipts_kept")
    return {line["part"] for line in lines[since:] if line["event"] == "part_started"}
