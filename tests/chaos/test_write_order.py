"""Cut off at any call to storage or Redis, the farm ends with what it would have had anyway.

The product's own code runs in this process, against real servers, through ports that fail at
their n-th call: the process is *killed* before the call, which is to say after the one before it;
the call is *refused*, with an error and without effect; or its answer is lost, the effect is
there and the caller sees an error. Then time passes, and a new process with sound ports sweeps
and works until nothing is left to do. That is done for every n that the scenario gets to.

Real ffmpeg makes every output once; from then on the same command has the same output at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from pathlib import Path
from secrets import token_hex
from threading import Lock
from types import SimpleNamespace
from typing import Any, Final, Literal

import anyio
import pytest
import redis
import structlog
from dramatiq import Message

from catalog.errors import CatalogError
from catalog.videos import TOMBSTONE, Catalog, utc_now
from ingest.config import IngestConfig, IngestDeps
from ingest.options import UploadOptions
from ingest.streams import part_size
from ingest.uploads import EXPIRES_IN, hand_off, take
from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.ids import new_video_id
from jobs.parts import INSPECT, PartRef, Pool, queue_names
from jobs.records import VideoRecord
from jobs.send import QueueUnavailableError, Sender
from jobs.states import State
from jobs.timings import Timings
from media.binaries import Tools, find_tools
from media.command import Command
from media.probe import probe
from media.probed import Probe
from media.process import Finished, Sink
from media.process import run as run_ffmpeg
from pipeline.advance import Advancer
from pipeline.bench import Bench, PlanShelf
from pipeline.keeper import Keeper
from pipeline.runner import Runner
from pipeline.sweeper import Sweeper
from pipeline.work import Workshop
from storage import layout
from storage.errors import NotFoundError, StorageError, UnavailableError
from storage.objects import ObjectStore, connect
from tests.numbered import ClipSpec, make_clip
from transcoder.planner import PlanLimits
from transcoder.profile import Profile

Fault = Literal["killed", "refused", "unanswered"]
FAULTS: Final[tuple[Fault, ...]] = ("killed", "refused", "unanswered")

#: All calls are some hundreds, of which each fault is tried at one in so many, a different one for
#: each; ``REELFARM_TEST_EVERY_CALL=1`` has every fault tried at every call, in some minutes.
EVERY: Final = bool(os.environ.get("REELFARM_TEST_EVERY_CALL"))
STRIDE: Final = 12 if EVERY else 24

#: More than any scenario makes calls, or needs rounds to come to its end.
CALLS, ROUNDS = 1000, 12

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
TIMINGS: Final = Timings(sent_grace=0.0, inbox_every=0.0)


class KilledError(BaseException):
    """The process is no more; nobody catches this."""


@dataclass
class Fuse:
    """Counts calls, and blows at the one of that number."""

    fault: Fault = "killed"
    at: int = 0
    calls: int = 0
    #: The call that it blew at.
    blown: str = ""
    _lock: Lock = field(default_factory=Lock)

    def through(self, name: str, call: Callable[[], Any], error: Exception) -> Any:
        with self._lock:
            self.calls += 1
            if self.calls == self.at:
                self.blown = name
            elif not self.blown or self.fault != "killed":
                name = ""
        if name and self.fault == "killed":
            raise KilledError(name)
        if name and self.fault == "refused":
            raise error
        answer = call()
        if name:
            raise error
        return answer


class FaultyPort:
    """An object store, or a multipart upload of one, behind a fuse."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not callable(method) or name == "presign":
            return method
        error = UnavailableError(name, "bucket", "key", "Injected", "the test had it fail.")

        def call(*args: Any, **options: Any) -> Any:
            def through() -> Any:
                answer = method(*args, **options)
                return list(answer) if isinstance(answer, Iterator) else answer

            answer = self._fuse.through(f"{name} {args[:1]}", through, error)
            if name == "multipart":
                return FaultyPort(answer, self._fuse)
            return iter(answer) if isinstance(answer, list) else answer

        return call


