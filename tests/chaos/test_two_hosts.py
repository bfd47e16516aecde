"""Two hosts, and the link between them cut: for a moment, and for longer than a lease.

Host A has the servers, the API and workers; B has workers that know A by its address. What B has
in work when the link goes is lost to A, which gives it to its own workers once the lease lapses;
B knows nothing of that, and goes on where it was once the link is back.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from autoscaler.processes import ChildProcess
from farm import connections, running
from farm.client import Client
from farm.embedded import SeaweedFS, Valkey
from farm.embedded.ports import free_ports
from farm.settings import Settings, environment, replaced
from jobs.parts import PartRef
from jobs.workers import WorkerInfo, list_workers
from media.binaries import Tools
from storage.objects import connect
from tests.chaos.checks import (
    RECOVERY,
    assert_flawless,
    assert_nothing_left,
    encoders,
    ended,
    is_chunk,
)
from tests.chaos.two_hosts import Cable, Host, two_hosts
from tests.e2e.farm_process import OWN, START, STOP, Farm, eventually
from tests.numbered import Clip, ClipSpec, make_clip
from transcoder.segments import Receipt

pytestmark = pytest.mark.long

PROFILE = Path(__file__).with_name("slow.toml")

#: Seconds; more than a lease and its sweep.
PAST_A_LEASE = 25.0


class OpenSeaweedFS(SeaweedFS):
    """One whose S3 others reach, too; they need its keys."""

    def _argv(self) -> list[str]:
        return [*super()._argv(), "-s3.ip.bind=0.0.0.0"]


class OpenValkey(Valkey):
    """One that others reach, too; they need its password."""

    def _argv(self) -> list[str]:
        return [*super()._argv(), "--bind", "0.0.0.0"]


@dataclass(frozen=True, slots=True)
class Two:
    """The farm as host A has it, and who works for it on B."""

    farm: Farm
    a: Host
    b: Host
    cable: Cable
    #: Of Redis.
    port: int
    #: Of B.
    log: Path

    @property
    def here(self) -> str:
        """The name of A."""
        return self.a.namespace

    @property
    def there(self) -> str:
        """The name of B."""
        return self.b.namespace

    def workers(self, host: str) -> list[WorkerInfo]:
        """Workers that have announced themselves."""
        everybody = list_workers(self.farm.redis, self.farm.namespace)
        return [worker for worker in everybody if worker.host == host]

    def answers(self) -> bool:
        """Whether A's Redis is reached from B."""
        with self.b.entered(), socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((self.a.address, self.port)) == 0

    def words(self) -> str:
        """What was said on B last."""
        return self.log.read_text(errors="replace")[-6000:]


@contextmanager
def at_two_hosts(directory: Path) -> Iterator[Two]:
    """The farm on both; the caller's thread is on host A meanwhile."""
    with networked(directory, PROFILE) as (found, here, there), ExitStack() as stack:
        stack.enter_context(started(found.a, here, found.farm.log, "up", "--tied", "--json"))
        eventually(lambda: running.find(here.data_dir), START, found.farm.log.read_text)
        with found.b.entered():
            stack.enter_context(started(found.b, there, found.log, "worker", "--json"))
        all_work(found)
        yield found


@contextmanager
def networked(directory: Path, profile: Path) -> Iterator[tuple[Two, Settings, Settings]]:
    """Both hosts with the servers on A, nothing else started, and the settings of each."""
    with two_hosts() as (a, b, cable), ExitStack() as stack:
        stack.enter_context(a.entered())
        valkey, seaweedfs = OpenValkey(directory / "valkey"), OpenSeaweedFS(directory / "seaweedfs")
        for server in (valkey, seaweedfs):
            stack.callback(server.stop)
            server.spawn()
        for server in (valkey, seaweedfs):
            server.wait_ready()
        here = _settings(directory / "a", valkey, seaweedfs, profile)
        there = replaced(
            here,
            data_dir=directory / "b",
            slots=2,
            redis_url=valkey.url.replace("127.0.0.1", a.address),
            s3_endpoint=seaweedfs.endpoint.replace("127.0.0.1", a.address),
        )
        farm = Farm(
            stack.enter_context(Client(here.address)),
            stack.enter_context(closing(connect(seaweedfs.config()))),
            stack.enter_context(closing(connections.redis_client(here))),
            here.namespace,
            directory / "farm.log",
        )
        yield Two(farm, a, b, cable, valkey.state.ports[0], directory / "b.log"), here, there


def _settings(data: Path, valkey: Valkey, seaweedfs: SeaweedFS, profile: Path) -> Settings:
    config = seaweedfs.config()
    servers = {
        "redis_url": valkey.url,
        "s3_endpoint": seaweedfs.endpoint,
        "s3_region": config.region,
        "s3_access_key": config.access_key,
        "s3_secret_key": config.secret_key,
    }
    own = {"data_dir": data, "port": free_ports(1)[0], "profile": profile, "slots": 1}
    return replaced(Settings(), **(OWN | own | servers))


