"""What the model of the farm is asked: films nobody has to own, farms nobody has to pay. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from benchmarks.farm_model import Costs, Farm, Film, Outcome, simulate
from benchmarks.model_costs import KindCost, cut, film_of, first
from media.probed import AudioStream, Probe, Timing, VideoStream
from transcoder.plan import PICTURES, Plan
from transcoder.planner import PlanLimits, make_plan
from transcoder.profile import Profile

#: Cores, and so encode slots, of one host.
CORES: Final = 8

_LONG: Final = 7200.0
_RATE: Final = Fraction(25)
_BITS: Final = 40_000_000
_PIECES: Final = 16


@dataclass(frozen=True, slots=True)
class Point:
    """A farm of that many workers and what it did."""

    workers: int
    makespan: float
    efficiency: float
    speed_up: float


@dataclass(frozen=True, slots=True)
class Variant:
    """The two-hour film under other circumstances."""

    name: str
    film: Film
    window: Callable[[int], int]
    #: Whether the picture shows it.
    drawn: bool = False


def fixed(count: int) -> Callable[[int], int]:
    """A window that does not depend on the farm."""
    return lambda _workers: count


def farm_of(workers: int, window: int) -> Farm:
    """Hosts of eight cores, or one smaller one; a head slot on each."""
    cores = min(workers, CORES)
    return Farm(hosts=max(1, workers // cores), cores=cores, window=window)


def curve(
    films: Sequence[Film], costs: Costs, window: Callable[[int], int], counts: Sequence[int]
) -> list[Point]:
    """Farms of all sizes, the first of which is what speed-up is told from."""
    outcomes = [simulate(films, farm_of(n, window(n)), costs) for n in counts]
    first = outcomes[0].makespan * outcomes[0].workers
    return [_point(outcome, first) for outcome in outcomes]


def bend(points: Sequence[Point], efficiency: float = 0.5) -> int:
    """The largest farm of which no more than so much is idle."""
    return max((each.workers for each in points if each.efficiency >= efficiency), default=0)


def late_clip(film: Film, clip: Film, costs: Costs, workers: int, window: int) -> float:
    """Seconds for a clip that arrives when the film is at its thickest."""
    farm = farm_of(workers, window)
    arrival = film.cpu / workers / 4
    ready = simulate([film, replace(clip, arrival=arrival)], farm, costs).ready
    return ready[1] - arrival


def long_film(profile: Profile) -> Plan:
    """Of two hours in 4K with stereo sound, as an MP4."""
    video = VideoStream(
        index=0,
        codec="h264",
        width=3840,
        height=2160,
        average_rate=_RATE,
        base_rate=_RATE,
        time_base=Fraction(1, 12_800),
        start=0.0,
        duration=_LONG,
        frames=int(_LONG * _RATE),
        default=True,
    )
    audio = AudioStream(
        index=1, codec="aac", channels=2, sample_rate=48_000, start=0.0, duration=_LONG
    )
    probe = Probe(
        container="mov",
        duration=_LONG,
        start=0.0,
        size=int(_LONG * _BITS / 8),
        bit_rate=_BITS,
        indexed=True,
        video=(video,),
        audio=(audio,),
        timing=Timing(first_picture=Fraction(0), longest_gop=2.0, rate=_RATE, seen_to_end=True),
    )
    return make_plan(probe, profile, limits=PlanLimits())


def with_chunks(profile: Profile, seconds: float) -> Profile:
    """``profile`` with chunks of at most so many seconds."""
    shortest = min(profile.video.chunk_shortest, seconds)
    update = {"chunk_longest": seconds, "chunk_shortest": shortest}
    return profile.model_copy(update={"video": profile.video.model_copy(update=update)})


def variants(
    profile: Profile, costs: Mapping[str, KindCost], burden: float, least: int
) -> list[Variant]:
    """The film as it is made, and with one limit after another taken away."""
    grows = growing(least)
    as_is = film_of(long_film(profile), costs, burden)
    shorter = first(film_of(long_film(with_chunks(profile, 12.0)), costs, burden), PICTURES)
    pieces = cut(cut(shorter, "a0-rest", _PIECES), PICTURES, _PIECES)
    return [
        Variant(f"window of {least}", as_is, fixed(least), drawn=True),
        Variant("window as large as the farm", as_is, lambda workers: max(least, workers)),
        Variant("window of 1.5 times the farm", as_is, grows, drawn=True),
        Variant("… and the pictures are sent first", first(as_is, PICTURES), grows),
        Variant("… and chunks last 12 s", shorter, grows, drawn=True),
        Variant(f"… and sound and pictures come in {_PIECES} pieces", pieces, grows, drawn=True),
    ]


def growing(least: int) -> Callable[[int], int]:
    """Half as many parts again as there are workers: one is there when a slot gets free."""
    return lambda workers: max(least, workers * 3 // 2)


def longest(film: Film) -> dict[str, float]:
    """Seconds of the longest part of each kind, on as many cores as it can use."""
    found: dict[str, float] = {}
    for task in (film.inspect, *film.tasks):
        kind = "chunk" if task.name.startswith("v") and not task.head else task.name
        found[kind] = max(found.get(kind, 0.0), task.wait + task.cpu / task.width)
    return found


def _point(outcome: Outcome, first: float) -> Point:
    speed_up = first / outcome.makespan
    return Point(outcome.workers, outcome.makespan, outcome.efficiency, speed_up)
