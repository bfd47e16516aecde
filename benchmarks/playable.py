"""How soon a viewer can press play: from the last byte of an upload to the first segments.

The clock starts when the client has handed over its last byte, and stops when the multivariant
playlist, every playlist that it names, and the first segment of each have been fetched. The
record's own ``playable_at`` stands beside it.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.farms import BenchmarkError, MeasuredFarm, measured_farm
from benchmarks.options import Options
from benchmarks.report import Promise, Report, Spread
from benchmarks.viewer import Stalls, Viewer, stalls
from jobs.parts import Pool
from jobs.workers import list_workers

#: Seconds to playable: half of the uploads, nineteen of twenty, and any among other videos.
_P50: Final = 2.0
_P95: Final = 3.0
_CROWDED: Final = 5.0
#: What an hour may take, as a multiple of what a minute takes.
_FLAT: Final = 1.2

#: Uploads of each kind to an idle farm, and to one that ten others keep busy.
_UPLOADS: Final = 12
_OTHERS: Final = 10
_ARRIVALS: Final = 5

#: Seconds of film.
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_QUICK: Final = 8.0

#: Seconds for a farm to come to rest, and between two looks at whether it has.
_PATIENCE: Final = 60.0
_GLANCE: Final = 0.05
_REST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Arrival:
    """One upload. Times are seconds after its last byte had gone."""

    acknowledged: float
    #: When the first segments of everything that can be chosen had been fetched.
    seen: float
    #: The record's ``playable_at``.
    stated: float
    #: When parts began and ended, from the farm's log: ``inspect +`` and ``inspect -``.
    steps: dict[str, float]


@dataclass(frozen=True, slots=True)
class Watched:
    """A first minute: of a viewer who starts at once, and seconds until all of it was there."""

    stalls: Stalls
    whole: float


def run(options: Options) -> Report:
    """Measure everything."""
    place = options.scratch / "playable"
    with measured_farm(place) as farm:
        warm(farm, options)
        idle = {name: alone(farm, film, _count(options)) for name, film in _kinds(options).items()}
        long = flat(farm, options)
        among = crowded(farm, options)
        minutes = {name: watched(farm, film, options) for name, film in _kinds(options).items()}
    shutil.rmtree(place)
    return report(idle, long, among, minutes)


def warm(farm: MeasuredFarm, options: Options) -> None:
    """Have everything started and read from disk once."""
    film = options.films.longer(4)
    video_id = farm.client.upload(film)["id"]
    farm.ready(video_id)
    _forget(farm, video_id)


def alone(farm: MeasuredFarm, film: Path, count: int) -> list[Arrival]:
    """Uploads to an idle farm, one after the other."""
    found = []
    for _ in range(count):
        video_id, arrival = arrive(farm, film)
        found.append(arrival)
        _forget(farm, video_id)
    return found


def flat(farm: MeasuredFarm, options: Options) -> dict[str, dict[str, list[Arrival]]]:
    """Short and long films in turn, with their index in front and behind."""
    short, long = (_QUICK, 2 * _QUICK) if options.quick else (_MINUTE, _HOUR)
    found: dict[str, dict[str, list[Arrival]]] = {}
    for first in (True, False):
        kind = found.setdefault("index in front" if first else "index at the end", {})
        for _ in range(options.repeats):
            for name, seconds in (("short", short), ("long", long)):
                film = options.films.longer(seconds, index_first=first)
                kind.setdefault(name, []).extend(alone(farm, film, 1))
    return found


def crowded(farm: MeasuredFarm, options: Options) -> list[Arrival]:
    """Uploads to a farm on which other videos keep every encode slot busy."""
    film = _film(options)
    others = [farm.client.upload(film)["id"] for _ in range(2 if options.quick else _OTHERS)]
    for other in others:
        farm.playable(other)
    found = []
    with _removed(farm, others):
        for _ in range(1 if options.quick else _ARRIVALS):
            if not options.quick:
                _until(lambda: all(_parts(farm, Pool.CPU)), "the encode slots never got busy")
            video_id, arrival = arrive(farm, film)
            found.append(arrival)
            farm.client.delete(video_id)
    return found


def watched(farm: MeasuredFarm, film: Path, options: Options) -> Watched:
    """A first minute of a film on an idle farm."""
    video_id = farm.client.upload(film)["id"]
    viewer = Viewer(farm.client, video_id)
    began = viewer.start()
    most = _QUICK if options.quick else _MINUTE
    pieces = viewer.watch(most)
    _forget(farm, video_id)
    return Watched(stalls(pieces, began, most), max(piece.at for piece in pieces) - began)


def arrive(farm: MeasuredFarm, film: Path) -> tuple[str, Arrival]:
    """Upload a film and wait until it can be played; the video's id, and when what happened."""
    size, last = film.stat().st_size, [0.0]

    def note(sent: int) -> None:
        if sent == size:
            last[0] = time.time()

    video_id = farm.client.upload(film, progress=note)["id"]
    acknowledged = time.time() - last[0]
    Viewer(farm.client, video_id).start()
    seen = time.time() - last[0]
    stated = farm.playable(video_id)["playable_at"]
    steps = _steps(farm, video_id, last[0])
    return video_id, Arrival(acknowledged, seen, _seconds(stated) - last[0], steps)


