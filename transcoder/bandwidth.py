"""Bit rates as manifests state them: promised before, measured after.

RFC 8216 (4.3.4.2) defines BANDWIDTH as the peak over any contiguous run of segments that lasts
between 0.5 and 1.5 target durations. Rates are bits per second, rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final

from transcoder.plan import AudioPlan, Rung
from transcoder.segments import TrackSegments

#: What boxes around the samples add to a segment: about 12 bytes a frame, rounded up.
_CONTAINER: Final = Fraction(103, 100)

#: How far an AAC encoder's segment may lie above its nominal rate.
_AAC_PEAK: Final = Fraction(115, 100)


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The peak of a track, and its average over the whole film; None before that is known."""

    peak: int
    average: int | None = None

    def __add__(self, other: Bandwidth) -> Bandwidth:
        known = self.average is not None and other.average is not None
        average = (self.average or 0) + (other.average or 0) if known else None
        return Bandwidth(self.peak + other.peak, average)


def measure(track: TrackSegments, target_duration: int) -> Bandwidth:
    """The bandwidth of a track's segments; of silence in time, 0."""
    return _measured(
        [(s.size, Fraction(s.ticks, track.timescale)) for s in track.segments], target_duration
    )


def measure_iframes(track: TrackSegments, target_duration: int) -> Bandwidth:
    """The bandwidth of playing a track's key frames alone."""
    keyframes = [key for segment in track.segments for key in segment.keyframes]
    return _measured([(key.size, key.duration) for key in keyframes], target_duration)


def video_ceiling(rung: Rung, segment_seconds: Fraction) -> Bandwidth:
    """The most that a rate-controlled rendition can reach over one segment: a full buffer more."""
    peak = (rung.maxrate + rung.bufsize / segment_seconds) * _CONTAINER
    return Bandwidth(ceil(peak))


def audio_ceiling(plan: AudioPlan) -> Bandwidth:
    """The most that a sound track is expected to reach."""
    return Bandwidth(ceil(plan.bit_rate * _AAC_PEAK * _CONTAINER))


def _measured(pieces: Sequence[tuple[int, Fraction]], target_duration: int) -> Bandwidth:
    total = sum((duration for _, duration in pieces), Fraction(0))
    if not total:
        return Bandwidth(0, 0)
    average = sum(size for size, _ in pieces) * 8 / total
    rates = _window_rates(pieces, Fraction(target_duration, 2), Fraction(3 * target_duration, 2))
    return Bandwidth(ceil(max([average, *rates])), ceil(average))


def _window_rates(
    pieces: Sequence[tuple[int, Fraction]], shortest: Fraction, longest: Fraction
) -> list[Fraction]:
    rates: list[Fraction] = []
    for begin in range(len(pieces)):
        size, duration = 0, Fraction(0)
        for piece_size, piece_duration in pieces[begin:]:
            size, duration = size + piece_size, duration + piece_duration
            if duration > longest:
                break
            if duration >= shortest:
                rates.append(size * 8 / duration)
    return rates
