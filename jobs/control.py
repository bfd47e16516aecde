"""What the operator wants of the farm: pools that pause, counts of workers, hosts that drain.

One small hash in Redis, since what it says is of the moment: emptied with Redis, the farm goes
back to doing its work by its own policy, which is the safe side to fall on. It holds a field for
each pool and host that something was said of, so that one command reads all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import redis

from jobs.keys import Keys
from jobs.parts import Pool, queue_names

#: What a field begins with; the rest names a pool, or for the last a host.
PAUSED: Final = "paused:"
COUNT: Final = "count:"
DRAINING: Final = "draining:"


@dataclass(frozen=True, slots=True)
class Control:
    """Everything the operator has said that holds."""

    #: Pools whose workers begin nothing new.
    paused: frozenset[str] = frozenset()
    #: Pool to workers each scaler has of it, in place of what the policy would have.
    counts: Mapping[str, int] = field(default_factory=dict)
    #: Hosts whose workers finish and go.
    draining: frozenset[str] = frozenset()


def read(client: redis.Redis, namespace: str) -> Control:
    """All of it, at one command. Raises redis.RedisError, as everything here does."""
    found = cast("dict[bytes, bytes]", client.hgetall(Keys(namespace).control))
    return parse({name.decode(): value.decode() for name, value in found.items()})


def parse(fields: Mapping[str, str]) -> Control:
    """What the hash says; fields of a later version are passed over."""
    counts = {name: value for name, value in _under(fields, COUNT).items() if value.isdecimal()}
    return Control(
        paused=frozenset(_under(fields, PAUSED)),
        counts={pool: int(value) for pool, value in counts.items()},
        draining=frozenset(_under(fields, DRAINING)),
    )


def pause(client: redis.Redis, namespace: str, pool: str | None = None) -> None:
    """Have the workers of a pool, or of all, begin nothing new; what runs goes on."""
    fields = [word for name in _pools(pool) for word in (PAUSED + name, "1")]
    client.hset(Keys(namespace).control, items=fields)


def resume(client: redis.Redis, namespace: str, pool: str | None = None) -> None:
    """Let the workers of a pool, or of all, go on; idle ones notice at once."""
    keys, names = Keys(namespace), _pools(pool)
    pipeline = client.pipeline(transaction=True)
    pipeline.hdel(keys.control, *(PAUSED + name for name in names))
    for queue in queue_names(names):
        pipeline.publish(keys.doorbell, queue)
    pipeline.execute()


def paused(client: redis.Redis, namespace: str) -> frozenset[str]:
    """The pools that are paused."""
    return read(client, namespace).paused


def set_count(client: redis.Redis, namespace: str, pool: str, count: int) -> None:
    """Have so many workers of a pool, whatever the policy would have.

    It holds for each scaler: for every host that starts workers of the pool by itself, within
    what it has slots for, and for the group of machines that ``reelfarm autoscale`` scales.
    """
    client.hset(Keys(namespace).control, COUNT + pool, str(count))


def clear_count(client: redis.Redis, namespace: str, pool: str) -> None:
    """Leave a pool to the policy again."""
    client.hdel(Keys(namespace).control, COUNT + pool)


def counts(client: redis.Redis, namespace: str) -> Mapping[str, int]:
    """The counts that the operator has set, by pool."""
    return read(client, namespace).counts


def drain(client: redis.Redis, namespace: str, host: str) -> None:
    """Have the workers of a host finish and go, and no others be started there."""
    client.hset(Keys(namespace).control, DRAINING + host, "1")


def undrain(client: redis.Redis, namespace: str, host: str | None = None) -> None:
    """Let a host, or every one, have workers again."""
    key = Keys(namespace).control
    hosts = read(client, namespace).draining if host is None else (host,)
    if hosts:
        client.hdel(key, *(DRAINING + name for name in hosts))


def draining(client: redis.Redis, namespace: str) -> frozenset[str]:
    """The hosts that are draining."""
    return read(client, namespace).draining


def _pools(pool: str | None) -> tuple[Pool, ...]:
    return tuple(Pool) if pool is None else (Pool(pool),)


def _under(fields: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in fields.items()
        if name.startswith(prefix)
    }
