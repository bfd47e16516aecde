"""How much work waits and runs: what the autoscaler decides by and the farm page shows.

What a queue's messages cost altogether is estimated from a bounded number of them, spread evenly
over the queue: a look costs the same however long the queues are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import redis

from jobs import redis_scripts
from jobs.keys import Keys
from jobs.leases import Unsent
from jobs.parts import Pool, queue_names

#: Messages of a queue whose cost and age are looked at.
SAMPLE: Final = 32

#: Films that are forgotten by one look, having said nothing of themselves for long.
_FORGOTTEN: Final = 20


@dataclass(frozen=True, slots=True)
class QueueDemand:
    """Counts of messages: waiting, fetched by a worker, and given up as unreadable."""

    waiting: int = 0
    in_flight: int = 0
    dead: int = 0
    #: Seconds since 1970 at which the longest waiting message was sent, by its sender's clock.
    oldest: float | None = None
    #: Predicted core-seconds of what waits; an estimate where more waits than is looked at.
    backlog: float = 0.0

    def __add__(self, other: QueueDemand) -> QueueDemand:
        return QueueDemand(
            self.waiting + other.waiting,
            self.in_flight + other.in_flight,
            self.dead + other.dead,
            min((at for at in (self.oldest, other.oldest) if at is not None), default=None),
            self.backlog + other.backlog,
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """The counts of every queue, by its name, and what is in none of them."""

    queues: Mapping[str, QueueDemand]
    #: Parts that wait after an error.
    retrying: int = 0
    #: What is in the plans of long films and not sent yet, by pool; nothing where it is left out.
    plans: Mapping[Pool, Unsent] = field(default_factory=dict)

    @property
    def unsent(self) -> float:
        """Predicted core-seconds in plans that are not sent yet."""
        return sum(each.cost for each in self.plans.values())

    def pool(self, pool: Pool) -> QueueDemand:
        """The sum over the queues of a pool."""
        return sum((self.queues[name] for name in queue_names((pool,))), QueueDemand())


def demand(client: redis.Redis, namespace: str, sample: int = SAMPLE) -> Demand:
    """Count, in one round trip, looking at up to ``sample`` messages of each queue.

    Raises redis.RedisError.
    """
    keys, names = Keys(namespace), queue_names(tuple(Pool))
    queues = [key(name) for name in names for key in (keys.queue, keys.messages, keys.dead)]
    script = client.register_script(redis_scripts.DEMAND)
    retrying, unsent, *found = script(
        [keys.retries, keys.unsent, keys.unsent_until, *queues], [sample, _FORGOTTEN, *Pool]
    )
    counted = {name: _counted(*each) for name, each in zip(names, found, strict=True)}
    sums = zip(Pool, unsent[::2], unsent[1::2], strict=True)
    plans = {pool: Unsent(parts, ms / 1000, pool) for pool, parts, ms in sums if parts}
    return Demand(counted, retrying, plans)


def _counted(waiting: int, held: int, dead: int, seen: Sequence[Any]) -> QueueDemand:
    costs = [float(cost) for cost in seen[::2]]
    return QueueDemand(
        waiting,
        max(0, held - waiting),
        dead,
        min((int(at) / 1000 for at in seen[1::2]), default=None),
        waiting * sum(costs) / len(costs) if costs else 0.0,
    )
