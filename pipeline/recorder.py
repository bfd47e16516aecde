"""Turning the pipes of one ffmpeg run into stored segments and receipts.

Segments are stored while ffmpeg still runs, so a run holds no more than a few of them in memory
and nothing on disk. Nothing counts before its receipt: the one created first, of a part or of a
checkpoint of a stream part, decides which run's segments are played.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from threading import Lock, Semaphore
from typing import Final

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars

from jobs.parts import PartRef
from jobs.tracing import NO_SPAN, Span
from pipeline.errors import SupersededError
from storage import layout
from storage.documents import create_document
from storage.errors import StorageError
from storage.objects import ObjectStore
from transcoder.cmaf import CutSegment, Grid, Segmenter
from transcoder.damage import Damage
from transcoder.segments import Receipt, Segment, TrackSegments

_LOG = structlog.get_logger(__name__)

#: Segments of one track on their way to storage before its pipe is no longer read.
_IN_FLIGHT: Final = 2

#: Connections one run stores segments with.
_UPLOADERS: Final = 4

SEGMENT_TYPE: Final = "video/iso.segment"
INIT_TYPE: Final = "video/mp4"
IMMUTABLE: Final = "public, max-age=31536000, immutable"


@dataclass(slots=True)
class TrackTape:
    """One track of the run: what was cut, stored and committed so far."""

    name: str
    segmenter: Segmenter
    grid: Grid
    gate: Semaphore = field(default_factory=lambda: Semaphore(_IN_FLIGHT))
    cut: int = 0
    stored: dict[int, tuple[Segment, int]] = field(default_factory=dict)
    committed: int = 0

    def ready(self) -> int:
        """Segments stored without a gap beyond the committed ones."""
        count = 0
        while self.committed + count in self.stored:
            count += 1
        return count

    def commit(self, count: int) -> None:
        """Forget the next ``count`` segments: a receipt names them now."""
        for order in range(self.committed, self.committed + count):
            del self.stored[order]
        self.committed += count


@dataclass(frozen=True, slots=True)
class Stint:
    """Which run of which part is being recorded, from which frame and checkpoint on."""

    ref: PartRef
    run: str
    host: str
    first: int
    checkpoint: int
    #: Segments between two receipts; None for one receipt at the end.
    every: int | None


class PartRecorder:
    """Stores what a run makes. ``sinks`` are called from one thread for each track.

    ``damage`` is what the run has met with so far; every receipt tells all of it. ``span`` is told
    of each object that is stored.
    """

    def __init__(
        self,
        store: ObjectStore,
        stint: Stint,
        tapes: Sequence[TrackTape],
        *,
        on_commit: Callable[[], None],
        damage: Callable[[], tuple[Damage, ...]] = tuple,
        span: Span = NO_SPAN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._stint = stint
        self._tapes = tuple(tapes)
        self._on_commit = on_commit
        self._damage = damage
        self._span = span
        self._clock = clock
        self._since = clock()
        # What these threads log says of which part it is, as in the thread that started them.
        bound = partial(bind_contextvars, **get_contextvars())
        self._pool = ThreadPoolExecutor(_UPLOADERS, "store", initializer=bound)
        self._lock = Lock()
        self._jobs: set[Future[None]] = set()
        self._failure: BaseException | None = None
        self._checkpoint = stint.checkpoint
        self._first = stint.first
        self._in_doubt = False

    @property
    def count(self) -> int:
        """Frames, of AAC where it is sound, that receipts of this run name so far."""
        return self._first - self._stint.first

    @property
    def sinks(self) -> dict[str, Callable[[bytes], None]]:
        """What to call with the bytes of each track's pipe."""
        return {tape.name: partial(self._feed, tape) for tape in self._tapes}

    def finish(
        self,
        *,
        cpu: float,
        skew: float | None,
        warnings: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Commit what is left as the part's last receipt.

        Raises :class:`SupersededError` where another run was first, and whatever storing raised.
        """
        for tape in self._tapes:
            for cut in tape.segmenter.finish():
                self._submit(tape, cut)
        wait(self._jobs)
        self._raise_failure()
        with self._lock:
            counts = [tape.ready() for tape in self._tapes]
            self._commit(counts, last=True, cpu=cpu, skew=skew, warnings=warnings)

    def close(self) -> None:
        """Remove segments that no receipt names; call it once, whatever happened.

        Where the storage failed while a receipt was written, that receipt may stand. Its segments
        are left then, and the end of the generation removes them if it does not.
        """
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._in_doubt:
            return
        orphans = [
            layout.play(self._stint.ref.video_id, segment.path)
            for tape in self._tapes
            for segment, _ in tape.stored.values()
        ]
        try:
            self._store.delete(orphans)
        except StorageError as error:
            _LOG.warning("orphans_left", objects=len(orphans), error=str(error))

    def _feed(self, tape: TrackTape, data: bytes) -> None:
        for cut in tape.segmenter.feed(data):
            self._submit(tape, cut)

    def _submit(self, tape: TrackTape, cut: CutSegment) -> None:
        tape.gate.acquire()
        self._raise_failure()
        order, tape.cut = tape.cut, tape.cut + 1
        job = self._pool.submit(self._put, tape, order, cut)
        with self._lock:
            self._jobs = {known for known in self._jobs if not known.done()} | {job}

    def _put(self, tape: TrackTape, order: int, cut: CutSegment) -> None:
        try:
            stint = self._stint
            number = tape.grid.number(cut.start)
            path = f"{stint.ref.generation}/{stint.run}/{tape.name}-{number:05}.m4s"
            if order == 0:
                init = tape.segmenter.init
                self._put_object(self._init_path(tape), init.data, INIT_TYPE)
            self._put_object(path, cut.data, SEGMENT_TYPE)
            segment = Segment(
                path=path,
                size=len(cut.data),
                start=cut.start,
                ticks=cut.ticks,
                keyframes=cut.keyframes,
            )
            with self._lock:
                tape.stored[order] = (segment, cut.samples)
                committed = self._commit_ready()
            if committed:
                self._on_commit()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that feeds
            self._failure = self._failure or error
        finally:
            tape.gate.release()

    def _commit_ready(self) -> bool:
        """Commit the checkpoints that are whole; whether there was one.

        The very first is one segment, because a viewer may be waiting for it.
        """
        before = self._checkpoint
        while (wanted := self._wanted()) and min(t.ready() for t in self._tapes) >= wanted:
            self._commit([wanted] * len(self._tapes), last=False)
        return self._checkpoint > before

    def _wanted(self) -> int | None:
        """Segments of the next checkpoint; None where there is but one receipt."""
        return 1 if self._stint.every and self._checkpoint == 0 else self._stint.every

    def _commit(
        self,
        counts: Sequence[int],
        *,
        last: bool,
        cpu: float = 0.0,
        skew: float | None = None,
        warnings: tuple[tuple[str, str], ...] = (),
    ) -> None:
        stint, now = self._stint, self._clock()
        taken = [self._taken(tape, count) for tape, count in zip(self._tapes, counts, strict=True)]
        samples = sum(count for _, count in taken[0])
        receipt = Receipt(
            part=stint.ref.part,
            checkpoint=self._checkpoint,
            last=last,
            run=stint.run,
            host=stint.host,
            first=self._first,
            count=samples,
            tracks=tuple(
                self._track(tape, [segment for segment, _ in segments])
                for tape, segments in zip(self._tapes, taken, strict=True)
                if segments
            ),
            size=sum(segment.size for segments in taken for segment, _ in segments),
            wall=now - self._since,
            cpu=cpu,
            skew=skew,
            warnings=warnings,
            damage=self._damage(),
        )
        ref = stint.ref
        key = layout.receipt(ref.video_id, ref.generation, ref.part, self._checkpoint)
        self._in_doubt = True
        created = create_document(self._store, key, receipt.model_dump(mode="json"))
        self._in_doubt = False
        # One's own, where the answer to it got lost and another segment's thread tried again.
        if not created.won and created.document.get("run") != stint.run:
            raise SupersededError(f"another run's receipt {key} was first")
        for tape, count in zip(self._tapes, counts, strict=True):
            tape.commit(count)
        self._checkpoint += 1
        self._first += samples
        self._since = now

    @staticmethod
    def _taken(tape: TrackTape, count: int) -> list[tuple[Segment, int]]:
        return [tape.stored[tape.committed + order] for order in range(count)]

    def _track(self, tape: TrackTape, segments: Sequence[Segment]) -> TrackSegments:
        init = tape.segmenter.init
        return TrackSegments(
            track=tape.name,
            codec=init.codec,
            timescale=init.timescale,
            delay=tape.segmenter.delay,
            init_path=self._init_path(tape),
            init_hash=init.sha256,
            segments=tuple(segments),
        )

    def _init_path(self, tape: TrackTape) -> str:
        """Where the track's init segment goes, with the first segment that is stored."""
        init = tape.segmenter.init
        return f"{self._stint.ref.generation}/{tape.name}-init-{init.sha256[:12]}.mp4"

    def _put_object(self, path: str, data: bytes, content_type: str) -> None:
        key = layout.play(self._stint.ref.video_id, path)
        began = self._clock()
        self._store.put(key, data, content_type=content_type, cache_control=IMMUTABLE)
        seconds = round(self._clock() - began, 4)
        self._span.event("stored", {"path": path, "size": len(data), "seconds": seconds})

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
