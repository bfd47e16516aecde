"""The farm against one ffmpeg for each rendition, all at once, as most tools have it."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks import handwritten
from benchmarks.against_ffmpeg import Farmed, farmed, warm
from benchmarks.farms import measured_farm
from benchmarks.handwritten import Cost
from benchmarks.options import Options
from benchmarks.report import Promise, Report, Spread
from media.binaries import find_tools

#: Seconds of film, and by how much the farm is faster at the least.
_FILM: Final = 60.0
_QUICK: Final = 8.0
_BAR: Final = 1.3


@dataclass(frozen=True, slots=True)
class Round:
    """One pair of measurements, made one after the other."""

    hand: Cost
    farm: Farmed

    @property
    def faster(self) -> float:
        """How many times as long the processes by hand take."""
        return self.hand.wall / self.farm.wall

    @property
    def cheaper(self) -> float:
        """How many times as much processor time they take."""
        return self.hand.cpu / self.farm.usage.total


def run(options: Options) -> Report:
    """Measure one film."""
    seconds = _QUICK if options.quick else _FILM
    rounds = measure(options, seconds)
    faster = Spread.of([each.faster for each in rounds])
    return Report(
        name="against_renditions",
        title="One farm (2 slots) against one ffmpeg for each rendition, upload to ready, 1080p25",
        columns=("film", "what", "wall s", "CPU s", "times faster", "times cheaper"),
        rows=_rows(seconds, rounds, faster),
        promises=(Promise("times faster to ready", faster.median, _BAR, at_least=True),),
        data={"film": seconds, "rounds": [_data(each) for each in rounds]},
    )


def measure(options: Options, seconds: float) -> list[Round]:
    """Pairs of runs over a film of that length."""
    film = options.films.longer(seconds)
    place = options.scratch / "renditions"
    rounds = []
    with measured_farm(place) as farm:
        warm(farm, options)
        for _ in range(options.repeats):
            made = farmed(farm, film)
            folder = place / "by-hand"
            hand = handwritten.one_each(find_tools().ffmpeg, film, made.plan, folder)
            shutil.rmtree(folder)
            rounds.append(Round(hand, made))
    shutil.rmtree(place)
    return rounds


def _rows(seconds: float, rounds: list[Round], faster: Spread) -> tuple[tuple[str, ...], ...]:
    def spread(values: list[float], digits: int = 1) -> str:
        return Spread.of(values).text(digits)

    film = f"{seconds:g} s"
    hand = (spread([r.hand.wall for r in rounds]), spread([r.hand.cpu for r in rounds]))
    wall = spread([r.farm.wall for r in rounds])
    cpu = spread([r.farm.usage.total for r in rounds])
    return (
        (film, "one ffmpeg for each rendition", *hand, "", ""),
        (film, "farm", wall, cpu, faster.text(2), spread([r.cheaper for r in rounds], 2)),
    )


def _data(each: Round) -> dict[str, Any]:
    farm = {name: getattr(each.farm, name) for name in ("wall", "playable")}
    usage, hand = asdict(each.farm.usage), asdict(each.hand)
    return {"hand": hand, "farm": farm | {"usage": usage}, "faster": each.faster}
