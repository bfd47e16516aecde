"""Workers announce themselves; dramatiq's heartbeats tell of senders too, and of no slots."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, cast

import redis

from jobs.keys import Keys
from jobs.parts import Pool

_POOLS: Final = frozenset(pool.value for pool in Pool)


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker process says of itself. Times are seconds since 1970."""

    name: str
    host: str
    pid: int
    pools: tuple[Pool, ...]
    started_at: float
    #: The part it works on, and since when.
    part: str | None = None
    since: float | None = None
    draining: bool = False
    #: What its predictions are corrected by, and its pace told under: ``cpu`` or ``gpu``.
    cls: str = "cpu"
    #: The version of the farm's software that it runs.
    version: str = ""
    #: Of the part: its queue, predicted core-seconds, what it makes (``video 1080p,720p``), and
    #: seconds of film per second of the clock. None where not known, and where there is no part.
    queue: str | None = None
    cost: float | None = None
    kind: str | None = None
    speed: float | None = None

    def busy(
        self, part: str | None, since: float | None, *, queue: str | None = None
    ) -> WorkerInfo:
        """The same worker at other work, of which nothing more is known yet."""
        return replace(self, part=part, since=since, queue=queue, cost=None, kind=None, speed=None)


def announce(
    client: redis.Redis, namespace: str, worker: WorkerInfo, *, ttl: float, now: float
) -> None:
    """Say what a worker does; unless repeated within ``ttl`` seconds it is not listed."""
    keys = Keys(namespace)
    pipeline = client.pipeline(transaction=False)
    pipeline.set(keys.worker(worker.name), json.dumps(asdict(worker)), px=round(ttl * 1000))
    pipeline.zadd(keys.workers, {worker.name: now})
    pipeline.execute()


def withdraw(client: redis.Redis, namespace: str, name: str) -> None:
    """Say that a worker is gone."""
    keys = Keys(namespace)
    pipeline = client.pipeline(transaction=False)
    pipeline.delete(keys.worker(name))
    pipeline.zrem(keys.workers, name)
    pipeline.execute()


def count_workers(client: redis.Redis, keys: Keys, since: float) -> int:
    """How many workers have announced themselves since then, at the cost of one command."""
    return client.zcount(keys.workers, since, "+inf")


def worker_name(host: str, pid: int) -> str:
    """What the worker process of that id on a host goes by."""
    return f"{host}-{pid}"


def named_workers(
    client: redis.Redis, namespace: str, names: Sequence[str]
) -> tuple[WorkerInfo, ...]:
    """Those of the named workers that have announced themselves, at one command.

    Raises redis.RedisError.
    """
    if not names:
        return ()
    keys = Keys(namespace)
    found = cast("list[bytes | None]", client.mget([keys.worker(name) for name in names]))
    return tuple(_parsed(found))


def list_workers(client: redis.Redis, namespace: str) -> list[WorkerInfo]:
    """The workers there are, by name. Raises redis.RedisError."""
    keys = Keys(namespace)
    names = [name.decode() for name in cast("list[bytes]", client.zrange(keys.workers, 0, -1))]
    if not names:
        return []
    documents = cast("list[bytes | None]", client.mget([keys.worker(name) for name in names]))
    gone = [name for name, found in zip(names, documents, strict=True) if found is None]
    if gone:
        client.zrem(keys.workers, *gone)
    return sorted(_parsed(documents), key=lambda worker: worker.name)


def _parsed(documents: Iterable[bytes | None]) -> Iterator[WorkerInfo]:
    """Those that say something; a later version's worker of none but unknown pools is left out."""
    for document in filter(None, documents):
        fields: dict[str, Any] = json.loads(document)
        known = {name: fields[name] for name in WorkerInfo.__slots__ if name in fields}
        pools = tuple(Pool(pool) for pool in fields["pools"] if pool in _POOLS)
        if pools:
            yield WorkerInfo(**known | {"pools": pools})
