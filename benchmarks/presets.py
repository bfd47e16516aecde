"""Which preset of x264: processor time against bits at equal quality, and where more buys least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any, Final

from benchmarks.clips import Clip
from benchmarks.encodes import Laboratory, Ladder
from benchmarks.rate_quality import knee, ratio_at_equal_quality
from transcoder.profile import PRESETS, Profile

#: What the others are compared with.
REFERENCE: Final = "veryfast"

#: Those worth trying: slower ones than ``slow`` cost ten times as much for a few per cent.
TRIED: Final = PRESETS[: PRESETS.index("slow") + 1]


@dataclass(frozen=True, slots=True)
class PresetCost:
    """One preset, relative to :data:`REFERENCE`, over all clips (geometric means)."""

    name: str
    cpu: float
    bits: float
    clips: tuple[tuple[float, float], ...]

    def text(self, used: str) -> str:
        """A line for people; ``used`` is the name of the default."""
        lowest, highest = (f(bits for _, bits in self.clips) for f in (min, max))
        mark = ", the default" if self.name == used else ""
        each = f"({100 * lowest:.0f} to {100 * highest:.0f} %)"
        return (
            f"  {self.name}: CPU {100 * self.cpu:.0f} %, bits {100 * self.bits:.1f} % {each}{mark}"
        )


def preset_costs(
    laboratory: Laboratory, films: Sequence[Clip], profile: Profile, names: Sequence[str]
) -> tuple[PresetCost, ...]:
    """Every preset over the whole ladder of the profile, at its qualities."""
    made = {name: [_ladder(laboratory, clip, profile, name) for clip in films] for name in names}
    return tuple(_compared(name, made[name], made[REFERENCE]) for name in names)


def best(costs: Sequence[PresetCost]) -> str:
    """The name of the knee."""
    return costs[knee([each.cpu for each in costs], [each.bits for each in costs])].name


def data(costs: Sequence[PresetCost]) -> list[dict[str, Any]]:
    """For JSON."""
    return [{"preset": c.name, "cpu": c.cpu, "bits": c.bits, "clips": c.clips} for c in costs]


def _ladder(laboratory: Laboratory, clip: Clip, profile: Profile, name: str) -> Ladder:
    video = profile.video.model_copy(update={"preset": name})
    return laboratory.by_profile(clip, profile.model_copy(update={"video": video}))


def _compared(name: str, made: Sequence[Ladder], reference: Sequence[Ladder]) -> PresetCost:
    clips = tuple(
        (one.cpu / other.cpu, ratio_at_equal_quality(one.points, other.points))
        for one, other in zip(made, reference, strict=True)
    )
    cpu, bits = (geometric_mean(clip[order] for clip in clips) for order in (0, 1))
    return PresetCost(name, cpu, bits, clips)
