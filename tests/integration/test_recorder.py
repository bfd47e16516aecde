"""Segments count by their receipt, and what no receipt names goes away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from jobs.ids import new_video_id
from jobs.parts import PartRef
from media.binaries import Tools
from media.command import Command
from media.process import run
from pipeline.errors import SupersededError
from pipeline.recorder import PartRecorder, Stint, TrackTape
from storage import layout
from storage.documents import load_document
from storage.errors import UnavailableError
from storage.objects import ObjectStore
from tests.integration.runtime_farm import eventually
from transcoder.cmaf import CutSegment, Grid, Segmenter
from transcoder.segments import Receipt

GOP = 10
GRID = Grid(head=GOP * 1000, segment=2 * GOP * 1000)


@pytest.fixture(scope="module")
def encoded(tools: Tools) -> bytes:
    """Eight groups of ten pictures, as ffmpeg writes them into a pipe."""
    pieces: list[bytes] = []
    source = ["-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=3.2"]
    encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "10"]
    flags = "+frag_keyframe+delay_moov+default_base_moof+frag_discont+skip_trailer"
    muxer = ["-video_track_timescale", "25000", "-f", "mp4", "-movflags", flags]
    command = Command((*source, *encoder, *muxer, "sink:a"), 60)
    run(tools, command, sinks={"a": pieces.append})
    return b"".join(pieces)


class Studio:
    """One video in a storage, of which one part is recorded."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.ref = PartRef(new_video_id(), 1, "v00000")
        self.commits = 0

    def recorder(self, name: str, every: int | None = None) -> PartRecorder:
        tape = TrackTape("64p", Segmenter(GRID, timescale=25000), GRID)
        stint = Stint(self.ref, name, "host", first=0, checkpoint=0, every=every)
        return PartRecorder(self.store, stint, [tape], on_commit=self._committed)

    def segments(self) -> set[str]:
        keys = (info.key for info in self.store.list(layout.play(self.ref.video_id)))
        return {key.split("/play/1/")[1] for key in keys if key.endswith(".m4s")}

    def receipts(self) -> list[Receipt]:
        prefix = layout.receipts(self.ref.video_id, 1)
        keys = [info.key for info in self.store.list(prefix)]
        return [Receipt.model_validate(load_document(self.store, key)[0]) for key in keys]

    def _committed(self) -> None:
        self.commits += 1


@pytest.fixture
def studio(object_store: ObjectStore) -> Studio:
    return Studio(object_store)


def play(recorder: PartRecorder, data: bytes, *, to_the_end: bool = True) -> None:
    """Feed a recorder in pieces as a pipe would; close it whatever happens."""
    try:
        for at in range(0, len(data), 4096):
            recorder.sinks["64p"](data[at : at + 4096])
        if to_the_end:
            recorder.finish(cpu=1.0, skew=0.0, warnings=())
    finally:
        recorder.close()


def test_the_receipt_names_every_segment_in_order(studio: Studio, encoded: bytes) -> None:
    play(studio.recorder("r1"), encoded)
    (receipt,) = studio.receipts()
    paths = [segment.path for segment in receipt.tracks[0].segments]
    assert paths == [f"1/r1/64p-{number:05}.m4s" for number in range(5)]
    assert studio.segments() == {path.removeprefix("1/") for path in paths}
    assert (receipt.first, receipt.count, receipt.last) == (0, 80, True)


def test_a_stream_part_commits_every_few_segments(studio: Studio, encoded: bytes) -> None:
    play(studio.recorder("r1", every=2), encoded)
    receipts = studio.receipts()
    assert [(r.checkpoint, r.first, r.count, r.last) for r in receipts] == [
        (0, 0, 10, False),
        (1, 10, 40, False),
        (2, 50, 30, False),
        (3, 80, 0, True),
    ]
    # Checkpoints that become whole at once are told of once.
    assert 1 <= studio.commits <= 3


