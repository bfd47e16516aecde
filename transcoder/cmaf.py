"""Fragments into segments, cut where the plan says.

A segment is a ``styp`` and whole fragments: one group of pictures each for video, a fixed number
of AAC frames for sound. Nothing is decoded or re-encoded; what is rewritten is the decode time,
where a resumed run counts from another zero, and the sequence number. Encoders number their
fragments from 1 in every run, while ISO/IEC 14496-12 (8.8.5) wants numbers that increase over the
presentation; the number of the fragment's first sample does, whichever run wrote it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from transcoder.errors import FragmentError
from transcoder.fragments import Fragment, FragmentReader, Init
from transcoder.segments import KeyFrame

__all__ = ["CutSegment", "FragmentError", "FragmentReader", "Grid", "Init", "Segmenter"]

#: Marks a media segment (ISO/IEC 14496-12, 8.16.2); optional in CMAF, and what lets tools and
#: servers tell a segment from rubbish. It claims no CMAF brand, since ffmpeg's edit lists bar it.
STYP: Final = struct.pack(">I4s4sI4s", 20, b"styp", b"msdh", 0, b"msdh")


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a track's segments start, in ticks: at 0, at ``head``, then every ``segment``."""

    head: int
    segment: int

    def number(self, ticks: int) -> int:
        """The number, counted over the whole film, of the segment that contains ``ticks``."""
        return 0 if ticks < self.head else 1 + (ticks - self.head) // self.segment

    def start(self, number: int) -> int:
        """Where the segment of that number starts."""
        return 0 if number == 0 else self.head + (number - 1) * self.segment


@dataclass(frozen=True, slots=True)
class CutSegment:
    """One media segment. Times are ticks of the track's timescale."""

    data: bytes
    start: int
    ticks: int
    keyframes: tuple[KeyFrame, ...]
    #: Frames of video, or AAC frames.
    samples: int


class Segmenter:
    """Cuts one track of one run.

    ``first`` is the film's time at which the encoder's first fragment must start once ``shift``
    is added to the time it wrote. Fragments before ``drop_until`` are thrown away: they are the
    pre-roll of a resumed run. All are ticks of ``timescale``, which the track must have.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        timescale: int,
        first: int = 0,
        drop_until: int = 0,
        shift: int = 0,
        label: str = "track",
    ) -> None:
        self._grid = grid
        self._timescale = timescale
        self._expected = first
        self._drop_until = drop_until
        self._shift = shift
        self._label = label
        self._reader = FragmentReader(label)
        self._init: Init | None = None
        self._delay = 0
        self._pending: list[Fragment] = []
        #: Frames, or AAC frames, that the encoder has given so far.
        self.samples = 0

    @property
    def init(self) -> Init:
        """The init segment. Raises :class:`FragmentError` before it has arrived."""
        if self._init is None:
            raise FragmentError(f"{self._label}: the encoder has not written an init segment")
        return self._init

    @property
    def delay(self) -> int:
        """Ticks by which presentation lies before decode time: an audio encoder's priming."""
        return self._delay

    @property
    def untouched(self) -> bool:
        """Whether the encoder has not written one byte."""
        return self._reader.untouched

    def feed(self, data: bytes) -> list[CutSegment]:
        """The segments that ``data`` completes. Raises :class:`FragmentError`."""
        cuts: list[CutSegment] = []
        for item in self._reader.feed(data):
            if isinstance(item, Init):
                self._begin(item)
            else:
                cuts += self._add(item)
        return cuts

    def finish(self) -> list[CutSegment]:
        """The last segment, if one was begun. Raises :class:`FragmentError` if it was cut short.

        An encoder that was given nothing to encode writes nothing.
        """
        if self.untouched:
            return []
        self._reader.close()
        return self._flush()

    def _begin(self, init: Init) -> None:
        if init.timescale != self._timescale:
            raise FragmentError(
                f"{self._label}: the timescale is {init.timescale}, planned was {self._timescale}"
            )
        self._init = init

    def _add(self, fragment: Fragment) -> list[CutSegment]:
        fragment = self._rebased(fragment)
        self._check(fragment)
        self._expected = fragment.end
        self.samples += fragment.samples
        if fragment.start < self._drop_until:
            return []
        if not self._pending:
            self._delay = self.init.media_time - fragment.composition
        self._pending.append(fragment)
        return self._flush() if fragment.end == self._boundary(fragment) else []

    def _boundary(self, fragment: Fragment) -> int:
        """Where the segment that ``fragment`` belongs to must end."""
        return self._grid.start(self._grid.number(fragment.start) + 1)

    def _check(self, fragment: Fragment) -> None:
        if fragment.start != self._expected:
            raise self._error("starts at another time than planned", fragment)
        if not fragment.starts_with_sync:
            raise self._error("does not start with a key frame", fragment)
        if fragment.start < self._drop_until < fragment.end:
            raise self._error(f"reaches over {self._drop_until}, up to which is done", fragment)
        if fragment.start >= self._drop_until and fragment.end > self._boundary(fragment):
            raise self._error(
                f"reaches over the segment boundary at {self._boundary(fragment)}", fragment
            )

    def _rebased(self, fragment: Fragment) -> Fragment:
        """The fragment in the film's time, numbered by its first sample."""
        start = fragment.start + self._shift
        if start < 0 or not fragment.sample_ticks:
            raise self._error("starts before the film does, or lasts no time", fragment)
        data = bytearray(fragment.data)
        struct.pack_into(">Q" if fragment.long_time else ">I", data, fragment.time_at, start)
        number = (start // fragment.sample_ticks + 1) & 0xFFFF_FFFF
        struct.pack_into(">I", data, fragment.sequence_at, number)
        return replace(fragment, data=bytes(data), start=start)

    def _flush(self) -> list[CutSegment]:
        pending, self._pending = self._pending, []
        if not pending:
            return []
        return [
            CutSegment(
                data=b"".join((STYP, *(fragment.data for fragment in pending))),
                start=pending[0].start,
                ticks=sum(fragment.ticks for fragment in pending),
                keyframes=self._keyframes(pending) if self.init.is_video else (),
                samples=sum(fragment.samples for fragment in pending),
            )
        ]

    def _keyframes(self, fragments: list[Fragment]) -> tuple[KeyFrame, ...]:
        made: list[KeyFrame] = []
        offset = len(STYP)
        for fragment in fragments:
            duration = Fraction(fragment.ticks, self._timescale)
            made.append(KeyFrame(offset=offset, size=fragment.first_end, duration=duration))
            offset += len(fragment.data)
        return tuple(made)

    def _error(self, what: str, fragment: Fragment) -> FragmentError:
        return FragmentError(
            f"{self._label}: a fragment of {fragment.samples} samples from {fragment.start} to "
            f"{fragment.end} (expected from {self._expected}, in 1/{self._timescale} s) {what}"
        )
