"""Requests, deliveries, crashes and losses in any order: in the end every video has its end.

Hypothesis draws what happens to one video, done by the product's own code on real servers. Then
time passes and a sound process works until nothing is left: the video is ready, or what a request
or three crashes of a part made it, and nothing is half done.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from secrets import token_hex
from typing import Final

import pytest
from dramatiq import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from catalog.errors import UnknownVideoError
from jobs.broker import REDIS_ID
from jobs.records import VideoRecord
from jobs.states import TERMINAL, IllegalTransitionError, State
from tests.chaos.faulty import Fuse, KilledError
from tests.chaos.in_process import archive, studio
from tests.chaos.outcome import assert_sound
from tests.chaos.scenarios import Archive
from tests.chaos.world import ID, Process, World

__all__ = ["archive", "studio"]

#: What happens, and how far into its work a process gets that is killed or refused something.
ACTIONS: Final = st.one_of(
    st.tuples(st.sampled_from(("deliver", "duplicate", "lose", "expire")), st.just(0)),
    st.tuples(st.sampled_from(("cancel", "retry", "empty")), st.just(0)),
    st.tuples(st.sampled_from(("crash", "fail")), st.integers(1, 60)),
)
LIVES: Final = st.lists(ACTIONS, min_size=6, max_size=14)


class Life:
    """One video, and what was answered to requests about it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.canceled: set[int] = set()
        self.crashes = 0

    def act(self, action: str, calls: int) -> None:
        sound = Process(self.world)
        match action:
            case "deliver":
                sound.work(1)
            case "crash" | "fail":
                self._work_badly(Fuse("killed" if action == "crash" else "refused", calls))
            case "duplicate":
                self._duplicate()
            case "lose" if (message := self.world.message()) is not None:
                self.world.acknowledge(*message[:2])
            case "expire":
                self.world.wait()
                sound.sweeper.tick()
            case "empty":
                self.world.client.flushdb()
            case "cancel" | "retry":
                self._request(sound, action)

    def check(self) -> None:
        """The record is in no state that its events do not tell of."""
        record = self._record()
        ids = Counter(event.id for event in record.events)
        assert set(ids.values()) == {1}
        ends = [e for e in record.events if e.name in TERMINAL]
        assert len({event.id.split(":")[1] for event in ends}) == len(ends)
        now = [e.name for e in ends if e.id.split(":")[1] == str(record.generation)]
        assert now == ([record.state.value] if record.state in TERMINAL else [])

    def check_end(self) -> None:
        """It is over, and nobody but a request or its crashes ended it short of ready."""
        record = self._record()
        assert record.state in TERMINAL
        assert (record.generation in self.canceled) is (record.state is State.CANCELED)
        if record.state is State.ERRORED:
            assert record.error is not None
            assert record.error.code == "worker_crashed"
            assert self.crashes >= 3
        assert_sound(self.world)

    def _record(self) -> VideoRecord:
        record = self.world.record()
        assert record is not None
        return record

    def _work_badly(self, fuse: Fuse) -> None:
        with contextlib.suppress(KilledError):
            Process(self.world, fuse).work(1)
        self.crashes += fuse.fault == "killed"

    def _duplicate(self) -> None:
        found = self.world.message()
        if found is not None:
            queue, redis_id, ref = found
            keys = self.world.board.keys
            data = self.world.client.hget(keys.messages(queue), redis_id)
            assert isinstance(data, bytes)
            again = token_hex(8)
            copy = Message.decode(data).copy(options={REDIS_ID: again})
            assert tuple(copy.args) == (ref.video_id, ref.generation, ref.part)
            self.world.client.hset(keys.messages(queue), again, copy.encode())
            self.world.client.rpush(keys.queue(queue), again)

    def _request(self, sound: Process, action: str) -> None:
        generation = self._record().generation
        with contextlib.suppress(IllegalTransitionError, UnknownVideoError):
            if action == "cancel":
                sound.cancel()
                self.canceled.add(generation)
            else:
                sound.retry()


@pytest.mark.parametrize("few", [64, 0], ids=["short", "as if long"])
@pytest.mark.parametrize(
    "examples", [5, pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(1200)])]
)
def test_every_life_comes_to_its_end(
    archive: Archive, examples: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short video is looked at as thoroughly as can be; a long one is not, most of the time."""
    monkeypatch.setattr("pipeline.advance._FEW", few)

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        # Looking for the shortest life that fails would take minutes.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )
    @given(life=LIVES)
    def lived(life: list[tuple[str, int]]) -> None:
        video = Life(archive.queued())
        Process(video.world).advancer.advance(ID)
        for action, calls in life:
            video.act(action, calls)
            video.check()
        video.world.recover()
        video.check()
        video.check_end()

    lived()
