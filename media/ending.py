"""Where the pictures of a source really end: uploads and recordings break off.

Headers say how long a film was meant to be. One packet near the stated end, read by a seek, shows
that a source is whole. Where it is missing, a few seeks spread over the film narrow down where it
breaks off, without reading what lies before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

from media.timing import Packet

#: Seconds by which the last picture may precede the stated end: sound lasts longer, headers round.
#: Less than that is settled by the last part, which takes what there is.
_NEAR: Final = Fraction(3)
_CUT: Final = Fraction(1)

#: Seeks in one run, runs at the most, and packets that are read on from the last seek.
_SEEKS: Final = 24
_ROUNDS: Final = 4
_PACKETS: Final = 4000

#: The packets that ffprobe reads for ``-read_intervals``.
Ask = Callable[[str], Sequence[Packet]]


def find_end(ask: Ask, time_base: Fraction, first: Fraction, told: Fraction) -> Fraction | None:
    """When the last picture that can be read is shown, if clearly before ``told``; else None.

    All times are seconds of the source's clock. ``first`` is where its pictures begin.
    """

    def latest(*starts: Fraction, count: int = 1) -> Fraction | None:
        intervals = ",".join(f"{float(start):.3f}%+#{count}" for start in starts)
        return _latest(ask(intervals), time_base)

    reached = latest(told)
    if reached is not None and told - reached <= _NEAR:
        return None
    low, high = first if reached is None else max(first, reached), told
    for _ in range(_ROUNDS):
        step = (high - low) / _SEEKS
        reached = latest(*(low + step * n for n in range(_SEEKS)))
        if reached is None:
            return None
        low, high = max(low, reached), min(high, max(low, reached) + 2 * step)
        if step <= 1:
            break
    end = max(low, latest(low, count=_PACKETS) or low)
    return end if told - end > _CUT else None


def _latest(packets: Sequence[Packet], time_base: Fraction) -> Fraction | None:
    """The last time of a whole packet."""
    times = [p.dts if p.pts is None else p.pts for p in packets if not p.corrupt]
    known = [time for time in times if time is not None]
    return max(known) * time_base if known else None
