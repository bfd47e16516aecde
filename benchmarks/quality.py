"""Bits for quality: the default profile against Apple's fixed ladder, and which preset it uses.

Both ladders are encoded by the same x264 at the same preset and key frames, through the farm's
own filter graph. For every fixed rung the bits are counted that the profile needs for the same
VMAF, up to 95; see :func:`benchmarks.rate_quality.need` for what is not reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

from benchmarks import presets
from benchmarks.clips import QUICK_SECONDS, SECONDS, Clip, clips
from benchmarks.encodes import Laboratory, Ladder
from benchmarks.options import Options
from benchmarks.plot import Series, curves
from benchmarks.presets import PresetCost
from benchmarks.rate_quality import Need, mean_ratio, need, saving
from benchmarks.report import Promise, Report
from benchmarks.vmaf import SUBSAMPLE
from transcoder.profile import Profile, load_profile

#: Share of bits to be saved over the clips, and by the worst of them.
GOAL: Final = 0.25
WORST: Final = 0.0

#: Clips that the presets are compared on, and those that are drawn.
_FEW: Final = ("hands", "bunny-720", "juggler")
_DRAWN: Final = ("hands", "bunny-1", "juggler")

#: The one for a quick run.
_SMALLEST: Final = "bikes"

_PICTURES: Final = Path(__file__).resolve().parents[1] / "docs" / "performance"


@dataclass(frozen=True, slots=True)
class Compared:
    """One clip: the profile's ladder, the fixed one, and a need for each rung of that."""

    clip: str
    profile: Ladder
    fixed: Ladder
    needs: tuple[Need, ...]

    @property
    def saved(self) -> float:
        """Share of the fixed rungs' bits that the profile does without."""
        return saving(self.needs)

    @property
    def stored(self) -> float:
        """Bits stored for all rungs to those of the fixed ladder."""
        return self.profile.stored / self.fixed.stored


def run(options: Options) -> Report:
    """Compare, choose, draw."""
    kept = options.films.scratch.with_name("encodes")
    seconds = QUICK_SECONDS if options.quick else SECONDS
    laboratory = Laboratory(kept, options.scratch, seconds)
    profile, films = load_profile(), clips(options.films)
    smallest = [clip for clip in films if clip.name == _SMALLEST] or films[:1]
    chosen = smallest if options.quick else films
    found = [_compared(laboratory, clip, profile, options) for clip in chosen]
    tried = (presets.REFERENCE, "ultrafast") if options.quick else presets.TRIED
    few = [clip for clip in chosen if clip.name in _FEW] or chosen[:1]
    costs = presets.preset_costs(laboratory, few, profile, tried)
    if not options.quick:
        _draw(found, costs)
    return _report(found, costs, profile, laboratory, few)


def _compared(laboratory: Laboratory, clip: Clip, profile: Profile, options: Options) -> Compared:
    options.display.say(f"  {clip.name} …")
    mine, fixed = laboratory.by_profile(clip, profile), laboratory.fixed(clip, profile)
    needs = tuple(need(mine.points, rung.point) for rung in fixed.rungs)
    return Compared(clip.name, mine, fixed, needs)


def _report(
    found: Sequence[Compared],
    costs: Sequence[PresetCost],
    profile: Profile,
    laboratory: Laboratory,
    few: Sequence[Clip],
) -> Report:
    every = [each for one in found for each in one.needs]
    bends = presets.best(costs)
    rows = [_row(each) for each in found]
    used = profile.video.preset
    return Report(
        name="quality",
        title=f"Bits for the quality of Apple's fixed H.264 ladder, x264 {used}",
        columns=("clip", "bits saved", "per rung", "stored", "best VMAF", "fixed", "rungs"),
        rows=(*rows, _means(found, every)),
        promises=(
            Promise("bits saved, mean of clips", mean(e.saved for e in found), GOAL, True),
            Promise("bits saved, worst clip", min(e.saved for e in found), WORST, True),
        ),
        notes=(
            f"The first {laboratory.seconds:g} s of each clip; VMAF of every {SUBSAMPLE}th picture"
            " at the displayed size.",
            f"Presets: CPU and bits at equal VMAF to those of {presets.REFERENCE}, over"
            f" {', '.join(clip.name for clip in few)}; the knee is {bends}.",
            *(each.text(used) for each in costs),
        ),
        data={
            "clips": [_data(each) for each in found],
            "presets": presets.data(costs),
            "knee": bends,
            "total_saved": saving(every),
        },
    )


def _row(each: Compared) -> tuple[str, ...]:
    return (
        each.clip,
        f"{100 * each.saved:.0f} %",
        f"{100 * (1 - mean_ratio(each.needs)):.0f} %",
        f"{100 * each.stored:.0f} %",
        f"{each.profile.rungs[0].quality:.1f}",
        f"{each.fixed.rungs[0].quality:.1f}",
        f"{sum(one.reached for one in each.needs)} of {len(each.needs)} reached",
    )


def _means(found: Sequence[Compared], every: Sequence[Need]) -> tuple[str, ...]:
    stored = sum(e.profile.stored for e in found) / sum(e.fixed.stored for e in found)
    return (
        "mean of clips",
        f"{100 * mean(each.saved for each in found):.0f} %",
        f"{100 * (1 - mean_ratio(every)):.0f} %",
        f"{100 * stored:.0f} %",
        *("", "", ""),
    )


def _data(each: Compared) -> dict[str, Any]:
    return asdict(each) | {"saved": each.saved, "stored": each.stored}


def _draw(found: Sequence[Compared], costs: Sequence[PresetCost]) -> None:
    lines = [line for each in found if each.clip in _DRAWN for line in _lines(each)]
    title = "Bits for quality: the default profile and Apple's fixed ladder"
    curves(_PICTURES / "quality.png", title, "kbit/s", "VMAF", lines, log="x")
    cpu, bits = [100 * each.cpu for each in costs], [100 * each.bits for each in costs]
    dots = [Series(each.name, [x], [y]) for each, x, y in zip(costs, cpu, bits, strict=True)]
    curves(
        _PICTURES / "presets.png",
        "Presets of x264 over the default ladder",
        "processor time of decoding, scaling and encoding, % of veryfast",
        "bits at equal VMAF, % of veryfast",
        [Series("from one to the next", cpu, bits, ideal=True), *dots],
        log="x",
    )


def _lines(each: Compared) -> tuple[Series, Series]:
    def series(name: str, ladder: Ladder) -> Series:
        rungs = sorted(ladder.rungs, key=lambda rung: rung.rate)
        kbits = [rung.rate / 1000 for rung in rungs]
        return Series(f"{each.clip}, {name}", kbits, [rung.quality for rung in rungs])

    return series("profile", each.profile), series("fixed", each.fixed)
