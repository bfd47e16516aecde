"""Whether a part costs the farm the same with ten slots and with a thousand, early and late.

The encoder sleeps, the rest is real: :mod:`benchmarks.stand_in`, :mod:`benchmarks.slots` and
:mod:`benchmarks.fleet`. What a slot costs by being there, its heartbeat and its lease, is measured
by itself, while nothing ends, and taken off: parts are longer here where there are more slots, so
that the machine has about as many parts a second to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.fleet import Load, Place, Spent, place
from benchmarks.options import Options
from benchmarks.plot import Series, curves
from benchmarks.report import Promise, Report

#: A part may cost so many times as much where there is ten times as much of something.
BAR: Final = 1.2

PICTURE: Final = Path(__file__).resolve().parents[1] / "docs/performance/control-plane.png"

MANY: Final = "many short films"
ONE: Final = "one endless film"

#: Of many films all is counted, from the first look at a source to ready. An endless film is
#: measured in the middle.
_SLOTS: Final = (
    Load(MANY, slots=10, films=40, parts=5, seconds=0.8, goal=200),
    Load(MANY, slots=100, films=80, parts=5, seconds=8, goal=400),
    Load(MANY, slots=1000, films=240, parts=5, seconds=60, goal=1200),
    Load(ONE, slots=10, films=1, parts=20_000, seconds=0.8, goal=150, warm=50),
    Load(ONE, slots=100, films=1, parts=20_000, seconds=8, goal=300, warm=100),
    Load(ONE, slots=1000, films=1, parts=20_000, seconds=60, goal=600, warm=100),
)
#: Films and parts that are there besides those in work.
_PARTS: Final = (
    Load(MANY, slots=100, films=60, parts=5, seconds=5, goal=300, waiting=300),
    Load(MANY, slots=100, films=60, parts=5, seconds=5, goal=300, waiting=3000),
    Load(ONE, slots=100, films=1, parts=20_000, seconds=8, goal=300, warm=100, done=1000),
    Load(ONE, slots=100, films=1, parts=20_000, seconds=8, goal=300, warm=100, done=10_000),
)
_QUICK: Final = (
    Load(MANY, slots=4, films=4, parts=4, seconds=0.2, goal=12),
    Load(MANY, slots=8, films=4, parts=4, seconds=0.2, goal=12, waiting=3),
    Load(ONE, slots=8, films=1, parts=200, seconds=0.4, goal=20, warm=10, done=20),
)

#: Seconds: of a part that does not end, of the look at what slots cost meanwhile, and of patience.
_ENDLESS: Final = 100_000.0
_IDLE: Final = 10.0
_PATIENCE: Final = 240.0


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What a busy slot costs in a second in which its part goes on."""

    commands: float = 0.0
    #: Seconds of processor time.
    cpu: float = 0.0

    @classmethod
    def of(cls, spent: Spent, slots: int) -> Upkeep:
        """From what was spent in a while in which nothing ended."""
        return cls(
            spent.commands.total() / spent.at / slots,
            (spent.cpu + spent.redis_cpu) / spent.at / slots,
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent on each part of a load, but for the upkeep. Milliseconds, bytes."""

    load: Load
    seconds: float
    parts: int
    #: A second.
    rate: float
    commands: float
    requests: float
    #: Keys in listings.
    keys: float
    #: Processor time of the farm's processes, of the sweeper among them, and of the servers.
    cpu: float
    sweeper: float
    servers: float
    sent: float
    received: float
    by_request: dict[str, float]
    by_command: dict[str, float]

    @classmethod
    def of(cls, load: Load, spent: Spent, upkeep: Upkeep) -> Cost:
        """The cost of each part."""
        parts = spent.parts
        kept = load.slots * spent.at
        return cls(
            load=load,
            seconds=spent.at,
            parts=parts,
            rate=parts / spent.at,
            commands=(spent.commands.total() - upkeep.commands * kept) / parts,
            requests=spent.requests.total() / parts,
            keys=spent.keys / parts,
            cpu=1000 * (spent.cpu - upkeep.cpu * kept) / parts,
            sweeper=1000 * spent.sweeper_cpu / parts,
            servers=1000 * (spent.redis_cpu + spent.s3_cpu) / parts,
            sent=spent.sent / parts,
            received=spent.received / parts,
            by_request={name: n / parts for name, n in spent.requests.most_common()},
            by_command={name: n / parts for name, n in spent.commands.most_common(20)},
        )

    def row(self) -> tuple[str, ...]:
        """For a table."""
        load = self.load
        beside = f"{load.waiting} films wait" if load.waiting else ""
        beside = f"{load.done} parts done" if load.done else beside
        return (
            *(load.name, f"{load.slots}", beside, f"{self.parts}", f"{self.rate:.1f}"),
            *(f"{self.commands:.1f}", f"{self.requests:.1f}", f"{self.keys:.1f}"),
            *(f"{self.cpu:.1f}", f"{self.sweeper:.1f}", f"{self.servers:.1f}"),
        )


def run(options: Options) -> Report:
    """Measure all loads, one after the other."""
    loads = _QUICK if options.quick else (*_SLOTS, *_PARTS)
    with place(options.scratch) as servers:
        slots, seconds = ((8,), 1.0) if options.quick else ((10, 100), _IDLE)
        upkeep = {each: idle(servers, each, seconds) for each in slots}
        costs = []
        for load in loads:
            options.display.say(f"{load.name}, {load.slots} slots …")
            costs.append(measure(servers, load, upkeep[_nearest(load.slots, upkeep)]))
    return report(costs, upkeep, quick=options.quick)


def report(costs: Sequence[Cost], upkeep: dict[int, Upkeep], *, quick: bool) -> Report:
    """The table, the promises and, unless it was a quick round, the picture."""
    if not quick:
        draw(costs)
    said = (
        f"{slots} slots, each a second, while nothing ends: {each.commands:.1f} commands, "
        f"{1000 * each.cpu:.2f} ms of processor time"
        for slots, each in upkeep.items()
    )
    data: dict[str, Any] = {
        "costs": [asdict(cost) for cost in costs],
        "upkeep": {str(slots): asdict(each) for slots, each in upkeep.items()},
    }
    return Report(
        name="control_plane",
        title="What a part costs the farm beside encoding",
        columns=(
            *("load", "slots", "beside", "parts", "parts/s", "commands", "requests", "keys"),
            *("CPU ms", "sweeper ms", "servers ms"),
        ),
        rows=tuple(cost.row() for cost in costs),
        promises=() if quick else promises(costs),
        notes=("Commands, requests, keys listed and processor time are those of a part.", *said),
        data=data,
    )


def measure(servers: Place, load: Load, upkeep: Upkeep) -> Cost:
    """One load from its start, or from the middle of its work, on."""
    with servers.fleet(load) as fleet:
        fleet.begin()
        before = fleet.until(lambda spent: spent.parts >= load.warm, _PATIENCE)
        goal = before.parts + load.goal
        after = fleet.until(lambda spent: spent.parts >= goal, _PATIENCE)
        return Cost.of(load, after.since(before), upkeep)


def idle(servers: Place, slots: int, seconds: float) -> Upkeep:
    """What slots cost in whose parts nothing ends, looked at for so many seconds.

    Not for a thousand: a film is sent to as many as have announced themselves when it is looked at,
    and without an end of a part nobody looks again.
    """
    load = Load("upkeep", slots, films=1, parts=4 * slots, seconds=_ENDLESS, goal=0)
    with servers.fleet(load) as fleet:
        fleet.begin()
        before = fleet.until(lambda _: fleet.busy() >= slots, _PATIENCE)
        after = fleet.until(lambda spent: spent.at - before.at >= seconds, _PATIENCE)
        return Upkeep.of(after.since(before), slots)


def promises(costs: Sequence[Cost]) -> tuple[Promise, ...]:
    """Of each pair of loads of which one has ten times as much of something."""
    made = []
    for few, more, what in pairs(costs):
        for name in ("commands", "requests", "cpu"):
            ratio = getattr(more, name) / getattr(few, name)
            made.append(Promise(f"{name} a part, {few.load.name}, {what}", ratio, BAR))
    return tuple(made)


def pairs(costs: Sequence[Cost]) -> list[tuple[Cost, Cost, str]]:
    """Costs of loads that differ tenfold in one thing, and in what."""
    found = []
    for few in costs:
        for more in costs:
            a, b = few.load, more.load
            same = a.name == b.name
            if same and b.slots == 10 * a.slots and not any((a.done, b.done, a.waiting, b.waiting)):
                found.append((few, more, f"{a.slots} → {b.slots} slots"))
            if same and a.done and b.done == 10 * a.done:
                found.append((few, more, f"{a.done} → {b.done} parts done"))
            if same and a.waiting and b.waiting == 10 * a.waiting:
                found.append((few, more, f"{a.waiting} → {b.waiting} films waiting"))
    return found


def draw(costs: Sequence[Cost], path: Path = PICTURE) -> Path:
    """The curves over the number of slots."""
    plain = [cost for cost in costs if not cost.load.done and not cost.load.waiting]
    series = []
    for name in (MANY, ONE):
        mine = sorted((c for c in plain if c.load.name == name), key=lambda c: c.load.slots)
        slots = [cost.load.slots for cost in mine]
        series += [
            Series(f"Redis commands, {name}", slots, [cost.commands for cost in mine]),
            Series(f"CPU ms, {name}", slots, [cost.cpu for cost in mine]),
            Series(f"S3 requests, {name}", slots, [cost.requests for cost in mine]),
        ]
    title = "What a part costs the farm beside encoding"
    return curves(path, title, "worker slots", "for each part", series, log="x", from_zero=True)


def _nearest(slots: int, upkeep: dict[int, Upkeep]) -> int:
    return min(upkeep, key=lambda known: abs(known - slots))
