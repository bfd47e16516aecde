"""What the autoscalers of all hosts decided last, and why: for people, metrics and the API.

A hash holds the present state of every pool, by target and host, which fades unless it is said
again, as a host that is gone says nothing; a short list holds what changed. Both are for looking
at: no decision is made by them but one, that an autoscaler which takes over goes on from the
count that its predecessor left.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

import redis

from jobs.keys import Keys

#: Changes that are remembered, those of all pools and hosts together.
KEPT: Final = 500

#: Seconds for which a state is believed that is not said again.
FADES: Final = 30.0

#: Seconds after which what is left of a host that is gone is removed.
_FORGOTTEN: Final = 3600.0


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """How many workers a pool was to have at a time (seconds since 1970), and why."""

    at: float
    #: The pool: head, cpu or gpu.
    pool: str
    #: The host of a local pool; empty for a pool of the whole farm.
    host: str
    #: What carries it out: local, command, cloudwatch or report.
    target: str
    #: How many it was to have before, and from now on.
    before: int
    count: int
    #: How many there are, as far as is known.
    actual: int
    reason: str
    #: What was seen: predicted worker-seconds of waiting and unsent work, and parts.
    backlog: float = 0.0
    waiting: int = 0
    in_flight: int = 0
    #: What was called for lately, each a time (seconds since 1970) and a count: by these, whoever
    #: goes on from here shrinks no sooner and no later.
    peaks: tuple[tuple[float, int], ...] = ()

    @property
    def changed(self) -> bool:
        """Whether it was to have another number than before."""
        return self.count != self.before


def record(
    client: redis.Redis, namespace: str, *decisions: ScalingDecision, fades: float = FADES
) -> None:
    """Say what holds now, for ``fades`` seconds, and remember what changed, in one round trip.

    Raises redis.RedisError.
    """
    keys, changes = Keys(namespace), [each for each in decisions if each.changed]
    pipeline = client.pipeline(transaction=False)
    for each in decisions:
        state = {"until": each.at + fades, "decision": asdict(each)}
        pipeline.hset(keys.scaling, _field(each), json.dumps(state))
    if changes:
        pipeline.lpush(keys.decisions, *(json.dumps(asdict(each)) for each in changes))
        pipeline.ltrim(keys.decisions, 0, KEPT - 1)
    pipeline.execute()


def current(
    client: redis.Redis, namespace: str, now: Callable[[], float] = time.time
) -> tuple[ScalingDecision, ...]:
    """The newest of each pool, target and host that is still there, by pool and host.

    Raises redis.RedisError.
    """
    keys, at = Keys(namespace), now()
    states = cast("dict[bytes, bytes]", client.hgetall(keys.scaling))
    found = {name: json.loads(state) for name, state in states.items()}
    gone = [name for name, state in found.items() if state["until"] < at - _FORGOTTEN]
    if gone:
        client.hdel(keys.scaling, *gone)
    decisions = (_parsed(state["decision"]) for state in found.values() if state["until"] >= at)
    return tuple(sorted(decisions, key=lambda each: (each.pool, each.target, each.host)))


def recent(client: redis.Redis, namespace: str, limit: int = 100) -> tuple[ScalingDecision, ...]:
    """The last changes, newest first. Raises redis.RedisError."""
    found = cast("list[bytes]", client.lrange(Keys(namespace).decisions, 0, limit - 1))
    return tuple(_parsed(json.loads(each)) for each in found)


def _field(decision: ScalingDecision) -> str:
    return f"{decision.target}/{decision.pool}/{decision.host}"


def _parsed(fields: dict[str, Any]) -> ScalingDecision:
    known = {name: fields[name] for name in ScalingDecision.__slots__ if name in fields}
    peaks = tuple((float(at), int(count)) for at, count in fields.get("peaks", ()))
    return ScalingDecision(**known | {"peaks": peaks})