@contextmanager
def started(host: Host, settings: Settings, log: Path, *command: str) -> Iterator[None]:
    """The command on the host that this thread is on."""
    scratch = log.parent / "tmp"
    scratch.mkdir(exist_ok=True)
    # A proxy of this machine's is none of theirs.
    inherited = {k: v for k, v in environment(settings).items() if not k.lower().endswith("_proxy")}
    variables = inherited | {"TMPDIR": str(scratch)}
    child = ChildProcess(
        (*host.named, sys.executable, "-P", "-m", "farm", *command), variables, log
    )
    try:
        yield
        assert child.exit_code() is None, log.read_text()[-3000:]
    finally:
        child.drain()
        child.release()
        try:
            eventually(lambda: child.exit_code() is not None, STOP)
        finally:
            child.kill()
            child.close()
    assert "processes_killed" not in log.read_text(), "a process did not end when it was told to"


@pytest.fixture(scope="module")
def clip(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Nine seconds: heads, two chunks and a sound track."""
    folder = tmp_path_factory.mktemp("clips")
    return make_clip(folder / "numbered", tools, ClipSpec(frames=225, size=(640, 360)))


def in_work_there(two: Two, clip: Clip) -> PartRef:
    """A chunk of the film that B encodes; workers of A do nothing until then."""
    found: list[PartRef] = []

    def looked() -> bool:
        for worker in two.workers(two.there):
            part = PartRef.parse(worker.part) if worker.part else None
            if part and is_chunk(two.farm, part) and encoders(worker):
                found.append(part)
        return bool(found)

    with suspended(two.workers(two.here)):
        two.farm.client.upload(clip.path)
        eventually(looked, RECOVERY, two.words)
    return found[0]


@contextmanager
def suspended(workers: list[WorkerInfo]) -> Iterator[None]:
    """They do nothing for as long as the block."""
    processes = [psutil.Process(worker.pid) for worker in workers]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


@contextmanager
def cut(two: Two) -> Iterator[None]:
    """Nothing gets from B to A for as long as the block, and B has noticed."""
    two.cable.pull()
    try:
        assert not two.answers()
        yield
        eventually(lambda: "lease_not_renewed" in two.log.read_text(), RECOVERY, two.words)
    finally:
        two.cable.plug()
    eventually(two.answers, RECOVERY)


def receipt_of(two: Two, part: PartRef) -> Receipt:
    """The part's receipt."""
    (found,) = (each for each in two.farm.receipts(part.video_id) if each.part == part.part)
    return found


def all_work(two: Two) -> None:
    """Wait until all workers of both hosts are there, and idle."""

    def idle() -> bool:
        both = [two.workers(host) for host in (two.here, two.there)]
        return all(len(each) > 1 and not any(w.part for w in each) for each in both)

    eventually(idle, 2 * RECOVERY, two.words)


def test_a_link_cut_for_a_moment_delays_the_film_and_nothing_else(
    tmp_path: Path, tools: Tools, clip: Clip
) -> None:
    with at_two_hosts(tmp_path) as two:
        part = in_work_there(two, clip)
        with cut(two):
            pass
        assert_flawless(two.farm, tools, clip, ended(two.farm, part.video_id, RECOVERY))
        all_work(two)
        assert_nothing_left(two.farm)


@pytest.mark.long
def test_a_link_cut_for_longer_than_a_lease_costs_the_work_beyond_it_and_nothing_else(
    tmp_path: Path, tools: Tools, clip: Clip
) -> None:
    """A makes what B had in work; B goes on with it when the link is back, and changes nothing."""
    with at_two_hosts(tmp_path) as two:
        farm = two.farm
        part = in_work_there(two, clip)
        video_id = part.video_id
        with cut(two):
            time.sleep(PAST_A_LEASE)
            assert_flawless(farm, tools, clip, ended(farm, video_id, RECOVERY))
            before = farm.record(video_id)
        assert receipt_of(two, part).host == two.here, "the lease did not lapse"
        all_work(two)
        assert_nothing_left(farm)
        assert farm.record(video_id) == before, "a worker of the past has changed the record"
        assert_flawless(farm, tools, clip, farm.client.video(video_id))
        assert served_there(two, tools, clip)


def served_there(two: Two, tools: Tools, clip: Clip) -> bool:
    """Whether B makes a film all by itself."""
    with suspended(two.workers(two.here)):
        video_id = two.farm.client.upload(clip.path)["id"]
        assert_flawless(two.farm, tools, clip, ended(two.farm, video_id, RECOVERY))
    return {receipt.host for receipt in two.farm.receipts(video_id)} == {two.there}
