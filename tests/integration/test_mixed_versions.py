"""Workers of two versions share one farm: the older leaves the newer's work alone, and unharmed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import dramatiq
import pytest
import redis
from structlog.testing import capture_logs

from autoscaler.processes import ChildProcess
from catalog.errors import NewerSchemaError
from catalog.listing import Listing
from catalog.videos import Catalog
from farm import connections, wiring
from farm.embedded import SeaweedFS, Valkey
from farm.settings import Settings, environment, replaced
from jobs.broker import ACTOR, REDIS_ID
from jobs.demand import QueueDemand, demand
from jobs.ids import new_video_id
from jobs.parts import INSPECT, PartRef, Pool, Priority, queue_name, queue_names, queue_parts
from jobs.records import VideoRecord
from jobs.schema import NEEDS
from jobs.states import State
from pipeline.sweeper import Sweeper
from storage import layout
from storage.documents import create_document, load_document, replace_document
from storage.objects import ObjectStore
from tests.e2e.farm_process import OWN
from tests.e2e.farm_process import eventually as within
from tests.integration.api_server import ApiServer
from tests.integration.runtime_farm import VIDEO, Farm, eventually
from tests.integration.test_sweeper import Yard, yard
from tests.newer import python_of

__all__ = ["yard"]

NEWER = 2


@pytest.fixture
def runtime(
    redis_client: redis.Redis, redis_url: str, namespace: str, tmp_path: Path
) -> Iterator[Farm]:
    farm = Farm(redis_url, namespace, tmp_path)
    yield farm
    farm.close()


def commands(client: redis.Redis, seconds: float = 1.5) -> float:
    """Commands a second that Redis carries out, scripts' own calls among them."""

    def total() -> int:
        stats: dict[str, dict[str, int]] = client.info("commandstats")
        return sum(each["calls"] for each in stats.values())

    before = total()
    time.sleep(seconds)
    return (total() - before) / seconds


# Messages


def test_a_later_schema_has_queues_of_its_own_and_this_one_those_of_always() -> None:
    assert queue_names((Pool.CPU,), schema=1) == ("cpu.high", "cpu.normal", "cpu.low")
    assert queue_names((Pool.CPU,), schema=2)[:3] == ("cpu.high.s2", "cpu.high", "cpu.normal.s2")
    for schema in (1, NEWER):
        name = queue_name(Pool.HEAD, Priority.LOW, schema)
        assert queue_parts(name) == (Pool.HEAD, Priority.LOW, schema)


def test_an_old_worker_neither_takes_what_is_newer_nor_looks_at_it_again_and_again(
    runtime: Farm,
) -> None:
    runtime.worker()
    idle = commands(runtime.client)
    for number in range(100):
        runtime.send(f"newer{number}", schema=NEWER)
    waiting = commands(runtime.client)
    runtime.send("own")
    eventually(lambda: runtime.seen("end", "own"), timeout=2.0)

    assert waiting < 2 * idle + 5
    assert not [each for each in runtime.seen("start") if each.part.startswith("newer")]
    assert runtime.client.llen(runtime.board.keys.queue("cpu.normal.s2")) == 100

    runtime.worker(schema=NEWER)
    eventually(lambda: len(runtime.seen("end")) == 101)
    eventually(lambda: runtime.board.parts_in_flight(VIDEO) == set())


def test_a_message_that_is_newer_than_its_queue_is_passed_on_once_and_nothing_is_spent_on_it(
    runtime: Farm,
) -> None:
    ref, needs = PartRef(VIDEO, 1, "newer"), {NEEDS: NEWER}
    assert runtime.board.mark_sent(ref, "cpu.normal", "m")
    known = dramatiq.Message("cpu.normal", ACTOR, (VIDEO, 1, "newer"), {}, needs | {REDIS_ID: "m"})
    odd = dramatiq.Message("cpu.normal", "another", ("of", "its", "own", "kind"), {}, needs)
    for message in (known, odd):
        runtime.broker.enqueue(message)
    runtime.worker()
    runtime.send("own")
    eventually(lambda: runtime.seen("end", "own"))
    eventually(lambda: runtime.client.llen(runtime.board.keys.queue("cpu.normal.s2")) == 2)

    assert runtime.board.attempts(ref).starts == 0
    assert runtime.demand() == QueueDemand()
    assert runtime.client.zcard(runtime.board.keys.dead("cpu.normal")) == 0

    runtime.worker(schema=NEWER)
    eventually(lambda: runtime.seen("end", "newer"))


def test_a_mixed_farm_loses_nothing_and_gives_each_its_own(runtime: Farm) -> None:
    old, new = runtime.worker(), runtime.worker(schema=NEWER)
    for number in range(60):
        runtime.send(f"part{number}", schema=1 + number % 2)
    eventually(lambda: len(runtime.seen("end")) == 60)
    by_old = {each.part for each in runtime.seen("end", pid=old.pid)}
    by_new = {each.part for each in runtime.seen("end", pid=new.pid)}
    assert by_new >= {f"part{number}" for number in range(1, 60, 2)}
    assert len(by_old) + len(by_new) == 60, "something was done twice"


