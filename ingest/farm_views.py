"""The farm as the API shows it: a pure function of one look at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel

from ingest.live import Look
from jobs.control import Control
from jobs.demand import Demand, QueueDemand
from jobs.devices import DeviceInfo
from jobs.gauges import slot
from jobs.letters import DeadLetter
from jobs.parts import PartRef, Pool
from jobs.scaling import ScalingDecision
from jobs.workers import WorkerInfo

#: Workers that one answer lists at the most.
MAX_WORKERS: Final = 1000


class QueueView(BaseModel):
    """Messages of one queue; backlog is what waits, in predicted core-seconds."""

    waiting: int
    in_flight: int
    dead: int
    #: For how long the oldest has waited; null where none waits.
    oldest_seconds: float | None
    backlog_seconds: float


class BacklogView(BaseModel):
    """Work before the farm in predicted core-seconds, and parts that wait after an error."""

    seconds: float
    #: In the queues, and in plans of long films of which the queues hold a part.
    waiting_seconds: float
    unsent_seconds: float
    retrying: int


class PoolView(BaseModel):
    """A pool on one host, or of the whole farm where `host` is null.

    `desired` is what the autoscaler wants, null where none has said; `override` is the operator's
    word, for each host.
    """

    name: str
    host: str | None
    target: str | None
    desired: int | None
    actual: int
    paused: bool
    override: int | None
    reason: str | None
    at: datetime | None


class PartView(BaseModel):
    """What a worker works on. `kind`, `cost_seconds` (core-seconds, predicted) and `speed`
    (seconds of film per second) are null until they are known."""

    video_id: str
    generation: int
    part: str
    queue: str | None
    kind: str | None
    since: datetime | None
    cost_seconds: float | None
    speed: float | None


class WorkerView(BaseModel):
    """One worker process, which is one slot."""

    name: str
    host: str
    pid: int
    pool: str
    worker_class: str
    version: str
    started_at: datetime
    draining: bool
    part: PartView | None


class WorkerCount(BaseModel):
    """All workers, listed or not."""

    total: int
    busy: int
    draining: int


class DecisionView(BaseModel):
    """A change of a pool's size."""

    at: datetime
    pool: str
    host: str | None
    target: str
    before: int
    count: int
    actual: int
    reason: str


class DeviceView(BaseModel):
    """A graphics processor and one family of its encoders.

    Nothing is fetched for it while its `circuit` is open; `until` says how long, `reason` why.
    """

    host: str
    device: str
    encoder: str
    codecs: tuple[str, ...]
    found: str
    seen_at: datetime
    circuit: str
    failures: int
    opened_at: datetime | None
    until: datetime | None
    reason: str


class FailureView(BaseModel):
    """A dead letter in brief."""

    id: str
    video_id: str
    filename: str | None
    part: str
    code: str
    message: str
    created_at: datetime


class ControlView(BaseModel):
    """What the operator has said that holds, until taken back or Redis is emptied."""

    paused: tuple[str, ...]
    #: Pool to workers for each scaler.
    counts: dict[str, int]
    draining: tuple[str, ...]


class FarmView(BaseModel):
    """The farm. Times are RFC 3339, durations seconds."""

    now: datetime
    queues: dict[str, QueueView]
    backlog: BacklogView
    pools: tuple[PoolView, ...]
    workers: tuple[WorkerView, ...]
    worker_count: WorkerCount
    decisions: tuple[DecisionView, ...]
    devices: tuple[DeviceView, ...]
    control: ControlView
    recent_failures: tuple[FailureView, ...] | None


def farm_view(look: Look, failures: Iterable[DeadLetter] | None, limit: int) -> FarmView:
    """The farm, with at most ``limit`` workers."""
    shown = sorted(look.workers, key=_by_work)[:limit]
    return FarmView(
        now=_time(look.at),
        queues={name: _queue(each, look.at) for name, each in look.demand.queues.items()},
        backlog=_backlog(look.demand),
        pools=tuple(_pools(look)),
        workers=tuple(map(_worker, shown)),
        worker_count=WorkerCount(
            total=len(look.workers),
            busy=sum(worker.part is not None for worker in look.workers),
            draining=sum(worker.draining for worker in look.workers),
        ),
        decisions=tuple(map(_decision, look.decisions)),
        devices=tuple(map(_device, look.devices)),
        control=control_view(look.control),
        recent_failures=None if failures is None else tuple(map(_failure, failures)),
    )


