"""What more workers are worth: a small farm measured, a model fed with it, farms of any size.

The model is first held to the small farm it was fed from. Then it tells of a film of two hours in
4K, which one would like to have quickly, and of many short clips that arrive at once.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.farm_model import Film
from benchmarks.model_costs import film_of
from benchmarks.options import Options
from benchmarks.plot import Series, curves
from benchmarks.report import Promise, Report
from benchmarks.scale_films import (
    Point,
    Variant,
    bend,
    curve,
    fixed,
    late_clip,
    longest,
    variants,
)
from benchmarks.scale_measured import Measured, Shot, measure
from pipeline.advance import WINDOW
from transcoder.profile import load_profile

#: How far the model may be from what was measured.
CLOSE: Final = 0.15

_COUNTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 10_000)
_FEW: Final = (1, 8, 64)
_CLIPS: Final = 10_000
_SHOWN: Final = (8, 64, 256, 1024, 10_000)
#: Workers of the farm on which a clip meets a film, and what windows the film is given.
_MEETING: Final = 64
_WINDOWS: Final = (16, 64, 96, 100_000)
_PICTURE: Final = Path("docs/performance/scale-out.png")


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of the table and of the picture."""

    name: str
    points: tuple[Point, ...]
    drawn: bool = True


def run(options: Options) -> Report:
    """Measure, and tell what follows."""
    measured = measure(options)
    counts = _FEW if options.quick else _COUNTS
    found = lines(measured, counts, _CLIPS // (100 if options.quick else 1))
    meetings = meet(measured)
    picture = options.scratch / "scale-out.png" if options.quick else _PICTURE
    draw(picture, found)
    return Report(
        name="scale_out",
        title="Workers and what they are worth, by model; one worker is one core",
        columns=("what", *(f"{n:,} workers" for n in _shown(counts)), "half idle beyond"),
        rows=tuple(_rows(found, _shown(counts))),
        promises=tuple(_promises(measured)),
        notes=tuple(_notes(measured, meetings)),
        data=_data(measured, found, meetings),
    )


def lines(measured: Measured, counts: Sequence[int], clips: int) -> list[Line]:
    """The film under all circumstances, and the clips."""
    found = []
    for each in _variants(measured):
        points = curve([each.film], measured.costs, each.window, counts)
        found.append(Line(f"film: {each.name}", tuple(points), each.drawn))
    many = curve([_clip(measured)] * clips, measured.costs, fixed(WINDOW), counts)
    return [*found, Line(f"{clips:,} clips at once", tuple(many))]


def meet(measured: Measured) -> dict[str, float]:
    """How long a clip takes that arrives in the midst of a film, by the film's window."""
    film, clip = _variants(measured)[0].film, _clip(measured)
    return {
        str(window): late_clip(film, clip, measured.costs, _MEETING, window) for window in _WINDOWS
    }


def draw(path: Path, found: Sequence[Line]) -> None:
    """Speed-up by workers."""
    counts = [point.workers for point in found[0].points]
    drawn = [line for line in found if line.drawn]
    shown = [Series(line.name, counts, [point.speed_up for point in line.points]) for line in drawn]
    curves(
        path,
        "Speed-up by model: a film of 2 h in 4K, and short clips of 1080p",
        "workers (cores)",
        "times faster than one worker",
        [*shown, Series("ideal", counts, counts, ideal=True)],
        log="xy",
    )


def _variants(measured: Measured) -> list[Variant]:
    burden = measured.burden(servers=False)
    return variants(load_profile(), measured.in_4k, burden, WINDOW)


def _clip(measured: Measured) -> Film:
    plan = measured.clips.plans[0]
    return film_of(plan, measured.usual, measured.burden(servers=False))


def _shown(counts: Sequence[int]) -> list[int]:
    return [count for count in counts if count in _SHOWN]


def _rows(found: Sequence[Line], shown: Sequence[int]) -> list[tuple[str, ...]]:
    return [
        (
            line.name,
            *(_cell(point) for point in line.points if point.workers in shown),
            f"{bend(line.points):,}",
        )
        for line in found
    ]


def _cell(point: Point) -> str:
    return f"{point.makespan:,.0f} s ({point.efficiency:.0%})"


def _promises(measured: Measured) -> list[Promise]:
    real = statistics.median(shot.makespan for shot in measured.films)
    said = statistics.median(measured.predicted(shot) for shot in measured.films)
    clips = measured.clips
    return [
        Promise("model off by, one film", abs(said / real - 1), CLOSE),
        Promise(
            f"model off by, {len(clips.plans)} clips at once",
            abs(measured.predicted(clips) / clips.makespan - 1),
            CLOSE,
        ),
    ]


def _notes(measured: Measured, meetings: dict[str, float]) -> list[str]:
    film = _variants(measured)[0].film
    parts = ", ".join(f"{name} {seconds:,.1f} s" for name, seconds in longest(film).items())
    costs, clip = measured.costs, _clip(measured)
    late = ", ".join(f"{seconds:.0f} s with {window}" for window, seconds in meetings.items())
    return [
        f"Work: {film.cpu:,.0f} s of a core for the film, {clip.cpu:.1f} s for each clip.",
        f"The film's longest parts, alone on a host: {parts}.",
        f"The farm adds {costs.hop * 1000:.0f} ms to start a part, {costs.advance * 1000:.0f} ms"
        f" beside its processes, and {costs.finish * 1000:.0f} ms to finish a film.",
        f"A clip that meets the film on {_MEETING} workers, by the film's window: {late}.",
    ]


def _data(measured: Measured, found: list[Line], meetings: dict[str, float]) -> dict[str, Any]:
    return {
        "costs": asdict(measured.costs),
        "kinds": {name: asdict(cost) for name, cost in measured.usual.items()},
        "kinds_4k": {name: asdict(cost) for name, cost in measured.in_4k.items()},
        "burden": measured.burden(servers=False),
        "burden_with_servers": measured.burden(servers=True),
        "curves": [asdict(line) for line in found],
        "longest": longest(_variants(measured)[0].film),
        "late_clip": meetings,
        "films": [_shot_data(measured, shot) for shot in measured.films],
        "clips": _shot_data(measured, measured.clips),
        "large": asdict(replace(measured.large, plans=())),
        "small": asdict(replace(measured.small, plans=())),
    }


def _shot_data(measured: Measured, shot: Shot) -> dict[str, Any]:
    return asdict(replace(shot, plans=())) | {"predicted": measured.predicted(shot)}
