"""From parts that were measured to tasks of any film: what each kind of part costs. Pure.

The cost model of the plan says how parts of one kind compare; what was measured says what one
unit of it is worth here. Through sound of different lengths a line is laid, so that the start of a
process is not taken for work that grows with the film.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.farm_model import Film, Task
from benchmarks.part_costs import PartCost, kinds
from jobs.parts import INSPECT
from transcoder.plan import Plan

#: Kinds of which a film has one part that grows with it. Chunks differ more by what they show.
_GROWING: Final = frozenset({"sound"})
#: Parts of which the costs differ by less are of one size: there is no line to lay.
_ONE_SIZE: Final = 1.3
#: The least that a part can cost.
_LEAST: Final = 0.01


@dataclass(frozen=True, slots=True)
class Sample:
    """One part as it was measured, in seconds; ``predicted`` is the plan's cost of it."""

    kind: str
    predicted: float
    #: Of the slot, of media processes by the wall, and of their cores.
    slot: float
    media: float
    cpu: float

    @property
    def own(self) -> float:
        """Spent outside media processes."""
        return max(self.slot - self.media, 0.0)


@dataclass(frozen=True, slots=True)
class Line:
    """Processor seconds by predicted seconds."""

    start: float
    slope: float

    def at(self, predicted: float) -> float:
        """Processor seconds of such a part."""
        return max(self.start + self.slope * predicted, _LEAST)


@dataclass(frozen=True, slots=True)
class KindCost:
    """What parts of one kind cost, and on how many cores their processes ran at once."""

    line: Line
    width: float

    def task(self, name: str, predicted: float, *, head: bool, burden: float) -> Task:
        """Such a part; ``burden`` is the processor time of everything by that of its processes."""
        return Task(name, self.line.at(predicted) * burden, 0.0, head, self.width)


def samples(plan: Plan, costs: Iterable[PartCost], cpu: Mapping[str, float]) -> list[Sample]:
    """The parts of one film: ``costs`` from the log, ``cpu`` by part."""
    predicted = {INSPECT: 1.0, **{part.id: part.cost for part in plan.parts}}
    return [
        Sample(each.kind, predicted[each.part], each.seconds, each.media, cpu.get(each.part, 0.0))
        for each in costs
        if each.part in predicted
    ]


def processor_seconds(lines: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Of the media processes of each part, from one video's log at level ``debug``."""
    found: dict[str, float] = {}
    for line in lines:
        if line.get("event") == "process_ended" and line.get("part"):
            found[line["part"]] = found.get(line["part"], 0.0) + line["cpu"]
    return found


def kind_costs(measured: Sequence[Sample]) -> dict[str, KindCost]:
    """By kind."""
    found = {}
    for kind in {each.kind for each in measured}:
        mine = [each for each in measured if each.kind == kind]
        wide = statistics.median(each.cpu / each.media if each.media else 1.0 for each in mine)
        points = [(each.predicted, each.cpu) for each in mine]
        line = fit(points) if kind in _GROWING else ratio(points)
        found[kind] = KindCost(line, max(1.0, wide))
    return found


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The line of least squares; through 0 where all are of one size, or it would fall."""
    xs, ys = zip(*points, strict=True)
    if max(xs) >= _ONE_SIZE * min(xs):
        line = statistics.linear_regression(xs, ys)
        if line.slope > 0:
            return Line(line.intercept, line.slope)
    return ratio(points)


def ratio(points: Sequence[tuple[float, float]]) -> Line:
    """The line through 0 that has the sum right."""
    return Line(0.0, sum(y for _, y in points) / sum(x for x, _ in points))


def own_seconds(measured: Sequence[Sample]) -> float:
    """What a part takes outside its processes, at the median; sight and end of a film left out."""
    return statistics.median(each.own for each in measured if each.kind != INSPECT)


def film_of(plan: Plan, costs: Mapping[str, KindCost], burden: float, arrival: float = 0.0) -> Film:
    """The plan's parts at these costs."""
    look = costs[INSPECT].task(INSPECT, 1.0, head=True, burden=burden)
    kind_of = kinds(plan.parts)
    tasks = tuple(
        costs[kind_of[part.id]].task(part.id, part.cost, head=part.head, burden=burden)
        for part in plan.parts
    )
    return Film(look, tasks, arrival)


def cut(film: Film, name: str, pieces: int) -> Film:
    """``film`` with the part of that name made in so many pieces, which do not wait for another."""
    tasks: list[Task] = []
    for task in film.tasks:
        if task.name == name:
            each = Task(name, task.cpu / pieces, task.wait, task.head, task.width)
            tasks += [each] * pieces
        else:
            tasks.append(task)
    return Film(film.inspect, tuple(tasks), film.arrival)


def first(film: Film, name: str) -> Film:
    """``film`` with the part of that name sent before all others."""
    tasks = sorted(film.tasks, key=lambda task: task.name != name)
    return Film(film.inspect, tuple(tasks), film.arrival)
