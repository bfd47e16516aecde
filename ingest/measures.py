"""What a scrape tells, gathered within bounds however many ask and whatever is down.

A handful of round trips to Redis, done again after a second at the earliest, however many
scrapers there are. What needs the storage is looked at in between, in a thread of its own, so that
no scrape waits for it; and so are the workers of a large farm, who take long to read.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import Final, Protocol

import redis
import structlog

from jobs.gauges import Gauges, gauges
from jobs.metrics import BUILD_INFO, DEAD_LETTERS, READY, UP
from jobs.tallies import Tallied, read
from jobs.workers import WorkerInfo, list_workers
from storage import layout
from storage.errors import StorageError
from storage.objects import ObjectStore

_LOG = structlog.get_logger(__name__)

#: Seconds for which what was gathered is told again, and between two looks at the storage.
_FRESH: Final = 1.0
_LOOK_EVERY: Final = 15.0

#: Workers that are listed anew by each scrape; of more, as they were seen in between.
_FEW: Final = 500

#: Dead letters that are counted: one page of a list.
_MOST_LETTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one scrape tells."""

    gauges: Gauges = field(default_factory=dict)
    #: None where Redis cannot be asked: counts are unknown then, which is not 0.
    tallied: Tallied | None = None


class Measure(Protocol):
    """Where a scrape's snapshot comes from."""

    def __call__(self) -> Snapshot: ...
    def alone(self) -> Snapshot: ...


class Unmeasured:
    """Of an API that is nobody's farm: nothing."""

    def __call__(self) -> Snapshot:
        """Nothing."""
        return Snapshot()

    def alone(self) -> Snapshot:
        """Nothing."""
        return Snapshot()


class Measures:
    """Gathers snapshots; safe to share between threads, of which one gathers at a time."""

    def __init__(
        self,
        client: redis.Redis,
        namespace: str,
        store: ObjectStore,
        ready: Callable[[], Mapping[str, str | None]],
        version: str,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._store = store
        self._ready = ready
        self._version = version
        self._clock = clock
        self._monotonic = monotonic
        self._lock = Lock()
        self._looked: Gauges = {}
        self._workers: list[WorkerInfo] = []
        self._listed_at = float("-inf")
        self._snapshot = Snapshot()
        self._gathered_at = self._looked_at = float("-inf")

    def look(self) -> None:
        """See what the storage tells, if it is time again; to be called every few seconds."""
        if self._monotonic() - self._looked_at < _LOOK_EVERY:
            return
        self._looked_at = self._monotonic()
        looked: Gauges = {
            READY: {(name,): float(wrong is None) for name, wrong in self._ready().items()}
        }
        try:
            letters = self._store.list(layout.DEAD_LETTERS, limit=_MOST_LETTERS)
            looked[DEAD_LETTERS] = {(): float(sum(1 for _ in islice(letters, _MOST_LETTERS)))}
        except StorageError as error:
            _LOG.debug("dead_letters_not_counted", error=str(error))
        self._looked = looked
        if len(self._workers) > _FEW:
            self._list()

    def __call__(self) -> Snapshot:
        """What is known now; without Redis only what this process knows by itself."""
        with self._lock:
            if self._monotonic() - self._gathered_at >= _FRESH:
                self._snapshot = self._gathered()
                self._gathered_at = self._monotonic()
            return self._snapshot

    def alone(self) -> Snapshot:
        """What this process knows by itself."""
        return Snapshot({UP: {(): 0.0}, **self._own()})

    def _gathered(self) -> Snapshot:
        try:
            tallied = read(self._client, self._namespace)
            found = gauges(self._client, self._namespace, self._staff(), self._clock())
        except redis.RedisError as error:
            _LOG.debug("not_measured", error=str(error))
            return self.alone()
        return Snapshot({UP: {(): 1.0}, **self._own(), **found}, tallied)

    def _staff(self) -> list[WorkerInfo]:
        """The workers, unless there are many and they were seen not long ago."""
        age = self._monotonic() - self._listed_at
        if len(self._workers) <= _FEW or age > 2 * _LOOK_EVERY:
            self._list()
        return self._workers

    def _list(self) -> None:
        self._workers = list_workers(self._client, self._namespace)
        self._listed_at = self._monotonic()

    def _own(self) -> Gauges:
        labels = (self._version, platform.python_version())
        return {BUILD_INFO: {labels: 1.0}, **self._looked}
