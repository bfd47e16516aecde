"""Who tells the metrics what, with real workers, storage and Redis: each fact once."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
import redis

from catalog.videos import Catalog
from farm.embedded import SeaweedFS
from jobs import milestones
from jobs.ids import new_video_id
from jobs.metrics import (
    LEASE_EXPIRIES,
    PART_DURATION,
    QUEUE_WAIT,
    TIME_TO_PLAYABLE,
    TIME_TO_READY,
    VIDEOS_ACCEPTED,
    VIDEOS_ENDED,
    WORKER_BUSY_SECONDS,
    WORKER_SECONDS,
    Metric,
)
from jobs.records import VideoRecord
from jobs.states import State
from jobs.tallies import Tallied, Tallies, read
from storage.errors import NotFoundError, UnavailableError
from storage.objects import ObjectStore, connect
from tests.integration.runtime_farm import Farm, eventually

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def farm(
    redis_client: redis.Redis, redis_url: str, namespace: str, tmp_path: Path
) -> Iterator[Farm]:
    farm = Farm(redis_url, namespace, tmp_path)
    yield farm
    farm.close()


def test_a_worker_that_is_told_to_go_has_told_everything(farm: Farm) -> None:
    worker = farm.worker()
    for part in ("one", "two", "failing"):
        farm.send(part)
    eventually(lambda: len(farm.seen("end")) == 2 and farm.seen("start", "failing"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    found = read(farm.client, farm.namespace)
    assert endings(found) == {"overtaken": 2, "given_back": 1}
    assert count(found, QUEUE_WAIT, "cpu.normal") == 3
    there = found.counters[WORKER_SECONDS][("cpu",)]
    assert 0 < found.counters[WORKER_BUSY_SECONDS][("cpu",)] < there


def test_a_worker_that_died_is_counted_by_the_sweeper(farm: Farm) -> None:
    worker = farm.worker()
    farm.send("long")
    eventually(lambda: bool(farm.seen("start", "long")))
    worker.kill()
    sweeper = farm.sweeper(())

    def swept() -> bool:
        sweeper.tick()
        return bool(farm.board.tallies.pending.get(LEASE_EXPIRIES.name))

    eventually(swept)
    sweeper.tick()
    assert farm.board.tallies.pending[LEASE_EXPIRIES.name] == 1


def test_of_many_who_end_a_video_one_tells(object_store: ObjectStore, namespace: str) -> None:
    many = [Tallies() for _ in range(6)]
    catalogs = [
        Catalog(object_store, on_change=partial(milestones.tally, tallies)) for tallies in many
    ]
    record = VideoRecord(id=new_video_id(1.7e9), state=State.QUEUED, size=4, created_at=BEGAN)
    catalogs[0].receive(record.id, 60.0)
    catalogs[0].accept(record)
    begun, over = Barrier(len(many)), BEGAN + timedelta(seconds=42)

    def ready(now: VideoRecord) -> VideoRecord:
        if now.state is State.QUEUED:
            return now.model_copy(update={"state": State.PROCESSING})
        if now.state is not State.PROCESSING:
            return now
        update = {"state": State.READY, "playable": True, "playable_at": over, "ready_at": over}
        return now.model_copy(update=update)

    def end(catalog: Catalog) -> None:
        begun.wait()
        for _ in range(4):
            catalog.update(record.id, ready)

    with ThreadPoolExecutor(len(many)) as pool:
        list(pool.map(end, catalogs))
    told = Counter[str]()
    for tallies in many:
        told.update(tallies.pending)  # type: ignore[arg-type]
    assert told[f"{VIDEOS_ENDED.name}\tready"] == told[VIDEOS_ACCEPTED.name] == 1
    for metric in (TIME_TO_PLAYABLE, TIME_TO_READY):
        of_it = {k.split("\t")[1]: v for k, v in told.items() if k.startswith(metric.name)}
        assert of_it.pop("sum") == 42
        assert list(of_it.values()) == [1]


def test_after_a_retry_the_time_counts_from_there(object_store: ObjectStore) -> None:
    tallies, now = Tallies(), [BEGAN + timedelta(hours=1)]
    catalog = Catalog(
        object_store, clock=lambda: now[0], on_change=partial(milestones.tally, tallies)
    )
    record = VideoRecord(id=new_video_id(1.7e9), state=State.QUEUED, size=4, created_at=BEGAN)
    catalog.receive(record.id, 60.0)
    catalog.accept(record)
    catalog.cancel(record.id)
    now[0] += timedelta(hours=1)
    catalog.retry(record.id)
    ended = now[0] + timedelta(seconds=7)
    for update in (
        {"state": State.PROCESSING},
        {"state": State.READY, "ready_at": ended, "playable": True, "playable_at": ended},
    ):
        catalog.update(record.id, lambda known, update=update: known.model_copy(update=update))
    assert tallies.pending[f"{VIDEOS_ENDED.name}\tcanceled"] == 1
    assert tallies.pending[f"{TIME_TO_READY.name}\tsum"] == 7
    catalog.delete(record.id)
    assert tallies.pending[f"{VIDEOS_ENDED.name}\tdeleting"] == 1


def test_a_fall_back_begins_nothing_anew(object_store: ObjectStore) -> None:
    """Neither from the acceptance, where it follows a retry, nor for who could play before it."""
    tallies, now = Tallies(), [BEGAN + timedelta(hours=1)]
    catalog = Catalog(
        object_store, clock=lambda: now[0], on_change=partial(milestones.tally, tallies)
    )
    record = VideoRecord(id=new_video_id(1.7e9), state=State.QUEUED, size=4, created_at=BEGAN)
    catalog.receive(record.id, 60.0)
    catalog.accept(record)
    catalog.cancel(record.id)
    now[0] += timedelta(hours=1)
    retried = now[0]

    def playable(known: VideoRecord) -> VideoRecord:
        update = {"state": State.PROCESSING, "playable": True, "playable_at": now[0]}
        return known.model_copy(update=update).with_event("playable", now[0])

    generation = catalog.retry(record.id).generation
    now[0] = retried + timedelta(seconds=2)
    catalog.update(record.id, playable)
    after = catalog.fall_back(record.id, generation, "fell_back")
    assert after.generation == generation + 1
    now[0] = retried + timedelta(seconds=5)
    catalog.update(record.id, playable)
    ended = retried + timedelta(seconds=7)
    ready = {"state": State.READY, "ready_at": ended}
    catalog.update(record.id, lambda known: known.model_copy(update=ready))
    assert tallies.pending[f"{TIME_TO_PLAYABLE.name}\tsum"] == 2
    assert tallies.pending[f"{TIME_TO_READY.name}\tsum"] == 7


def test_answers_of_the_storage_are_no_errors_and_outages_are(
    seaweedfs: SeaweedFS, namespace: str
) -> None:
    heard: list[tuple[str, float, str | None]] = []

    def watch(operation: str, seconds: float, code: str | None) -> None:
        heard.append((operation, seconds, code))

    config = seaweedfs.config(prefix=f"{namespace}/")
    store = connect(config, watch=watch)
    store.create("a", b"1")
    assert store.create("a", b"2") is None
    assert store.get("a").body == b"1"
    with pytest.raises(NotFoundError):
        store.get("b")
    store.delete(["a"])
    store.close()
    assert [(operation, code) for operation, _, code in heard] == [
        ("PutObject", None),
        ("PutObject", None),
        ("GetObject", None),
        ("GetObject", None),
        ("DeleteObjects", None),
    ]
    assert all(0 < seconds < 30 for _, seconds, _ in heard)
    heard.clear()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = connect(replace(config, endpoint=nowhere), tries=2, watch=watch)
        with pytest.raises(UnavailableError):
            store.get("a")
        store.close()
    assert [(operation, code) for operation, _, code in heard] == [
        ("GetObject", "EndpointConnectionError")
    ] * 2


def endings(found: Tallied) -> dict[str, float]:
    """Runs by how they ended."""
    runs: Counter[str] = Counter()
    for (_, _, _, outcome), each in found.histograms[PART_DURATION].items():
        runs[outcome] += sum(each.counts)  # type: ignore[assignment]
    return dict(runs)


def count(found: Tallied, metric: Metric, *labels: str) -> float:
    return sum(found.histograms[metric][labels].counts)