def control_view(control: Control) -> ControlView:
    """What the operator has said."""
    return ControlView(
        paused=tuple(sorted(control.paused)),
        counts=dict(sorted(control.counts.items())),
        draining=tuple(sorted(control.draining)),
    )


def _by_work(worker: WorkerInfo) -> tuple[bool, float, str]:
    """Those longest at work come first, then the idle ones."""
    return worker.part is None, worker.since or worker.started_at, worker.name


def _queue(queue: QueueDemand, now: float) -> QueueView:
    return QueueView(
        waiting=queue.waiting,
        in_flight=queue.in_flight,
        dead=queue.dead,
        oldest_seconds=None if queue.oldest is None else max(0.0, round(now - queue.oldest, 3)),
        backlog_seconds=round(queue.backlog, 3),
    )


def _backlog(demand: Demand) -> BacklogView:
    waiting = sum(queue.backlog for queue in demand.queues.values())
    return BacklogView(
        seconds=round(waiting + demand.unsent, 3),
        waiting_seconds=round(waiting, 3),
        unsent_seconds=round(demand.unsent, 3),
        retrying=demand.retrying,
    )


def _pools(look: Look) -> Iterator[PoolView]:
    """Every pool that is scaled, by host; and those that only have workers, as one."""
    for decision in look.scaling:
        yield _pool(look.control, decision.pool, decision, decision.actual)
    scaled = {decision.pool for decision in look.scaling}
    for pool in Pool:
        actual = sum(slot(worker.pools) is pool for worker in look.workers)
        if pool not in scaled and (actual or _waits(look.demand, pool)):
            yield _pool(look.control, pool, None, actual)


def _waits(demand: Demand, pool: Pool) -> bool:
    found = demand.pool(pool)
    return found.waiting + found.in_flight > 0


def _pool(control: Control, name: str, decision: ScalingDecision | None, actual: int) -> PoolView:
    return PoolView(
        name=name,
        host=decision.host or None if decision else None,
        target=decision.target if decision else None,
        desired=decision.count if decision else None,
        actual=actual,
        paused=name in control.paused,
        override=control.counts.get(name),
        reason=decision.reason if decision else None,
        at=_time(decision.at) if decision else None,
    )


def _worker(worker: WorkerInfo) -> WorkerView:
    return WorkerView(
        name=worker.name,
        host=worker.host,
        pid=worker.pid,
        pool=slot(worker.pools),
        worker_class=worker.cls,
        version=worker.version,
        started_at=_time(worker.started_at),
        draining=worker.draining,
        part=_part(worker) if worker.part else None,
    )


def _part(worker: WorkerInfo) -> PartView:
    ref = PartRef.parse(worker.part or "")
    return PartView(
        video_id=ref.video_id,
        generation=ref.generation,
        part=ref.part,
        queue=worker.queue,
        kind=worker.kind,
        since=None if worker.since is None else _time(worker.since),
        cost_seconds=worker.cost,
        speed=worker.speed,
    )


def _decision(decision: ScalingDecision) -> DecisionView:
    return DecisionView(
        at=_time(decision.at),
        pool=decision.pool,
        host=decision.host or None,
        target=decision.target,
        before=decision.before,
        count=decision.count,
        actual=decision.actual,
        reason=decision.reason,
    )


def _device(device: DeviceInfo) -> DeviceView:
    return DeviceView(
        host=device.host,
        device=device.device,
        encoder=device.encoder,
        codecs=device.codecs,
        found=device.found,
        seen_at=_time(device.seen_at),
        circuit=device.circuit,
        failures=device.failures,
        opened_at=None if device.opened_at is None else _time(device.opened_at),
        until=None if device.until is None else _time(device.until),
        reason=device.reason,
    )


def _failure(letter: DeadLetter) -> FailureView:
    return FailureView(
        id=letter.id,
        video_id=letter.video_id,
        filename=letter.filename,
        part=letter.part,
        code=letter.problem.code,
        message=letter.problem.message,
        created_at=letter.created_at,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
