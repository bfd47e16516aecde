"""A GPU pool from outside, on a stand-in whose ffmpeg fails as those of real devices do.

Real processes, storage and Redis: one worker of the GPU pool, one of the others, the API.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog.videos import Catalog
from farm import connections, wiring
from farm.client import Client
from farm.embedded import SeaweedFS
from farm.settings import Settings, environment
from jobs.devices import DeviceInfo, devices
from jobs.keys import Keys
from jobs.records import VideoRecord
from media.binaries import Tools
from pipeline.advance import Advancer
from pipeline.gpu import Fleet
from pipeline.sweeper import Sweeper
from storage import layout
from storage.documents import load_document
from storage.objects import ObjectStore
from tests.conftest import ROOT
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import eventually
from tests.e2e.poisoned_worker import hasty
from tests.e2e.published import published
from tests.e2e.test_dead_letters import Crew, once_ended, serving, settings_of, threads
from tests.numbered import ClipSpec, read_numbers
from tests.standin import LOSES_PACKETS, NAME, NO_SESSION, WORKS, condition, register
from transcoder.encoders import HARDWARE
from transcoder.plan import Plan
from transcoder.segments import Receipt

SPEC = ClipSpec(frames=64)
#: A chunk in the middle of that film.
CHUNK = "v00003"


@dataclass
class GpuFarm:
    """The farm, and what its device is like."""

    client: Client
    settings: Settings
    store: ObjectStore
    folder: Path
    device: Path
    log: Path

    def faults(self, **by_part: list[str]) -> None:
        """What the device is like in each run of a part; ``all`` is for those not named."""
        told = {"*" if part == "all" else part: states for part, states in by_part.items()}
        (self.folder / "faults.json").write_text(json.dumps(told))

    def health(self, state: str) -> None:
        (self.folder / "health").write_text(state)
        condition(self.device, state)

    def told(self) -> DeviceInfo:
        with closing(connections.redis_client(self.settings)) as redis:
            (info,) = devices(redis, self.settings.namespace)
        return info

    def forget_failures(self) -> None:
        keys, name = Keys(self.settings.namespace), self.told().name
        with closing(connections.redis_client(self.settings)) as redis:
            redis.delete(keys.device_open(name), keys.device_failures(name))

    def process(self, file: Path) -> VideoRecord:
        video_id = self.client.upload(file)["id"]
        video = once_ended(self.client, video_id, self.log.read_text)
        assert video["status"] == "ready", f"{video['error']}\n{self.log.read_text()[-4000:]}"
        return Catalog(self.store).load(video_id)

    def plan(self, record: VideoRecord) -> Plan:
        key = layout.plan(record.id, record.generation)
        return Plan.model_validate(load_document(self.store, key)[0])

    def encoder(self, record: VideoRecord) -> str:
        video = self.plan(record).video
        assert video is not None
        return video.encoder

    def receipts(self, record: VideoRecord) -> dict[str, Receipt]:
        keys = [i.key for i in self.store.list(layout.receipts(record.id, record.generation))]
        found = (Receipt.model_validate(load_document(self.store, key)[0]) for key in keys)
        return {receipt.part: receipt for receipt in found}

    def shown(self, record: VideoRecord, tools: Tools) -> list[int]:
        """The numbers that a viewer of the largest rung sees."""
        film = published(self.client, self.client.video(record.id))
        return read_numbers(tools, film.master.variants[0].url, SPEC.size)

    def logged(self, event: str, video_id: str) -> int:
        lines = self.log.read_text().splitlines()
        return sum(1 for line in lines if f'"{event}"' in line and video_id in line)


@pytest.fixture(scope="module")
def running(
    seaweedfs: SeaweedFS, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GpuFarm]:
    folder = tmp_path_factory.mktemp("gpu")
    settings = settings_of(seaweedfs, redis_url, folder)
    device, log = folder / "standin0", folder / "workers.log"
    condition(device, WORKS)
    (folder / "faults.json").write_text("{}")
    register(device)
    argv = (sys.executable, "-P", "-m", "tests.e2e.standin_worker", str(device), str(folder))
    variables = environment(settings) | {"PYTHONPATH": str(ROOT)}
    gpu = Crew((*argv, "gpu"), variables, log, count=1)
    others = Crew((*argv, "head", "cpu"), variables, log, count=1)
    queue = hasty(settings, maintains=True)
    bench = wiring.bench(settings, queue)
    sweeper = Sweeper(
        queue.board, queue.broker, bench.catalog.inbox, Advancer(bench).advance, owner="test"
    )
    with (
        closing(gpu),
        closing(others),
        threads(gpu.look_after, others.look_after, sweeper.run),
        serving(settings) as client,
    ):
        farm = GpuFarm(client, settings, bench.store, folder, device, log)
        fleet = Fleet(queue.board, NAME, every=0.0)
        eventually(lambda: fleet.standing(NAME) == "works", 60.0, log.read_text)
        yield farm
    del HARDWARE[NAME]


@pytest.fixture
def farm(running: GpuFarm) -> Iterator[GpuFarm]:
    """The farm with a device that works."""
    running.faults()
    running.health(WORKS)
    running.forget_failures()
    yield running
    running.faults()
    running.health(WORKS)


def test_a_film_is_made_on_the_device_and_what_fails_once_there_the_second_time(
    farm: GpuFarm, clip: MakeClip, tools: Tools
) -> None:
    farm.faults(**{CHUNK: [NO_SESSION, WORKS]})
    record = farm.process(clip("gpu", SPEC).path)
    assert (record.generation, farm.encoder(record)) == (1, NAME)
    assert farm.shown(record, tools) == list(range(SPEC.frames))
    assert farm.logged("part_failed", record.id) == 1
    assert farm.told().failures == 1


def test_what_fails_twice_has_its_film_made_in_software(
    farm: GpuFarm, clip: MakeClip, tools: Tools
) -> None:
    """Here the device says nothing, and loses pictures."""
    farm.faults(**{CHUNK: [LOSES_PACKETS]})
    record = farm.process(clip("gpu", SPEC).path)
    assert (record.generation, farm.encoder(record)) == (2, "software")
    assert farm.shown(record, tools) == list(range(SPEC.frames))
    assert [e.name for e in record.events if e.name == "fell_back"] == ["fell_back"]
    assert [warning.code for warning in record.warnings] == ["fell_back"]
    assert not any(event.name in ("errored", "retried") for event in record.events)
    # The sound is that of the first generation; pictures and film are not made of its pieces.
    sound = farm.receipts(record)["a0-head"].tracks[0]
    assert all(segment.path.startswith("1/") for segment in sound.segments)
    chunk = farm.receipts(record)[CHUNK].tracks[0]
    assert all(segment.path.startswith("2/") for segment in chunk.segments)
    assert farm.logged("part_failed", record.id) == 1
    assert farm.told().failures == 2


def test_a_device_that_keeps_failing_gets_no_more_work_until_it_works(
    farm: GpuFarm, clip: MakeClip
) -> None:
    farm.faults(all=[NO_SESSION])
    farm.health(NO_SESSION)
    film = clip("gpu", SPEC).path
    failing = farm.process(film)
    told = farm.told()
    assert told.circuit != "closed"
    assert "OpenEncodeSessionEx failed: out of memory (10)" in told.reason
    # Parts failed together, and the film went over to software once.
    assert (failing.generation, farm.encoder(failing)) == (2, "software")
    while_out = farm.process(film)
    assert (while_out.generation, farm.encoder(while_out)) == (1, "software")

    farm.faults()
    farm.health(WORKS)
    eventually(lambda: farm.told().circuit == "closed", 30.0, farm.log.read_text)
    assert farm.logged("device_tried_again", "")
    after = farm.process(film)
    assert (after.generation, farm.encoder(after)) == (1, NAME)