class FaultyRedis(redis.Redis):
    """A client behind a fuse."""

    fuse: Fuse

    def execute_command(self, *args: Any, **options: Any) -> Any:
        execute = super().execute_command
        error = redis.ConnectionError("the test had it fail")
        return self.fuse.through(str(args[:4]), lambda: execute(*args, **options), error)


@dataclass
class Recorded:
    """What one run of ffmpeg made."""

    pieces: dict[str, list[bytes]]
    finished: Finished


class Studio:
    """Real ffmpeg and ffprobe, each command run once."""

    def __init__(self) -> None:
        self.tools = find_tools()
        self._films: dict[tuple[str, ...], Recorded] = {}
        self._probed: Probe | None = None

    def probe(self, tools: Tools, url: str, **options: Any) -> Probe:
        self._probed = self._probed or probe(tools, url, **options)
        return self._probed

    def run(
        self, tools: Tools, command: Command, *, sinks: Mapping[str, Sink], **_: Any
    ) -> Finished:
        key = tuple("URL" if "://" in word else word for word in command.arguments)
        film = self._films.get(key)
        if film is None:
            pieces: dict[str, list[bytes]] = {name: [] for name in sinks}
            taken = {name: each.append for name, each in pieces.items()}
            film = Recorded(pieces, run_ffmpeg(tools, command, sinks=taken))
            self._films[key] = film
        for name, each in film.pieces.items():
            for piece in each:
                sinks[name](piece)
        return film.finished


class Upload:
    """A request's body."""

    def __init__(self, chunks: list[bytes]) -> None:
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

    def __init__(self, world: World, fuse: Fuse | None) -> None:
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
        bench = Bench(
            store=store, catalog=self.catalog, board=self.board, sender=sender,
            tools=world.studio.tools, profile=PROFILE, limits=PlanLimits(), host="h",
            ca_file=None, plans=PlanShelf(store),
        )  # fmt: skip
        self.advancer = Advancer(bench)
        self.runner = Runner(
            self.board,
            sender,
            Keeper(self.board, self.broker, lambda: None),
            SimpleNamespace(busy=lambda part: None),  # type: ignore[arg-type]
            Workshop(bench, self.advancer, jitter=lambda: 0.0),
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
            housekeep=self.catalog.housekeep,
        )

    def upload(self, *chunks: bytes) -> None:
        """What the API does for a request; the answer is on its way once it notes it."""

        async def answered() -> None:
            record = await take(self.deps, Upload(list(chunks)), ID)
            self.world.acknowledged = True
            await hand_off(self.deps, record)

        anyio.run(answered)

    def delete(self) -> None:
        """What the API does for a request to delete."""
        self.catalog.delete(ID)
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

    def recover(self) -> None:
        """Sweep and work with sound ports until there is nothing to do."""
        process = Process(self, None)
        for _ in range(ROUNDS):
            self.wait()
            process.sweeper.tick()
            process.work()
            if self.is_idle():
                return
        pytest.fail(f"it does not come to an end: {self.left()}")

    def is_idle(self) -> bool:
        keys = self.board.keys
        todo = [*self.store.list(layout.INBOX, limit=1), *self.store.list(layout.TRASH, limit=1)]
        return not todo and not self.client.exists(keys.parts(ID), keys.wakes)

    def left(self) -> list[str]:
        """All there is: objects, then what Redis has of the video."""
        redis_keys = [key.decode() for key in self.client.keys(f"*{self.namespace}*{ID}*")]
        return [info.key for info in self.store.list("")] + redis_keys

    def record(self) -> VideoRecord | None:
        try:
            return VideoRecord.model_validate_json(self.store.get(layout.record(ID)).body)
        except NotFoundError:
            return None

    @property
    def state(self) -> State | None:
        record = self.record()
        return record and record.state

    def restore(self, objects: Mapping[str, bytes]) -> None:
        for key, body in objects.items():
            self.store.put(key, body)

    def clear(self) -> None:
        for upload in list(self.store.uploads("")):
            self.store.abort_upload(*upload)
        self.store.delete([info.key for info in self.store.list("")])
        self.client.flushdb()


