"""The small farm that is measured, so that the model knows what parts cost and is held to it."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import latency
from benchmarks.against_ffmpeg import warm
from benchmarks.farm_model import Costs, Farm, Film, simulate
from benchmarks.farms import BenchmarkError, MeasuredFarm, measured_farm, moment
from benchmarks.model_costs import (
    KindCost,
    Sample,
    film_of,
    kind_costs,
    own_seconds,
    processor_seconds,
    samples,
)
from benchmarks.options import Options
from benchmarks.part_costs import kinds, part_costs
from benchmarks.usage import Usage
from jobs.parts import INSPECT
from transcoder.plan import Plan

#: The farm that is measured: its cores, encode slots, and head slot.
SMALL: Final = Farm(hosts=1, cores=2)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Seconds of the films that are measured, and how many clips at once."""

    film: float
    clip: float
    clips: int
    large: float
    small: float


FULL: Final = Sizes(film=64, clip=20, clips=2, large=6, small=200)
QUICK: Final = Sizes(film=8, clip=6, clips=2, large=4, small=20)


@dataclass(frozen=True, slots=True)
class Shot:
    """Films uploaded one after the other. Seconds since the first was accepted."""

    plans: tuple[Plan, ...]
    arrivals: tuple[float, ...]
    makespan: float
    samples: tuple[Sample, ...]
    #: What the last part of a film did beside its own work, less what others did.
    finish: float
    usage: Usage


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything the model is fed with."""

    films: tuple[Shot, ...]
    clips: Shot
    large: Shot
    small: Shot
    costs: Costs

    @property
    def usual(self) -> dict[str, KindCost]:
        """What parts of 1080p cost. Sound also from a long film, to know what grows with it."""
        found = [each for shot in (*self.films, self.clips) for each in shot.samples]
        found += [each for each in self.small.samples if each.kind == "sound"]
        return kind_costs(found)

    @property
    def in_4k(self) -> dict[str, KindCost]:
        """The same, but for what has to do with large pictures."""
        return self.usual | {
            kind: cost
            for kind, cost in kind_costs(self.large.samples).items()
            if kind in ("chunk", "head", "pictures", INSPECT)
        }

    def burden(self, *, servers: bool) -> float:
        """Processor time of everything by that of media processes; with that of the servers?"""
        usages = [shot.usage for shot in self.films]
        extra = sum(usage.farm + servers * usage.servers for usage in usages)
        return 1 + extra / sum(usage.media for usage in usages)

    def predicted(self, shot: Shot) -> float:
        """What the model says of films that were measured."""
        usual, burden = self.usual, self.burden(servers=True)
        pairs = zip(shot.plans, shot.arrivals, strict=True)
        films: list[Film] = [film_of(plan, usual, burden, at) for plan, at in pairs]
        return simulate(films, SMALL, self.costs).makespan


def measure(options: Options) -> Measured:
    """Everything, on one farm."""
    sizes = QUICK if options.quick else FULL
    films = options.films
    place = options.scratch / "scale-out"
    sources = films.longer(sizes.film), films.longer(sizes.clip)
    large, small = films.large(sizes.large), films.small(sizes.small)
    hop = latency.measure(options.scratch / "hop", 10 if options.quick else 50, busy=False)
    with measured_farm(place, log_level="debug") as farm:
        warm(farm, options)
        alone = tuple(_shot(farm, sources[:1]) for _ in range(options.repeats))
        together = _shot(farm, sources[1:] * sizes.clips)
        others = _shot(farm, (large,)), _shot(farm, (small,))
        each = _receipt_seconds(farm, sources[1])
    shutil.rmtree(place)
    finish = statistics.median(shot.finish for shot in alone)
    own = own_seconds([sample for shot in alone for sample in shot.samples])
    send = statistics.median(hop.sends) / 1000
    costs = Costs(hop.start(50) / 1000, send, own, finish, each)
    return Measured(alone, together, *others, costs)


def _shot(farm: MeasuredFarm, sources: Sequence[Path]) -> Shot:
    before = farm.usage()
    accepted = [(farm.client.upload(source)["id"], time.time()) for source in sources]
    first = accepted[0][1]
    ready = [moment(farm.ready(video_id), "ready_at") for video_id, _ in accepted]
    usage = farm.usage() - before
    plans = tuple(farm.plan(video_id) for video_id, _ in accepted)
    names = [video_id for video_id, _ in accepted]
    found = [_samples(farm, name, plan) for name, plan in zip(names, plans, strict=True)]
    for name in names:
        farm.client.delete(name)
    return Shot(
        plans,
        tuple(at - first for _, at in accepted),
        max(ready) - first,
        tuple(sample for samples in found for sample in samples),
        statistics.median(_finish(samples) for samples in found),
        usage,
    )


def _samples(farm: MeasuredFarm, video_id: str, plan: Plan) -> list[Sample]:
    """Once the last part has been acknowledged, which is a moment after the film is ready."""
    deadline = time.monotonic() + 10
    expected = {INSPECT, *(part.id for part in plan.parts)}
    while time.monotonic() < deadline:
        runs = farm.events("process_ended", video_id)
        freed = farm.events("slot_freed", video_id)
        if expected <= {line["part"] for line in freed}:
            lines = sorted((*runs, *freed), key=lambda line: str(line["timestamp"]))
            return samples(
                plan, part_costs(lines, 0.0, kinds(plan.parts)), processor_seconds(lines)
            )
        time.sleep(0.1)
    raise BenchmarkError(f"the log of the farm does not tell of every part of {video_id}")


def _finish(measured: Sequence[Sample]) -> float:
    """The final manifests are made in the slot that took longest beside its work."""
    own = [each.own for each in measured if each.kind != INSPECT]
    return max(own) - statistics.median(own)


def _receipt_seconds(farm: MeasuredFarm, source: Path) -> float:
    """To read one receipt after the other, which the farm does eight at a time."""
    video_id = farm.ready(farm.client.upload(source)["id"])["id"]
    began = time.monotonic()
    count = len(farm.receipts(video_id))
    seconds = (time.monotonic() - began) / count
    farm.client.delete(video_id)
    return seconds
