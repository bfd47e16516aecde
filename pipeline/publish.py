"""Growing playlists: what has a receipt, without a gap, is named for viewers.

Order of writes: the media playlists, then the multivariant playlist, then the mark of how far
they go. Cut off anywhere, the next call appends again, and segments that a playlist names already
are skipped. What a call reads and writes depends on what is new, not on how long the film is, but
for the playlists themselves, which are stored anew at most once in a target duration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from catalog.documents import load, parsed
from catalog.videos import utc_now
from jobs.records import Problem, VideoRecord
from jobs.states import State
from pipeline.bench import Bench
from pipeline.errors import PermanentError
from pipeline.playlists import MASTER, etag_of, rewrite, swap_text
from pipeline.published import LaneMark, Published, all_named, nameable
from storage import layout
from storage.documents import create_document, replace_document
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

#: Parts of a lane that are published as they come, the head and two more: who has begun to watch
#: has nothing in hand yet.
_OPENING: Final = 3

#: Parts of a film whose receipts are listed all at once rather than lane by lane.
_SHORT: Final = 64


@dataclass(frozen=True, slots=True)
class Standing:
    """Which parts have receipts, and whether all have."""

    done: frozenset[str]
    complete: bool
    #: Whether viewers have been shown every track, so that nobody waits for a first segment.
    begun: bool


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
        self._lanes = plan.rows
        #: Those looked for so far: lanes share parts. None for one that is not there yet.
        self._receipts: dict[tuple[str, int], Receipt | None] = {}
        self._names: list[tuple[str, int]] | None = None

    def publish(self) -> Standing:
        """Append what is new, and say what is done.

        Raises :class:`pipeline.errors.PermanentError` where parts do not fit each other.
        """
        self._receipts.clear()
        self._names = None
        # Read before anything else: whoever has gone further since then has the last word on it.
        master = etag_of(self._store, self._record.id, MASTER)
        before, etag = self._load()
        done: set[str] = set()
        marks: list[LaneMark] = []
        for lane, mark in zip(self._lanes, before.marks, strict=True):
            names = self._names_after(lane, mark)
            whole = {part for part, _ in names} - self._plan.streams
            done |= whole
            if self._can_wait(lane, mark, whole):
                self._bench.board.wake(self._record.id, self._plan.target_duration)
                reached = mark
            else:
                reached = self._publish_lane(lane, mark, names)
            marks.append(reached)
            done |= set(lane.parts[: reached.parts])
        after = self._name(before, etag, tuple(marks), master)
        begun = all_named(self._lanes, after)
        return Standing(frozenset(done), self._is_complete(tuple(marks)), begun)

    def extend(self) -> bool:
        """Append what joins on, and look at nothing behind a gap: for long films in full work.

        The first receipt that each lane lacks is asked for by name, so that it costs the same
        however many parts are done behind it. False where that will not do, and :meth:`publish`
        is to be called: while not all tracks are named, and once everything is there. Raises as
        ``publish`` does.
        """
        before, etag = self._load()
        if not all_named(self._lanes, before):
            return False
        pairs = tuple(zip(self._lanes, before.marks, strict=True))
        if any(self._is_recent(mark) for _, mark in pairs):
            self._bench.board.wake(self._record.id, self._plan.target_duration)
        marks = tuple(
            mark if self._is_recent(mark) else self._publish_lane(lane, mark)
            for lane, mark in pairs
        )
        after = before.model_copy(update={"marks": marks})
        self._mark(before, after, etag)
        return all_named(self._lanes, after) and not self._is_complete(marks)

    def _is_complete(self, marks: tuple[LaneMark, ...]) -> bool:
        pairs = zip(self._lanes, marks, strict=True)
        return all(mark.parts == len(lane.parts) for lane, mark in pairs)

    def _is_recent(self, mark: LaneMark) -> bool:
        """Whether the lane's playlists were written a moment ago, and can wait.

        A clock that is ahead of this one keeps nothing back.
        """
        if mark.at is None or mark.parts < _OPENING:
            return False
        return 0 <= (self._clock() - mark.at).total_seconds() < self._plan.target_duration

    def _can_wait(self, lane: Lane, mark: LaneMark, whole: set[str]) -> bool:
        """Whether the playlists were written a moment ago.

        Players do not ask more often than once in a target duration, so that a farm which
        finishes parts faster need not write for each. A lane's last part does not wait, and a
        stream part, whose end its receipts' names do not tell, neither.
        """
        if any(part in lane.places for part in self._plan.streams):
            return False
        return self._is_recent(mark) and mark.parts + len(whole) < len(lane.parts)

    def _publish_lane(
        self, lane: Lane, mark: LaneMark, names: list[tuple[str, int]] | None = None
    ) -> LaneMark:
        """Append what follows the mark without a gap; how far that goes.

        Without the ``names`` of what is there, each is asked for.
        """
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
            return load(self._store, key, Published)
        except NotFoundError:
            fresh = Published(marks=tuple(LaneMark() for _ in self._lanes))
            created = create_document(self._store, key, fresh.model_dump(mode="json"))
            return parsed(Published, created.document, key), created.etag

    def _names_after(self, lane: Lane, mark: LaneMark) -> list[tuple[str, int]]:
        """Parts and checkpoints of the lane that have a receipt beyond the mark, in key order."""
        if mark.parts == len(lane.parts):
            return []
        short = len(self._plan.parts) <= _SHORT
        names = self._all_names() if short else self._names_of(lane, mark)
        reached = mark.parts, mark.checkpoints
        places = lane.places
        return [name for name in names if (places.get(name[0], -1), name[1]) >= reached]

    def _all_names(self) -> list[tuple[str, int]]:
        """Of the whole film, listed once in a call of :meth:`publish`."""
        if self._names is None:
            prefix = layout.receipts(self._record.id, self._record.generation)
            self._names = [layout.receipt_name(info.key) for info in self._store.list(prefix)]
        return self._names

    def _names_of(self, lane: Lane, mark: LaneMark) -> list[tuple[str, int]]:
        ref = self._record.id, self._record.generation
        prefix = layout.receipts(*ref, lane.stem)
        after: str | None = None
        if mark.checkpoints:
            after = layout.receipt(*ref, lane.parts[mark.parts], mark.checkpoints - 1)
        elif mark.parts:
            after = layout.receipt(*ref, lane.parts[mark.parts - 1], layout.LAST_CHECKPOINT)
        return [layout.receipt_name(info.key) for info in self._store.list(prefix, after=after)]

    def _joining(
        self, lane: Lane, mark: LaneMark, names: list[tuple[str, int]] | None
    ) -> Iterator[Receipt]:
        """The receipts that follow the mark without a gap."""
        present = None if names is None else set(names)
        while mark.parts < len(lane.parts):
            name = lane.parts[mark.parts], mark.checkpoints
            if present is not None and name not in present:
                return
            receipt = self._receipt(*name)
            if receipt is None:
                return
            yield receipt
            mark = mark.after(receipt, self._clock())

    def _receipt(self, part: str, checkpoint: int) -> Receipt | None:
        """The receipt, read once however many lanes the part is in."""
        name = part, checkpoint
        if name not in self._receipts:
            key = layout.receipt(self._record.id, self._record.generation, part, checkpoint)
            try:
                found, _ = load(self._store, key, Receipt)
            except NotFoundError:
                self._receipts[name] = None
            else:
                self._receipts[name] = found
        return self._receipts[name]

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
    ) -> Published:
        """Name what has begun, and move the marks; what holds now."""
        codecs = nameable(self._lanes, marks)
        named = tuple(sorted(codecs))
        if named != before.named:
            streams = {
                track: Stream(playlist_path(self._record.generation, track), codec)
                for track, codec in codecs.items()
            }
            text = multivariant(self._plan, streams)
            if not swap_text(self._store, self._record.id, MASTER, text, master):
                return before
            self._bench.catalog.update(self._record.id, self._playable)
        after = before.model_copy(update={"marks": marks, "named": named})
        self._mark(before, after, etag)
        return after

    def _mark(self, before: Published, after: Published, etag: str) -> None:
        if after != before:
            key = layout.published(self._record.id, self._record.generation)
            replace_document(self._store, key, after.model_dump(mode="json"), etag)

    def _playable(self, record: VideoRecord) -> VideoRecord:
        if record.state is not State.PROCESSING or record.playable:
            return record
        now = self._clock()
        update = {"playable": True, "playable_at": record.playable_at or now}
        return record.model_copy(update=update).with_event("playable", now)


def _misfit(error: PlaylistError) -> Problem:
    return Problem(
        code="mixed_encoders",
        message=f"Parts made by different workers do not fit each other: {error}",
        hint="Give every worker the same ffmpeg build (`reelfarm doctor` shows it); then retry.",
    )
