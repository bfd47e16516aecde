"""Counts of what happens, kept in each process and added up in Redis.

Workers come and go by the thousand, some for a minute, so nobody could ask each of them. Each
adds up what happened to it and sends the differences every few seconds, in one round trip, into
one hash that whoever answers for the farm reads. A batch has a number, and Redis remembers the
last one of each process, so that a batch whose answer got lost is sent again and counts once. What
Redis does not take is kept. Were Redis emptied, the counts begin anew, as after any restart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_hex
from threading import Event, Lock, Thread
from typing import Final, cast

import redis
import structlog

from jobs import redis_scripts
from jobs.keys import Keys
from jobs.metrics import BY_NAME, Metric

_LOG = structlog.get_logger(__name__)

Labels = tuple[str, ...]

#: A metric has at most so many series in a process; what goes beyond is told as ``other``.
MOST_SERIES: Final = 200
_OTHER: Final = "other"

#: Between the words of a field's name, and what stands for a histogram's sum and last bucket.
_TAB: Final = "\t"
_SUM: Final = "sum"
_INFINITE: Final = "+Inf"

#: Flushes in a row that are passed over while there is nothing but what goes on in an idle worker.
_QUIET_FLUSHES: Final = 11

#: Seconds that the end of a process waits for what is looked at now and then.
_PATIENCE: Final = 1.0

#: Seconds for which Redis remembers the last batch of a process that says no more.
_REMEMBERED: Final = 3600


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a histogram holds: a count for each bucket, not added up, the infinite one last."""

    counts: tuple[float, ...]
    total: float


@dataclass(frozen=True, slots=True)
class Tallied:
    """What all processes together have counted, by metric and values of its labels."""

    counters: Mapping[Metric, Mapping[Labels, float]] = field(default_factory=dict)
    histograms: Mapping[Metric, Mapping[Labels, Distribution]] = field(default_factory=dict)


class Tallies:
    """One process's counts. Adding is safe in any thread, and costs microseconds."""

    def __init__(self, process: str | None = None) -> None:
        self._process = process or token_hex(8)
        self._lock = Lock()
        self._flushing = Lock()
        self._deltas: defaultdict[str, float] = defaultdict(float)
        #: What each series is called in Redis, and how many a metric has.
        self._names: dict[tuple[str, Labels], str] = {}
        self._series: Counter[str] = Counter()
        self._loud = False
        self._passed_over = _QUIET_FLUSHES
        #: What is on its way, and may have arrived; it goes first, as it is.
        self._batch: dict[str, float] = {}
        self._number = 0

    def add(self, metric: Metric, labels: Labels = (), amount: float = 1.0) -> None:
        """Count. ``labels`` are the values in the order of the metric's."""
        with self._lock:
            self._deltas[self._name(metric, labels)] += amount
            self._loud |= not metric.quiet

    def observe(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Note one value of a histogram."""
        place = bisect_left(metric.buckets, value)
        bound = repr(metric.buckets[place]) if place < len(metric.buckets) else _INFINITE
        with self._lock:
            series = self._name(metric, labels)
            self._deltas[f"{series}{_TAB}{bound}"] += 1.0
            self._deltas[f"{series}{_TAB}{_SUM}"] += value
            self._loud |= not metric.quiet

    @property
    def pending(self) -> Mapping[str, float]:
        """What was counted and not sent yet, for whoever looks on."""
        with self._lock:
            return dict(self._deltas)

    def flush(self, client: redis.Redis, namespace: str, *, last: bool = False) -> bool:
        """Send what was counted, in one round trip; False where Redis did not take it.

        Then it is kept for the next time. What goes on in an idle worker, too, is no reason to
        send, but at every twelfth call, and at the ``last``.
        """
        with self._flushing:
            try:
                if self._batch:
                    self._send(client, namespace)
                if self._take_batch(last):
                    self._send(client, namespace)
            except redis.RedisError as error:
                _LOG.debug("tallies_not_sent", error=str(error))
                return False
            return True

    def _name(self, metric: Metric, labels: Labels) -> str:
        """What the series is called in Redis; to be called with the lock."""
        known = self._names.get((metric.name, labels))
        if known is not None:
            return known
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}, not {labels}")
        if self._series[metric.name] >= MOST_SERIES:
            return _TAB.join((metric.name, *(_OTHER for _ in labels)))
        self._series[metric.name] += 1
        name = _TAB.join((metric.name, *(label.replace(_TAB, " ") for label in labels)))
        self._names[metric.name, labels] = name
        return name

    def _take_batch(self, last: bool) -> bool:
        """Make a batch of what was counted, if it is to be sent by now."""
        with self._lock:
            self._passed_over += 1
            if not self._deltas or not (last or self._loud or self._passed_over > _QUIET_FLUSHES):
                return False
            self._batch, self._deltas = dict(self._deltas), defaultdict(float)
            self._loud, self._passed_over = False, 0
            self._number += 1
        return True

    def _send(self, client: redis.Redis, namespace: str) -> None:
        keys = Keys(namespace)
        words: list[str] = [str(self._number), str(_REMEMBERED)]
        for name, amount in self._batch.items():
            words += (name, repr(amount))
        where = [keys.tallies, keys.tallied(self._process)]
        client.register_script(redis_scripts.TALLY)(where, words)
        self._batch = {}


def read(client: redis.Redis, namespace: str) -> Tallied:
    """What all processes have sent, in one round trip. Raises redis.RedisError.

    Counts of metrics that are not in the table, as of another version, are left out; a bound that
    is not in it falls to the next higher one.
    """
    found = cast("dict[bytes, bytes]", client.hgetall(Keys(namespace).tallies))
    counters: defaultdict[Metric, dict[Labels, float]] = defaultdict(dict)
    histograms: defaultdict[Metric, dict[Labels, list[float]]] = defaultdict(dict)
    for name, value in found.items():
        first, *labels = name.decode(errors="replace").split(_TAB)
        metric = BY_NAME.get(first)
        if metric is None or len(labels) != len(metric.labels) + bool(metric.buckets):
            continue
        if not metric.buckets:
            counters[metric][tuple(labels)] = float(value)
            continue
        *labels, bound = labels
        slots = histograms[metric].setdefault(tuple(labels), [0.0] * (len(metric.buckets) + 2))
        slots[_slot(metric, bound)] += float(value)
    return Tallied(counters, {m: _distributions(found) for m, found in histograms.items()})


def _slot(metric: Metric, bound: str) -> int:
    """Where a bound's count stands: the buckets, the infinite one, then the sum."""
    if bound == _SUM:
        return -1
    return bisect_left(metric.buckets, float(bound.replace(_INFINITE, "inf")))


def _distributions(found: Mapping[Labels, list[float]]) -> dict[Labels, Distribution]:
    return {
        labels: Distribution(tuple(counts), total) for labels, (*counts, total) in found.items()
    }


class Flusher:
    """Flushes every few seconds, in a thread of its own, for processes that have no heartbeat.

    ``before`` is called each time before, for what is to be looked at now and then.
    """

    def __init__(
        self,
        flush: Callable[[bool], object],
        *,
        every: float = 5.0,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        self._flush = flush
        self._before = before
        self._every = every
        self._stop = Event()
        self._thread = Thread(target=self._run, name="tallies", daemon=True)

    def __enter__(self) -> Flusher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_PATIENCE)
        self._flush(True)

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(Exception):
                self._before()
            self._flush(False)
            self._stop.wait(self._every)
