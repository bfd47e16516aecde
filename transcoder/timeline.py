"""The output's clock: its rate, its grid of pictures, segments and chunks. Pure.

Everything is cut on one grid: groups of pictures of about two seconds, segments of a whole number
of them. The first group is a segment by itself, because a viewer waits for it; so a chunk begins
at ``gop + k × segment`` frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import ceil, floor
from typing import Final

from media.probed import Probe, Timing, VideoStream
from media.timing import STANDARD
from transcoder.profile import VideoProfile

#: How far from a standard rate a source is still taken for it: rounded headers, drifting clocks.
_TOLERANCE: Final = Fraction(2, 1000)

#: Slower sources are shown at a multiple of their pace, so that a group has a few pictures.
_SLOWEST: Final = Fraction(5)

#: Denominators of rates that are kept though they are no standard.
_KEPT: Final = (1, 2, 1001)

#: A 33-bit clock of 90 kHz (ISO/IEC 13818-1, 2.4.3.7) starts again after so many seconds.
_WRAP: Final = 2**33 / 90_000

#: Of what is left to do, a chunk is one of so many parts at the most.
_SHARE: Final = 4

#: ffmpeg's names of containers that are none.
_BARE: Final = frozenset(
    {"cavsvideo", "dirac", "h261", "h263", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "obu"}
    | {"vc1", "vvc"}
)


@dataclass(frozen=True, slots=True)
class Rate:
    """The output's rate; whether the source's pictures lie evenly on it; what to add to times."""

    value: Fraction
    constant: bool
    nudge: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames ``first`` to ``first + count`` of the output; to the end where count is None."""

    first: int
    count: int | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """Segments of the shortest and of the longest chunk."""

    shortest: int
    longest: int


def output_rate(stream: VideoStream, timing: Timing | None, fastest: int) -> Rate:
    """What the source is conformed to. Constant rates are kept, others get a constant one."""
    measured = (timing and timing.rate) or stream.average_rate or _plausible(stream.base_rate)
    if measured is None or measured <= 0:
        return Rate(Fraction(25), constant=False)
    if timing is not None and timing.holed:
        return Rate(_halved(measured, fastest), constant=False)
    if timing is not None and not timing.constant_rate:
        return Rate(_variable(stream.average_rate or measured, fastest), constant=False)
    kept = _kept(measured)
    if kept is None:
        return Rate(_halved(_next_standard(measured), fastest), constant=False)
    value = _halved(kept, fastest)
    return Rate(value, constant=True, nudge=1 / value / 4 if value < kept else Fraction(0))


def predicted_seconds(probe: Probe, stream: VideoStream, zero: Fraction) -> float | None:
    """Seconds of picture, rather too few than too many: the last chunk takes what is over.

    None where the container does not tell, or only guesses.
    """
    if probe.estimated:
        return None
    told = [stream.duration]
    if probe.duration is not None:
        told.append((probe.start or 0.0) + probe.duration - float(zero))
    if probe.timing is not None and probe.timing.breaks_off is not None:
        told.append(float(probe.timing.breaks_off - zero))
    known = [seconds for seconds in told if seconds is not None and seconds > 0]
    return min(known, default=None)


def is_cuttable(probe: Probe, seconds: float | None, preroll: float, longest: float) -> bool:
    """Whether parts can begin anywhere: there is an end, and times mean the same after a seek."""
    timing = probe.timing
    if seconds is None or timing is None or timing.timestamps_missing or preroll > longest:
        return False
    if is_timeless(probe) or timing.unread:  # in a broken chain of fragments seeks fail
        return False
    first = float(timing.first_picture)
    return probe.container != "mpegts" or (first >= 0 and first + seconds < _WRAP)


def is_timeless(probe: Probe) -> bool:
    """Whether it is a bare stream of pictures, whose times would be ffmpeg's invention."""
    return probe.container in _BARE


