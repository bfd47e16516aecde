"""A scaling target on this host: pools of worker processes.

Workers that die are replaced after a pause that doubles with every quick death. Workers that
are not needed any more are drained, never killed, and the idle ones first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

log = structlog.get_logger(__name__)

#: Seconds before a dead worker is replaced: the first, and the longest pause.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
#: Seconds after which a worker counts as well, and the pauses begin anew.
SETTLED: Final = 60.0


class Child(Protocol):
    """The process of one worker."""

    @property
    def pid(self) -> int: ...
    def exit_code(self) -> int | None: ...
    def drain(self) -> None: ...
    def release(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Worker:
    child: Child
    started: float
    draining: bool = False


@dataclass(slots=True)
class _Pool:
    wanted: int = 0
    workers: list[_Worker] = field(default_factory=list)
    quick_deaths: int = 0
    not_before: float = 0.0

    def staying(self) -> list[_Worker]:
        return [worker for worker in self.workers if not worker.draining]


class LocalTarget:
    """Pools of processes on this host. All calls come from one thread.

    ``start(pool)`` starts a worker, ``busy(pids)`` tells which of these have a part in work,
    ``clock`` gives seconds that do not go back.
    """

    def __init__(
        self,
        start: Callable[[str], Child],
        clock: Callable[[], float],
        busy: Callable[[Collection[int]], Collection[int]] = lambda _: (),
    ) -> None:
        self._start = start
        self._clock = clock
        self._busy = busy
        self._pools: dict[str, _Pool] = {}

    def count(self, pool: str) -> int:
        """How many workers the pool was last told to have; dead ones are being replaced."""
        return self._pool(pool).wanted

    def running(self, pool: str | None = None) -> int:
        """Processes that have not ended, of one pool or of all, drained ones included."""
        pools = self._pools.values() if pool is None else (self._pool(pool),)
        return sum(len(each.workers) for each in pools)

    def quick_deaths(self, pool: str) -> int:
        """How often in a row a worker of the pool died soon after its start."""
        return self._pool(pool).quick_deaths

    def pids(self) -> tuple[int, ...]:
        """The processes that have not ended."""
        return tuple(worker.child.pid for worker in self._all())

    def scale(self, pool: str, count: int, reason: str = "") -> None:  # noqa: ARG002 - a port's
        """Have ``count`` workers of ``pool``; the surplus is drained, idle ones first."""
        self._pool(pool).wanted = count
        self.tend()

    def tend(self) -> None:
        """Note who has died, and start and drain what is due."""
        for name, pool in self._pools.items():
            self._bury(name, pool)
            self._drain_surplus(name, pool)
            self._fill(name, pool)

    def drain(self, pool: str | None = None) -> None:
        """Ask every worker, or every one of a pool, to finish its part and go."""
        for name in (pool,) if pool is not None else tuple(self._pools):
            self.scale(name, 0)

    def release(self) -> None:
        """Ask the drained workers to give their parts back and go at once."""
        for worker in self._all():
            worker.child.release()

    def kill(self) -> None:
        """End what would not go."""
        for worker in self._all():
            worker.child.kill()
        self.tend()

    def _pool(self, name: str) -> _Pool:
        return self._pools.setdefault(name, _Pool())

    def _all(self) -> list[_Worker]:
        return [worker for pool in self._pools.values() for worker in pool.workers]

    def _bury(self, name: str, pool: _Pool) -> None:
        for worker in [w for w in pool.workers if w.child.exit_code() is not None]:
            pool.workers.remove(worker)
            worker.child.close()
            if not worker.draining:
                self._mourn(name, pool, worker)

    def _mourn(self, name: str, pool: _Pool, worker: _Worker) -> None:
        """Work out when a worker that died by itself is replaced."""
        settled = self._clock() - worker.started >= SETTLED
        pool.quick_deaths = 0 if settled else pool.quick_deaths + 1
        log.warning(
            "process_died", pool=name, pid=worker.child.pid, status=worker.child.exit_code(),
            restart_in=self._pause(pool),
        )  # fmt: skip

    def _pause(self, pool: _Pool) -> float:
        """Start none of the pool for so many seconds."""
        pause: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(pool.quick_deaths, 16))
        pool.not_before = self._clock() + pause
        return pause

    def _drain_surplus(self, name: str, pool: _Pool) -> None:
        staying = pool.staying()
        surplus = len(staying) - pool.wanted
        if surplus <= 0:
            return
        # Where all go, a Redis that hangs is not asked who goes first.
        busy = self._busy([worker.child.pid for worker in staying]) if pool.wanted else ()
        staying.sort(key=lambda worker: worker.child.pid in busy)
        for worker in staying[:surplus]:
            worker.draining = True
            worker.child.drain()
            log.info("process_draining", pool=name, pid=worker.child.pid)

    def _fill(self, name: str, pool: _Pool) -> None:
        while len(pool.staying()) < pool.wanted and self._clock() >= pool.not_before:
            try:
                child = self._start(name)
            except OSError as error:
                # No memory for it, or no room among the processes: those there are go on.
                pool.quick_deaths += 1
                again = self._pause(pool)
                log.error("process_not_started", pool=name, error=str(error), again_in=again)
                return
            pool.workers.append(_Worker(child, self._clock()))
            log.info("process_started", pool=name, pid=child.pid)
