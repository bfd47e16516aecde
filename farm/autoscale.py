"""``reelfarm autoscale``: decides how many workers the whole farm is to have, and has it so.

Any number of these may run; one leads, the others stand by. It goes on from the counts that its
predecessor left, and a Redis that does not answer changes nothing: what was decided last stands.
"""

from __future__ import annotations

import os
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

import redis
import structlog

from autoscaler.command import CommandTarget
from autoscaler.ledger import Ledger
from autoscaler.outlook import demands, serving, work_left
from autoscaler.policy import Peak, PoolDemand, PoolSpec
from autoscaler.scaler import ScaledPool, Scaler, Target
from autoscaler.told import Told
from autoscaler.tuning import tuned
from farm import connections
from farm.errors import SettingsError
from farm.settings import Settings, bounds_of, foreign_environment
from jobs import control, scaling
from jobs.demand import demand
from jobs.keys import Keys
from jobs.office import Office
from jobs.pace import paces
from jobs.parts import Pool
from jobs.workers import WorkerInfo, list_workers

if TYPE_CHECKING:
    from autoscaler.cloudwatch import Publisher

_LOG = structlog.get_logger(__name__)

#: Seconds within which heads are to be begun: a viewer waits for each.
_HEAD_DRAIN: Final = 10.0

#: Seconds for which it is gone on from what was decided last: a timer may come seldom.
_LEFT: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at the farm has found."""

    demand: Mapping[str, PoolDemand]
    workers: tuple[WorkerInfo, ...]

    def actual(self, pool: str) -> int:
        """How many workers of a pool there are."""
        return serving(self.workers, pool)


def pools(settings: Settings) -> tuple[PoolSpec, ...]:
    """The pools of the whole farm. Raises :class:`SettingsError` where there is none."""
    bounds = {
        Pool.HEAD: bounds_of(settings.autoscale_head),
        Pool.CPU: bounds_of(settings.autoscale_cpu),
        Pool.GPU: bounds_of(settings.autoscale_gpu),
    }
    found = tuple(_spec(settings, pool, *each) for pool, each in bounds.items() if each[1])
    if not found:
        raise SettingsError("No pool may have a worker: set REELFARM_AUTOSCALE_CPU, such as 0-10.")
    return found


def _spec(settings: Settings, pool: Pool, least: int, most: int) -> PoolSpec:
    said: dict[str, Any] = {
        "target_drain": settings.autoscale_drain,
        "cooldown": settings.autoscale_cooldown,
        "step_up": settings.autoscale_step_up,
        "step_down": settings.autoscale_step_down,
    }
    spec = replace(
        tuned(pool.value, least, most, settings.autoscale_start),
        **{name: value for name, value in said.items() if value is not None},
    )
    if pool is Pool.HEAD:
        return replace(spec, target_drain=min(spec.target_drain, _HEAD_DRAIN))
    return spec


class Autoscaler:
    """A candidate for scaling the farm's pools. All calls come from one thread."""

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._wall = wall
        self._pools = pools(settings)
        # A command may take its whole time for every pool while nothing else is said.
        ttl = 2 * settings.autoscale_every + (1 + len(self._pools)) * settings.autoscale_timeout
        # Containers may share a host name and process ids.
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{token_hex(4)}"
        self._office = Office(client, Keys(settings.namespace).autoscaler, self.owner, ttl)
        self._publisher = _publisher(settings)
        self._scaler: Scaler | None = None
        self._looked = Looked({}, ())
        self._ledger = Ledger(
            client,
            settings.namespace,
            settings.autoscale_target,
            lambda pool: self._looked.actual(pool),
            fades=max(scaling.FADES, ttl),
            clock=clock,
            wall=wall,
        )

    def step(self) -> tuple[ScaledPool, ...] | None:
        """Decide once and have it so; None where another one leads. Raises redis.RedisError."""
        if not self._office.hold():
            self._scaler = None
            return None
        if self._scaler is None:
            _LOG.info("autoscaler_elected", owner=self.owner)
            self._scaler = self._scaling()
        scaled = self._scaler.step()
        self._ledger.note(scaled)
        if self._publisher is not None:
            actual = {pool.name: self._looked.actual(pool.name) for pool in scaled}
            self._publisher.publish(scaled, actual, datetime.fromtimestamp(self._wall(), UTC))
        return scaled

    def preview(self) -> tuple[ScaledPool, ...]:
        """What would be decided now; nothing is told to anybody. Raises redis.RedisError."""
        return self._scaling().decide()

    def resign(self) -> None:
        """Let another one lead at once."""
        self._office.leave()

    def _scaling(self) -> Scaler:
        namespace, left = self._settings.namespace, self._left()
        workers = list_workers(self._client, namespace)
        counts = {spec.name: serving(workers, spec.name) for spec in self._pools}
        counts |= {pool: each.count for pool, each in left.items()}
        return Scaler(
            self._pools,
            self._target(counts),
            self._look,
            self._clock,
            control=lambda: control.read(self._client, namespace),
            peaks={pool: self._peaks(each) for pool, each in left.items()},
        )

    def _left(self) -> dict[str, scaling.ScalingDecision]:
        """The last decision on each pool, a predecessor's or that of an earlier ``--once``."""
        since = self._wall() - _LEFT
        found = scaling.current(self._client, self._settings.namespace, lambda: since)
        newest = sorted(found, key=lambda each: each.at)
        return {each.pool: each for each in newest if not each.host}

    def _peaks(self, left: scaling.ScalingDecision) -> tuple[Peak, ...]:
        """What it was by, by this clock; a time that has yet to come is now."""
        now, at = self._clock(), self._wall()
        return tuple(Peak(now - max(0.0, at - then), count) for then, count in left.peaks)

    def _look(self) -> Mapping[str, PoolDemand]:
        client, namespace, now = self._client, self._settings.namespace, self._wall()
        workers, known = tuple(list_workers(client, namespace)), paces(client, namespace)
        found = demands(
            demand(client, namespace),
            now,
            paces=known,
            left=work_left(workers, now, known),
            paused=control.paused(client, namespace),
        )
        self._looked = Looked(found, workers)
        return found

    def _target(self, counts: Mapping[str, int]) -> Target:
        settings = self._settings
        if settings.autoscale_target != "command":
            return Told(counts)
        return CommandTarget(
            command(settings),
            foreign_environment(),
            timeout=settings.autoscale_timeout,
            clock=self._clock,
            counts=counts,
        )