def report(
    idle: dict[str, list[Arrival]],
    long: dict[str, dict[str, list[Arrival]]],
    among: list[Arrival],
    minutes: dict[str, Watched],
) -> Report:
    """What was measured, as tables and promises."""
    rows = [_row(f"idle farm, {name}", found) for name, found in idle.items()]
    for kind, pair in long.items():
        rows += [_row(f"{kind}, {name} film", found) for name, found in pair.items()]
    rows.append(_row("ten others in work", among))
    return Report(
        name="playable",
        title="Seconds from the last byte of an upload to playable, 1080p25",
        columns=("what", "uploads", "seen by a viewer", "p95", "playable_at", "acknowledged"),
        rows=tuple(rows),
        promises=tuple(_promises(idle, long, among)),
        notes=(*_timelines(idle), *_minutes(minutes)),
        data={
            "idle": {name: _data(found) for name, found in idle.items()},
            "flat": {k: {n: _data(found) for n, found in p.items()} for k, p in long.items()},
            "crowded": _data(among),
            "first_minute": {name: asdict(each) for name, each in minutes.items()},
        },
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of them do not exceed."""
    ranked = sorted(values)
    return next(v for n, v in enumerate(ranked, 1) if n >= share * len(ranked) - 1e-9)


def _kinds(options: Options) -> dict[str, Path]:
    return {"MP4": _film(options), "MPEG-TS": _film(options, ".ts")}


def _film(options: Options, suffix: str = ".mp4") -> Path:
    return options.films.longer(_QUICK if options.quick else _MINUTE, suffix)


def _count(options: Options) -> int:
    return 1 if options.quick else max(_UPLOADS, options.repeats)


def _promises(
    idle: dict[str, list[Arrival]],
    long: dict[str, dict[str, list[Arrival]]],
    among: list[Arrival],
) -> Iterator[Promise]:
    for name, found in idle.items():
        seen = [arrival.seen for arrival in found]
        yield Promise(f"p50, idle, {name}", statistics.median(seen), _P50)
        yield Promise(f"p95, idle, {name}", percentile(seen, 0.95), _P95)
    for kind, pair in long.items():
        short, hour = (statistics.median(a.seen for a in pair[name]) for name in ("short", "long"))
        yield Promise(f"an hour to a minute, {kind}", hour / short, _FLAT)
    yield Promise("slowest among ten others", max(a.seen for a in among), _CROWDED)


def _row(what: str, found: list[Arrival]) -> tuple[str, ...]:
    seen = [arrival.seen for arrival in found]
    return (
        *(what, str(len(found)), Spread.of(seen).text(2), f"{percentile(seen, 0.95):.2f}"),
        Spread.of([arrival.stated for arrival in found]).text(2),
        Spread.of([arrival.acknowledged for arrival in found]).text(2),
    )


def _timelines(idle: dict[str, list[Arrival]]) -> Iterator[str]:
    for name, found in idle.items():
        steps = {step: [a.steps[step] for a in found if step in a.steps] for step in found[0].steps}
        medians = {step: statistics.median(times) for step, times in steps.items()}
        told = ", ".join(f"{s} {t:.2f}" for s, t in sorted(medians.items(), key=lambda p: p[1]))
        yield f"{name}, medians: {told}"


def _minutes(minutes: dict[str, Watched]) -> Iterator[str]:
    for name, each in minutes.items():
        stalled = f"{each.stalls.count} stalls, {each.stalls.seconds:.1f} s"
        yield f"first minute, {name}: {stalled}; all of it there after {each.whole:.1f} s"


def _data(found: list[Arrival]) -> list[dict[str, Any]]:
    return [asdict(arrival) for arrival in found]


def _steps(farm: MeasuredFarm, video_id: str, since: float) -> dict[str, float]:
    """When parts began (``+``) and ended (``-``)."""
    found: dict[str, float] = {}
    for event, mark in (("part_started", "+"), ("part_ended", "-")):
        for line in farm.events(event, video_id):
            found.setdefault(f"{line['part']} {mark}", _seconds(line["timestamp"]) - since)
    return found


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _parts(farm: MeasuredFarm, pool: Pool | None = None) -> list[str | None]:
    """What each worker (of a pool) is on."""
    workers = list_workers(farm.redis, farm.settings.namespace)
    return [worker.part for worker in workers if pool is None or pool in worker.pools]


def _forget(farm: MeasuredFarm, video_id: str) -> None:
    """Delete a video, and wait until the farm is idle."""
    with _removed(farm, [video_id]):
        pass


@contextmanager
def _removed(farm: MeasuredFarm, video_ids: list[str]) -> Iterator[None]:
    """Have videos deleted after the block, and the farm idle."""
    try:
        yield
    finally:
        for video_id in video_ids:
            farm.client.delete(video_id)
    quiet_since = time.monotonic()

    def rested() -> bool:
        nonlocal quiet_since
        if any(_parts(farm)):
            quiet_since = time.monotonic()
        return time.monotonic() - quiet_since > _REST

    _until(rested, "the farm did not come to rest")


def _until(holds: Any, complaint: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{complaint} within {_PATIENCE:g} s")
        time.sleep(_GLANCE)
