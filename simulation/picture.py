"""The picture of a comparison: workers over time, and each policy's cost and wait."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from simulation.compare import Result
from simulation.measures import Figures
from simulation.pool import Look

_INCHES = (13.0, 8.0)
_DPI = 100
_MINUTE = 60.0
#: Waits shorter than this are drawn as this: there is no 0 on such an axis.
_LEAST: Final = 0.1


@dataclass(frozen=True, slots=True)
class Course:
    """One trace in the upper row: each policy's looks, and what the clairvoyant has."""

    title: str
    looks: Mapping[str, Sequence[Look]]
    clairvoyant: Sequence[tuple[float, int]]
    #: How much of it is drawn.
    seconds: float


def draw(path: Path, courses: Sequence[Course], results: Sequence[Result]) -> Path:
    """As PNG; folders are made. As many courses as there are platforms."""
    platforms = list(dict.fromkeys(result.scenario.platform.name for result in results))
    across = max(len(courses), len(platforms))
    figure, axes = plt.subplots(2, across, figsize=_INCHES, layout="constrained", squeeze=False)
    for place, course in enumerate(courses):
        _course(axes[0][place], course)
    for place, name in enumerate(platforms):
        mine = [result for result in results if result.scenario.platform.name == name]
        _prices(axes[1][place], name, mine)
    axes[0][0].legend(frameon=False, fontsize="small")
    axes[1][0].legend(frameon=False, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    plt.close(figure)
    return path


def _course(axes: Axes, course: Course) -> None:
    times = [at / _MINUTE for at, _ in course.clairvoyant]
    counts = [count for _, count in course.clairvoyant]
    axes.fill_between(times, counts, step="post", color="0.85", label="clairvoyant")
    for place, (name, looks) in enumerate(course.looks.items()):
        xs, ys = [look.at / _MINUTE for look in looks], [look.target for look in looks]
        # The first one is what it is about: above the others, in the same colour as below.
        width, order = (2.0, 3.0) if place == 0 else (0.9, 2.0)
        axes.step(xs, ys, where="post", label=name, linewidth=width, zorder=order)
    axes.set(title=course.title, xlabel="minutes", ylabel="workers")
    axes.set_xlim(0, course.seconds / _MINUTE)
    axes.grid(visible=True, color="0.9")


def _prices(axes: Axes, name: str, results: Sequence[Result]) -> None:
    """Each policy as a point, of the means over the traces."""
    for place, figures in enumerate(results[0].policies):
        mine = [(result.policies[place], result.clairvoyant) for result in results]
        axes.scatter(*_point(mine), s=70, label=figures.policy)
    best = [(result.clairvoyant, result.clairvoyant) for result in results]
    axes.scatter(*_point(best), s=120, marker="*", color="0.3", label="clairvoyant")
    axes.set(title=f"{name}: all traces", xlabel="worker-hours by the clairvoyant's")
    axes.set(ylabel="seconds of wait, mean", yscale="log")
    axes.grid(visible=True, color="0.9")


def _point(pairs: Sequence[tuple[Figures, Figures]]) -> tuple[float, float]:
    """Geometric means of worker-hours by the clairvoyant's, and of the mean waits."""
    cost = statistics.geometric_mean(each.worker_hours / best.worker_hours for each, best in pairs)
    return cost, statistics.geometric_mean(max(each.wait_mean, _LEAST) for each, _ in pairs)
