"""The frame contract: does each output frame show the picture that belongs there?

ffmpeg writes a line for every frame given to the encoder (``-stats_enc_pre``), with the time of
the decoded picture in it, which ``fps`` and scaling hand through. A count alone proves nothing,
because ``fps`` fills holes by repeating.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from transcoder.damage import Damage, Medium, merged
from transcoder.plan import VideoPlan

#: Frames by which a picture of a constant-rate source may miss its place.
TOLERANCE: Final = Fraction(3, 2)

#: No line is near that long.
_LINE: Final = 512


@dataclass(frozen=True, slots=True)
class FrameReport:
    """What was shown. ``skew`` is the largest distance in seconds; None if no time was known.

    ``in_step`` says that the first frame shows its own picture: what is wrong later is then not
    for a seek that led astray. ``faults`` are the times of wrong pictures.
    """

    count: int
    skew: float | None
    ok: bool
    in_step: bool = True
    faults: tuple[Damage, ...] = ()

    def settles(self, before: FrameReport | None) -> bool:
        """Whether there is no point in trying again; ``before`` is the try before this one.

        The same faults twice are those of the source, if both runs were in step.
        """
        return self.ok or (self == before and self.in_step and self.count > 0)


class Lines:
    """A sink that takes its bytes line by line."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes) -> None:
        """Takes any piece of the stream."""
        *lines, rest = (self._partial + data).split(b"\n")
        self._partial = rest[:_LINE]
        for line in lines:
            if words := line.split():
                self.take(words)

    def take(self, words: list[bytes]) -> None:
        """One line that is not empty."""
        raise NotImplementedError


class FrameMeter(Lines):
    """A sink for the statistics of one run whose first output frame is ``first``.

    ``count`` is how many frames there must be, where that is known.
    """

    def __init__(self, video: VideoPlan, first: int, count: int | None = None) -> None:
        super().__init__()
        self._video = video
        self._first = first
        self._wanted = count
        self._count = 0
        self._skew: Fraction | None = None
        self._on_grid = True
        self._in_step = True
        self._faults: list[Damage] = []

    def report(self) -> FrameReport:
        """The verdict on what has arrived."""
        complete = self._count > 0 and self._wanted in (None, self._count)
        skew = None if self._skew is None else float(self._skew)
        faults = self.faults()
        ok = self._on_grid and complete and not faults
        return FrameReport(self._count, skew, ok, self._in_step, faults)

    def faults(self) -> tuple[Damage, ...]:
        """When, up to now, pictures were shown that belong elsewhere."""
        return merged(self._faults)

    def take(self, words: list[bytes]) -> None:
        """One frame."""
        due = (self._first + self._count) / self._video.rate
        self._count += 1
        _, pts, base, source_pts, source_base = (*words, b"", b"", b"", b"", b"")[:5]
        self._on_grid &= seconds(pts, base) == due
        shown = seconds(source_pts, source_base)
        if shown is not None and not self._video.timeless:
            self._compare(shown - self._video.zero, due)

    def _compare(self, shown: Fraction, due: Fraction) -> None:
        """A picture may stand longer where the rate varies, but never be shown early."""
        skew, frame = abs(shown - due), 1 / self._video.rate
        self._skew = skew if self._skew is None else max(self._skew, skew)
        if skew <= TOLERANCE * frame or (shown < due and not self._video.constant_rate):
            return
        begin = self._first * frame
        self._in_step = self._in_step and due > begin
        since = max(shown + frame, begin) if shown < due else due
        self._note(float(since), float(due + frame))

    def _note(self, begin: float, end: float) -> None:
        last = self._faults[-1] if self._faults else None
        if last is not None and begin <= last.end + 0.5 / float(self._video.rate):
            self._faults[-1] = last.model_copy(update={"end": max(end, last.end)})
        else:
            self._faults.append(Damage(medium=Medium.PICTURES, begin=begin, end=end))


def seconds(ticks: bytes, base: bytes) -> Fraction | None:
    """A time, or None where ffmpeg wrote that it knows none."""
    try:
        count = int(ticks)
        return count * Fraction(base.decode("ascii")) if abs(count) < 1 << 62 else None
    except (ValueError, ZeroDivisionError):
        return None