def test_the_run_that_comes_second_removes_what_it_wrote(studio: Studio, encoded: bytes) -> None:
    play(studio.recorder("r1"), encoded)
    with pytest.raises(SupersededError):
        play(studio.recorder("r2"), encoded)
    assert {path.split("/")[0] for path in studio.segments()} == {"r1"}


def test_a_run_that_ends_early_keeps_what_it_committed(studio: Studio, encoded: bytes) -> None:
    play(studio.recorder("r1", every=2), encoded[: len(encoded) * 2 // 3], to_the_end=False)
    committed = {
        segment.path.removeprefix("1/")
        for receipt in studio.receipts()
        for track in receipt.tracks
        for segment in track.segments
    }
    assert committed
    assert studio.segments() == committed


@pytest.fixture
def broken_receipt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The storage takes the receipt, but its answers are lost."""
    created = ObjectStore.create

    def create(store: ObjectStore, key: str, body: bytes, **options: str) -> str | None:
        created(store, key, body, **options)
        raise UnavailableError("PutObject", store.bucket, key, "timeout", "no answer")

    monkeypatch.setattr(ObjectStore, "create", create)
    yield


@pytest.mark.usefixtures("broken_receipt")
def test_a_receipt_in_doubt_keeps_its_segments(studio: Studio, encoded: bytes) -> None:
    with pytest.raises(UnavailableError):
        play(studio.recorder("r1"), encoded)
    (receipt,) = studio.receipts()
    named = {segment.path.removeprefix("1/") for segment in receipt.tracks[0].segments}
    assert studio.segments() == named


def test_a_checkpoint_in_doubt_that_is_tried_again_keeps_its_segments(
    studio: Studio, encoded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next segment's thread tries to commit what the one before had no answer to."""
    recorder, created, lost = studio.recorder("r1", every=2), ObjectStore.create, Event()
    begun = Event()
    put = recorder._put

    def putting(tape: TrackTape, order: int, cut: CutSegment) -> None:
        if order > 0:
            begun.set()
        put(tape, order, cut)

    def create(store: ObjectStore, key: str, body: bytes, **options: str) -> str | None:
        etag = created(store, key, body, **options)
        if lost.is_set():
            return etag
        lost.set()
        assert begun.wait(30)
        raise UnavailableError("PutObject", store.bucket, key, "timeout", "no answer")

    monkeypatch.setattr(recorder, "_put", putting)
    monkeypatch.setattr(ObjectStore, "create", create)
    with pytest.raises(UnavailableError):
        play(recorder, encoded)
    tracks = [track for receipt in studio.receipts() for track in receipt.tracks]
    named = {segment.path.removeprefix("1/") for track in tracks for segment in track.segments}
    assert "r1/64p-00000.m4s" in named
    assert studio.segments() == named


def test_a_storage_that_fails_ends_the_run(
    studio: Studio, encoded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(store: ObjectStore, key: str, _body: bytes, **_options: str) -> str:
        raise UnavailableError("PutObject", store.bucket, key, "503", "slow down")

    monkeypatch.setattr(ObjectStore, "put", put)
    with pytest.raises(UnavailableError):
        play(studio.recorder("r1"), encoded)
    assert studio.receipts() == []


def test_once_storing_has_failed_nothing_more_is_stored(
    studio: Studio, encoded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that does not answer holds a run up for one request's time, not for each one's."""
    waiting, begun = Event(), list[str]()

    def put(key: str, data: bytes, **_: str) -> None:
        begun.append(key)
        waiting.wait(10.0)
        raise UnavailableError("PutObject", "bucket", key, "ReadTimeoutError", "silence")

    monkeypatch.setattr(studio.store, "put", put)
    recorder = studio.recorder("r1")
    with ThreadPoolExecutor(1) as pool:
        feeding = pool.submit(play, recorder, encoded)
        eventually(lambda: len(begun) == 2)
        waiting.set()
        with pytest.raises(UnavailableError):
            feeding.result(10.0)
    assert len(begun) == 2
