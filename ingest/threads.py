"""Blocking calls run in threads, with a separate allowance for each kind of work.

So that viewers fetching segments from a slow storage do not keep uploads or health checks waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

P = ParamSpec("P")
T = TypeVar("T")


def _limit(threads: int) -> Callable[[], CapacityLimiter]:
    return partial(CapacityLimiter, threads)


@dataclass(frozen=True, slots=True)
class Threads:
    """How many threads each kind of work may hold."""

    records: CapacityLimiter = field(default_factory=_limit(24))
    uploads: CapacityLimiter = field(default_factory=_limit(16))
    playback: CapacityLimiter = field(default_factory=_limit(32))
    checks: CapacityLimiter = field(default_factory=_limit(4))
    measures: CapacityLimiter = field(default_factory=_limit(4))
    #: Who watches the farm asks every second, and waits where Redis hangs.
    farm: CapacityLimiter = field(default_factory=_limit(4))


async def blocking(
    limiter: CapacityLimiter, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run ``call`` in a thread. Cancellation waits for its end, so nothing runs on unseen."""
    return await run_sync(partial(call, *args, **kwargs), limiter=limiter)