def preroll(probe: Probe, rate: Fraction) -> float:
    """Seconds to begin reading before a chunk does.

    An index leads to the right key frame. Pictures of an open group that are shown before their key
    frame are decoded after it and need the group before: as many as the sample shows to be
    reordered, else up to 16 (H.264 and HEVC). Without an index a seek lands anywhere, so a whole
    group is read.
    """
    reordered = 17 / float(rate)
    if probe.indexed:
        sampled = probe.timing.reordering if probe.timing else None
        return min(max(reordered, 0.25) if sampled is None else sampled, 2.0)
    longest = probe.timing.longest_gop if probe.timing else None
    return 1.5 * (longest if longest is not None else 10.0) + reordered


def chunks(frames: int, gop: int, segment: int, sizes: Sizes) -> tuple[Chunk, ...]:
    """What follows the first group, in pieces of whole segments.

    The last is open-ended and never shorter than a group by prediction; there is none where the
    film hardly lasts longer than its first group.
    """
    rest = frames - gop
    if rest < gop:
        return ()
    whole = max(1, rest // segment + (1 if rest % segment >= gop else 0))
    *starts, _ = accumulate(lengths(whole, sizes), initial=0)
    ends: list[int | None] = [*starts[1:], None]
    return tuple(
        Chunk(gop + segment * first, None if end is None else segment * (end - first))
        for first, end in zip(starts, ends, strict=True)
    )


def lengths(whole: int, sizes: Sizes) -> tuple[int, ...]:
    """``whole`` segments, in pieces of so many: short ones first, long ones, short ones last.

    A viewer who has seen the head waits for the first pieces. No piece is longer than a quarter of
    what is left, so that no slot idles for long at the end, though some scenes cost twice what
    others do: guided self-scheduling, decided beforehand, as a plan has to be the same whoever
    carries it out.
    """
    made: list[int] = []
    rest = whole
    while rest:
        wanted = min(sizes.shortest + len(made), sizes.longest, ceil(rest / _SHARE))
        length = min(max(wanted, sizes.shortest), rest)
        made.append(rest if rest - length < sizes.shortest else length)
        rest -= made[-1]
    return tuple(made)


def chunk_sizes(profile: VideoProfile, preroll: float) -> Sizes:
    """As the profile has it, and longer where opening the source costs more."""
    shortest = max(1, round(max(profile.chunk_shortest, preroll) / profile.segment))
    longest = round(max(profile.chunk_longest, 3 * preroll) / profile.segment)
    return Sizes(shortest, max(longest, shortest))


def frames_in(seconds: float, rate: Fraction) -> int:
    """Whole frames in so many seconds; a ten-thousandth more makes up for rounded headers."""
    return floor(seconds * float(rate) + 1e-4)


def _plausible(rate: Fraction | None) -> Fraction | None:
    """Not the clock of a container that has no rate, such as 1000 or 90000 a second."""
    return rate if rate is not None and rate <= 120 else None


def _kept(rate: Fraction) -> Fraction | None:
    nearest = min((*STANDARD, *(2 * s for s in STANDARD)), key=lambda s: abs(s - rate))
    if abs(nearest - rate) <= rate * _TOLERANCE:
        return nearest
    sensible = rate.denominator in _KEPT and rate >= _SLOWEST
    return rate if sensible and rate <= 480 else None


def _variable(mean: Fraction, fastest: int) -> Fraction:
    """Fast enough for the quick passages of a source whose pace changes."""
    near = [s for s in STANDARD if abs(s - mean) <= s / 50]
    if near:
        return _halved(min(near, key=lambda s: abs(s - mean)), fastest)
    return _halved(Fraction(30 if mean < 30 else 60), fastest)


def _next_standard(rate: Fraction) -> Fraction:
    if rate < _SLOWEST:
        return Fraction(10)
    return next((s for s in STANDARD if s >= rate), STANDARD[-1])


def _halved(rate: Fraction, fastest: int) -> Fraction:
    while rate > fastest:
        rate /= 2
    return rate
