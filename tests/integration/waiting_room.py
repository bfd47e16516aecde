"""What the tests of waiting share: accepted videos, one sweeper, and time that passes on demand.

Everything is the product's own but the clock. Redis has a clock that cannot be set, so whatever
it keeps a time of is made older instead: marks, leases, heartbeats and times to live.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from catalog.videos import Catalog
from farm.embedded import SeaweedFS
from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.ids import new_video_id
from jobs.parts import INSPECT, PartRef, Pool, Priority, queue_names
from jobs.records import VideoRecord
from jobs.send import Sender
from jobs.states import State
from media.binaries import Tools
from pipeline.advance import Advancer
from pipeline.bench import Bench, PlanShelf
from pipeline.source import SourceReader
from pipeline.sweeper import Sweeper
from storage import layout
from storage.client import client as s3_client
from storage.objects import ObjectStore
from transcoder.planner import PlanLimits
from transcoder.profile import load_profile

#: ARGV prefix, milliseconds. The sweeper's key is left: it says every second that it lives.
_AGE = """
local by = tonumber(ARGV[2])
local function older(ms) return string.format('%d', tonumber(ms) - by) end
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local ttl = redis.call('PTTL', key)
  if string.find(key, ':board:sweeper', 1, true) then
    ttl = -1
  elseif ttl >= 0 and ttl <= by then
    redis.call('DEL', key)
  elseif ttl > by then
    redis.call('PEXPIRE', key, ttl - by)
  end
  if string.find(key, ':board:parts:', 1, true) then
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      local state, ms, rest = string.match(all[i + 1], '^(%S+) (%S+)(.*)$')
      redis.call('HSET', key, all[i], state .. ' ' .. older(ms) .. rest)
    end
  elseif redis.call('TYPE', key)['ok'] == 'zset' then
    local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do redis.call('ZADD', key, older(all[i + 1]), all[i]) end
  end
end
"""

_WRITERS = 16


class CountingStore(ObjectStore):
    """Counts the requests that leave for S3, by operation."""

    @classmethod
    def on(cls, seaweedfs: SeaweedFS, prefix: str) -> CountingStore:
        config = seaweedfs.config(prefix=prefix)
        s3 = s3_client(config)
        store = cls(s3, config.bucket, config.prefix)
        store.requests = Counter[str]()

        def count(event_name: str, **_: Any) -> None:
            store.requests[event_name.rpartition(".")[2]] += 1

        s3.meta.events.register("before-send.s3", count)
        return store

    requests: Counter[str]


class CountingBroker(FarmBroker):
    """Counts the messages sent, by video."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sent = Counter[str]()

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        self.sent[message.args[0]] += 1
        return super().enqueue(message, delay=delay)


@dataclass
class Room:
    """A farm without workers."""

    store: CountingStore
    client: redis.Redis
    namespace: str
    now: float = 1000.0
    #: How often the sweeper read the inbox.
    reads: int = 0
    videos: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.board = Board(self.client, self.namespace)
        self.broker = CountingBroker(self.client, self.namespace)
        self.sender = Sender(self.broker, self.board)
        self.catalog = Catalog(self.store)
        self.advancer = Advancer(self._bench())
        self.sweeper = self.candidate("sweeper")
        self._age = self.client.register_script(_AGE)

    def _bench(self) -> Bench:
        nowhere = Path("/nonexistent")
        return Bench(
            store=self.store,
            catalog=self.catalog,
            board=self.board,
            sender=self.sender,
            tools=Tools(nowhere, nowhere),
            profile=load_profile(None),
            limits=PlanLimits(43_200.0, 8192 * 4352),
            host="here",
            plans=PlanShelf(self.store),
            sources=SourceReader(self.store),
        )

    def candidate(
        self,
        owner: str,
        waiting: Callable[[], Iterable[str]] | None = None,
        advance: Callable[[str], None] | None = None,
    ) -> Sweeper:
        """One that sweeps this farm, or what it is given instead."""
        return Sweeper(
            self.board,
            FarmBroker(self.client, self.namespace, maintains=True),
            waiting or self._waiting,
            advance or self.advancer.advance,
            owner=owner,
            monotonic=lambda: self.now,
        )

    def _waiting(self) -> Iterator[str]:
        self.reads += 1
        yield from self.catalog.trash()
        yield from self.catalog.inbox()

    def accept(self, count: int) -> None:
        """Have so many videos accepted, each a byte long; nothing is sent."""
        with ThreadPoolExecutor(_WRITERS) as pool:
            self.videos += pool.map(self._accepted, range(count))
        self.videos.sort()

    def _accepted(self, number: int) -> str:
        video_id = new_video_id()
        self.catalog.receive(video_id, 3600.0)
        self.store.put(layout.source(video_id), b"x")
        record = VideoRecord(id=video_id, state=State.QUEUED, size=1, created_at=datetime.now(UTC))
        self.catalog.accept(record)
        return video_id

    def ref(self, video_id: str) -> PartRef:
        return PartRef(video_id, 1, INSPECT)

    def hand_all_off(self) -> int:
        """What the API does after its answer, and again when clients repeat; how many were sent."""
        return sum(
            self.sender.send(self.ref(each), Pool.HEAD, Priority.NORMAL) for each in self.videos
        )

    def pass_time(self, seconds: float) -> None:
        """Let time go by, here and in Redis."""
        self.now += seconds
        self.age(seconds)

    def age(self, seconds: float) -> None:
        """Let time go by in Redis alone."""
        self._age([], [self.board.keys.broker, round(seconds * 1000)])

    def sweep(self, times: int, every: float = 30.0) -> None:
        """So many seconds go by and the inbox is read, so many times."""
        for _ in range(times):
            self.pass_time(every)
            self.sweeper.tick()

    def messages(self) -> tuple[int, int]:
        """Ids that wait in the queues, and messages that wait or are worked on."""
        keys, names = self.board.keys, queue_names(tuple(Pool))
        waiting = sum(int(self.client.llen(keys.queue(name))) for name in names)
        held = sum(int(self.client.hlen(keys.messages(name))) for name in names)
        return waiting, held

    def lose_message(self, video_id: str) -> None:
        """As if a queue had lost it."""
        _, _, queue, redis_id = self.client.hget(
            self.board.keys.parts(video_id), f"1/{INSPECT}"
        ).split()
        assert self.client.lrem(self.board.keys.queue(queue.decode()), 0, redis_id) == 1
        assert self.client.hdel(self.board.keys.messages(queue.decode()), redis_id) == 1

    def commands(self) -> Counter[str]:
        """Commands Redis has carried out, those of scripts among them, but for the ageing's."""
        stats: dict[str, Any] = self.client.info("commandstats")
        return Counter({name[len("cmdstat_") :]: row["calls"] for name, row in stats.items()})


def room(seaweedfs: SeaweedFS, redis_url: str, namespace: str) -> Room:
    """An empty one."""
    return Room(CountingStore.on(seaweedfs, f"{namespace}/"), connect_redis(redis_url), namespace)
