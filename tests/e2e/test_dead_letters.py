"""A part that kills every worker that takes it: the video ends, the farm and the others do not.

The API, the sweeper, storage and Redis are the farm's own, and so is everything that the workers
do; but each worker that begins the poisoned part is killed by SIGKILL, and replaced as a
supervisor would do.
"""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import uvicorn

from autoscaler.processes import ChildProcess
from farm import api_process, wiring
from farm.api_process import application
from farm.client import Client, Video
from farm.describe import TERMINAL
from farm.embedded import SeaweedFS
from farm.settings import Settings, environment, replaced
from ingest.server import server_config
from pipeline.advance import Advancer
from pipeline.sweeper import Sweeper
from tests.conftest import ROOT
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import OWN, eventually
from tests.e2e.poisoned_worker import PART, POISON, TIMINGS, hasty
from tests.numbered import ClipSpec

WORKERS = 2
#: Seconds; all of it takes some fifteen on a machine with nothing else to do.
PATIENCE = 120.0
SPEC = ClipSpec(frames=100)


@dataclass
class Crew:
    """Workers that are replaced as they die."""

    argv: tuple[str, ...]
    variables: dict[str, str]
    log: Path
    workers: list[ChildProcess] = field(default_factory=list)
    #: Process ids of workers that ended, and how.
    ended: list[tuple[int, int | None]] = field(default_factory=list)
    count: int = WORKERS

    def look_after(self, stop: Event) -> None:
        while not stop.wait(0.05):
            for worker in [each for each in self.workers if each.exit_code() is not None]:
                self.ended.append((worker.pid, worker.exit_code()))
                self.workers.remove(worker)
                worker.close()
            while len(self.workers) < self.count:
                self.workers.append(ChildProcess(self.argv, self.variables, self.log))

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.close()


@contextmanager
def threads(*runs: Callable[[Event], None]) -> Iterator[None]:
    """Each of ``runs`` in a thread of its own, until the block ends."""
    stop = Event()
    started = [Thread(target=run, args=(stop,)) for run in runs]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in started:
            thread.join(30)


@contextmanager
def serving(settings: Settings) -> Iterator[Client]:
    """The farm's API on a free port, in this process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        own = wiring.queue(settings)
        bench = wiring.bench(settings, own)
        app = application(settings, own, bench, api_process._measures(settings, own))
        server = uvicorn.Server(server_config(app, "127.0.0.1", port))
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            with Client(f"http://127.0.0.1:{port}") as client:
                eventually(lambda: server.started, 30.0)
                yield client
        finally:
            server.should_exit = True
            thread.join(30)


def sweep(settings: Settings) -> Callable[[Event], None]:
    """The farm's sweeper, with the short timings."""
    queue = hasty(settings, maintains=True)
    bench = wiring.bench(settings, queue)
    waiting = bench.catalog.inbox
    advance = Advancer(bench).advance
    return Sweeper(queue.board, queue.broker, waiting, advance, owner="test").run


def settings_of(seaweedfs: SeaweedFS, redis_url: str, directory: Path) -> Settings:
    """A farm on the servers of the tests, with a namespace and a prefix of its own."""
    config, own = seaweedfs.config(), f"poison-{secrets.token_hex(6)}"
    differing = {
        "s3_endpoint": config.endpoint,
        "s3_access_key": config.access_key,
        "s3_secret_key": config.secret_key,
        "s3_prefix": f"{own}/",
        "redis_url": redis_url,
        "namespace": own,
        "data_dir": directory / "data",
    }
    return replaced(Settings(), **(OWN | differing))


def reelfarm(client: Client, *arguments: str) -> Any:
    """What the command says as JSON, while it succeeds."""
    argv = (sys.executable, "-P", "-m", "farm", *arguments, "--url", client.url, "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def once_ended(client: Client, video_id: str, evidence: Callable[[], object]) -> Video:
    """The video once nothing more happens to it."""
    eventually(lambda: client.video(video_id)["status"] in TERMINAL, PATIENCE, evidence)
    return client.video(video_id)


def test_a_part_that_kills_its_workers_ends_its_video_and_nothing_else(
    seaweedfs: SeaweedFS, redis_url: str, clip: MakeClip, tmp_path: Path
) -> None:
    sound = clip("poisoned", SPEC).path
    bad = tmp_path / POISON
    shutil.copy(sound, bad)
    poison = tmp_path / "poison"
    poison.touch()
    settings = settings_of(seaweedfs, redis_url, tmp_path)
    log = tmp_path / "workers.log"
    argv = (sys.executable, "-P", "-m", "tests.e2e.poisoned_worker", str(poison))
    crew = Crew(argv, environment(settings) | {"PYTHONPATH": str(ROOT)}, log)
    with (
        closing(crew),
        threads(crew.look_after, sweep(settings)),
        serving(settings) as client,
    ):
        lost = client.upload(bad)["id"]
        kept = client.upload(sound)["id"]
        assert once_ended(client, kept, log.read_text)["status"] == "ready"
        video = once_ended(client, lost, log.read_text)
        assert (video["status"], video["error"]["code"]) == ("errored", "worker_crashed")
        assert PART in video["error"]["message"]

        (letter,) = reelfarm(client, "dlq")["dead_letters"]
        assert (letter["video_id"], letter["part"]) == (lost, PART)
        assert letter["filename"] == POISON
        assert letter["problem"] == video["error"]
        assert letter["counts"] == {"crashes": 3, "errors": 0, "drains": 0}
        assert_three_crashes(letter["attempts"], crew)

        poison.unlink()
        again = reelfarm(client, "dlq", "retry", letter["id"], "--wait")
        assert (again["id"], again["status"]) == (lost, "ready")
        assert reelfarm(client, "dlq")["dead_letters"] == []
    board = hasty(settings).board
    assert board.expired() == []
    assert not board.parts_in_flight(lost)


def assert_three_crashes(attempts: list[dict[str, Any]], crew: Crew) -> None:
    """Each where and when a worker was killed, and none in the time of another's lease."""
    assert [attempt["ending"] for attempt in attempts] == ["crash"] * 3
    assert {attempt["host"] for attempt in attempts} == {socket.gethostname()}
    assert [(each["pid"], -signal.SIGKILL) for each in attempts] == crew.ended
    assert {each["ended"] for each in attempts} == {None}
    times = [datetime.fromisoformat(each["began"]) for each in attempts]
    for before, after in pairwise(times):
        assert (after - before).total_seconds() >= TIMINGS.lease_ttl
