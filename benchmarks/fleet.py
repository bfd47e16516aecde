"""A fleet of worker slots around a stand-in encoder, on real servers, and what it spends.

Two processes hold the slots as threads, one sweeps; the farm has three kinds of processes of its
own. Films are accepted as the API accepts them. What is spent is read between two moments in the
middle of the work, so that neither start nor end is in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import psutil
import redis

from benchmarks import stand_in
from benchmarks.farms import BenchmarkError
from benchmarks.slots import Crew
from catalog.videos import Catalog
from farm.connections import as_settings, object_store, redis_client
from farm.embedded import EmbeddedServers
from farm.settings import Settings, environment, replaced
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.ids import new_video_id
from jobs.parts import INSPECT, PartRef, Pool, Priority
from jobs.records import VideoRecord
from jobs.send import Sender
from jobs.states import State
from pipeline.published import LaneMark, Published
from storage import layout
from storage.documents import create_document
from storage.objects import ObjectStore
from transcoder.hls import growing_playlist, playlist_path

#: Processes that hold the slots.
_PROCESSES: Final = 2
_WRITERS: Final = 8
_GLANCE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """``slots`` at ``films`` of ``parts`` each, so many ``seconds`` a part.

    Of the first film, ``done`` parts have been published before; ``waiting`` more films have been
    accepted, are on the to-do list and on the queue of low priority. Measured are ``goal`` parts,
    from the start on, or once ``warm`` parts have ended.
    """

    name: str
    slots: int
    films: int
    parts: int
    seconds: float
    goal: int
    warm: int = 0
    done: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What all processes and servers had spent at a moment."""

    at: float
    parts: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    keys: int = 0
    sent: int = 0
    received: int = 0
    #: Seconds of processor time of the slots' processes, the sweeper, Valkey and SeaweedFS.
    slots_cpu: float = 0.0
    sweeper_cpu: float = 0.0
    redis_cpu: float = 0.0
    s3_cpu: float = 0.0

    def since(self, earlier: Spent) -> Spent:
        """What came between."""
        return Spent(
            at=self.at - earlier.at,
            parts=self.parts - earlier.parts,
            requests=self.requests - earlier.requests,
            commands=self.commands - earlier.commands,
            keys=self.keys - earlier.keys,
            sent=self.sent - earlier.sent,
            received=self.received - earlier.received,
            slots_cpu=self.slots_cpu - earlier.slots_cpu,
            sweeper_cpu=self.sweeper_cpu - earlier.sweeper_cpu,
            redis_cpu=self.redis_cpu - earlier.redis_cpu,
            s3_cpu=self.s3_cpu - earlier.s3_cpu,
        )

    @property
    def cpu(self) -> float:
        """Of the control plane, without the servers."""
        return self.slots_cpu + self.sweeper_cpu


class Place:
    """Servers that run, for one load after the other."""

    def __init__(self, servers: EmbeddedServers, scratch: Path) -> None:
        self._servers = servers
        self._scratch = scratch

    @contextmanager
    def fleet(self, load: Load) -> Iterator[Fleet]:
        """A fleet with its films accepted and none begun: it starts at ``begin``."""
        name = token_hex(4)
        own: dict[str, Any] = {
            "data_dir": self._scratch, "namespace": name, "s3_prefix": f"{name}/",
            "api_token": None, "s3_aws": False, "s3_ca_file": None,
        }  # fmt: skip
        settings = replaced(Settings(), **own, **as_settings(self._servers))
        with redis_client(settings) as live, closing(object_store(settings)) as store:
            live.flushall()
            pids = [each.pid for each in self._servers.servers]
            fleet = Fleet(load, settings, live, store, pids)
            fleet.accept()
            try:
                yield fleet
            finally:
                fleet.end()


@contextmanager
def place(scratch: Path) -> Iterator[Place]:
    """Valkey and SeaweedFS below ``scratch``."""
    with EmbeddedServers(scratch / "servers") as servers:
        yield Place(servers, scratch)


