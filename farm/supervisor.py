"""Keeps the processes of one host running, and ends them in two steps.

Whatever dies is started again; the embedded servers under the addresses they had.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

import httpx
import redis
import structlog

from autoscaler.ledger import Ledger
from autoscaler.local import LocalTarget
from autoscaler.outlook import demands
from autoscaler.policy import PoolDemand, PoolSpec
from autoscaler.scaler import Scaler
from farm import connections, wiring
from farm.children import API, starter
from farm.embedded import EmbeddedError, EmbeddedServers
from farm.embedded.server import Server
from farm.errors import StartError
from farm.lookout import Lookout, looked_at, troubles
from farm.settings import Settings, environment
from farm.signals import StopSteps
from farm.tracing import tracing
from jobs.control import Control, read
from jobs.demand import demand
from jobs.tallies import Flusher, Tallies
from jobs.workers import named_workers, worker_name

log = structlog.get_logger(__name__)

#: Seconds between two looks at everything, and between two while something is awaited.
_TICK: Final = 1.0
_GLANCE: Final = 0.1
#: Seconds for the API to answer for the first time.
_API_START: Final = 60.0
#: Seconds for it to say whether it is ready; its own checks may take five.
_READY: Final = 6.0
#: Seconds before a sweeper that failed is replaced.
_SWEEP_AGAIN: Final = 5.0
#: Messages of a queue that are looked at for their cost and age.
_SAMPLE: Final = 4
#: Seconds for workers that were told to give back what they have.
RELEASE: Final = 15.0


class Supervisor:
    """The processes of one host. All calls come from the main thread.

    ``servers`` are started already; ``settings`` are those by which they are reached.
    """

    def __init__(
        self,
        settings: Settings,
        pools: tuple[PoolSpec, ...],
        stop: StopSteps,
        servers: EmbeddedServers | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._servers = servers
        self._clock = clock
        self._tallies = Tallies()
        self._redis = connections.redis_client(settings, self._tallies)
        self._target = LocalTarget(starter(environment(settings)), clock, self._busy)
        self._host = socket.gethostname()
        self._scaler = Scaler(
            pools, self._target, self._demand, clock, control=lambda: self._control, host=self._host
        )
        self._control = Control()
        self._ledger = Ledger(
            self._redis,
            settings.namespace,
            "local",
            self._target.running,
            host=self._host,
            clock=clock,
            wall=time.time,
        )
        self._redis_failed = False
        disk = settings.data_dir if servers is not None and servers.servers else None
        self._store = looked_at(settings)
        self._lookout = Lookout(lambda: troubles(settings, disk, self._store))
        #: What the API said that it lacks, when last asked.
        self._unready: str | None = None
        self._sweep_end = threading.Event()
        self._sweep = threading.Thread(target=self._run_sweeper, name="sweeper", daemon=True)
        self._look = threading.Thread(
            target=self._lookout.run, args=(self._sweep_end,), name="lookout", daemon=True
        )

    def serve(self) -> None:
        """Start the API and return once it answers. Raises :class:`StartError`."""
        self._target.scale(API, 1)
        answered = self._await(self._api_answers, _API_START, give_up=self._api_failed)
        if not answered and not self._stop.drain:
            raise StartError(
                f"The API at {self._settings.address} did not come up: "
                f"{self._unready or 'its log above says why'}."
            )

    def run(self) -> None:
        """Keep everything running until the first step of a stop."""
        self._sweep.start()
        self._look.start()
        with Flusher(self._flush):
            while not self._stop.drain:
                self._tick()
                self._await(lambda: self._stop.drain, _TICK)

    def busy(self) -> int:
        """How many workers of this host have a part in work, as far as is known."""
        return len(self._busy(self._target.pids()))

    def end(self) -> None:
        """Let the workers finish, or at the second step or after ``drain_timeout`` not."""
        self._sweep_end.set()
        self._target.drain()
        if not self._await(self._is_empty, self._settings.drain_timeout, lambda: self._stop.now):
            self._target.release()
            if not self._await(self._is_empty, RELEASE):
                log.warning("processes_killed", count=self._target.running())
                self._target.kill()
        if self._sweep.is_alive():
            self._sweep.join(RELEASE)
        self._flush(last=True)
        self._redis.close()
        self._store.close()

    def _flush(self, last: bool) -> None:
        self._tallies.flush(self._redis, self._settings.namespace, last=last)

    def _tick(self) -> None:
        self._mend_servers()
        try:
            self._heed(read(self._redis, self._settings.namespace))
            self._ledger.note(self._scaler.step())
        except redis.RedisError as error:
            if not self._redis_failed:
                log.warning("redis_unreachable", error=str(error))
            self._redis_failed = True
        else:
            self._redis_failed = False
        self._target.tend()

    def _heed(self, said: Control) -> None:
        """Take the operator's word, and log it; what holds from before a start as well."""
        if said != self._control:
            log.info(
                "operator_said", paused=sorted(said.paused), counts=dict(said.counts),
                draining=sorted(said.draining),
            )  # fmt: skip
        self._control = said

    def _mend_servers(self) -> None:
        for server in self._servers.servers if self._servers else ():
            if server.pid is None:
                log.error("server_died", server=server.name)
                self._restart(server)
            elif server.is_stuck():
                log.error("server_stuck", server=server.name, cause="its disk was full")
                self._restart(server)

    def _restart(self, server: Server) -> None:
        assert self._servers is not None
        before, name = connections.as_settings(self._servers), server.name
        server.stop()
        try:
            server.start()
        except EmbeddedError as error:
            # It may be for want of room, which may be there at the next look.
            log.error("server_not_started", server=name, error=str(error))
            return
        if connections.as_settings(self._servers) != before:
            raise StartError(
                f"{name} died, and another process took its port. Stop the farm and start it again."
            )

    def _demand(self) -> dict[str, PoolDemand]:
        """What there is to do. Every host asks, every second: few messages are looked at."""
        found = demand(self._redis, self._settings.namespace, _SAMPLE)
        return demands(found, time.time(), paused=self._control.paused)

    def _busy(self, pids: Collection[int]) -> frozenset[int]:
        """Those of the processes that have a part in work, as far as is known."""
        names = [worker_name(self._host, pid) for pid in pids]
        try:
            workers = named_workers(self._redis, self._settings.namespace, names)
        except redis.RedisError:
            return frozenset()
        return frozenset(each.pid for each in workers if each.part)

    def _run_sweeper(self) -> None:
        """Sweep until the end, however often a sweeper fails: it is the net under everything."""
        with tracing(self._settings, "supervisor") as tracer:
            while not self._sweep_end.is_set():
                try:
                    wiring.sweeper(self._settings, self._tallies, tracer).run(self._sweep_end)
                except Exception:
                    log.exception("sweeper_failed")
                    self._sweep_end.wait(_SWEEP_AGAIN)

    def _api_answers(self) -> bool:
        url = f"{self._settings.address}/readyz"
        try:
            answer = httpx.get(url, timeout=_READY, trust_env=False)
        except httpx.TransportError:
            return False
        self._unready = None if answer.is_success else f"it is not ready, {answer.text[:1000]}"
        return answer.is_success

    def _api_failed(self) -> bool:
        return self._stop.drain or self._target.quick_deaths(API) > 0

    def _is_empty(self) -> bool:
        self._target.tend()
        return self._target.running() == 0

    def _await(
        self,
        holds: Callable[[], bool],
        timeout: float,
        give_up: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Whether it came to hold within ``timeout`` seconds and before there was reason not to."""
        deadline = self._clock() + timeout
        while not holds():
            if give_up() or self._clock() > deadline:
                return False
            self._target.tend()
            time.sleep(_GLANCE)
        return True