# Sweeping


class Newest:
    """A video that only a version with a later schema can move on."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.tried = 0

    def __call__(self, video_id: str) -> None:
        self.tried += 1
        raise NewerSchemaError(f"videos/{video_id}/video.json", {}, NEWER, 1)

    def sweeper(self) -> Sweeper:
        yard = self.yard
        return Sweeper(
            *(yard.board, yard.broker, lambda: [VIDEO], self), owner="old", monotonic=yard.clock
        )


def test_an_old_sweeper_says_once_that_it_leaves_a_video_and_does_not_try_for_ever(
    yard: Yard,
) -> None:
    yard.board.plant_sentinel()
    newest = Newest(yard)
    sweeper = newest.sweeper()
    with capture_logs() as logs:
        for _ in range(20):
            sweeper.tick()
            yard.clock.now += 31.0
            time.sleep(0.01)
    told = [each["log_level"] for each in logs if each["event"] == "video_left_to_newer_version"]
    assert told.count("warning") == 1
    assert "error" not in [each["log_level"] for each in logs]
    assert newest.tried <= 4, "ten minutes: once every five of them"


def test_the_newest_version_sweeps(yard: Yard) -> None:
    board = yard.board
    assert board.lead("old", schema=1)
    assert board.lead("new", schema=NEWER), "it can move every video on"
    assert not board.lead("old", schema=1)
    assert not board.lead("newer still", schema=NEWER)
    board.resign("new", schema=NEWER)
    assert board.lead("old", schema=1)


# Documents


@pytest.fixture
def catalog(object_store: ObjectStore) -> Catalog:
    return Catalog(object_store)


def accepted(catalog: Catalog, **fields: Any) -> VideoRecord:
    video_id = new_video_id()
    record = VideoRecord(
        id=video_id, state=State.QUEUED, size=3, created_at=datetime.now(UTC), **fields
    )
    catalog.receive(video_id, 60)
    catalog.accept(record)
    return record


def stamped(store: ObjectStore, key: str, **changes: Any) -> None:
    """The document as a later version would have written it."""
    document, etag = load_document(store, key)
    assert replace_document(store, key, document | changes, etag)


def test_a_newer_record_is_neither_read_nor_written(
    catalog: Catalog, object_store: ObjectStore
) -> None:
    mine, newer = accepted(catalog), accepted(catalog)
    key = layout.record(newer.id)
    stamped(object_store, key, schema_version=NEWER, state="dreaming")
    before = object_store.get(key).etag
    for touch in (
        catalog.load,
        catalog.cancel,
        catalog.delete,
        catalog.retry,
        lambda video_id: catalog.update(video_id, lambda r: r.with_event("x")),
    ):
        with pytest.raises(NewerSchemaError, match=rf"{key} was written by a newer .*schema 2;.*1"):
            touch(newer.id)
    assert object_store.get(key).etag == before
    page = Listing(catalog, object_store).page(None, 10, None)
    assert [video.id for video in page.videos] == [mine.id]


def test_a_newer_line_of_the_to_do_list_is_left_as_it_is(
    catalog: Catalog, object_store: ObjectStore
) -> None:
    record = accepted(catalog)
    stamped(object_store, layout.inbox(record.id), schema_version=NEWER, state="parked")
    with pytest.raises(NewerSchemaError):
        catalog.abandon(record.id)
    assert catalog.load(record.id).state is State.QUEUED


def test_a_field_of_a_later_version_outlives_what_an_older_one_writes(
    catalog: Catalog, object_store: ObjectStore
) -> None:
    record = accepted(catalog)
    key = layout.record(record.id)
    document, _ = load_document(object_store, key)
    events = [each | {"by": "somebody"} for each in document["events"]]
    stamped(object_store, key, mood="sunny", events=events)

    catalog.cancel(record.id)
    catalog.retry(record.id)

    found, _ = load_document(object_store, key)
    assert found["mood"] == "sunny"
    assert [each.get("by") for each in found["events"]] == ["somebody", None, None]
    assert found["generation"] == 2


def test_an_old_api_serves_what_it_can_of_a_newer_video(
    object_store: ObjectStore, catalog: Catalog
) -> None:
    record = accepted(catalog)
    key = layout.record(record.id)
    object_store.put(layout.play(record.id, "master.m3u8"), b"#EXTM3U\n")
    stamped(object_store, key, schema_version=NEWER, moods=["sunny"])
    before = object_store.get(key).etag
    path = f"/v1/videos/{record.id}"
    with ApiServer(object_store) as api:
        for answer in (
            api.client.get(path),
            api.client.delete(path),
            api.client.post(f"{path}/cancel"),
            api.client.post(f"{path}/retry"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "newer_version")
            assert answer.headers["retry-after"]
        assert api.client.get("/v1/videos").json()["videos"] == []
        assert api.client.get(f"/play/{record.id}/master.m3u8").content == b"#EXTM3U\n"
        assert object_store.get(key).etag == before
        stamped(object_store, key, state="deleting")
        assert api.client.get(f"/play/{record.id}/master.m3u8").status_code == 404


# A whole farm of two versions


@dataclass
class Mixed:
    """Storage, queue and processes; the test's own is of the older version."""

    settings: Settings
    store: ObjectStore
    queue: wiring.Queue
    catalog: Catalog
    folder: Path

    @contextmanager
    def worker(self, schema: int) -> Iterator[None]:
        child = ChildProcess(
            (*python_of(schema), "farm.worker_process", "head", "cpu"),
            environment(self.settings),
            self.log(schema),
        )
        try:
            yield
        finally:
            child.kill()
            child.close()

    def log(self, schema: int) -> Path:
        return self.folder / f"worker-{schema}.log"

    def film(self, path: Path, **fields: Any) -> VideoRecord:
        """An upload that was acknowledged; nobody has been told yet."""
        record = accepted(self.catalog, **fields)
        self.store.put(layout.source(record.id), path.read_bytes())
        return record

    def send(self, record: VideoRecord) -> PartRef:
        """As an old API does, which knows nothing of what others may make of it."""
        ref = PartRef(record.id, 1, INSPECT)
        assert self.queue.sender.send(ref, Pool.HEAD, Priority.NORMAL)
        return ref

    def state(self, record: VideoRecord) -> object:
        return load_document(self.store, layout.record(record.id))[0]["state"]

    def words(self) -> str:
        logs = [self.log(schema) for schema in (1, NEWER)]
        return "\n".join(each.read_text()[-3000:] for each in logs if each.exists())

    def newer_waiting(self) -> int:
        client, keys = self.queue.client, self.queue.board.keys
        return client.llen(keys.queue(queue_name(Pool.HEAD, Priority.NORMAL, NEWER)))