def command(settings: Settings) -> list[str]:
    """The operator's program and its arguments. Raises :class:`SettingsError`."""
    try:
        found = shlex.split(settings.autoscale_command or "")
    except ValueError as error:
        raise SettingsError(f"REELFARM_AUTOSCALE_COMMAND cannot be split: {error}") from error
    if not found:
        raise SettingsError("Set REELFARM_AUTOSCALE_COMMAND to the program that scales a pool.")
    return found


def _publisher(settings: Settings) -> Publisher | None:
    if settings.autoscale_target != "cloudwatch":
        return None
    import boto3

    from autoscaler.cloudwatch import Publisher

    client = boto3.session.Session().client(
        "cloudwatch",
        region_name=settings.cloudwatch_region or settings.s3_region,
        endpoint_url=settings.cloudwatch_endpoint,
    )
    return Publisher(client, settings.cloudwatch_namespace, settings.namespace)


@contextmanager
def autoscaler(settings: Settings) -> Iterator[Autoscaler]:
    """A candidate that gives up what it holds at the end."""
    if settings.autoscale_target == "command":
        command(settings)
    with connections.redis_client(settings) as client:
        made = Autoscaler(settings, client)
        try:
            yield made
        finally:
            try:
                made.resign()
            except redis.RedisError as error:
                _LOG.debug("autoscaler_not_resigned", error=str(error))


def told(scaled: tuple[ScaledPool, ...]) -> list[dict[str, Any]]:
    """The decisions as JSON-plain documents."""
    return [
        {
            "pool": each.name,
            "before": each.before,
            "count": each.decision.count,
            "reason": each.decision.reason,
            "ordered": each.ordered,
            "demand": asdict(each.demand),
        }
        for each in scaled
    ]
