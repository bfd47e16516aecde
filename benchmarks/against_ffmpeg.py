"""The whole farm, from upload to ready, against one ffmpeg that somebody typed by hand."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import handwritten
from benchmarks.farms import MeasuredFarm, measured_farm, moment
from benchmarks.handwritten import Cost
from benchmarks.options import Options
from benchmarks.report import Promise, Report, Spread
from benchmarks.usage import Usage
from media.binaries import find_tools
from transcoder.plan import Plan

#: Seconds of film, and the most that wall and processor time may be of the other's.
BARS: Final = {60.0: (1.05, 1.08), 600.0: (1.00, 1.05)}
SHORT, LONG = BARS
_QUICK: Final = 8.0


@dataclass(frozen=True, slots=True)
class Round:
    """One pair of measurements, made one after the other."""

    hand: Cost
    wall: float
    playable: float
    usage: Usage

    @property
    def wall_ratio(self) -> float:
        """Of the farm's wall time to the other's."""
        return self.wall / self.hand.wall

    @property
    def cpu_ratio(self) -> float:
        """Of the farm's processor time, without the servers, to the other's."""
        return self.usage.total / self.hand.cpu


def run(options: Options) -> Report:
    """Measure the short film."""
    return compared("against_ffmpeg", options, SHORT)


def compared(name: str, options: Options, seconds: float) -> Report:
    """Pairs of runs over a film of that length, and what is promised of it."""
    seconds = _QUICK if options.quick else seconds
    rounds = measure(options, seconds)
    return Report(
        name=name,
        title="One farm (2 slots) against one ffmpeg by hand, upload to ready, 1080p25",
        columns=("film", "what", "wall s", "CPU s", "wall ratio", "CPU ratio"),
        rows=tuple(_rows(seconds, rounds)),
        promises=tuple(_promises(seconds, rounds)),
        data={"film": seconds, "rounds": [_data(each) for each in rounds]},
    )


def measure(options: Options, seconds: float) -> list[Round]:
    """Pairs of runs over a film of that length."""
    film = options.films.longer(seconds)
    place = options.scratch / f"against-{seconds:g}"
    with measured_farm(place) as farm:
        warm(farm, options)
        rounds = [one_round(farm, film, place) for _ in range(options.repeats)]
    shutil.rmtree(place)
    return rounds


def warm(farm: MeasuredFarm, options: Options) -> None:
    """Have everything started and read from disk once."""
    farm.ready(farm.client.upload(options.films.longer(4))["id"])


def one_round(farm: MeasuredFarm, film: Path, place: Path) -> Round:
    """The farm, then ffmpeg by hand with the very settings of the farm's plan."""
    made = farmed(farm, film)
    folder = place / "by-hand"
    hand = handwritten.all_rungs(find_tools().ffmpeg, film, made.plan, folder)
    shutil.rmtree(folder)
    return Round(hand, made.wall, made.playable, made.usage)


@dataclass(frozen=True, slots=True)
class Farmed:
    """What a farm took for a film, in seconds from the first byte of the upload on."""

    plan: Plan
    wall: float
    playable: float
    usage: Usage


def farmed(farm: MeasuredFarm, film: Path) -> Farmed:
    """Have the film made, and deleted again."""
    before, began = farm.usage(), time.time()
    video = farm.ready(farm.client.upload(film)["id"])
    usage = farm.usage() - before
    plan = farm.plan(video["id"])
    farm.client.delete(video["id"])
    wall, playable = (moment(video, what) - began for what in ("ready_at", "playable_at"))
    return Farmed(plan, wall, playable, usage)


def _rows(seconds: float, rounds: list[Round]) -> list[tuple[str, ...]]:
    def spread(values: list[float], digits: int = 1) -> str:
        return Spread.of(values).text(digits)

    film = f"{seconds:g} s"
    return [
        (
            *(film, "ffmpeg by hand"),
            *(spread([r.hand.wall for r in rounds]), spread([r.hand.cpu for r in rounds]), "", ""),
        ),
        (
            *(film, "farm"),
            *(spread([r.wall for r in rounds]), spread([r.usage.total for r in rounds])),
            *(spread([r.wall_ratio for r in rounds], 3), spread([r.cpu_ratio for r in rounds], 3)),
        ),
        (film, "… of it ffmpeg", "", spread([r.usage.media for r in rounds]), "", ""),
        (film, "… of it Python", "", spread([r.usage.farm for r in rounds]), "", ""),
        (film, "embedded servers", "", spread([r.usage.servers for r in rounds]), "", ""),
        (film, "farm, to playable", spread([r.playable for r in rounds], 2), "", "", ""),
    ]


def _promises(seconds: float, rounds: list[Round]) -> list[Promise]:
    if seconds not in BARS:
        return []
    wall, cpu = BARS[seconds]
    return [
        Promise(f"wall at {seconds:g} s", Spread.of([r.wall_ratio for r in rounds]).median, wall),
        Promise(f"CPU at {seconds:g} s", Spread.of([r.cpu_ratio for r in rounds]).median, cpu),
    ]


def _data(each: Round) -> dict[str, Any]:
    return asdict(each) | {"wall_ratio": each.wall_ratio, "cpu_ratio": each.cpu_ratio}
