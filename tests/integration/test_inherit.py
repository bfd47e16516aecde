"""What a retry keeps of the generation before, and what it makes again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog.videos import Catalog
from jobs.records import VideoRecord
from jobs.states import State
from pipeline.finish import read_receipts, remove_leftovers, remove_unnamed
from pipeline.inherit import inherit, is_trusted, reusable
from pipeline.publish import Publisher
from storage import layout
from storage.documents import create_document
from tests.integration.test_publish import Farm, farm, plan
from transcoder.plan import Plan
from transcoder.segments import Receipt

__all__ = ["farm", "plan"]

CHUNK, SOUND = "v00002", "a0-head"


@pytest.fixture
def retried(farm: Farm) -> VideoRecord:
    """The video, canceled with some parts done, and retried."""
    for part in ("v00000", CHUNK, SOUND):
        farm.receive(part)
    farm.receive("a0-rest", last=False)
    farm.publish()
    for name in ("180p", "360p", "audio-0"):
        farm.bench.store.put(layout.play(farm.id, f"1/{name}-init-abc.mp4"), b"init")
    catalog: Catalog = farm.bench.catalog
    catalog.cancel(farm.id)
    create_document(farm.bench.store, layout.plan(farm.id, 1), farm.plan.model_dump(mode="json"))
    return catalog.retry(farm.id)


def kept(farm: Farm, record: VideoRecord) -> list[tuple[str, int]]:
    return [(each.part, each.checkpoint) for each in read_receipts(farm.bench, record)]


def receipts(farm: Farm) -> list[Receipt]:
    return read_receipts(farm.bench, farm.record)


def test_finished_parts_are_kept_and_their_init_segments_are_the_generations_own(
    farm: Farm, retried: VideoRecord
) -> None:
    inherit(farm.bench, retried, farm.plan)
    inherit(farm.bench, retried, farm.plan)

    assert kept(farm, retried) == kept(farm, farm.record)
    found = read_receipts(farm.bench, retried)
    tracks = [track for receipt in found for track in receipt.tracks]
    assert all(track.init_path == f"2/{track.track}-init-abc.mp4" for track in tracks)
    assert farm.bench.store.get(layout.play(farm.id, "2/180p-init-abc.mp4")).body == b"init"
    assert all(segment.path.startswith("1/") for track in tracks for segment in track.segments)


def test_a_first_generation_asks_nothing_of_the_storage(farm: Farm) -> None:
    without = replace(farm.bench, store=None)  # type: ignore[arg-type]
    inherit(without, farm.record, farm.plan)


def test_pictures_without_a_receipt_go_unless_the_video_is_retried_by_now(
    farm: Farm, retried: VideoRecord
) -> None:
    poster = layout.play(farm.id, "poster.jpg")
    farm.bench.store.put(poster, b"a picture")
    before = len(list(farm.bench.store.list(layout.play(farm.id))))
    remove_leftovers(farm.bench, farm.record)
    assert len(list(farm.bench.store.list(layout.play(farm.id)))) == before
    remove_leftovers(farm.bench, retried)
    assert poster not in {info.key for info in farm.bench.store.list(layout.play(farm.id))}


def test_viewers_of_the_generation_before_are_not_kept_waiting(
    farm: Farm, retried: VideoRecord
) -> None:
    assert "#EXT-X-ENDLIST" not in farm.text("1/180p.m3u8")
    inherit(farm.bench, retried, farm.plan)
    assert farm.text("1/180p.m3u8").endswith("#EXT-X-ENDLIST\n")


def test_the_new_generation_takes_over_with_what_it_has(farm: Farm, retried: VideoRecord) -> None:
    assert "1/180p.m3u8" in farm.text("master.m3u8")
    inherit(farm.bench, retried, farm.plan)
    processing = {"state": State.PROCESSING}
    record = farm.bench.catalog.update(farm.id, lambda r: r.model_copy(update=processing))
    done = Publisher(farm.bench, record, farm.plan).publish().done
    assert done == {"v00000", CHUNK, SOUND}
    assert "2/180p.m3u8" in farm.text("master.m3u8")
    assert "\n1/" not in farm.text("master.m3u8")
    assert "../1/r/180p-v00002-0.m4s" in farm.text("2/180p.m3u8")
    assert farm.bench.catalog.load(farm.id).playable


def test_what_a_changed_profile_touches_is_made_again(farm: Farm, retried: VideoRecord) -> None:
    quieter = farm.plan.audio[0].model_copy(update={"bit_rate": 64_000})
    changed = farm.plan.model_copy(update={"audio": (quieter,)})
    inherit(farm.bench, retried, changed)
    assert kept(farm, retried) == [("v00000", 0), (CHUNK, 0)]


def test_a_part_that_is_cut_otherwise_is_made_again(farm: Farm, plan: Plan) -> None:
    farm.receive("v00000")
    farm.receive(CHUNK)
    shorter = plan.part(CHUNK).model_copy(update={"count": 50, "cost": 9.0})
    parts = tuple(shorter if part.id == CHUNK else part for part in plan.parts)
    found = reusable(receipts(farm), plan, plan.model_copy(update={"parts": parts}))
    assert [receipt.part for receipt in found] == ["v00000"]


def test_parts_that_did_not_fit_each_other_are_all_made_again(farm: Farm, plan: Plan) -> None:
    farm.receive("v00000")
    farm.receive(CHUNK)
    first, second = receipts(farm)
    other = [track.model_copy(update={"init_hash": "other"}) for track in second.tracks]
    mixed = second.model_copy(update={"tracks": tuple(other)})
    assert is_trusted([first, second], plan)
    assert not is_trusted([first, mixed], plan)


def test_a_whole_that_failed_is_made_again(farm: Farm, plan: Plan) -> None:
    for part in plan.parts:
        farm.receive(part.id)
    assert not is_trusted(receipts(farm), plan)


def test_what_two_generations_made_is_kept_and_of_a_part_only_the_latest(
    farm: Farm, retried: VideoRecord
) -> None:
    """The second generation was canceled before it took over what the first had."""
    plan = farm.plan.model_dump(mode="json")
    create_document(farm.bench.store, layout.plan(farm.id, 2), plan)
    farm.receive("a0-rest", generation=2)
    farm.receive("v00003", generation=2)
    third = retried.model_copy(update={"generation": 3})
    inherit(farm.bench, third, farm.plan)
    found = {each.part: each.last for each in read_receipts(farm.bench, third)}
    assert found == dict.fromkeys(("v00000", CHUNK, SOUND, "a0-rest", "v00003"), True)


def test_a_generation_that_did_not_make_a_whole_spoils_the_ones_before_it(
    farm: Farm, retried: VideoRecord
) -> None:
    plan = farm.plan.model_dump(mode="json")
    create_document(farm.bench.store, layout.plan(farm.id, 2), plan)
    for part in farm.plan.parts:
        farm.receive(part.id, generation=2)
    third = retried.model_copy(update={"generation": 3})
    inherit(farm.bench, third, farm.plan)
    assert kept(farm, third) == []


def test_a_receipt_whose_segments_are_gone_is_not_kept(farm: Farm, retried: VideoRecord) -> None:
    (segment,) = receipts(farm)[0].tracks[0].segments
    farm.bench.store.delete([layout.play(farm.id, segment.path)])
    gone = receipts(farm)[0].part
    inherit(farm.bench, retried, farm.plan)
    assert gone in {"v00000", CHUNK, SOUND, "a0-rest"}
    assert gone not in dict(kept(farm, retried))
    assert len(kept(farm, retried)) == 3


def test_the_end_of_a_generation_removes_what_earlier_ones_left_and_nothing_of_later_ones(
    farm: Farm, retried: VideoRecord
) -> None:
    put = farm.bench.store.put
    for path in ("1/r/kept.m4s", "1/r/lost.m4s", "2/x.m3u8", "2/r/lost.m4s", "3/x.m4s", "old.jpg"):
        put(layout.play(farm.id, path), b"x")
    remove_unnamed(farm.bench, retried, frozenset({"1/r/kept.m4s", "2/x.m3u8"}))
    root = layout.play(farm.id)
    there = {info.key.removeprefix(root) for info in farm.bench.store.list(root)}
    assert there == {"1/r/kept.m4s", "2/x.m3u8", "3/x.m4s"}
