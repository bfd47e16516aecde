"""Films as the planner cuts them: what their parts are predicted to cost. Pure.

The catalogue is of common shapes; each is planned once by the planner of the farm from what a probe
would say, so that parts, heads and costs are those that workers really get.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Final

from media.probed import AudioStream, Probe, Timing, VideoStream
from transcoder.planner import PlanLimits, make_plan
from transcoder.profile import load_profile

#: Core-seconds of the look at a source, which has no plan yet.
LOOK: Final = 1.0

_RATE: Final = Fraction(25)
_BITS: Final = 8_000_000


@dataclass(frozen=True)
class Film:
    """One shape of upload. ``costs`` are predicted core-seconds of its parts in working order."""

    name: str
    costs: tuple[float, ...]
    #: Whether each is a head, which stands before all that are none.
    heads: tuple[bool, ...]

    @cached_property
    def work(self) -> float:
        """Predicted core-seconds of everything, the look included."""
        return LOOK + sum(self.costs)


@dataclass(frozen=True, slots=True)
class Share:
    """How large a part of all uploads a shape is."""

    film: Film
    weight: float


@cache
def planned(name: str, seconds: float, width: int, height: int) -> Film:
    """An H.264 film of that length and size at 25 pictures a second, with stereo sound."""
    plan = make_plan(_probe(seconds, width, height), load_profile(), limits=PlanLimits())
    return Film(
        name, tuple(part.cost for part in plan.parts), tuple(part.head for part in plan.parts)
    )


def catalogue() -> tuple[Share, ...]:
    """What people upload: mostly clips, in core-seconds mostly films."""
    return (
        Share(planned("15 s 720p", 15.0, 1280, 720), 30),
        Share(planned("30 s 1080p", 30.0, 1920, 1080), 24),
        Share(planned("1 min 1080p", 60.0, 1920, 1080), 20),
        Share(planned("3 min 1080p", 180.0, 1920, 1080), 12),
        Share(planned("1 min 4K", 60.0, 3840, 2160), 3),
        Share(planned("10 min 1080p", 600.0, 1920, 1080), 8),
        Share(planned("45 min 1080p", 2700.0, 1920, 1080), 2.5),
        Share(planned("2 h 1080p", 7200.0, 1920, 1080), 0.5),
    )


def clips() -> tuple[Share, ...]:
    """Short ones only: what a crowd uploads after a match."""
    return catalogue()[:3]


def giant() -> Film:
    """Ten hours in 4K: more than a thousand parts."""
    return planned("10 h 4K", 36_000.0, 3840, 2160)


def _probe(seconds: float, width: int, height: int) -> Probe:
    video = VideoStream(
        index=0,
        codec="h264",
        width=width,
        height=height,
        average_rate=_RATE,
        base_rate=_RATE,
        time_base=Fraction(1, 12_800),
        start=0.0,
        duration=seconds,
        frames=int(seconds * _RATE),
        default=True,
    )
    audio = AudioStream(
        index=1, codec="aac", channels=2, sample_rate=48_000, start=0.0, duration=seconds
    )
    return Probe(
        container="mov",
        duration=seconds,
        start=0.0,
        size=int(seconds * _BITS / 8),
        bit_rate=_BITS,
        indexed=True,
        video=(video,),
        audio=(audio,),
        timing=Timing(first_picture=Fraction(0), longest_gop=2.0, rate=_RATE, seen_to_end=True),
    )
