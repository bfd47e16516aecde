"""``/v1/farm``: what the farm is doing, and the operator's word on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from ingest.config import IngestDeps
from ingest.failures import RecentFailures
from ingest.farm_views import MAX_WORKERS, ControlView, FarmView, control_view, farm_view
from ingest.live import Live
from ingest.problems import QUEUE_UNAVAILABLE, UNKNOWN_HOST, UNKNOWN_POOL, RefusedError
from ingest.state import Deps
from ingest.threads import blocking
from ingest.videos import PROBLEM
from jobs.parts import Pool

router = APIRouter(prefix="/v1/farm", tags=["farm"])

_LOOK: Final[dict[str, Any]] = {"response_model": FarmView, "responses": {503: PROBLEM}}
_ORDER: Final[dict[str, Any]] = {
    "response_model": ControlView,
    "responses": dict.fromkeys((404, 422, 503), PROBLEM),
}
#: More workers than any pool has: what is above is a slip of the finger.
_MOST: Final = 10_000

_Workers = Annotated[
    int,
    Query(
        ge=0, le=MAX_WORKERS, description="At most so many workers, those longest at work first."
    ),
]
_PoolName = Annotated[
    str | None, Query(alias="pool", max_length=64, description="Only this pool; else all.")
]


class CountBody(BaseModel):
    """How many workers a pool is to have; null leaves it to the policy."""

    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, Field(ge=0, le=_MOST, strict=True)] | None


def _failures(request: Request) -> RecentFailures:
    return cast("RecentFailures", request.app.state.failures)


@router.get("", **_LOOK)
async def farm(
    deps: Deps, failures: Annotated[RecentFailures, Depends(_failures)], workers: _Workers = 200
) -> FarmView:
    """Queues, pools, workers and what each works on, the autoscaler's decisions, last failures.

    Workers there are more of are counted in `worker_count`. `recent_failures` are null while the
    storage does not answer.
    """

    def look() -> FarmView:
        return farm_view(_live(deps).look(), failures(), workers)

    return await blocking(deps.threads.farm, look)


@router.post("/pause", **_ORDER)
async def pause(deps: Deps, pool: _PoolName = None) -> ControlView:
    """Have workers begin nothing new: what runs goes on to its end, and uploads are taken."""
    return await _ordered(deps, lambda live: live.pause(_pool(pool)))


@router.post("/resume", **_ORDER)
async def resume(deps: Deps, pool: _PoolName = None) -> ControlView:
    """Let workers that were paused go on, at once."""
    return await _ordered(deps, lambda live: live.resume(_pool(pool)))


@router.post("/pools/{pool}", **_ORDER)
async def scale(deps: Deps, pool: str, body: CountBody) -> ControlView:
    """Have so many workers of a pool whatever the policy would have, or leave it to the policy.

    The count holds for each scaler by itself: for every host that starts workers of its own,
    within what it has room for, and for a group of machines that `reelfarm autoscale` scales.
    """
    return await _ordered(deps, lambda live: live.set_count(str(_pool(pool)), body.count))


@router.post("/hosts/{host}/drain", **_ORDER)
async def drain(deps: Deps, host: str) -> ControlView:
    """Have the workers of a host finish what they do and go, and no others be started there."""

    def order(live: Live) -> None:
        _check_host(live, host)
        live.drain(host)

    return await _ordered(deps, order)


@router.post("/hosts/{host}/resume", **_ORDER)
async def undrain(deps: Deps, host: str) -> ControlView:
    """Let a host that was drained have workers again."""

    def order(live: Live) -> None:
        _check_host(live, host)
        live.undrain(host)

    return await _ordered(deps, order)


async def _ordered(deps: IngestDeps, order: Callable[[Live], None]) -> ControlView:
    def carry_out() -> ControlView:
        live = _live(deps)
        order(live)
        return control_view(live.control())

    return await blocking(deps.threads.farm, carry_out)


def _live(deps: IngestDeps) -> Live:
    if deps.live is None:
        raise RefusedError(QUEUE_UNAVAILABLE, "This API was started without a Redis.")
    return deps.live


def _pool(name: str | None) -> Pool | None:
    if name is None:
        return None
    try:
        return Pool(name)
    except ValueError:
        known = ", ".join(Pool)
        raise RefusedError(UNKNOWN_POOL, f"{name!r} is none of {known}.") from None


def _check_host(live: Live, host: str) -> None:
    known = live.look().hosts
    if host not in known:
        shown = ", ".join(sorted(known)[:20]) or "there is none at all"
        raise RefusedError(UNKNOWN_HOST, f"{host!r} is none of those known: {shown}.")
