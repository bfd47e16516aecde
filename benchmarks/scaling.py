"""A burst of uploads takes this host's slots from none to all of them, and back to none.

Nothing is started by hand: the farm stands with no worker at all, films arrive together, and what
the autoscaler decided, why, and what came of it is put on record until the host sleeps again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.farms import BenchmarkError, MeasuredFarm, measured_farm
from benchmarks.options import Options
from benchmarks.plot import Series, curves
from benchmarks.report import Promise, Report
from jobs.demand import demand
from jobs.parts import Pool
from jobs.scaling import ScalingDecision, recent
from jobs.workers import list_workers

#: Slots that the host may have, and seconds without need before they go.
_SLOTS: Final = 4
_COOLDOWN: Final = 10.0
#: Uploads, and seconds of film of each.
_BURST: Final = 5
_SECONDS: Final = 6.0
_LOOK_EVERY: Final = 0.25
#: Seconds for the burst to be done and the host to sleep again, and for it to fall asleep at first.
_PATIENCE: Final = 900.0
_REST: Final = 60.0

#: Points of a line.
_POINTS: Final = 60

PICTURE: Final = Path("docs/performance/scaling.png")


@dataclass(frozen=True, slots=True)
class Look:
    """What there was at a time, in seconds after the first upload was begun."""

    at: float
    #: Processes that take parts, those of them that have one, and parts that wait for one.
    workers: int
    busy: int
    waiting: int


def run(options: Options) -> Report:
    """Let the burst come and go, and draw it."""
    place = options.scratch / "scaling"
    uploads, seconds = (3, 4.0) if options.quick else (_BURST, _SECONDS)
    film = options.films.longer(seconds)
    with measured_farm(
        place, slots=_SLOTS, head_slots=0, min_slots=0, slot_cooldown=_COOLDOWN
    ) as farm:
        began, looks = burst(farm, [film] * uploads)
        decisions = recent(farm.redis, farm.settings.namespace)
    shutil.rmtree(place)
    if not options.quick:
        draw(PICTURE, began, looks, decisions)
    return report(looks, decisions, began, uploads)


def burst(farm: MeasuredFarm, films: Sequence[Path]) -> tuple[float, list[Look]]:
    """Upload films all at once, and look on until no worker is left; when it began."""
    _await(lambda: not list_workers(farm.redis, farm.settings.namespace), _REST)
    began, looks = time.time(), list[Look]()
    with ThreadPoolExecutor(len(films)) as pool:
        sending = [pool.submit(farm.client.upload, film) for film in films]

        def over() -> bool:
            looks.append(look(farm, began))
            return all(each.done() for each in sending) and _asleep(looks)

        _await(over, _PATIENCE)
        ids = [each.result()["id"] for each in sending]
    for video_id in ids:
        farm.ready(video_id, timeout=1.0)
    return began, looks


def look(farm: MeasuredFarm, began: float) -> Look:
    """What there is now."""
    namespace = farm.settings.namespace
    workers = list_workers(farm.redis, namespace)
    found = demand(farm.redis, namespace)
    waiting = sum(found.pool(pool).waiting for pool in Pool)
    return Look(time.time() - began, len(workers), sum(bool(w.part) for w in workers), waiting)


def _asleep(looks: Sequence[Look]) -> bool:
    """Whether there were workers, and are none any more."""
    return any(each.workers for each in looks) and not looks[-1].workers


def draw(
    path: Path, began: float, looks: Sequence[Look], decisions: Sequence[ScalingDecision]
) -> Path:
    """Decisions and what came of them, over time."""
    end = looks[-1].at
    xs, ys = stairs(decisions, began, end)
    shown = looks[:: max(1, len(looks) // _POINTS)]
    times = [each.at for each in shown]
    return curves(
        path,
        "A burst of uploads to a host that sleeps",
        "seconds after the first upload",
        "slots, parts",
        [
            Series("slots decided", xs, ys, ideal=True),
            Series("workers there", times, [each.workers for each in shown]),
            Series("workers with a part", times, [each.busy for each in shown]),
            Series("parts waiting", times, [each.waiting for each in shown]),
        ],
        from_zero=True,
    )


def stairs(
    decisions: Sequence[ScalingDecision], began: float, end: float
) -> tuple[list[float], list[float]]:
    """The count that held at each time, from nothing on; decisions are the newest first."""
    xs, ys = [0.0], [0.0]
    for each in reversed([each for each in decisions if each.pool == Pool.CPU]):
        at = max(0.0, each.at - began)
        xs += [at, at]
        ys += [ys[-1], float(each.count)]
    return [*xs, max(end, xs[-1])], [*ys, ys[-1]]


def report(
    looks: Sequence[Look], decisions: Sequence[ScalingDecision], began: float, uploads: int
) -> Report:
    """The decisions as a table, and what is promised."""
    made = [each for each in reversed(decisions) if each.pool == Pool.CPU]
    up, down = [d for d in made if d.count > d.before], [d for d in made if d.count < d.before]
    most = max(each.workers for each in looks)
    return Report(
        name="scaling",
        title=f"{uploads} uploads at once to a host with no worker, {_SLOTS} slots at the most",
        columns=("s", "slots", "workers there", "why"),
        rows=tuple(
            (f"{d.at - began:.1f}", f"{d.before} to {d.count}", f"{d.actual}", d.reason)
            for d in made
        ),
        promises=(
            Promise("workers there at the most", most, _SLOTS, at_least=True),
            Promise("workers there in the end", looks[-1].workers, 0),
            Promise("times it grew again after it shrank", _flaps(up, down), 0),
        ),
        data={
            "looks": [asdict(each) for each in looks],
            "decisions": [asdict(each) for each in made],
            "began": began,
        },
    )


def _flaps(up: Sequence[ScalingDecision], down: Sequence[ScalingDecision]) -> int:
    first = min((each.at for each in down), default=float("inf"))
    return sum(each.at > first for each in up)


def _await(holds: Callable[[], bool], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"it did not come about within {timeout:g} s")
        time.sleep(_LOOK_EVERY)
