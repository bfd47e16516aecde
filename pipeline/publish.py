"""Growing playlists: what has a receipt, without a gap, is named for viewers.

Order of writes: the media playlists, then the multivariant playlist, then the mark of how far
they go. Cut off anywhere, the next call appends again, and segments that a playlist names already
are skipped. What a call reads and writes depends on what is new, not on how long the film is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from catalog.videos import utc_now
from jobs.records import Problem, VideoRecord
from jobs.states import State
from pipeline.bench import Bench
from pipeline.errors import PermanentError
from pipeline.playlists import MASTER, etag_of, rewrite, swap_text
from pipeline.published import LaneMark, Published, lanes_of, nameable
from storage import layout
from storage.documents import create_document, load_document, replace_document
from storage.errors import NotFoundError
from transcoder.hls import (
    PlaylistError,
    Stream,
    append_segments,
    close_playlist,
    growing_playlist,
    multivariant,
    playlist_path,
)
from transcoder.plan import Lane, Plan
from transcoder.segments import Receipt, TrackSegments


@dataclass(frozen=True, slots=True)
class Standing:
    """Which parts have receipts, and whether all have."""

    done: frozenset[str]
    complete: bool


class Publisher:
    """Publishes one generation of one video; the caller sees to it that nobody else does."""

    def __init__(
        self,
        bench: Bench,
        record: VideoRecord,
        plan: Plan,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._bench = bench
        self._store = bench.store
        self._record = record
        self._plan = plan
        self._clock = clock
        self._lanes = lanes_of(plan)

    def publish(self) -> Standing:
        """Append what is new, and say what is done.

        Raises :class:`pipeline.errors.PermanentError` where parts do not fit each other.
        """
        # Read before anything else: whoever has gone further since then has the last word on it.
        master = etag_of(self._store, self._record.id, MASTER)
        before, etag = self._load()
        done: set[str] = set()
        marks: list[LaneMark] = []
        for lane, mark in zip(self._lanes, before.marks, strict=True):
            names = self._names_after(lane, mark)
            whole = {part for part, _ in names if not self._plan.part(part).stream}
            done |= whole
            if self._can_wait(lane, mark, whole):
                self._bench.board.wake(self._record.id, self._plan.target_duration)
                reached = mark
            else:
                reached = self._publish_lane(lane, mark, names)
            marks.append(reached)
            done |= set(lane.parts[: reached.parts])
        self._name(before, etag, tuple(marks), master)
        complete = all(
            mark.parts == len(lane.parts) for lane, mark in zip(self._lanes, marks, strict=True)
        )
        return Standing(frozenset(done), complete)

    def _can_wait(self, lane: Lane, mark: LaneMark, whole: set[str]) -> bool:
        """Whether the playlists were written a moment ago.

        Players do not ask more often than once in a target duration, so that a farm which
        finishes parts faster need not write for each. A lane's last part does not wait, and a
        stream part, whose end its receipts' names do not tell, neither.
        """
        if mark.at is None or any(self._plan.part(part).stream for part in lane.parts):
            return False
        age = (self._clock() - mark.at).total_seconds()
        return age < self._plan.target_duration and mark.parts + len(whole) < len(lane.parts)

    def _publish_lane(self, lane: Lane, mark: LaneMark, names: list[tuple[str, int]]) -> LaneMark:
        """Append what follows the mark without a gap; how far that goes."""
        receipts = list(self._joining(lane, mark, names))
        if not self._append(lane, receipts):
            return mark
        now = self._clock()
        for receipt in receipts:
            mark = mark.after(receipt, now)
        return mark

    def close(self) -> None:
        """End the playlists of a film that will not go on, so that players stop asking."""
        published, _ = self._load()
        for mark in published.marks:
            for track in mark.codecs:
                path = playlist_path(self._record.generation, track)
                rewrite(self._store, self._record.id, path, lambda text: close_playlist(text or ""))

    def _load(self) -> tuple[Published, str]:
        key = layout.published(self._record.id, self._record.generation)
        try:
            payload, etag = load_document(self._store, key)
        except NotFoundError:
            fresh = Published(marks=tuple(LaneMark() for _ in self._lanes))
            created = create_document(self._store, key, fresh.model_dump(mode="json"))
            return Published.model_validate(created.document), created.etag
        return Published.model_validate(payload), etag

    def _names_after(self, lane: Lane, mark: LaneMark) -> list[tuple[str, int]]:
        """Parts and checkpoints of the lane that have a receipt beyond the mark, in key order."""
        if mark.parts == len(lane.parts):
            return []
        ref = self._record.id, self._record.generation
        prefix = layout.receipts(*ref, _stem(lane))
        after: str | None = None
        if mark.checkpoints:
            after = layout.receipt(*ref, lane.parts[mark.parts], mark.checkpoints - 1)
        elif mark.parts:
            after = layout.receipt(*ref, lane.parts[mark.parts - 1], layout.LAST_CHECKPOINT)
        infos = self._store.list(prefix, after=after)
        names = [layout.receipt_name(info.key) for info in infos]
        return [name for name in names if name[0] in lane.parts]

    def _joining(
        self, lane: Lane, mark: LaneMark, names: list[tuple[str, int]]
    ) -> Iterator[Receipt]:
        """The receipts that follow the mark without a gap."""
        present = set(names)
        while mark.parts < len(lane.parts):
            name = lane.parts[mark.parts], mark.checkpoints
            if name not in present:
                return
            key = layout.receipt(self._record.id, self._record.generation, *name)
            receipt = Receipt.model_validate(load_document(self._store, key)[0])
            yield receipt
            mark = mark.after(receipt, self._clock())

    def _append(self, lane: Lane, receipts: list[Receipt]) -> bool:
        """Append to the playlists of the lane's tracks; False where one is contended."""
        appended = True
        for name in lane.tracks:
            pieces = [t for receipt in receipts for t in receipt.tracks if t.track == name]
            if pieces:
                path = playlist_path(self._record.generation, name)
                appended = self._append_track(path, pieces) and appended
        return appended

    def _append_track(self, path: str, pieces: list[TrackSegments]) -> bool:
        def appended(text: str | None) -> str:
            for piece in pieces:
                if text is None:
                    text = growing_playlist(path, piece, self._plan.target_duration)
                else:
                    text = append_segments(text, path, piece)
            return text or ""

        try:
            return rewrite(self._store, self._record.id, path, appended)
        except PlaylistError as error:
            raise PermanentError(_misfit(error)) from error

    def _name(
        self, before: Published, etag: str, marks: tuple[LaneMark, ...], master: str | None
    ) -> None:
        codecs = nameable(self._lanes, marks)
        named = tuple(sorted(codecs))
        if named != before.named:
            streams = {
                track: Stream(playlist_path(self._record.generation, track), codec)
                for track, codec in codecs.items()
            }
            text = multivariant(self._plan, streams)
            if not swap_text(self._store, self._record.id, MASTER, text, master):
                return
            self._bench.catalog.update(self._record.id, self._playable)
        after = Published(marks=marks, named=named)
        if after != before:
            key = layout.published(self._record.id, self._record.generation)
            replace_document(self._store, key, after.model_dump(mode="json"), etag)

    def _playable(self, record: VideoRecord) -> VideoRecord:
        if record.state is not State.PROCESSING or record.playable:
            return record
        now = self._clock()
        update = {"playable": True, "playable_at": record.playable_at or now}
        return record.model_copy(update=update).with_event("playable", now)


def _stem(lane: Lane) -> str:
    """What the names of all the lane's parts begin with."""
    columns = zip(*lane.parts, strict=False)
    return "".join(column[0] for column in takewhile(lambda c: len(set(c)) == 1, columns))


def _misfit(error: PlaylistError) -> Problem:
    return Problem(
        code="mixed_encoders",
        message=f"Parts made by different workers do not fit each other: {error}",
        hint="Give every worker the same ffmpeg build (`reelfarm doctor` shows it); then retry.",
    )