class Fleet:
    """One load's processes."""

    def __init__(
        self,
        load: Load,
        settings: Settings,
        live: redis.Redis,
        store: ObjectStore,
        pids: Sequence[int | None],
    ) -> None:
        self.load = load
        self._settings = settings
        self._live = live
        self._store = store
        self._servers = [_tree(pid) for pid in pids]
        self._processes: list[subprocess.Popen[str]] = []

    def accept(self) -> None:
        """Put the films where the API would have put them."""
        board = Board(self._live, self._settings.namespace)
        board.plant_sentinel()
        sender = Sender(FarmBroker(self._live, self._settings.namespace), board)
        firsts = [new_video_id() for _ in range(self.load.films)]
        ids = [(each, Priority.NORMAL) for each in firsts]
        ids += [(new_video_id(), Priority.LOW) for _ in range(self.load.waiting)]
        catalog = Catalog(self._store)
        if self.load.done:
            self._half_done(firsts[0])

        def accepted(each: tuple[str, Priority]) -> None:
            video_id, priority = each
            now = datetime.now(UTC)
            catalog.receive(video_id, 3600)
            catalog.accept(
                VideoRecord(
                    id=video_id, state=State.QUEUED, size=1, created_at=now, priority=priority
                )
            )
            sender.send(PartRef(video_id, 1, INSPECT), Pool.HEAD, priority)

        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(accepted, ids))

    def _half_done(self, video_id: str) -> None:
        """A film of which the first parts are there and shown: receipts, playlist and mark."""
        plan, now = stand_in.film(self.load.parts), datetime.now(UTC)
        create_document(self._store, layout.plan(video_id, 1), plan.model_dump(mode="json"))
        receipts = [
            stand_in.receipt(part, number)
            for number, part in enumerate(plan.parts[: self.load.done])
        ]

        def written(number: int) -> None:
            key = layout.receipt(video_id, 1, receipts[number].part)
            create_document(self._store, key, receipts[number].model_dump(mode="json"))

        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(written, range(len(receipts))))
        [track] = receipts[0].tracks
        segments = tuple(s for each in receipts for s in each.tracks[0].segments)
        path = playlist_path(1, stand_in.RUNG)
        text = growing_playlist(path, track.model_copy(update={"segments": segments}), 6)
        self._store.put(layout.play(video_id, path), text.encode())
        mark = LaneMark(parts=len(receipts), at=now, codecs={stand_in.RUNG: track.codec})
        document = Published(marks=(mark,)).model_dump(mode="json")
        create_document(self._store, layout.published(video_id, 1), document)

    def begin(self) -> None:
        """Start the processes; returns once they all run."""
        shares = [self.load.slots // _PROCESSES] * _PROCESSES
        shares[0] += self.load.slots - sum(shares)
        self._processes = [self._start(slots) for slots in (0, *shares)]
        for process in self._processes:
            _told(process)

    def _start(self, slots: int) -> subprocess.Popen[str]:
        crew = Crew(slots, self.load.parts, self.load.seconds)
        argv = (sys.executable, "-P", "-m", "benchmarks.slots", *crew.words)
        pipe = subprocess.PIPE
        own = environment(self._settings)
        return subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=own)

    def spent(self) -> Spent:
        """So far."""
        told = [_ask(process) for process in self._processes]
        requests = sum((Counter(each["requests"]) for each in told), Counter[str]())
        sweeper, *slots = told
        redis_cpu, s3_cpu = (sum(map(_cpu, tree)) for tree in self._servers)
        stats: Any = self._live.info("commandstats")
        commands = Counter(
            {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}
        )
        return Spent(
            at=time.monotonic(),
            parts=sum(each["parts"] for each in told),
            requests=requests,
            commands=commands,
            keys=sum(each["keys"] for each in told),
            sent=sum(each["sent"] for each in told),
            received=sum(each["received"] for each in told),
            slots_cpu=sum(each["cpu"] for each in slots),
            sweeper_cpu=sweeper["cpu"],
            redis_cpu=redis_cpu,
            s3_cpu=s3_cpu,
        )

    def until(self, holds: Callable[[Spent], bool], timeout: float) -> Spent:
        """What is spent once that ``holds``. Raises :class:`BenchmarkError`."""
        deadline = time.monotonic() + timeout
        while not holds(found := self.spent()):
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self.load} was not done within {timeout:g} s: {found}")
            time.sleep(_GLANCE)
        return found

    def busy(self) -> int:
        """Parts that slots work on now."""
        return int(self._live.zcard(Board(self._live, self._settings.namespace).keys.leases))

    def end(self) -> None:
        """At once: nothing of it is needed any more."""
        for process in self._processes:
            process.kill()
            process.communicate()


def _ask(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return _told(process)


def _told(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchmarkError(f"a process of slots ended with status {process.wait()}")
    document: dict[str, Any] = json.loads(line)
    return document


def _tree(pid: int | None) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
