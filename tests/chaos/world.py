"""One farm in this process: the product's own code on real servers; the test has the time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from functools import cache
from itertools import chain
from secrets import token_hex
from types import SimpleNamespace
from typing import Final

import anyio
import pytest
import redis
from dramatiq import Message

from catalog.videos import Catalog, utc_now
from ingest.config import IngestConfig, IngestDeps
from ingest.options import UploadOptions
from ingest.uploads import hand_off, take
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.ids import new_video_id
from jobs.parts import PartRef, Pool, queue_names
from jobs.records import VideoRecord
from jobs.send import Sender
from jobs.states import State
from jobs.timings import Timings
from pipeline.advance import Advancer
from pipeline.bench import Bench, PlanShelf
from pipeline.keeper import Keeper
from pipeline.runner import Runner
from pipeline.source import SourceReader
from pipeline.sweeper import Sweeper
from pipeline.work import Workshop
from storage import layout
from storage.errors import NotFoundError
from storage.objects import ObjectStore
from tests.chaos.faulty import FaultyPort, FaultyRedis, Fuse
from tests.chaos.studio import Studio
from transcoder.planner import PlanLimits
from transcoder.profile import Profile

#: The one video of every scenario.
ID: Final = new_video_id()

PROFILE: Final = Profile.model_validate(
    {
        "name": "tiny",
        "video": {
            "preset": "ultrafast", "gop": 1.0, "segment": 2.0, "chunk_shortest": 8.0,
            "rungs": [{"height": 72, "crf": 40, "maxrate": 90_000, "bufsize": 90_000}],
        },
    }
)  # fmt: skip

#: As in the farm, but that nothing is too young to be looked after: the time between is skipped.
TIMINGS: Final = Timings(sent_grace=0.0, inbox_every=0.0, resume_after=0.0)

#: More sweeps than any scenario needs to come to its end.
ROUNDS: Final = 12


@cache
def sources(store: ObjectStore) -> SourceReader:
    """One reader for all scenarios: it listens for as long as this process lives."""
    return SourceReader(store)


class Upload:
    """A request's body."""

    def __init__(self, chunks: tuple[bytes, ...]) -> None:
        self._chunks = chunks

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk

    def options(self) -> UploadOptions:
        return UploadOptions()

    def content_type(self) -> str | None:
        return "video/mp4"


class Process:
    """What one process of the farm acts with: an API, a worker and a sweeper."""

    def __init__(self, world: World, fuse: Fuse | None = None) -> None:
        store, client = world.store, world.client
        if fuse is not None:
            store = FaultyPort(store, fuse)  # type: ignore[assignment]
            client = FaultyRedis(connection_pool=client.connection_pool)
            client.fuse = fuse  # type: ignore[attr-defined]
        self.world = world
        self.catalog = Catalog(store, clock=lambda: utc_now() + world.later)
        self.board = Board(client, world.namespace, TIMINGS)
        self.broker = FarmBroker(client, world.namespace, TIMINGS, maintains=True)
        sender = Sender(self.broker, self.board)
        self.bench = Bench(
            store=store, catalog=self.catalog, board=self.board, sender=sender,
            tools=world.studio.tools, profile=PROFILE, limits=PlanLimits(), host="h",
            plans=PlanShelf(store), sources=sources(world.store),
        )  # fmt: skip
        self.advancer = Advancer(self.bench)
        self.keeper = Keeper(self.board, self.broker, lambda: None)
        self.runner = Runner(
            self.board,
            sender,
            self.keeper,
            SimpleNamespace(busy=lambda run, queue: None, idle=lambda: None),  # type: ignore[arg-type]
            Workshop(self.bench, self.advancer, jitter=lambda: 0.0),
            jitter=lambda: 0.0,
        )
        self.deps = IngestDeps(
            catalog=self.catalog, store=store, config=IngestConfig(),
            hand_off=lambda record: self.advancer.advance(record.id),
            progress=lambda video_id: {}, stop=self.board.request_stop, ready=dict,
        )  # fmt: skip
        self.sweeper = Sweeper(
            self.board,
            self.broker,
            lambda: chain(self.catalog.trash(), self.catalog.inbox()),
            self.advancer.advance,
            owner="sweeper",
        )

    def upload(self, *chunks: bytes) -> None:
        """What the API does for a request; the answer is on its way once the world is told."""

        async def answered() -> None:
            record = await take(self.deps, Upload(chunks), ID)
            self.world.acknowledged = True
            await hand_off(self.deps, record)

        anyio.run(answered)

    def delete(self) -> None:
        """What the API does for a request to delete."""
        self.catalog.delete(ID)
        self._stop()

    def cancel(self) -> None:
        """What the API does for a request to cancel."""
        self.catalog.cancel(ID)
        self._stop()

    def retry(self) -> None:
        """What the API does for a request to try again."""
        self.catalog.retry(ID)
        self.world.acknowledged = True
        self.advancer.advance(ID)

    def _stop(self) -> None:
        self.world.acknowledged = True
        self.board.request_stop(ID)
        self.advancer.advance(ID)

    def work(self, parts: int = 100) -> None:
        """Do what is queued, and what that queues; a message goes when it has been dealt with."""
        while parts and (found := self.world.message()) is not None:
            queue, redis_id, ref = found
            self.runner(ref, queue)
            self.world.acknowledge(queue, redis_id)
            parts -= 1


