"""A second look at pictures that a decoder mended: which ones, and when are they shown?

ffmpeg says that it met damage, but not when. Where it did, the part is decoded once more, with a
line for each picture that leaves the decoder (``-debug_ts``; fftools/ffmpeg_dec.c). One thread
writes them, so the complaint about a picture stands before the line of that picture::

    [vist#0:0/h264 @ 0x5571] [dec:h264 @ 0x5572] corrupt decoded frame
    [vist#0:0/h264 @ 0x5571] [dec:h264 @ 0x5572] decoder -> pts:102400 … time_base:1/12800
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from transcoder.damage import Damage, Medium, merged
from transcoder.frames import Lines
from transcoder.plan import Part, VideoPlan

#: Seconds between two pictures that count as a hole where the source is known to be damaged.
_HOLE: Final = Fraction(1, 2)

_COMPLAINT: Final = b"corrupt decoded frame"
_PICTURE: Final = re.compile(rb"decoder -> pts:(-?\d+) .* time_base:(\d+)/([1-9]\d*)")


class Look(Lines):
    """A sink for the stderr of :func:`transcoder.command.look_command`."""

    def __init__(self, video: VideoPlan, part: Part) -> None:
        super().__init__()
        self._frame = 1 / video.rate
        self._zero = video.zero
        self._begin = part.first * self._frame
        self._end = None if part.count is None else self._begin + part.count * self._frame
        self._warned = False
        self._latest: Fraction | None = None
        self._found: list[Damage] = []

    def damage(self) -> tuple[Damage, ...]:
        """When pictures of the part are spoilt or missing."""
        return merged(self._found)

    def take(self, words: list[bytes]) -> None:
        """One line of stderr."""
        line = b" ".join(words)
        if line.endswith(_COMPLAINT):
            self._warned = True
        elif found := _PICTURE.search(line):
            self._show(Fraction(int(found[1]) * int(found[2]), int(found[3])) - self._zero)

    def _show(self, time: Fraction) -> None:
        if self._warned:
            self._note(time, time + self._frame)
        if self._latest is not None and time - self._latest > _HOLE:
            self._note(self._latest + self._frame, time)
        self._warned, self._latest = False, time

    def _note(self, begin: Fraction, end: Fraction) -> None:
        since = max(begin, self._begin)
        until = end if self._end is None else min(end, self._end)
        if since < until:
            spot = Damage(medium=Medium.PICTURES, begin=float(since), end=float(until))
            self._found.append(spot)
