"""The whole farm against Shaka Streamer, which makes the same ladder in one pass."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import handwritten, shaka
from benchmarks.against_ffmpeg import warm
from benchmarks.farms import MeasuredFarm, measured_farm, moment
from benchmarks.handwritten import Cost
from benchmarks.options import Options
from benchmarks.report import Promise, Report, Spread
from benchmarks.shaka import Streamed
from benchmarks.usage import Usage
from farm.client import Video
from media.binaries import find_tools

#: How many times faster than Shaka Streamer the farm is to be.
READY: Final = 1.3
PLAYABLE: Final = 10.0

_SECONDS: Final = 64.0
_QUICK: Final = 8.0


@dataclass(frozen=True, slots=True)
class Round:
    """The farm, and then the others, over one film. Seconds from the start of the upload."""

    playable: float
    ready: float
    usage: Usage
    rates: dict[str, int]
    shaka: Streamed
    #: One ffmpeg by hand, to know what is possible.
    hand: Cost

    @property
    def faster_to_ready(self) -> float:
        """How many times."""
        return self.shaka.ready / self.ready

    @property
    def faster_to_playable(self) -> float:
        """How many times."""
        return self.shaka.playable / self.playable


def run(options: Options) -> Report:
    """Measure pairs."""
    seconds = _QUICK if options.quick else _SECONDS
    rounds = measure(options, options.films.longer(seconds))
    ready = Spread.of([each.faster_to_ready for each in rounds]).median
    playable = Spread.of([each.faster_to_playable for each in rounds]).median
    return Report(
        name="against_shaka",
        title=f"One farm (2 slots) against Shaka Streamer (VOD), {seconds:g} s of 1080p25",
        columns=("what", "playable s", "ready s", "CPU s", "faster to playable", "faster to ready"),
        rows=tuple(_rows(rounds)),
        promises=(
            Promise("times faster to ready", ready, READY, at_least=True),
            Promise("times faster to playable", playable, PLAYABLE, at_least=True),
        ),
        notes=_NOTES,
        data={"film": seconds, "rounds": [_data(each) for each in rounds]},
    )


_NOTES: Final = (
    "Same ffmpeg, preset, sizes, key frames and sound. Shaka Streamer takes bit rates: it gets",
    "for each rung the average that the farm's own encoding turned out to have.",
    "Its ready is the last write to a manifest, which is before the command ends.",
)


def measure(options: Options, film: Path) -> list[Round]:
    """Rounds over the film."""
    place = options.scratch / "against-shaka"
    with measured_farm(place) as farm:
        warm(farm, options)
        rounds = [one_round(farm, film, place / "others") for _ in range(options.repeats)]
    shutil.rmtree(place)
    return rounds


def one_round(farm: MeasuredFarm, film: Path, folder: Path) -> Round:
    """The farm, then Shaka Streamer with the farm's ladder and the rates it came to."""
    before, began = farm.usage(), time.time()
    video = farm.ready(farm.client.upload(film)["id"])
    usage = farm.usage() - before
    playable, ready = (moment(video, what) - began for what in ("playable_at", "ready_at"))
    plan, rates = farm.plan(video["id"]), average_rates(video)
    farm.client.delete(video["id"])
    tools = find_tools()
    streamed = shaka.stream(tools, film, plan, rates, folder)
    hand = handwritten.all_rungs(tools.ffmpeg, film, plan, folder / "by-hand")
    shutil.rmtree(folder)
    return Round(playable, ready, usage, rates, streamed, hand)


def average_rates(video: Video) -> dict[str, int]:
    """Bits per second of each rendition, as measured by the farm."""
    return {each["name"]: each["average_bandwidth"] for each in video["renditions"]}


def _rows(rounds: list[Round]) -> list[tuple[str, ...]]:
    def spread(values: list[float], digits: int = 1) -> str:
        return Spread.of(values).text(digits)

    theirs = [each.shaka for each in rounds]
    return [
        (
            "farm",
            spread([r.playable for r in rounds], 2),
            spread([r.ready for r in rounds]),
            spread([r.usage.total for r in rounds]),
            spread([r.faster_to_playable for r in rounds]),
            spread([r.faster_to_ready for r in rounds], 3),
        ),
        ("… embedded servers", "", "", spread([r.usage.servers for r in rounds]), "", ""),
        (
            "Shaka Streamer",
            spread([s.playable for s in theirs]),
            spread([s.ready for s in theirs]),
            spread([s.cpu for s in theirs]),
            "",
            "",
        ),
        ("… until its command ends", "", spread([s.ended for s in theirs]), "", "", ""),
        (
            "… of it ffmpeg",
            "",
            spread([s.ffmpeg_wall for s in theirs]),
            spread([s.ffmpeg_cpu for s in theirs]),
            "",
            "",
        ),
        (
            "ffmpeg by hand",
            "",
            spread([r.hand.wall for r in rounds]),
            spread([r.hand.cpu for r in rounds]),
            "",
            "",
        ),
    ]


def _data(each: Round) -> dict[str, Any]:
    ratios = {
        "faster_to_ready": each.faster_to_ready,
        "faster_to_playable": each.faster_to_playable,
    }
    return asdict(each) | ratios
