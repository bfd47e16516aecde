"""What the first packets of a picture track tell of its clock. Pure.

ffprobe lists packets in decoding order. Flags are ``K`` for a key frame, ``D`` for one that
an edit list hides and ``C`` for one of which bytes are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from media.fields import integer, mapping, mappings
from media.probed import Timing, VideoStream

#: Frames a picture may lie off the grid. Phones and millisecond clocks jitter that much.
_JITTER: Final = Fraction(1, 4)

#: Rates that cameras, players and displays are made for.
STANDARD: Final = (
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(48),
    Fraction(50),
    Fraction(60000, 1001),
    Fraction(60),
)

#: What a mean rate is rounded to: of odder ones the oddness is taken for measurement noise.
_ROUND: Final = (*STANDARD, Fraction(120))

#: Packets at the start in which a missing time puts the first picture's time in doubt.
_START: Final = 32

#: Holes in a sample that still has a pace; the longest is of half a second and more, and at its
#: edges single pictures may be left that were to be shown in it.
_HOLES: Final = 3

#: Deepest reordering of H.264 and HEVC, in pictures.
_REORDER: Final = 16

#: Packets that a sample needs to show how deep its encoder reorders.
_TELLING: Final = 64


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of the sample, in ticks of the track's time base."""

    pts: int | None
    dts: int | None
    key: bool = False
    hidden: bool = False
    #: Whether not all of its bytes are there.
    corrupt: bool = False


def parse_packets(document: Any) -> tuple[Packet, ...]:
    """The packets in ffprobe's JSON, in decoding order."""
    return tuple(
        Packet(
            pts=integer(entry.get("pts")),
            dts=integer(entry.get("dts")),
            key="K" in str(entry.get("flags", "")),
            hidden="D" in str(entry.get("flags", "")),
            corrupt="C" in str(entry.get("flags", "")),
        )
        for entry in mappings(mapping(document).get("packets"))
    )


def first_shown(packets: Sequence[Packet]) -> int | None:
    """Time of the first displayed picture, or None where packets alone cannot tell.

    They can where the sample begins with a key frame and no picture is to be shown before it:
    leading pictures of an open GOP may or may not be decodable, and with missing times or an
    edit list inside a GOP it is the decoder that decides.
    """
    start = packets[:_START]
    if not start or not start[0].key or any(p.pts is None or p.hidden for p in start):
        return None
    first = start[0].pts
    return first if first == min(p.pts for p in packets if p.pts is not None) else None


def timing(
    stream: VideoStream, packets: Sequence[Packet], first: Fraction, *, complete: bool
) -> Timing:
    """Timing of a track. ``complete`` says that the sample holds all of its packets."""
    missing = any(p.pts is None for p in packets)
    times = _dts(packets) if missing else _shown(packets, complete)
    seconds = [time * stream.time_base for time in times]
    measured = _mean_rate(seconds)
    rate = _even_rate(seconds, stream, measured)
    grid = _holed_rate(seconds, stream) if rate is None else None
    return Timing(
        first_picture=first,
        longest_gop=_longest_gop(packets, stream.time_base),
        reordering=_reordering(packets, stream.time_base),
        constant_rate=measured is None or (rate is not None and not _thins_out(stream, rate)),
        holed=grid is not None,
        rate=rate or grid or measured,
        timestamps_missing=missing,
    )


def _dts(packets: Sequence[Packet]) -> list[int]:
    return sorted({p.dts for p in packets if p.dts is not None and not p.hidden})


def _shown(packets: Sequence[Packet], complete: bool) -> list[int]:
    """Presentation times without gaps that pictures beyond the sample are going to fill."""
    times = sorted({p.pts for p in packets if p.pts is not None and not p.hidden})
    last = packets[-1].dts if packets else None
    if complete:
        return times
    return times[:-_REORDER] if last is None else [time for time in times if time <= last]


def _longest_gop(packets: Sequence[Packet], time_base: Fraction) -> float | None:
    """The last key frame's GOP goes on at least to the end of the sample."""
    times = [(p.key, p.dts if p.pts is None else p.pts) for p in packets]
    keys = sorted(time for key, time in times if key and time is not None)
    if len(keys) < 2:
        return None
    end = max(time for _, time in times if time is not None)
    return float(max(later - sooner for sooner, later in pairwise((*keys, end))) * time_base)


def _reordering(packets: Sequence[Packet], time_base: Fraction) -> float | None:
    """Pictures shown before a key frame that is decoded before them are at most so early.

    A container may shift all decoding times; so it is the spread of the delays that counts. That of
    a key frame is longer than that of the last of its leading pictures by more than the time they
    are shown.
    """
    delays = [p.pts - p.dts for p in packets if p.pts is not None and p.dts is not None]
    if len(delays) < max(_TELLING, len(packets)):
        return None
    return float((max(delays) - min(delays)) * time_base)


def _mean_rate(seconds: Sequence[Fraction]) -> Fraction | None:
    """The nearest standard rate within 0.2 %, else the mean itself, rounded."""
    if len(seconds) < 2 or seconds[-1] <= seconds[0]:
        return None
    mean = (len(seconds) - 1) / (seconds[-1] - seconds[0])
    nearest = min(_ROUND, key=lambda rate: abs(rate - mean))
    return nearest if abs(nearest - mean) < mean / 500 else mean.limit_denominator(1001) or None


def _even_rate(
    seconds: Sequence[Fraction], stream: VideoStream, measured: Fraction | None
) -> Fraction | None:
    """The first rate on whose grid each picture has the place after the one before it."""
    if measured is None:
        return None
    stated = (stream.base_rate, stream.average_rate, measured)
    candidates = [rate for rate in stated if rate is not None]
    if stream.interlaced:  # two fields of a picture may be two packets
        candidates += [rate / 2 for rate in candidates]
        seconds = _pairs(seconds, stream.average_rate, measured)
    return next((rate for rate in candidates if _on_grid(seconds, rate)), None)


def _holed_rate(seconds: Sequence[Fraction], stream: VideoStream) -> Fraction | None:
    """A standard rate of the stream on whose grid all pictures lie, with a hole or two."""
    steps = [later - sooner for sooner, later in pairwise(seconds)]
    stated = (stream.base_rate, stream.average_rate)
    for rate in (rate for rate in stated if rate in STANDARD):
        frames = [step * rate for step in steps]
        holes = [step for step in frames if step > 1 + 2 * _JITTER]
        even = all(abs(step - round(step)) <= _JITTER for step in frames)
        if even and 0 < len(holes) <= _HOLES and max(holes) >= rate / 2:
            return rate
    return None


def _pairs(
    seconds: Sequence[Fraction], average: Fraction | None, measured: Fraction
) -> Sequence[Fraction]:
    """Every other time where the packets are fields of the pictures."""
    return seconds[::2] if average is not None and measured > average * 3 / 2 else seconds


def _on_grid(seconds: Sequence[Fraction], rate: Fraction) -> bool:
    first = seconds[0]
    offsets: Iterable[Fraction] = ((time - first) * rate for time in seconds)
    return all(abs(offset - place) <= _JITTER for place, offset in enumerate(offsets))


def _thins_out(stream: VideoStream, rate: Fraction) -> bool:
    """Whether the whole track holds clearly more or fewer pictures than its start promises."""
    if stream.frames is None or stream.duration is None:
        return False
    expected = stream.duration * float(rate)
    return abs(stream.frames - expected) > max(2.0, expected / 200)
