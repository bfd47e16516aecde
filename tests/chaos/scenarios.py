"""What may be going on when a process is cut off, and where the video may end then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import redis

from catalog.errors import CatalogError
from ingest.config import IngestConfig
from ingest.streams import part_size
from ingest.uploads import EXPIRES_IN
from jobs.send import QueueUnavailableError
from jobs.states import State
from pipeline.errors import TRIES
from pipeline.pictures import POSTER
from storage import layout
from storage.errors import StorageError
from tests.chaos.cuts import Pair
from tests.chaos.faulty import Fuse, KilledError
from tests.chaos.outcome import Outcome, assert_sound, assert_watchable, outcome_of
from tests.chaos.world import ID, Process, World

#: What there is before the scenario: nothing, or a video that is queued, has about half of its
#: parts, has errored so, or is ready.
Start = Literal["nothing", "queued", "halfway", "errored", "ready"]

#: Parts that make half of a film, the look at it being the first.
HALF: Final = {"short": 4, "stream": 1}


@dataclass(frozen=True)
class Scenario:
    """``act`` does, through ports that may fail, what begins at ``start`` of the ``film``."""

    name: str
    act: Callable[[World, Process], None]
    start: Start = "nothing"
    film: str = "short"
    #: Whether all objects are the same whenever the scenario ends in the same state.
    exact: bool = True


def _upload(world: World, process: Process) -> None:
    process.upload(world.studio.bytes())
    process.work()


def _upload_in_parts(world: World, process: Process) -> None:
    """What comes after it is as after any upload."""
    process.upload(b"a" * part_size(IngestConfig().max_upload), b"b")


def _work(world: World, process: Process) -> None:
    world.acknowledged = True
    process.advancer.advance(ID)
    process.work()


def _cancel(world: World, process: Process) -> None:
    """Of a run that was killed there is a picture without a receipt."""
    _lose_a_worker(world)
    world.store.put(layout.play(ID, POSTER), b"a picture")
    process.cancel()
    process.work()


def _cancel_in_the_middle(world: World, process: Process) -> None:
    """The worker is told while ffmpeg runs."""

    def interrupt() -> None:
        process.cancel()
        process.keeper.tick()

    Process(world).advancer.advance(ID)
    world.studio.interrupt = interrupt
    process.work()


def _delete(world: World, process: Process) -> None:
    process.delete()
    process.work()


def _delete_in_work(world: World, process: Process) -> None:
    _lose_a_worker(world)
    _delete(world, process)


def _retry(world: World, process: Process) -> None:
    process.retry()
    process.work()


def _fail(world: World, process: Process) -> None:
    """A part fails as often as it takes, and a dead letter says so."""
    world.studio.is_broken = True
    world.acknowledged = True
    process.advancer.advance(ID)
    process.work()
    for _ in range(TRIES):
        world.wait()
        process.sweeper.tick()
        process.work()


def _lose_a_worker(world: World) -> None:
    """Some parts are queued, and one is leased by a worker that is never heard of again."""
    sound = Process(world)
    sound.advancer.advance(ID)
    message = world.message()
    assert message is not None
    assert sound.board.take(message[2], "lost") is not None


#: Short ones first.
SCENARIOS: Final = (
    Scenario("delete in work", _delete_in_work, "halfway"),
    Scenario("cancel", _cancel, "halfway"),
    Scenario("upload in parts", _upload_in_parts),
    Scenario("delete", _delete, "ready"),
    Scenario("cancel in the middle", _cancel_in_the_middle, "halfway", exact=False),
    Scenario("fail", _fail, "halfway", exact=False),
    Scenario("stream", _work, "queued", "stream"),
    Scenario("upload", _upload),
    Scenario("retry", _retry, "errored"),
)


@dataclass(frozen=True)
class Reference:
    """What comes of a scenario without a fault, and the calls it makes."""

    acted: Outcome
    calls: tuple[str, ...]


@dataclass
class Archive:
    """Begins scenarios, and knows what comes of them undisturbed; everything is made once."""

    world: Callable[[], World]
    #: Between which kinds of writes there has been a death already, and in which scenario or film.
    tried: set[tuple[str, Pair]] = field(default_factory=set)
    _starts: dict[tuple[str, Start], dict[str, bytes]] = field(default_factory=dict)
    _references: dict[str, Reference] = field(default_factory=dict)
    _untouched: dict[str, Outcome] = field(default_factory=dict)

    def begin(self, scenario: Scenario) -> World:
        """An empty farm in which there is what the scenario starts with."""
        starts = self._prepared(scenario.film)
        world = self._empty(scenario.film)
        world.restore(starts[scenario.start])
        return world

    def queued(self) -> World:
        """A farm with a video that nobody has looked at yet."""
        return self.begin(Scenario("queued", _work, "queued"))

    def reference(self, scenario: Scenario) -> Reference:
        """What is right for the scenario."""
        if scenario.name not in self._references:
            world, fuse = self.begin(scenario), Fuse()
            _act(scenario, world, fuse)
            self._references[scenario.name] = Reference(_ended(world), tuple(fuse.calls))
        return self._references[scenario.name]

    def untouched(self, scenario: Scenario) -> Outcome:
        """What comes of the start where the scenario's request never came."""
        if scenario.name not in self._untouched:
            self._untouched[scenario.name] = _ended(self.begin(scenario))
        return self._untouched[scenario.name]

    def _empty(self, film: str) -> World:
        world = self.world()
        world.clear()
        world.studio.film = film
        world.studio.is_broken = False
        return world

    def _prepared(self, film: str) -> dict[Start, dict[str, bytes]]:
        if (film, "ready") not in self._starts:
            made = self._starts
            made[film, "nothing"] = {}
            world = self._empty(film)
            process = Process(world)
            process.upload(world.studio.bytes())
            made[film, "queued"] = world.objects()
            process.work(HALF[film])
            made[film, "halfway"] = world.objects()
            process.work()
            world.recover()
            made[film, "ready"] = world.objects()
            _assert_ready(world)
            world = self._empty(film)
            world.restore(made[film, "halfway"])
            _fail(world, Process(world))
            world.recover()
            assert world.state is State.ERRORED
            made[film, "errored"] = world.objects()
        return {start: objects for (name, start), objects in self._starts.items() if name == film}