@pytest.fixture(scope="module")
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect_redis(redis_url) as found:
        yield found


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    """The pipeline, with ffmpeg runs that are remembered, and without pauses for the impatient."""
    made = Studio()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.encode.run_ffmpeg", made.run)
        patch.setattr("pipeline.pictures.run_ffmpeg", made.run)
        patch.setattr("pipeline.inspect.probe", made.probe)
        patch.setattr("pipeline.runner._REDIS_PAUSE", 0.0)
        yield made
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def film(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Five seconds of picture and sound: heads, one chunk, a stream of sound, pictures."""
    folder: Path = tmp_path_factory.mktemp("film")
    spec = ClipSpec(frames=125, size=(128, 72))
    return make_clip(folder / "film", studio.tools, spec).path.read_bytes()


@pytest.fixture
def worlds(
    object_store: ObjectStore, client: redis.Redis, studio: Studio
) -> Iterator[Callable[[], World]]:
    """Makes empty farms, one after the other, in the same storage and Redis."""

    def make() -> World:
        world = World(object_store, client, studio)
        world.clear()
        world.board.plant_sentinel()
        return world

    yield make
    make()


Result = tuple[dict[str, Any], dict[str, str]]

_RUN: Final = re.compile(r"\b(?<=1/)[0-9a-f]{12}(?=/)|\b[0-9a-f]{12}(?=/[a-z0-9-]+-\d{5}\.m4s)")
_TIMES: Final = {"created_at", "playable_at", "ready_at"}

#: Sound that is resumed is another stream of bytes than sound encoded in one go.
_RATE: Final = re.compile(r"(BANDWIDTH=|bandwidth=\")\d+")
_SOUND: Final = re.compile(r"audio-0-\d{5}\.m4s$")


def result(world: World) -> Result:
    """The record without times and rates, and what is played without run ids, by path."""
    record = world.record()
    assert record is not None, world.left()
    plain = record.model_dump(mode="json", exclude=_TIMES)
    plain["events"] = [event.id for event in record.events]
    plain["set"] = [name for name in sorted(_TIMES) if getattr(record, name) is not None]
    for rendition in plain["renditions"]:
        rendition["bandwidth"] = rendition["bandwidth"] > 0
        rendition["average_bandwidth"] = rendition["average_bandwidth"] > 0
    root = layout.video(ID)
    keys = [info.key for info in world.store.list(root)]
    keys = [key for key in keys if key != layout.record(ID)]
    objects = {_RUN.sub("RUN", key.removeprefix(root)): _digest(world, key) for key in keys}
    assert len(objects) == len(keys), f"the same segment of two runs: {keys}"
    return plain, objects


def _digest(world: World, key: str) -> str:
    if not key.startswith((layout.play(ID), layout.source(ID))) or _SOUND.search(key):
        return "present"
    body = world.store.get(key).body
    if key.endswith((".m3u8", ".mpd")):
        return _RATE.sub(r"\1N", _RUN.sub("RUN", body.decode()))
    return hashlib.sha256(body).hexdigest()


def assert_named(world: World) -> None:
    """Everything that playlists and the MPD name is there, and no segment that they do not."""
    root = layout.play(ID)
    paths = {info.key.removeprefix(root) for info in world.store.list(root)}
    named: dict[str, set[str]] = defaultdict(set)
    for path in sorted(paths):
        if not path.endswith((".m3u8", ".mpd")):
            continue
        text = world.store.get(root + path).body.decode()
        lists = r"^(?!#)(\S+)$|URI=\"([^\"]+)\""
        pattern = lists if path.endswith(".m3u8") else r"(?:media|sourceURL)=\"([^\"$]+)\""
        for match in re.finditer(pattern, text, re.MULTILINE):
            uri = next(group for group in match.groups() if group)
            named[path[-4:]].add(posixpath.normpath(posixpath.join(posixpath.dirname(path), uri)))
    own = {path for path in paths if path.endswith((".m3u8", ".m4s", ".mp4"))}
    assert named["m3u8"] == own - {"master.m3u8"}
    assert named[".mpd"] <= paths
    assert len(named[".mpd"] & {path for path in own if path.endswith(".m4s")}) > 1


def assert_ready(world: World, expected: Result, fuse: Fuse) -> None:
    """Just what an uninterrupted run gives, and no trace of the work."""
    assert_named(world)
    assert _differences(result(world), expected) == [], fuse
    outside = {info.key for info in world.store.list("")}
    outside -= {info.key for info in world.store.list(layout.video(ID))}
    assert outside == {layout.index(ID)}, fuse
    assert_no_trace(world)


def _differences(found: Result, expected: Result) -> list[tuple[str, Any, Any]]:
    pairs = zip(found, expected, strict=True)
    both = [(name, a.get(name), b.get(name)) for a, b in pairs for name in a | b]
    return [each for each in both if each[1] != each[2]]


def assert_no_trace(world: World) -> None:
    """Redis knows nothing of the video, and has no message of it."""
    assert world.client.keys(f"*{world.namespace}*{ID}*") == []
    keys = world.board.keys
    for times in (keys.leases, keys.retries, keys.wakes):
        assert world.client.zrange(times, 0, -1) == []
    assert [q for q in queue_names(tuple(Pool)) if world.client.hlen(keys.messages(q))] == []


def assert_deleted(world: World, fuse: Fuse) -> None:
    """A tombstone and its entry, and, once that has had its time, nothing at all."""
    left = [info.key for info in world.store.list("")]
    assert left[-1] == layout.record(ID), fuse
    # A purge that is repeated enters it once more, for a little later.
    entries, ids = left[:-1], {key.rpartition("-")[2] for key in left[:-1]}
    assert all(key.startswith(layout.TOMBSTONES) for key in entries), (fuse, left)
    assert ids == {ID}, (fuse, left)
    assert_no_trace(world)
    world.wait(2 * TOMBSTONE)
    Process(world, None).catalog.housekeep()
    assert world.left() == [], fuse


def cut_off(
    worlds: Callable[[], World],
    scenario: Callable[[World, Process], None],
    fault: Fault,
    first: int = 1,
    step: int = 1,
    restored: Mapping[str, bytes] | None = None,
) -> Iterator[tuple[World, Fuse]]:
    """Runs the scenario with a fault at the first call, and every so-many-th, to the end."""
    for at in range(first, CALLS, step):
        world, fuse = worlds(), Fuse(fault, at)
        world.restore(restored or {})
        try:
            scenario(world, Process(world, fuse))
        except (KilledError, StorageError, redis.RedisError, CatalogError, QueueUnavailableError):
            assert fuse.blown
        if not fuse.blown:
            assert at > 1
            return
        yield world, fuse
    pytest.fail(f"the scenario makes more than {CALLS} calls")


@dataclass(frozen=True)
class Uninterrupted:
    """What comes of the film, all objects then, and all objects half-way."""

    result: Result
    ready: Mapping[str, bytes]
    halfway: Mapping[str, bytes]


@pytest.fixture(scope="module")
def uninterrupted(
    seaweedfs: Any, client: redis.Redis, studio: Studio, film: bytes
) -> Iterator[Uninterrupted]:
    """An uninterrupted run; all others are measured by it."""
    store = connect(seaweedfs.config(prefix=f"test-{token_hex(6)}/"))
    world = World(store, client, studio)
    process = Process(world, None)
    process.upload(film)
    process.work(4)
    halfway = _objects(store)
    process.work()
    world.recover()
    found = result(world)
    record = world.record()
    assert record is not None
    assert record.state is State.READY
    assert [event.name for event in record.events] == ["accepted", "playable", "ready"]
    assert not record.warnings
    yield Uninterrupted(found, _objects(store), halfway)
    world.clear()
    store.close()


def _objects(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key).body for info in store.list("")}


def _slices() -> list[tuple[Fault, int]]:
    if EVERY:
        return [(fault, first) for fault in FAULTS for first in range(1, STRIDE + 1)]
    # Each fault begins elsewhere, so that together they are spread evenly.
    return [
        (fault, first)
        for place, fault in enumerate(FAULTS)
        for first in range(1 + 4 * place, STRIDE + 1, STRIDE // 2)
    ]


slices = pytest.mark.parametrize(("fault", "first"), _slices())
faults = pytest.mark.parametrize("fault", FAULTS)
thirds = pytest.mark.parametrize(("fault", "first"), list(zip(FAULTS, (1, 2, 3), strict=True)))


@slices
def test_an_upload_becomes_the_same_film(
    worlds: Callable[[], World], film: bytes, uninterrupted: Uninterrupted, fault: Fault, first: int
) -> None:
    def scenario(world: World, process: Process) -> None:
        process.upload(film)
        process.work()

    for world, fuse in cut_off(worlds, scenario, fault, first, STRIDE):
        world.wait(EXPIRES_IN)
        world.recover()
        if world.record() is None and not world.acknowledged:
            assert world.left() == [], fuse
        else:
            assert_ready(world, uninterrupted.result, fuse)


@faults
def test_an_upload_in_parts_is_there_or_gone(worlds: Callable[[], World], fault: Fault) -> None:
    chunks = [b"a" * part_size(IngestConfig().max_upload), b"b"]

    def scenario(world: World, process: Process) -> None:
        process.upload(*chunks)

    for world, fuse in cut_off(worlds, scenario, fault):
        process = Process(world, None)
        world.wait(EXPIRES_IN)
        process.sweeper.tick()
        record = world.record()
        if record is None and not world.acknowledged:
            assert world.left() == [], fuse
            assert list(world.store.uploads("")) == [], fuse
            continue
        assert record is not None, fuse
        assert (record.state, record.size) == (State.QUEUED, sum(map(len, chunks)))
        assert [event.name for event in record.events] == ["accepted"]
        assert world.store.head(layout.source(ID)).size == record.size
        assert list(process.catalog.inbox()) == [ID]
        message = world.message()
        assert message is not None, fuse
        assert message[2] == PartRef(ID, 1, INSPECT)


@thirds
def test_a_ready_video_is_deleted_or_untouched(
    worlds: Callable[[], World], uninterrupted: Uninterrupted, fault: Fault, first: int
) -> None:
    def scenario(world: World, process: Process) -> None:
        process.delete()
        process.work()

    begun = (1, 1) if EVERY else (first, 3)
    for world, fuse in cut_off(worlds, scenario, fault, *begun, restored=uninterrupted.ready):
        world.recover()
        if world.acknowledged or world.state is State.DELETING:
            assert_deleted(world, fuse)
        else:
            assert_ready(world, uninterrupted.result, fuse)


@thirds
def test_a_video_in_work_is_deleted_or_finished(
    worlds: Callable[[], World], uninterrupted: Uninterrupted, fault: Fault, first: int
) -> None:
    """Some parts are queued, and one is leased by a worker that is never heard of again."""

    def scenario(world: World, process: Process) -> None:
        sound = Process(world, None)
        sound.advancer.advance(ID)
        message = world.message()
        assert message is not None
        assert sound.board.take(message[2], "lost") is not None
        process.delete()
        process.work()

    begun = (1, 1) if EVERY else (first, 3)
    for world, fuse in cut_off(worlds, scenario, fault, *begun, restored=uninterrupted.halfway):
        world.recover()
        if world.acknowledged or world.state is State.DELETING:
            assert_deleted(world, fuse)
        else:
            assert_ready(world, uninterrupted.result, fuse)
