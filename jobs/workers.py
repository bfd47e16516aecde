"""Workers announce themselves; dramatiq's heartbeats tell of senders too, and of no slots."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import redis

from jobs.keys import Keys
from jobs.parts import Pool


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

    def busy(self, part: str | None, since: float | None) -> WorkerInfo:
        """The same worker at other work."""
        return replace(self, part=part, since=since)


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
    return sorted((_parse(found) for found in documents if found), key=lambda worker: worker.name)


def _parse(document: bytes) -> WorkerInfo:
    fields: dict[str, Any] = json.loads(document)
    known = {name: fields[name] for name in WorkerInfo.__slots__ if name in fields}
    return WorkerInfo(**known | {"pools": tuple(Pool(pool) for pool in fields["pools"])})
