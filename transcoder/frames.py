"""The frame contract: does each output frame show the picture that belongs there?

ffmpeg writes a line for every frame given to the encoder (``-stats_enc_pre``), with the time of
the decoded picture in it, which ``fps`` and scaling hand through. A count alone proves nothing,
because ``fps`` fills holes by repeating.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from transcoder.plan import VideoPlan

#: Frames by which a picture of a constant-rate source may miss its place.
TOLERANCE: Final = Fraction(3, 2)

#: No line is near that long.
_LINE: Final = 512


@dataclass(frozen=True, slots=True)
class FrameReport:
    """What was shown. ``skew`` is the largest distance in seconds; None if no time was known."""

    count: int
    skew: float | None
    ok: bool


class FrameMeter:
    """A sink for the statistics of one run whose first output frame is ``first``.

    ``count`` is how many frames there must be, where that is known.
    """

    def __init__(self, video: VideoPlan, first: int, count: int | None = None) -> None:
        self._video = video
        self._first = first
        self._wanted = count
        self._partial = b""
        self._count = 0
        self._skew: Fraction | None = None
        self._on_grid = True

    def feed(self, data: bytes) -> None:
        """Takes any piece of the stream."""
        *lines, rest = (self._partial + data).split(b"\n")
        self._partial = rest[:_LINE]
        for line in lines:
            if line.strip():
                self._take(line.split())

    def report(self) -> FrameReport:
        """The verdict on what has arrived."""
        complete = self._count > 0 and self._wanted in (None, self._count)
        skew = None if self._skew is None else float(self._skew)
        return FrameReport(self._count, skew, self._on_grid and complete and self._is_close())

    def _is_close(self) -> bool:
        if not self._video.constant_rate or self._skew is None:
            return True
        return self._skew <= TOLERANCE / self._video.rate

    def _take(self, words: list[bytes]) -> None:
        due = (self._first + self._count) / self._video.rate
        self._count += 1
        _, pts, base, source_pts, source_base = (*words, b"", b"", b"", b"", b"")[:5]
        self._on_grid &= _seconds(pts, base) == due
        shown = _seconds(source_pts, source_base)
        if shown is not None and not self._video.timeless:
            skew = abs(shown - self._video.zero - due)
            self._skew = skew if self._skew is None else max(self._skew, skew)


def _seconds(ticks: bytes, base: bytes) -> Fraction | None:
    """A time, or None where ffmpeg wrote that it knows none."""
    try:
        count = int(ticks)
        return count * Fraction(base.decode("ascii")) if abs(count) < 1 << 62 else None
    except (ValueError, ZeroDivisionError):
        return None