class World:
    """One farm's storage and Redis, and how late it is there."""

    def __init__(self, store: ObjectStore, client: redis.Redis, studio: Studio) -> None:
        self.store = store
        self.client = client
        self.studio = studio
        self.namespace = f"test-{token_hex(6)}"
        self.later = timedelta(0)
        #: Whether the scenario's request was answered as done.
        self.acknowledged = False
        self.board = Board(client, self.namespace, TIMINGS)
        self.board.plant_sentinel()

    def message(self) -> tuple[str, str, PartRef] | None:
        """The queue, Redis id and part of the next message."""
        for queue in queue_names(tuple(Pool)):
            redis_id = self.client.lindex(self.board.keys.queue(queue), 0)
            if redis_id is not None:
                data = self.client.hget(self.board.keys.messages(queue), redis_id)
                return queue, redis_id, PartRef(*Message.decode(data).args)
        return None

    def acknowledge(self, queue: str, redis_id: str) -> None:
        """Take a message off the queue."""
        self.client.lrem(self.board.keys.queue(queue), 1, redis_id)
        self.client.hdel(self.board.keys.messages(queue), redis_id)

    def wait(self, seconds: float = 60.0) -> None:
        """Let leases lapse and pauses end."""
        self.later += timedelta(seconds=seconds)
        keys = self.board.keys
        self.client.delete(keys.advance(ID), keys.sweeper)
        for times in (keys.leases, keys.retries, keys.wakes):
            for member in self.client.zrange(times, 0, -1):
                self.client.zadd(times, {member: 0})

    def recover(self, watch: Callable[[World], None] | None = None) -> None:
        """Sweep and work with sound ports until there is nothing to do.

        ``watch`` is called whenever something may have been published.
        """
        process = Process(self)
        for _ in range(ROUNDS):
            self.wait()
            process.sweeper.tick()
            if watch is not None:
                watch(self)
            process.work()
            if self.is_idle():
                return
        pytest.fail(f"it does not come to an end: {self.left()}")

    def is_idle(self) -> bool:
        """Whether neither storage nor Redis has anything left to be done."""
        keys = self.board.keys
        todo = [*self.store.list(layout.INBOX, limit=1), *self.store.list(layout.TRASH, limit=1)]
        return not todo and not self.client.exists(keys.parts(ID), keys.wakes)

    def left(self) -> list[str]:
        """All there is: objects, then what Redis has of the video."""
        redis_keys = [key.decode() for key in self.client.keys(f"*{self.namespace}*{ID}*")]
        return [info.key for info in self.store.list("")] + redis_keys

    def record(self) -> VideoRecord | None:
        """The video's durable record, be it a tombstone."""
        try:
            return VideoRecord.model_validate_json(self.store.get(layout.record(ID)).body)
        except NotFoundError:
            return None

    @property
    def state(self) -> State | None:
        """The video's state; None where there is no record."""
        record = self.record()
        return record and record.state

    def objects(self) -> dict[str, bytes]:
        """Everything in storage."""
        return {info.key: self.store.get(info.key).body for info in self.store.list("")}

    def restore(self, objects: Mapping[str, bytes]) -> None:
        """Put everything back that :meth:`objects` gave."""
        for key, body in objects.items():
            self.store.put(key, body)

    def clear(self) -> None:
        """Empty storage and Redis."""
        for upload in list(self.store.uploads("")):
            self.store.abort_upload(*upload)
        self.store.delete([info.key for info in self.store.list("")])
        self.client.flushdb()
        self.board.plant_sentinel()