def _assert_ready(world: World) -> None:
    record = world.record()
    assert record is not None
    assert record.state is State.READY
    assert [event.name for event in record.events] == ["accepted", "playable", "ready"]
    assert not record.warnings


def _act(scenario: Scenario, world: World, fuse: Fuse) -> None:
    try:
        scenario.act(world, Process(world, fuse))
    except (KilledError, StorageError, redis.RedisError, CatalogError, QueueUnavailableError):
        assert fuse.blown
    finally:
        world.studio.interrupt = None


def _ended(world: World) -> Outcome:
    """What there is after time went by and a sound process did all that was left to do."""
    world.wait(EXPIRES_IN)
    world.recover(assert_watchable)
    outcome = outcome_of(world)
    assert_sound(world)
    return outcome


def cut_off(archive: Archive, scenario: Scenario, fuse: Fuse) -> None:
    """Run the scenario until the fuse blows; in the end it is as if it never had.

    What was not acknowledged may also not have happened.
    """
    right = archive.reference(scenario)
    world = archive.begin(scenario)
    with _told(fuse):
        _act(scenario, world, fuse)
        if fuse.fault == "emptied":
            world.client.flushdb()
        assert_watchable(world)
        outcome = _ended(world)
        allowed = [right.acted, *([] if world.acknowledged else [archive.untouched(scenario)])]
        same = next((each for each in allowed if each.state is outcome.state), None)
        assert same is not None, outcome
        assert outcome.differences(same, exact=scenario.exact) == []


@contextmanager
def _told(fuse: Fuse) -> Iterator[None]:
    """What fails says at which call."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"after a fault: {fuse}")
        raise
