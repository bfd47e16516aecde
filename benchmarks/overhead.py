"""What the farm itself costs beside ffmpeg: time, waiting, requests, bytes, memory."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from benchmarks import latency
from benchmarks.latency import IdleRedis
from benchmarks.options import Options
from benchmarks.overhead_farm import PYTHON, Idle, Round, watched_farm
from benchmarks.report import Promise, Report, Spread

#: The most of a chunk's time that may be the farm's own, milliseconds from enqueue to start (half
#: of them, and 99 in 100), and source bytes read for each byte of source.
_SHARE: Final = 0.03
_P50, _P99 = 25.0, 100.0
_READ: Final = 2.2

#: Seconds of film, messages, and seconds of looking at idle processes; and for a quick round.
_FULL: Final = (30.0, 300, 20.0)
_QUICK: Final = (8.0, 20, 3.0)

_MIB: Final = 1024**2

Rows = list[tuple[str, str, str]]


def run(options: Options) -> Report:
    """Measure all of it."""
    seconds, messages, rest = _QUICK if options.quick else _FULL
    place = options.scratch / "overhead"
    waits = {
        "an idle slot": latency.measure(place / "alone", messages, busy=False),
        "an idle slot beside a busy one": latency.measure(place / "beside", messages, busy=True),
    }
    redis = latency.idle_redis(place / "idle", 2, rest)
    with watched_farm(place / "watched") as farm:
        farm.film(options.films.longer(4))
        idle = farm.idle(rest)
        rounds = [farm.film(options.films.longer(seconds)) for _ in range(options.repeats)]
    shutil.rmtree(place)
    told = {name: latency.summary(each) for name, each in waits.items()}
    return Report(
        name="overhead",
        title=f"What the farm costs beside ffmpeg: 2 slots, {seconds:g} s of 1080p25",
        columns=("what", "of", "measured"),
        rows=(
            *_part_rows(rounds),
            *_wait_rows(told),
            *_redis_rows(redis),
            *_request_rows(rounds),
            *_size_rows(rounds),
            *_idle_rows(idle),
        ),
        promises=_promises(rounds, told),
        data={
            "rounds": [_data(each) for each in rounds],
            "latency_ms": told,
            "starts_ms": {name: each.starts for name, each in waits.items()},
            "idle_redis": redis.by_command,
            "idle": asdict(idle),
        },
    )


def _part_rows(rounds: Sequence[Round]) -> Rows:
    parts = [part for each in rounds for part in each.parts]
    rows: Rows = []
    for kind in dict.fromkeys(part.kind for part in parts):
        own = [part for part in parts if part.kind == kind]
        took = Spread.of([part.seconds for part in own]).text(2)
        lost = Spread.of([part.own for part in own]).text(3)
        share = sum(part.own for part in own) / sum(part.seconds for part in own)
        said = f"{lost} s of {took} s, {share:.1%} in all"
        rows.append(("outside ffmpeg", f"{kind} ({len(own)})", said))
    return rows


def _wait_rows(told: dict[str, dict[str, float]]) -> Rows:
    return [
        (
            "enqueue to start",
            name,
            f"p50 {row['p50']:.1f}, p90 {row['p90']:.1f}, p99 {row['p99']:.1f}, "
            f"longest {row['longest']:.1f} ms of {row['messages']:g}",
        )
        for name, row in told.items()
    ]


def _redis_rows(redis: IdleRedis) -> Rows:
    shown = ", ".join(f"{name} {rate:.2f}" for name, rate in redis.by_command.items())
    return [("Redis commands", "an idle slot", f"{redis.total:.1f} a second: {shown}")]


def _request_rows(rounds: Sequence[Round]) -> Rows:
    total = Spread.of([each.requests for each in rounds]).text(2)
    rows: Rows = [("S3 requests", "a published segment", total)]
    counts: Counter[str] = sum((each.tally.requests for each in rounds), Counter())
    segments = sum(each.segments for each in rounds)
    rows += [
        ("… of them", name, f"{count / segments:.3f} ({count / len(rounds):.0f} a film)")
        for name, count in counts.most_common()
    ]
    return rows


def _size_rows(rounds: Sequence[Round]) -> Rows:
    def spread(value: Callable[[Round], float], digits: int = 0) -> str:
        return Spread.of([value(each) for each in rounds]).text(digits)

    rss = spread(lambda each: max(part.max_rss for part in each.parts) / _MIB)
    return [
        ("source bytes read", "source bytes", spread(lambda each: each.read, 2)),
        ("Python", "a film", f"{spread(lambda r: sum(r.python.values()), 2)} s of processor time"),
        *(("… of it", name, f"{spread(_python(name), 2)} s") for name in PYTHON),
        ("memory", "a worker", f"{spread(lambda each: each.peaks.rss / _MIB)} MiB resident"),
        ("memory", "… its own", f"{spread(lambda each: each.peaks.uss / _MIB)} MiB"),
        ("memory", "its largest ffmpeg", f"{rss} MiB resident"),
        ("scratch on disk", "the farm", f"{spread(lambda each: each.peaks.scratch / _MIB, 1)} MiB"),
    ]


def _python(name: str) -> Callable[[Round], float]:
    return lambda each: each.python.get(name, 0.0)


def _idle_rows(idle: Idle) -> Rows:
    rows: Rows = [
        ("idle", name, f"{seconds:.0f} s of processor time an hour")
        for name, seconds in idle.cpu.items()
    ]
    shown = ", ".join(f"{name} {rate:.0f}" for name, rate in idle.requests.items())
    total = sum(idle.requests.values())
    return [*rows, ("idle", "S3 requests", f"{total:.0f} a minute: {shown}")]


def _promises(rounds: Sequence[Round], told: dict[str, dict[str, float]]) -> tuple[Promise, ...]:
    chunks = [part for each in rounds for part in each.parts if part.kind == "chunk"]
    share = Spread.of([part.share for part in chunks]).median
    waits = [
        promise
        for name, row in told.items()
        for promise in (
            Promise(f"ms from enqueue to start, p50, {name}", row["p50"], _P50),
            Promise(f"ms from enqueue to start, p99, {name}", row["p99"], _P99),
        )
    ]
    read = Spread.of([each.read for each in rounds]).median
    return (
        Promise("share of a chunk outside ffmpeg", share, _SHARE),
        *waits,
        Promise("source bytes read / source bytes", read, _READ),
    )


def _data(each: Round) -> dict[str, Any]:
    return {
        "parts": [asdict(part) for part in each.parts],
        "requests": dict(each.tally.requests),
        "bytes_sent": dict(each.tally.sent),
        "bytes_received": dict(each.tally.received),
        "segments": each.segments,
        "source": each.source,
        "python": each.python,
        "peaks": asdict(each.peaks),
        "requests_per_segment": each.requests,
        "read": each.read,
    }