@pytest.fixture
def mixed(
    seaweedfs: SeaweedFS, valkey: Valkey, redis_client: redis.Redis, namespace: str, tmp_path: Path
) -> Iterator[Mixed]:
    config = seaweedfs.config(prefix=f"test-{secrets.token_hex(6)}/")
    servers = {
        "s3_endpoint": config.endpoint,
        "s3_region": config.region,
        "s3_bucket": config.bucket,
        "s3_prefix": config.prefix,
        "s3_access_key": config.access_key,
        "s3_secret_key": config.secret_key,
        "redis_url": valkey.url,
    }
    own = {"namespace": namespace, "data_dir": tmp_path / "data", "source_cache": 0}
    settings = replaced(Settings(), **(OWN | servers | own))
    with ExitStack() as stack:
        store = stack.enter_context(closing(connections.object_store(settings)))
        queue = wiring.queue(settings)
        stack.callback(queue.client.close)
        stack.callback(lambda: store.delete([info.key for info in store.list("")]))
        stop = Event()
        thread = Thread(target=wiring.sweeper(settings).run, args=(stop,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        yield Mixed(settings, store, queue, Catalog(store), tmp_path)


def test_a_farm_is_upgraded_host_by_host_and_every_video_ends_well(
    mixed: Mixed, make_clip: Callable[..., Path]
) -> None:
    clip = make_clip("small.mp4", seconds=2.0)
    with mixed.worker(1):
        plain = mixed.film(clip)
        mixed.send(plain)
        within(lambda: mixed.state(plain) == "ready", 60, mixed.words)

        by_record = mixed.film(clip, schema_version=NEWER)
        by_plan = mixed.film(clip)
        document, _ = load_document(mixed.store, layout.plan(plain.id, 1))
        newer_plan = document | {"schema_version": NEWER}
        create_document(mixed.store, layout.plan(by_plan.id, 1), newer_plan)
        refs = [mixed.send(by_record), mixed.send(by_plan)]
        within(lambda: mixed.newer_waiting() == 2, 30, mixed.words)
        time.sleep(1.5)

        for ref in refs:
            found = mixed.queue.board.attempts(ref)
            assert (found.starts, found.errors, found.crashes) == (1, 0, 0), "tried once, no error"
        assert [mixed.state(each) for each in (by_record, by_plan)] == ["queued", "queued"]
        assert "part_left_to_newer_version" in mixed.log(1).read_text()

        with mixed.worker(NEWER):
            for record in (by_record, by_plan):
                within(lambda record=record: mixed.state(record) == "ready", 60, mixed.words)
    stamp = load_document(mixed.store, layout.record(by_record.id))[0]["schema_version"]
    assert stamp == NEWER, "the newer version goes on writing what it wrote"
    assert not list(mixed.store.list(layout.DEAD_LETTERS))
    waiting = demand(mixed.queue.client, mixed.settings.namespace)
    assert sum(each.waiting for each in waiting.queues.values()) == 0
