"""Whatever workers, sweepers and accidents do to parts in whatever order, the live record holds.

Hypothesis draws messages that are sent, lost and delivered twice, workers that die, come back late
and report, stops, and a Redis that is emptied; a model of a few lines says what must be true then.
Time is in the test's hands: a lease lapses, and a pause ends, when the test says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from time import monotonic

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs.board import Board
from jobs.leases import Attempts, Ending, Lease
from jobs.parts import PartRef
from jobs.timings import Timings

VIDEO = "01jz0000000000000000000000"
REFS = (PartRef(VIDEO, 1, "v00001"), PartRef(VIDEO, 1, "a0-rest"))
QUEUE = "cpu.normal"
#: Nothing lapses of itself; what is lost is lost at once.
PATIENT = Timings(lease_ttl=3600.0, sent_grace=0.0)

parts = st.sampled_from(REFS)
endings = st.sampled_from(("done", "error", "drain"))


@dataclass
class Part:
    """What ought to be true of one part."""

    state: str = "idle"
    #: The message that is marked sent, or the run that has the lease.
    message: str = ""
    owner: str = ""
    lapsed: bool = False
    stop: bool = False
    starts: int = 0
    errors: int = 0
    drains: int = 0
    #: Runs whose start is remembered, and those of them that have told how they ended.
    known: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)

    @property
    def attempts(self) -> Attempts:
        running = int(self.state == "leased")
        crashes = max(0, self.starts - self.errors - self.drains - running)
        return Attempts(self.starts, self.errors, self.drains, crashes)

    def idle(self) -> None:
        self.state, self.owner, self.message, self.lapsed, self.stop = "idle", "", "", False, False

    def lease(self, owner: str) -> None:
        self.idle()
        self.state, self.owner = "leased", owner

    def forget_counts(self) -> None:
        self.starts = self.errors = self.drains = 0
        self.known = []
        self.told = set()


class Parts(RuleBasedStateMachine):
    """A board, its queue's messages, the workers that think they have a lease, and the model."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        super().__init__()
        client.flushdb()
        self.client = client
        self.board = Board(client, namespace, PATIENT)
        self.numbers = count(1)
        self.parts = {ref: Part() for ref in REFS}
        self.runs: list[Lease] = []

    @rule(ref=parts, arrives=st.booleans())
    def send(self, ref: PartRef, arrives: bool) -> None:
        """A message is marked, and put on its queue unless the sender dies in between."""
        part, message = self.parts[ref], f"m{next(self.numbers)}"
        assert self.board.mark_sent(ref, QUEUE, message) is (part.state == "idle")
        if part.state == "idle":
            part.state, part.message = "sent", message
            if arrives:
                self.client.hset(self.board.keys.messages(QUEUE), message, "{}")

    @rule(ref=parts)
    def take_the_mark_back(self, ref: PartRef) -> None:
        part = self.parts[ref]
        self.board.unmark(ref, part.message or "another")
        if part.state == "sent":
            part.idle()

    @rule()
    def lose_all_messages(self) -> None:
        self.client.delete(self.board.keys.messages(QUEUE))

    @rule(ref=parts)
    def deliver(self, ref: PartRef) -> None:
        """A message of the part comes, be it a duplicate, or of a time that is over."""
        part, owner = self.parts[ref], f"run{next(self.numbers)}"
        lease = self.board.take(ref, owner, host="h", pid=1)
        may = part.state == "sent" or part.lapsed
        assert (lease is not None) is may
        if lease is not None:
            part.lease(owner)
            part.starts += 1
            part.known.append(owner)
            assert lease.attempts == part.attempts
            self.runs.append(lease)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def take_again(self, data: st.DataObject) -> None:
        """The answer got lost, and the run asks once more."""
        lease = data.draw(st.sampled_from(self.runs))
        part = self.parts[lease.ref]
        if part.owner == lease.owner:
            again = self.board.take(lease.ref, lease.owner, host="h", pid=1)
            assert again is not None
            assert again.attempts.starts == part.starts
            part.lapsed = False

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        """A run that lives, or was frozen and lives again, wants to keep its lease."""
        lease = data.draw(st.sampled_from(self.runs))
        part = self.parts[lease.ref]
        others = part.state == "leased" and part.owner != lease.owner
        assert self.board.renew(lease) is not others
        if not others:
            if part.owner != lease.owner:
                part.lease(lease.owner)
            part.lapsed = False

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), ending=endings, pause=st.booleans())
    def end(self, data: st.DataObject, ending: Ending, pause: bool) -> None:
        """A run reports its end, in time or late, once or twice."""
        lease = data.draw(st.sampled_from(self.runs))
        part, owner = self.parts[lease.ref], lease.owner
        mine = part.owner == owner
        waits = 3600.0 if pause and ending != "done" else None
        assert self.board.release(lease, ending, waits) is mine
        known = owner in part.known
        part.starts += ending != "done" and mine and not known
        if ending != "done" and owner not in part.told and (mine or known):
            part.told |= {owner} if known else set()
            part.errors += ending == "error"
            part.drains += ending == "drain"
        if mine:
            part.idle()
            part.state = "idle" if waits is None else "waiting"
            if ending == "done":
                part.forget_counts()

    @rule(ref=parts)
    def get_on(self, ref: PartRef) -> None:
        part = self.parts[ref]
        self.board.progressed(ref)
        if part.state == "leased":
            part.starts, part.errors, part.drains = 1, 0, 0
            part.known = part.known[-1:]

    @rule(ref=parts)
    def let_lapse(self, ref: PartRef) -> None:
        """The worker is dead or frozen for longer than a lease."""
        part = self.parts[ref]
        if part.state == "leased":
            self.client.zadd(self.board.keys.leases, {str(ref): 0})
            part.lapsed = True

    @rule()
    def sweep_leases(self) -> None:
        lapsed = {ref for ref, part in self.parts.items() if part.lapsed}
        found = self.board.expired()
        assert sorted(map(str, found)) == sorted(map(str, lapsed)), "each is handed out once"
        assert self.board.expired() == []
        self._idle(lapsed)

    @rule()
    def sweep_retries(self) -> None:
        """All pauses are over."""
        for member in self.client.zrange(self.board.keys.retries, 0, -1):
            self.client.zadd(self.board.keys.retries, {member: 0})
        waiting = {ref for ref, part in self.parts.items() if part.state == "waiting"}
        assert waiting <= set(self.board.due())
        assert self.board.due() == []
        self._idle(waiting)

    @rule()
    def sweep_marks(self) -> None:
        there = {key.decode() for key in self.client.hkeys(self.board.keys.messages(QUEUE))}
        lost = {
            ref for ref, part in self.parts.items()
            if part.state == "sent" and part.message not in there
        }  # fmt: skip
        found, deadline = set(self.board.lost(VIDEO)), monotonic() + 10
        while found != lost and monotonic() < deadline:  # a mark is lost a millisecond later
            found |= set(self.board.lost(VIDEO))
        assert found == lost
        assert self.board.lost(VIDEO) == []
        self._idle(lost)

    @rule()
    def ask_to_stop(self) -> None:
        self.board.request_stop(VIDEO)
        for part in self.parts.values():
            part.stop = part.state == "leased"

    @rule()
    def forget(self) -> None:
        self.board.forget(VIDEO)
        for part in self.parts.values():
            part.forget_counts()
            if part.state != "leased":
                part.idle()

    @rule()
    def empty_redis(self) -> None:
        self.client.flushdb()
        for part in self.parts.values():
            part.forget_counts()
            part.idle()

    @invariant()
    def the_board_is_as_the_model_says(self) -> None:
        on_their_way = {f"1/{r.part}" for r, part in self.parts.items() if part.state != "idle"}
        assert self.board.parts_in_flight(VIDEO) == on_their_way
        for ref, part in self.parts.items():
            assert self.board.holder(ref) == (part.owner or None)
            assert self.board.attempts(ref) == part.attempts

    @invariant()
    def one_run_at_most_has_a_part(self) -> None:
        for ref, part in self.parts.items():
            standings = {run.owner: self.board.standing(run) for run in self.runs if run.ref == ref}
            held = {owner: standing for owner, standing in standings.items() if standing != "gone"}
            expected = {part.owner: "stop" if part.stop else "held"} if part.owner else {}
            assert held == expected

    @invariant()
    def what_is_on_its_way_will_be_handed_out_if_it_gets_stuck(self) -> None:
        keys = self.board.keys
        for ref, part in self.parts.items():
            leased = self.client.zscore(keys.leases, str(ref)) is not None
            assert leased is (part.state == "leased")
            if part.state == "waiting":
                assert self.client.zscore(keys.retries, str(ref)) is not None

    def _idle(self, refs: set[PartRef]) -> None:
        for ref in refs:
            self.parts[ref].idle()


@pytest.mark.parametrize(
    "examples",
    [pytest.param(150), pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(900)])],
)
def test_the_live_record_follows_the_model(
    redis_client: redis.Redis, namespace: str, examples: int
) -> None:
    run_state_machine_as_test(
        lambda: Parts(redis_client, namespace),
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )
