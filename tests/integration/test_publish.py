"""Playlists grow by what has a receipt, without gaps, and again after any interruption."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
import redis

from catalog.videos import Catalog
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.ids import new_video_id
from jobs.records import VideoRecord
from jobs.send import Sender
from jobs.states import State
from media.binaries import find_tools
from media.probed import Probe
from pipeline import publish
from pipeline.bench import Bench, PlanShelf
from pipeline.errors import PermanentError
from pipeline.playlists import MASTER
from pipeline.publish import Publisher, Standing
from pipeline.source import SourceReader
from storage import layout
from storage.documents import create_document, load_document
from storage.errors import NotFoundError
from storage.objects import ObjectInfo, ObjectStore
from transcoder.plan import AudioPlan, Lane, Part, PartKind, Plan, Rung, VideoPlan
from transcoder.planner import PlanLimits
from transcoder.profile import load_profile
from transcoder.segments import Receipt, Segment, TrackSegments

GOP, SEGMENT, RATE = 50, 150, 25
TICKS = 1000  # of one frame, at 25 frames a second and 25000 ticks


def rung(name: str, height: int) -> Rung:
    rates: dict[str, Any] = {"crf": 23, "maxrate": 100_000, "bufsize": 200_000, "level": "3.0"}
    return Rung(name=name, width=height * 16 // 9, height=height, **rates)


def video_part(number: int, tracks: tuple[str, ...], first: int, count: int | None) -> Part:
    ident = f"v{number:05}"
    return Part(id=ident, kind=PartKind.VIDEO, tracks=tracks, first=first, count=count)


@pytest.fixture
def plan() -> Plan:
    """Two lanes of pictures with three chunks after their heads, and sound in two parts."""
    video = VideoPlan(
        stream=0, zero=Fraction(0), rate=Fraction(RATE), gop=GOP, segment=SEGMENT, frames=500,
        preroll=0, constant_rate=True, width=640, height=360, preset="ultrafast",
        rungs=(rung("360p", 360), rung("180p", 180)),
    )  # fmt: skip
    audio = AudioPlan(
        name="audio-0", stream=1, zero=Fraction(0), language=None, channels=2, sample_rate=48000,
        bit_rate=96000, default=True, segment=279, fragment=93, duration=20.0,
    )  # fmt: skip
    both = ("360p", "180p")
    chunks = [video_part(number, both, GOP + SEGMENT * (number - 2), SEGMENT) for number in (2, 3)]
    parts = (
        video_part(0, ("180p",), 0, GOP),
        video_part(1, ("360p",), 0, GOP),
        *chunks,
        video_part(4, both, 350, None),
        Part(id="a0-head", kind=PartKind.AUDIO, tracks=("audio-0",), count=93),
        Part(id="a0-rest", kind=PartKind.AUDIO, tracks=("audio-0",), first=93, stream=True),
        Part(id="pictures", kind=PartKind.PICTURES),
    )
    rest = ("v00002", "v00003", "v00004")
    lanes = (
        Lane(tracks=("180p",), parts=("v00000", *rest)),
        Lane(tracks=("360p",), parts=("v00001", *rest)),
        Lane(tracks=("audio-0",), parts=("a0-head", "a0-rest")),
    )
    probe = Probe(container="mov", duration=20, start=0, size=1, bit_rate=1, indexed=True)
    return Plan(
        profile="default", probe=probe, target_duration=6, checkpoint=5, video=video,
        audio=(audio,), parts=parts, lanes=lanes,
    )  # fmt: skip


class Farm:
    """One video of that plan, and a clock."""

    def __init__(self, bench: Bench, plan: Plan) -> None:
        self.bench = bench
        self.plan = plan
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.id = new_video_id()
        record = VideoRecord(id=self.id, state=State.QUEUED, size=1, created_at=self.now)
        bench.catalog.receive(self.id, 60)
        bench.catalog.accept(record)
        self.record = bench.catalog.update(
            self.id, lambda r: r.model_copy(update={"state": State.PROCESSING})
        )

    def publish(self, later: float = 60) -> Standing:
        self.now += timedelta(seconds=later)
        return Publisher(self.bench, self.record, self.plan, lambda: self.now).publish()

    def playlist(self, track: str) -> list[str]:
        """The segments a playlist names, by their last path component."""
        text = self.text(f"1/{track}.m3u8")
        return [line.split("/")[-1] for line in text.splitlines() if line.endswith(".m4s")]

    def text(self, path: str) -> str:
        return self.bench.store.get(layout.play(self.id, path)).body.decode()

    def extend(self, later: float = 60) -> bool:
        self.now += timedelta(seconds=later)
        return Publisher(self.bench, self.record, self.plan, lambda: self.now).extend()

    def receive(
        self,
        part_id: str,
        *,
        checkpoint: int = 0,
        last: bool = True,
        generation: int = 1,
        empty: bool = False,
    ) -> None:
        """Store the segments of a part and write its receipt, as a worker would."""
        part = self.plan.part(part_id)
        made = () if empty else part.tracks
        tracks = tuple(self._track(name, part, checkpoint) for name in made)
        for path in [segment.path for track in tracks for segment in track.segments]:
            self.bench.store.put(layout.play(self.id, path), b"segment")
        receipt = Receipt(
            part=part_id, checkpoint=checkpoint, last=last, run="r" + part_id, host="h",
            tracks=tracks,
        )  # fmt: skip
        key = layout.receipt(self.id, generation, part_id, checkpoint)
        assert create_document(self.bench.store, key, receipt.model_dump(mode="json")).won

    @staticmethod
    def _track(name: str, part: Part, checkpoint: int) -> TrackSegments:
        sound = name.startswith("audio")
        ticks = 93 * 1024 if sound else GOP * TICKS if part.first == 0 else SEGMENT * TICKS
        number = f"{part.id}-{checkpoint}"
        return TrackSegments(
            track=name,
            codec="mp4a.40.2" if sound else "avc1.64001e",
            timescale=48000 if sound else RATE * TICKS,
            init_path=f"1/{name}-init-abc.mp4",
            init_hash="abc",
            segments=(Segment(path=f"1/r/{name}-{number}.m4s", size=9, start=0, ticks=ticks),),
        )


@pytest.fixture
def farm(object_store: ObjectStore, redis_client: redis.Redis, namespace: str, plan: Plan) -> Farm:
    board = Board(redis_client, namespace)
    bench = Bench(
        store=object_store, catalog=Catalog(object_store), board=board,
        sender=Sender(FarmBroker(redis_client, namespace), board), tools=find_tools(),
        profile=load_profile(None), limits=PlanLimits(), host="h",
        plans=PlanShelf(object_store), sources=SourceReader(object_store),
    )  # fmt: skip
    return Farm(bench, plan)


def test_nothing_is_named_before_picture_and_sound_have_begun(farm: Farm) -> None:
    farm.receive("v00000")
    assert farm.publish().done == {"v00000"}
    with pytest.raises(NotFoundError):
        farm.text(MASTER)
    assert not farm.bench.catalog.load(farm.id).playable

    farm.receive("a0-head")
    farm.publish()
    assert "1/180p.m3u8" in farm.text(MASTER)
    assert "1/audio-0.m3u8" in farm.text(MASTER)
    assert "1/360p.m3u8" not in farm.text(MASTER)
    record = farm.bench.catalog.load(farm.id)
    assert record.playable
    assert [event.name for event in record.events] == ["accepted", "playable"]


def test_further_rungs_are_named_when_they_begin(farm: Farm) -> None:
    for part in ("v00000", "a0-head"):
        farm.receive(part)
    farm.publish()
    farm.receive("v00001")
    farm.publish()
    assert "1/360p.m3u8" in farm.text(MASTER)
    names = [event.name for event in farm.bench.catalog.load(farm.id).events]
    assert names.count("playable") == 1


def test_a_gap_is_waited_for_but_what_is_behind_it_counts_as_done(farm: Farm) -> None:
    for part in ("v00000", "v00003"):
        farm.receive(part)
    standing = farm.publish()
    assert standing.done == {"v00000", "v00003"}
    assert farm.playlist("180p") == ["180p-v00000-0.m4s"]

    farm.receive("v00002")
    farm.publish()
    assert farm.playlist("180p") == [f"180p-v0000{n}-0.m4s" for n in (0, 2, 3)]
    with pytest.raises(NotFoundError):
        farm.playlist("360p")


def test_publishing_again_after_the_mark_was_lost_names_nothing_twice(farm: Farm) -> None:
    farm.receive("v00000")
    farm.publish()
    key = layout.published(farm.id, 1)
    before = farm.bench.store.get(key).body
    farm.receive("v00002")
    farm.publish()
    text = farm.text("1/180p.m3u8")

    farm.bench.store.put(key, before)
    farm.publish()
    assert farm.text("1/180p.m3u8") == text


@pytest.mark.parametrize("short", [64, 0], ids=["listed at once", "lane by lane"])
def test_checkpoints_of_a_stream_part_are_published_as_they_come(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    monkeypatch.setattr(publish, "_SHORT", short)
    farm.receive("a0-head")
    farm.receive("a0-rest", checkpoint=0, last=False)
    standing = farm.publish()
    assert "a0-rest" not in standing.done
    assert farm.playlist("audio-0") == ["audio-0-a0-head-0.m4s", "audio-0-a0-rest-0.m4s"]
    farm.receive("a0-rest", checkpoint=1, last=True)
    standing = farm.publish(later=0)
    assert "a0-rest" in standing.done
    assert len(farm.playlist("audio-0")) == 3


def test_who_watches_the_head_gets_what_follows_at_once(farm: Farm) -> None:
    for count, part in enumerate(("v00000", "v00002", "v00003"), 1):
        farm.receive(part)
        farm.publish(later=0)
        assert len(farm.playlist("180p")) == count


def test_playlists_are_not_written_more_often_than_players_ask(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_OPENING", 1)
    farm.receive("v00000")
    farm.publish()
    farm.receive("v00002")
    standing = farm.publish(later=3)
    assert standing.done == {"v00000", "v00002"}
    assert len(farm.playlist("180p")) == 1
    farm.publish(later=3)
    assert len(farm.playlist("180p")) == 2


def test_a_clock_that_was_ahead_keeps_nothing_back(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_OPENING", 1)
    farm.receive("v00000")
    farm.publish(later=3600)
    farm.receive("v00002")
    farm.publish(later=-1800)
    assert len(farm.playlist("180p")) == 2


def test_a_film_of_which_nothing_is_named_has_not_begun(farm: Farm) -> None:
    """Its sound is declared, and empty so far: viewers wait for the rest of it."""
    for part in ("v00000", "v00001"):
        farm.receive(part)
    farm.receive("a0-head", empty=True)
    assert not farm.publish().begun
    assert not farm.extend()
    farm.receive("a0-rest", checkpoint=0, last=False)
    assert farm.publish().begun
    assert "1/audio-0.m3u8" in farm.text(MASTER)


def test_a_film_of_which_nothing_can_be_named_ends(farm: Farm) -> None:
    for part in farm.plan.parts:
        farm.receive(part.id, empty=True)
    standing = farm.publish()
    assert (standing.complete, standing.begun) == (True, False)


def test_a_track_that_begins_late_is_not_left_to_a_quick_look(farm: Farm) -> None:
    for part in ("v00000", "a0-head"):
        farm.receive(part)
    farm.receive("v00001", empty=True)
    assert farm.publish().begun
    assert farm.extend()
    farm.receive("v00002")
    assert not farm.extend(), "it has something to name"
    farm.publish()
    assert "1/360p.m3u8" in farm.text(MASTER)


def test_the_last_part_of_a_lane_does_not_wait(farm: Farm) -> None:
    for part in ("v00000", "v00001", "v00002", "v00003", "a0-head", "a0-rest", "pictures"):
        farm.receive(part)
    assert not farm.publish().complete
    farm.receive("v00004")
    assert farm.publish(later=0).complete
    assert len(farm.playlist("360p")) == 4


def test_the_receipts_of_a_short_film_are_listed_once(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    listing = ObjectStore.list

    def told(store: ObjectStore, prefix: str, **options: Any) -> Iterator[ObjectInfo]:
        listed.append(prefix)
        return listing(store, prefix, **options)

    monkeypatch.setattr(ObjectStore, "list", told)
    for count in (1, 2):
        farm.receive("v00000" if count == 1 else "a0-head")
        farm.publish()
        assert listed == [layout.receipts(farm.id, 1)] * count


def test_another_init_segment_is_an_error_for_a_person(farm: Farm) -> None:
    farm.receive("v00000")
    farm.publish()
    farm.receive("v00002")
    key = layout.receipt(farm.id, 1, "v00002")
    document, _ = load_document(farm.bench.store, key)
    for track in document["tracks"]:
        track["init_path"] = track["init_path"].replace("abc", "def")
    farm.bench.store.put(key, Receipt.model_validate(document).model_dump_json().encode())
    with pytest.raises(PermanentError) as caught:
        farm.publish()
    assert caught.value.problem.code == "mixed_encoders"


def test_a_film_that_ends_early_ends_its_playlists(farm: Farm) -> None:
    farm.receive("v00000")
    farm.publish()
    Publisher(farm.bench, farm.record, farm.plan).close()
    assert farm.text("1/180p.m3u8").endswith("#EXT-X-ENDLIST\n")
