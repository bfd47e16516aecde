"""A farm whose servers can be killed, frozen and emptied, and whose S3 fails on command. ::

    with rig(tmp_path, profile=PROFILE) as found:
        found.farm                      # tests.e2e.farm_process.Farm: client, store, redis, log
        found.valkey, found.seaweedfs   # Server: kill, start, stop, cont; ``frozen(seconds)``
        found.proxy                     # tests.chaos.s3_proxy.S3Proxy: fail, heal, refuse, accept
        found.valkey.kill(); found.valkey.start()     # same data, same port
        found.empty_redis()                           # FLUSHALL
        found.workers(), found.api(), found.ffmpegs(worker)   # psutil processes, there now
        found.ended(video_id, timeout)                # the video, however the API fails meanwhile
        found.kill_farm(); found.start_farm()         # SIGKILL of the supervisor; the same port

What the farm does passes the proxy; ``farm.store`` and ``farm.redis`` go past it, straight to the
servers, so that a test can look while the farm cannot. Everything may be called from any thread.
At the end servers that are down or frozen are left so, and the farm is stopped first: a test that
wants a farm in order to be stopped in order heals what it broke.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from autoscaler.processes import ChildProcess
from farm import connections, running
from farm.client import Client, Video
from farm.embedded import SeaweedFS, Valkey
from farm.embedded import server as embedded
from farm.embedded.ports import free_ports, is_free
from farm.errors import FarmError
from farm.settings import Settings, environment, replaced
from jobs.workers import list_workers
from storage.objects import connect
from tests.chaos.s3_proxy import S3Proxy
from tests.e2e.farm_process import OWN, START, STOP, Farm, eventually

#: Seconds after which the processes of a killed supervisor have let go of its port.
ORPHANS = 60.0

_UP = (sys.executable, "-P", "-m", "farm", "up", "--tied", "--json")


@dataclass(frozen=True, slots=True)
class Server:
    """SeaweedFS or Valkey, in a process that can be harmed."""

    server: embedded.Server
    #: The thread that started it has to live: the server dies with it.
    thread: ThreadPoolExecutor

    @property
    def pid(self) -> int | None:
        """Its process, or None."""
        return self.server.pid

    def kill(self) -> None:
        """SIGKILL; returns once it is dead."""
        pid = self.pid
        assert pid is not None, f"{self.server.name} is not running"
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.pid is None, 10.0)

    def start(self) -> None:
        """Start it again on the same data and port; returns once it answers."""
        before = self.server.state.ports
        self.thread.submit(self._restart).result()
        assert self.server.state.ports == before, f"another process took {before}"

    def stop(self) -> None:
        """SIGSTOP: connections are taken, by the kernel, and nothing is answered."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGCONT)

    @contextmanager
    def frozen(self, seconds: float = 0.0) -> Iterator[None]:
        """Stopped for as long as the block, and so many seconds after it."""
        self.stop()
        try:
            yield
            time.sleep(seconds)
        finally:
            self.cont()

    def _restart(self) -> None:
        self.server.stop()
        deadline = time.monotonic() + 10.0
        while not all(map(is_free, self.server.state.ports)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.server.start()


@dataclass(slots=True)
class Rig:
    """All of it. ``farm`` stays good when processes come and go."""

    farm: Farm
    valkey: Server
    seaweedfs: Server
    proxy: S3Proxy
    settings: Settings
    _child: ChildProcess | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """The supervisor's process, or None."""
        child = self._child
        return child.pid if child is not None and child.exit_code() is None else None

    def start_farm(self) -> None:
        """Start the supervisor, once its port is free; returns when the farm answers.

        One that gives up, as it does while a server is down, is started again.
        """
        eventually(lambda: is_free(self.settings.port), ORPHANS)
        eventually(self._came_up, START, self._last_words)

    def kill_farm(self) -> None:
        """SIGKILL of the supervisor; its workers and the API notice by themselves."""
        child, self._child = self._child, None
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
        child.close()

    def stop_farm(self) -> None:
        """Stop it as two Ctrl-C do, and then not kindly. May be called again."""
        child, self._child = self._child, None
        if child is None:
            return
        child.drain()
        child.release()
        try:
            eventually(lambda: child.exit_code() is not None, STOP, self._last_words)
        finally:
            child.kill()
            child.close()

    def workers(self) -> list[psutil.Process]:
        """Worker processes of the running supervisor, oldest first."""
        return self._children("farm.worker_process")

    def busy(self) -> list[psutil.Process]:
        """Those that have a part in work, as far as they have said."""
        infos = list_workers(self.farm.redis, self.farm.namespace)
        pids = {info.pid for info in infos if info.part}
        return [process for process in self.workers() if process.pid in pids]

    def api(self) -> psutil.Process | None:
        """The API's process."""
        return next(iter(self._children("farm.api_process")), None)

    def ffmpegs(self, worker: psutil.Process | None = None) -> list[psutil.Process]:
        """Media processes of a worker, or of all."""
        found: list[psutil.Process] = []
        for process in self.workers() if worker is None else [worker]:
            with suppress(psutil.Error):
                found += process.children(recursive=True)
        return found

    def empty_redis(self) -> None:
        """FLUSHALL."""
        self.farm.redis.flushall()

    def ended(self, video_id: str, timeout: float) -> Video:
        """The video once nothing more happens to it; an API that fails is asked again."""
        found: list[Video] = []

        def ended() -> bool:
            with suppress(FarmError):
                found[:] = [self.farm.client.video(video_id)]
            return bool(found) and found[0]["status"] in ("ready", "errored", "canceled")

        eventually(ended, timeout, lambda: self.farm.last_words(video_id))
        return found[0]

    def until_working(self, timeout: float = START) -> None:
        """Wait until the API is ready and workers have announced themselves."""
        eventually(self._works, timeout, self._last_words)

    def _works(self) -> bool:
        farm = self.farm
        return self._answers("/readyz") and len(list_workers(farm.redis, farm.namespace)) > 1

    def _came_up(self) -> bool:
        assert self._child is None, "the farm is running"
        self._child = ChildProcess(_UP, self._environment(), self.farm.log)
        eventually(self._settled, START, self._last_words)
        if self.pid is None:
            self._child.close()
            self._child = None
        return self._child is not None

    def _environment(self) -> dict[str, str]:
        scratch = self.farm.log.parent / "tmp"
        scratch.mkdir(exist_ok=True)
        return environment(self.settings) | {"TMPDIR": str(scratch)}

    def _settled(self) -> bool:
        return self.pid is None or running.find(self.settings.data_dir) is not None

    def _answers(self, path: str) -> bool:
        try:
            return self.farm.client.fetch(path).is_success
        except FarmError:
            return False

    def _last_words(self) -> str:
        return self.farm.log.read_text(errors="replace")[-4000:]

    def _children(self, module: str) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        with suppress(psutil.Error):
            for process in psutil.Process(self.pid).children() if self.pid else ():
                with suppress(psutil.Error):
                    if module in process.cmdline():
                        found.append(process)
        return sorted(found, key=psutil.Process.create_time)


@contextmanager
def rig(directory: Path, **options: Any) -> Iterator[Rig]:
    """A running farm on servers of its own below ``directory``, for as long as the block.

    ``options`` are settings, as for :func:`tests.e2e.farm_process.running_farm`.
    """
    with ExitStack() as stack:
        thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="servers"))
        valkey, seaweedfs = Valkey(directory / "valkey"), SeaweedFS(directory / "seaweedfs")
        for server in (valkey, seaweedfs):
            stack.callback(_end, Server(server, thread))
            thread.submit(server.spawn).result()
        for server in (valkey, seaweedfs):
            thread.submit(server.wait_ready).result()
        proxy = stack.enter_context(
            S3Proxy(("127.0.0.1", seaweedfs.state.ports[0]), free_ports(1)[0])
        )
        settings = _settings(directory, valkey, seaweedfs, proxy, options)
        farm = Farm(
            stack.enter_context(Client(settings.address)),
            stack.enter_context(closing(connect(seaweedfs.config(prefix=settings.s3_prefix)))),
            stack.enter_context(closing(connections.redis_client(settings))),
            settings.namespace,
            directory / "farm.log",
        )
        servers = Server(valkey, thread), Server(seaweedfs, thread)
        found = Rig(farm, *servers, proxy, settings)
        stack.callback(found.stop_farm)
        found.start_farm()
        found.until_working()
        yield found


def _settings(
    directory: Path,
    valkey: Valkey,
    seaweedfs: SeaweedFS,
    proxy: S3Proxy,
    options: dict[str, Any],
) -> Settings:
    config = seaweedfs.config()
    servers = {
        "redis_url": valkey.url,
        "s3_endpoint": proxy.endpoint,
        "s3_region": config.region,
        "s3_access_key": config.access_key,
        "s3_secret_key": config.secret_key,
    }
    own = {"data_dir": directory / "data", "port": free_ports(1)[0]}
    return replaced(Settings(), **(OWN | options | own | servers))


def _end(server: Server) -> None:
    server.cont()
    server.thread.submit(server.server.stop).result()
