"""Retries and dead letters on real servers: the history of a part, its end, its letter."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from catalog.errors import UnknownLetterError
from catalog.letters import DeadLetters
from catalog.videos import Catalog
from farm import cli
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.ids import new_video_id
from jobs.leases import Attempts, Lease
from jobs.letters import DeadLetter, letter_id
from jobs.parts import INSPECT, PartRef
from jobs.records import Problem, VideoRecord
from jobs.send import Sender
from jobs.states import State
from jobs.timings import Timings
from media.binaries import Tools
from media.command import Command
from media.errors import NotMediaError
from media.process import run as run_ffmpeg
from media.safety import input_options
from pipeline import work
from pipeline.advance import Advancer
from pipeline.bench import Bench, PlanShelf
from pipeline.fail import fail
from pipeline.letters import dead_letter
from pipeline.runs import Done, Outcome, Retry, Run
from pipeline.source import SourceReader
from pipeline.work import Workshop
from storage import layout
from storage.errors import DeniedError, StorageError, UnavailableError
from storage.objects import ObjectStore
from tests.integration.api_server import ApiServer, eventually
from transcoder.errors import Unplayable
from transcoder.planner import PlanLimits
from transcoder.profile import load_profile

REF = PartRef("01jz0000000000000000000000", 1, "v00001")
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
PROBLEM = Problem(code="encode_failed", message="It failed.", hint="Look.")


@pytest.fixture
def board(redis_client: redis.Redis, namespace: str) -> Board:
    return Board(redis_client, namespace)


def taken(board: Board, owner: str, ref: PartRef = REF) -> Lease:
    board.mark_sent(ref, "cpu.normal", owner)
    lease = board.take(ref, owner, host=f"host-of-{owner}", pid=len(owner))
    assert lease is not None
    return lease


def released(board: Board, lease: Lease, **why: str) -> None:
    """End a run by an error, and wait until the part may be sent again."""
    board.release(lease, "error", 0.0, **why)
    while not board.due():
        pass


def crash(board: Board, owner: str, ref: PartRef = REF) -> None:
    """A run that takes its part and is never heard of again."""
    hasty = Board(board.client, board.keys.namespace, Timings(lease_ttl=0.001))
    taken(hasty, owner, ref)
    while not hasty.expired():
        pass


def test_a_history_tells_crashes_errors_and_drains_apart(board: Board) -> None:
    crash(board, "a")
    released(board, taken(board, "bb"), code="encode_failed", message="no luck")
    board.release(taken(board, "ccc"), "drain")
    taken(board, "dddd")

    history = board.history(REF)
    assert [attempt.ending for attempt in history] == ["crash", "error", "drain", "running"]
    assert [(each.host, each.pid) for each in history] == [
        (f"host-of-{each.run}", len(each.run)) for each in history
    ]
    assert (history[1].code, history[1].message) == ("encode_failed", "no luck")
    assert [each.ended is None for each in history] == [True, False, False, True]
    for attempt in history:
        assert attempt.began is not None
        assert timedelta(0) <= datetime.now(UTC) - attempt.began < timedelta(minutes=1)
        assert attempt.ended is None or attempt.ended >= attempt.began
    assert board.attempts(REF) == Attempts(starts=4, errors=1, drains=1, crashes=1)


def test_a_history_is_bounded_and_lives_no_longer_than_the_counts(board: Board) -> None:
    for number in range(30):
        board.release(taken(board, f"run{number}"), "drain", message="x" * 10_000)
    history = board.history(REF)
    assert [each.run for each in history] == [f"run{number}" for number in range(10, 30)]
    assert {len(each.message) for each in history} == {300}
    assert board.attempts(REF).drains == 30

    key = board.keys.attempts(REF.video_id)
    assert 0 < board.client.pttl(key) <= board.timings.forgotten_after * 1000
    board.release(taken(board, "last"), "done")
    assert board.history(REF) == ()
    assert not board.client.exists(key)


def test_an_end_that_is_said_twice_counts_once(board: Board) -> None:
    lease = taken(board, "run")
    assert board.release(lease, "error", code="first")
    assert not board.release(lease, "error", code="second")
    assert board.attempts(REF) == Attempts(starts=1, errors=1)
    assert [(each.ending, each.code) for each in board.history(REF)] == [("error", "first")]


def test_an_end_said_late_is_an_error_after_all(board: Board) -> None:
    lease = taken(Board(board.client, board.keys.namespace, Timings(lease_ttl=0.001)), "late")
    while not board.expired():
        pass
    assert board.history(REF)[0].ending == "crash"
    assert not board.release(lease, "error", code="encode_failed")
    assert board.history(REF)[0].ending == "error"
    assert board.attempts(REF) == Attempts(starts=1, errors=1)


def test_a_part_that_got_on_is_told_of_from_there(board: Board) -> None:
    crash(board, "a")
    taken(board, "b")
    board.progressed(REF)
    assert [each.run for each in board.history(REF)] == ["b"]
    assert board.attempts(REF) == Attempts(starts=1)


def test_any_text_may_be_said_of_an_end(board: Board) -> None:
    text = "a\0b \"c\" 'd' \\ \n é 😀 \ud800"
    board.release(taken(board, "run"), "error", code="x", message=text)
    assert board.history(REF)[0].message == text.replace("\ud800", "?")


def test_a_run_after_redis_was_emptied_has_a_history_of_its_own(board: Board) -> None:
    lease = taken(board, "run")
    board.client.flushall()
    assert board.renew(lease)
    assert board.release(lease, "error", code="x")
    assert board.history(REF) == ()
    assert board.attempts(REF).errors == 1


@dataclass
class Room:
    """A workshop with a video to work on, in which a step does as the test wants it."""

    bench: Bench
    monkeypatch: pytest.MonkeyPatch
    record: VideoRecord
    runs: list[Run] = field(default_factory=list)

    @property
    def ref(self) -> PartRef:
        return PartRef(self.record.id, 1, INSPECT)

    @property
    def letter_id(self) -> str:
        return letter_id(self.ref)

    def work(self, step: Callable[[Run], object] = lambda run: None) -> Outcome:
        """One run of the part, which is sent and taken for it, and released after."""
        board, ref, owner = self.bench.board, self.ref, f"run{len(self.runs)}"
        board.mark_sent(ref, "head.normal", owner)
        lease = board.take(ref, owner, host="here", pid=1)
        assert lease is not None
        run = Run(ref, owner, lease.attempts)
        self.runs.append(run)
        self.monkeypatch.setattr(work, "inspect", lambda *_: step(run))
        try:
            outcome = Workshop(self.bench, Advancer(self.bench), jitter=lambda: 0.5)(run)
        except StorageError:
            board.release(lease, "drain")
            raise
        if isinstance(outcome, Retry):
            released(board, lease, code=outcome.reason, message=outcome.message)
        else:
            board.release(lease, "done")
        return outcome

    @property
    def state(self) -> State:
        return self.bench.catalog.load(self.record.id).state

    def letters(self) -> list[DeadLetter]:
        return list(self.bench.catalog.letters.page(100).letters)

    def ffmpeg(self, *arguments: str) -> Callable[[Run], object]:
        """A step that runs ffmpeg on the video's source, with a secret in its address."""
        key = layout.source(self.record.id)

        def step(run: Run) -> object:
            url = self.bench.store.presign(key, 60)
            given = (*input_options(url), "-i", url, *arguments)
            return run_ffmpeg(self.bench.tools, Command(given, 20.0), sinks={}, cancel=run.cancel)

        return step


def accepted(catalog: Catalog, store: ObjectStore, at: datetime = START) -> VideoRecord:
    video_id = new_video_id(at.timestamp())
    catalog.receive(video_id, 60.0)
    store.put(layout.source(video_id), b"This is no film.\n" * 100)
    record = VideoRecord(
        id=video_id, state=State.QUEUED, size=3, filename="holiday.mov", created_at=at
    )
    catalog.accept(record)
    return record


@pytest.fixture
def room(
    object_store: ObjectStore, board: Board, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> Room:
    catalog = Catalog(object_store)
    bench = Bench(
        store=object_store, catalog=catalog, board=board,
        sender=Sender(FarmBroker(board.client, board.keys.namespace), board), tools=tools,
        profile=load_profile(None), limits=PlanLimits(), host="here",
        plans=PlanShelf(object_store), sources=SourceReader(object_store),
    )  # fmt: skip
    return Room(bench, monkeypatch, accepted(catalog, object_store))


def raising(error: Exception) -> Callable[[Run], object]:
    def step(run: Run) -> object:
        raise error

    return step


def test_a_transient_error_backs_off_then_ends_the_video_with_a_letter(room: Room) -> None:
    outcomes = []
    while room.state is State.QUEUED:
        assert room.letters() == []
        outcomes.append(room.work(raising(KeyError("oops"))))

    *retries, end = outcomes
    assert end == Done()
    assert [each.after for each in retries if isinstance(each, Retry)] == [1.0, 2.0, 4.0]
    assert all(isinstance(each, Retry) and each.counted for each in retries)
    assert room.state is State.ERRORED
    (letter,) = room.letters()
    assert letter.problem.code == "internal_error"
    assert (letter.filename, letter.part, letter.generation) == ("holiday.mov", INSPECT, 1)
    assert letter.counts.model_dump() == {"crashes": 0, "errors": 4, "drains": 0}
    assert [each.run for each in letter.attempts] == ["run0", "run1", "run2", "run3"]
    assert {(each.ending, each.host, each.pid) for each in letter.attempts} == {
        ("error", "here", 1)
    }
    assert "oops" in letter.attempts[-1].message
    assert letter.evidence is None


@pytest.mark.parametrize(
    "error", [NotMediaError("nothing in it"), Unplayable("too_large", "It is.", "Smaller.")]
)
def test_an_input_that_is_refused_ends_at_once_and_is_not_the_operators_matter(
    room: Room, error: Exception
) -> None:
    assert room.work(raising(error)) == Done()
    assert room.state is State.ERRORED
    assert len(room.runs) == 1
    assert room.letters() == []


def test_a_letter_shows_what_ffmpeg_said_and_no_signature(room: Room) -> None:
    while room.state is State.QUEUED:
        room.work(room.ffmpeg("-f", "null", "-"))
    (letter,) = room.letters()
    found = letter.evidence
    assert found is not None
    assert str(room.bench.tools.ffmpeg) in found.argv
    assert (found.exit_status or 0) > 0
    assert any("Invalid data" in line for line in found.stderr)
    assert found.seconds > 0
    shown = letter.model_dump_json()
    assert layout.source(room.record.id) in shown
    for secret in ("Signature", "Credential", "X-Amz"):
        assert secret not in shown


def test_three_crashes_end_the_video_and_the_fourth_worker_lives(room: Room) -> None:
    for owner in ("a", "b", "c"):
        crash(room.bench.board, owner, room.ref)
    never = raising(AssertionError("the part was begun once more"))
    assert room.work(never) == Done()
    record = room.bench.catalog.load(room.record.id)
    assert record.error is not None
    assert record.error.code == "worker_crashed"
    (letter,) = room.letters()
    assert letter.problem == record.error
    assert letter.counts.model_dump() == {"crashes": 3, "errors": 0, "drains": 0}
    assert [(each.run, each.host, each.ending) for each in letter.attempts] == [
        (owner, f"host-of-{owner}", "crash") for owner in ("a", "b", "c")
    ]


def test_errors_and_drains_are_no_crashes(room: Room) -> None:
    board, ref = room.bench.board, room.ref
    for owner in ("a", "b"):
        crash(board, owner, ref)
    for number in range(5):
        board.release(taken(board, f"drained{number}", ref), "drain")
    assert isinstance(room.work(raising(KeyError("oops"))), Retry)
    assert room.state is State.QUEUED
    assert board.attempts(ref) == Attempts(starts=8, errors=1, drains=5, crashes=2)


def test_without_the_letter_the_video_does_not_end(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner in ("a", "b", "c"):
        crash(room.bench.board, owner, room.ref)

    def away(self: object, letter: DeadLetter) -> None:
        raise UnavailableError("PutObject", "bucket", letter.id, "503", "slow down")

    with monkeypatch.context() as outage:
        outage.setattr(DeadLetters, "put", away)
        with pytest.raises(StorageError):
            room.work()
    assert room.state is State.QUEUED

    room.work()
    assert room.state is State.ERRORED
    assert len(room.letters()) == 1


def test_the_letter_is_there_when_the_video_has_errored(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[DeadLetter]] = []
    update = Catalog.update

    def watched(self: Catalog, *arguments: Any) -> VideoRecord:
        seen.append(room.letters())
        return update(self, *arguments)

    for owner in ("a", "b", "c"):
        crash(room.bench.board, owner, room.ref)
    monkeypatch.setattr(Catalog, "update", watched)
    room.work()
    assert [len(letters) for letters in seen] == [1]


def test_redis_that_is_away_costs_the_letter_its_history_alone(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: object, ref: PartRef) -> None:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(Board, "history", away)
    while room.state is State.QUEUED:
        room.work(raising(KeyError("oops")))
    (letter,) = room.letters()
    assert letter.counts.errors == 4
    assert [(each.host, each.ending) for each in letter.attempts] == [("here", "error")]


def test_a_video_that_ended_otherwise_meanwhile_gets_no_letter(room: Room) -> None:
    def canceled(run: Run) -> object:
        room.bench.catalog.cancel(room.record.id)
        raise KeyError("oops")

    for _ in range(3):
        room.work(raising(KeyError("oops")))
    room.work(canceled)
    assert room.state is State.CANCELED
    assert room.letters() == []


def test_a_letter_that_comes_after_the_retry_goes_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = room.bench.catalog
    put = DeadLetters.put

    def late(self: DeadLetters, letter: DeadLetter) -> None:
        errored(catalog, room.record.id)
        catalog.retry(room.record.id)
        put(self, letter)

    monkeypatch.setattr(DeadLetters, "put", late)
    for owner in ("a", "b", "c"):
        crash(room.bench.board, owner, room.ref)
    room.work()
    assert room.state is State.QUEUED
    assert room.letters() == []


def put_letter(catalog: Catalog, record: VideoRecord, part: str = "v00001") -> DeadLetter:
    letter = dead_letter(PartRef(record.id, record.generation, part), PROBLEM, START)
    catalog.letters.put(letter)
    return letter


def errored(catalog: Catalog, video_id: str) -> VideoRecord:
    update = {"state": State.ERRORED, "error": PROBLEM}
    record = catalog.update(video_id, lambda each: each.model_copy(update=update))
    catalog.settle(video_id, record.generation)
    return record


def test_a_retry_of_the_video_removes_its_letters_and_no_others(room: Room) -> None:
    catalog = room.bench.catalog
    other = accepted(catalog, room.bench.store)
    put_letter(catalog, room.record)
    put_letter(catalog, room.record, "v00002")
    kept = put_letter(catalog, other)
    errored(catalog, room.record.id)
    catalog.retry(room.record.id)
    assert room.letters() == [kept]


def test_a_retry_that_was_cut_off_removes_them_when_it_is_carried_out(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = room.bench.catalog
    put_letter(catalog, room.record)
    errored(catalog, room.record.id)

    def cut(self: object, *_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as death:
        death.setattr(Catalog, "_renew", cut)
        with pytest.raises(SystemExit):
            catalog.retry(room.record.id)
    assert len(room.letters()) == 1
    Advancer(room.bench).advance(room.record.id)
    assert room.state is State.QUEUED
    assert room.letters() == []


def test_a_retry_that_comes_late_keeps_the_letter_of_the_next_failure(room: Room) -> None:
    catalog = room.bench.catalog
    seen = errored(catalog, room.record.id)
    again = catalog.retry(room.record.id)
    errored(catalog, again.id)
    letter = put_letter(catalog, again)
    catalog._renew(seen)  # the second of two requests made at once
    assert room.letters() == [letter]


def test_a_deleted_video_leaves_no_letter(room: Room) -> None:
    catalog = room.bench.catalog
    put_letter(catalog, room.record)
    errored(catalog, room.record.id)
    catalog.delete(room.record.id)
    catalog.purge(room.record.id)
    assert room.letters() == []


@pytest.mark.parametrize("state", [State.READY, State.CANCELED])
def test_a_letter_goes_with_any_other_end(room: Room, state: State) -> None:
    catalog = room.bench.catalog
    put_letter(catalog, room.record)
    processing = {"state": State.PROCESSING}
    catalog.update(room.record.id, lambda each: each.model_copy(update=processing))
    catalog.update(room.record.id, lambda each: each.model_copy(update={"state": state}))
    Advancer(room.bench).advance(room.record.id)
    assert room.letters() == []


def test_the_letter_of_an_end_that_was_cut_off_gives_way_to_the_next(room: Room) -> None:
    catalog = room.bench.catalog
    first = put_letter(catalog, room.record)
    other = Problem(code="other", message="m", hint="h")
    second = first.model_copy(update={"problem": other})
    catalog.letters.put(second)
    assert catalog.letters.load(first.id) == second
    catalog.letters.remove(first.id)
    with pytest.raises(UnknownLetterError):
        catalog.letters.load(first.id)


def failing(bench: Bench, record: VideoRecord, part: str, code: str = "other") -> DeadLetter:
    """End the video over a part; its letter."""
    problem = Problem(code=code, message="m", hint="h")
    letter = dead_letter(PartRef(record.id, record.generation, part), problem, START)
    fail(bench, record.id, record.generation, problem, letter)
    return letter


def test_only_the_letter_of_what_ended_the_video_stays(room: Room) -> None:
    """Not that of another part whose end was cut off, nor one of an earlier generation."""
    put_letter(room.bench.catalog, room.record, "v00002")
    letter = failing(room.bench, room.record, "v00001")
    assert [each.id for each in room.letters()] == [letter.id]

    room.bench.catalog.retry(room.record.id)
    put_letter(room.bench.catalog, room.record, "v00003")
    again = room.bench.catalog.load(room.record.id)
    second = failing(room.bench, again, "v00001")
    assert [each.id for each in room.letters()] == [second.id]


@pytest.mark.parametrize("other", ["v00002", "v00001"])
def test_of_two_that_fail_together_one_ends_the_video(
    room: Room, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    put = DeadLetters.put

    def late(self: DeadLetters, letter: DeadLetter) -> None:
        with monkeypatch.context() as first:
            first.setattr(DeadLetters, "put", put)
            failing(room.bench, room.record, other, "first")
        put(self, letter)

    monkeypatch.setattr(DeadLetters, "put", late)
    with capture_logs() as logs:
        failing(room.bench, room.record, "v00001", "second")
    assert [each["code"] for each in logs if each["event"] == "video_errored"] == ["first"]
    error = room.bench.catalog.load(room.record.id).error
    assert error is not None
    assert error.code == "first"
    assert [each.part for each in room.letters()] == [other]


def denying(monkeypatch: pytest.MonkeyPatch, *operations: str) -> None:
    """A policy of the bucket that lets nobody do that with dead letters."""

    def guarded(operation: str) -> Callable[..., Any]:
        allowed = getattr(ObjectStore, operation)

        def guard(self: ObjectStore, keys: Any, *rest: Any, **more: Any) -> Any:
            first = next(iter(keys), "") if isinstance(keys, list) else keys
            if first.startswith(layout.DEAD_LETTERS):
                raise DeniedError(operation, self.bucket, first, "AccessDenied", "no")
            return allowed(self, keys, *rest, **more)

        return guard

    for operation in operations:
        monkeypatch.setattr(ObjectStore, operation, guarded(operation))


def test_a_storage_that_takes_no_letters_holds_no_end_up(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as policy, capture_logs() as logs:
        denying(policy, "put", "create", "list", "delete")
        while room.state is State.QUEUED:
            room.work(raising(KeyError("oops")))
    assert len(room.runs) == 4
    assert room.letters() == []
    assert list(room.bench.catalog.inbox()) == []
    events = [each["event"] for each in logs]
    assert {"dead_letter_not_written", "dead_letters_not_removed", "video_errored"} <= set(events)


def test_a_storage_that_keeps_letters_holds_no_other_end_nor_a_retry_up(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = room.bench.catalog
    denying(monkeypatch, "list", "delete")
    catalog.cancel(room.record.id)
    Advancer(room.bench).advance(room.record.id)
    assert list(catalog.inbox()) == []
    assert catalog.retry(room.record.id).state is State.QUEUED


def test_a_letter_that_cannot_be_read_hides_no_other(room: Room) -> None:
    catalog, other = room.bench.catalog, accepted(room.bench.catalog, room.bench.store)
    kept = put_letter(catalog, room.record)
    broken = [layout.dead_letter(letter_id(PartRef(other.id, 1, part))) for part in ("v1", "v2")]
    room.bench.store.put(broken[0], b"no JSON")
    room.bench.store.put(broken[1], b"{}")
    with capture_logs() as logs:
        assert room.letters() == [kept]
    found = [each["key"] for each in logs if each["event"] == "dead_letter_unreadable"]
    assert sorted(found) == broken


def test_the_run_that_fails_a_video_settles_it(room: Room) -> None:
    """Its own lease is none to wait for."""
    while room.state is State.QUEUED:
        room.work(raising(KeyError("oops")))
    board = room.bench.board
    assert list(room.bench.catalog.inbox()) == []
    assert board.client.zcard(board.keys.wakes) == 0


@pytest.fixture
def api(object_store: ObjectStore) -> Iterator[ApiServer]:
    with ApiServer(object_store) as server:
        yield server


def failed_video(api: ApiServer, number: int = 0) -> tuple[VideoRecord, DeadLetter]:
    record = accepted(api.catalog, api.store, START + timedelta(seconds=number))
    letter = put_letter(api.catalog, record)
    return errored(api.catalog, record.id), letter


def test_letters_are_listed_newest_video_first_page_by_page(api: ApiServer) -> None:
    wanted = [failed_video(api, number)[1].id for number in range(5)][::-1]
    found: list[str] = []
    query: dict[str, str] = {}
    while True:
        answer = api.client.get("/v1/farm/dead-letters", params={"limit": "2", **query})
        assert answer.status_code == 200
        found += [letter["id"] for letter in answer.json()["dead_letters"]]
        if answer.json()["next"] is None:
            break
        query = {"cursor": answer.json()["next"]}
    assert found == wanted


def test_a_letter_is_shown_and_retried(api: ApiServer) -> None:
    record, letter = failed_video(api)
    shown = api.client.get(f"/v1/farm/dead-letters/{letter.id}").json()
    assert shown["video_id"] == record.id
    assert shown["problem"] == PROBLEM.model_dump()
    assert shown["counts"] == {"crashes": 0, "errors": 0, "drains": 0}

    answer = api.client.post(f"/v1/farm/dead-letters/{letter.id}/retry")
    assert answer.status_code == 202
    assert answer.headers["location"].endswith(f"/v1/videos/{record.id}")
    assert (answer.json()["id"], answer.json()["status"]) == (record.id, "queued")
    assert eventually(lambda: [each.generation for each in api.ports.handed] == [2])
    assert api.client.get("/v1/farm/dead-letters").json() == {"dead_letters": [], "next": None}
    again = api.client.post(f"/v1/farm/dead-letters/{letter.id}/retry")
    assert (again.status_code, again.json()["code"]) == (404, "unknown_dead_letter")


def test_a_letter_whose_video_is_not_over_is_not_retried(api: ApiServer) -> None:
    record = accepted(api.catalog, api.store)
    letter = put_letter(api.catalog, record)
    answer = api.client.post(f"/v1/farm/dead-letters/{letter.id}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert len(api.client.get("/v1/farm/dead-letters").json()["dead_letters"]) == 1


@pytest.mark.parametrize("name", ["nonsense", "..%2Finbox", REF.video_id, f"{REF.video_id}-1-x"])
def test_an_unknown_letter_is_a_problem(api: ApiServer, name: str) -> None:
    for method, path in (("GET", name), ("POST", f"{name}/retry")):
        answer = api.client.request(method, f"/v1/farm/dead-letters/{path}")
        assert answer.status_code == 404
        assert answer.json()["code"] in ("unknown_dead_letter", "not_found")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=x", "cursor=..%2Fx"])
def test_a_listing_that_makes_no_sense_is_refused(api: ApiServer, query: str) -> None:
    answer = api.client.get(f"/v1/farm/dead-letters?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_the_description_tells_of_them(api: ApiServer) -> None:
    paths = api.client.get("/openapi.json").json()["paths"]
    assert "202" in paths["/v1/farm/dead-letters/{letter_id}/retry"]["post"]["responses"]
    assert set(paths["/v1/farm/dead-letters"]) == {"get"}


@pytest.fixture
def reelfarm(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command against the API: its status, and what it wrote to stdout and stderr."""
    monkeypatch.setenv("REELFARM_URL", f"http://127.0.0.1:{api.port}")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["reelfarm", "dlq", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


def test_the_command_lists_shows_and_retries(
    api: ApiServer, reelfarm: Callable[..., tuple[int, str, str]]
) -> None:
    assert reelfarm() == (0, "", "There are no dead letters.\n")

    record, letter = failed_video(api)
    columns, row = (line.split("\t") for line in reelfarm()[1].splitlines())
    assert columns[:4] == ["ID", "VIDEO", "PART", "CODE"]
    assert row[:4] == [letter.id, record.id, "v00001", "encode_failed"]
    assert "It failed. (encode_failed)" in reelfarm("show", letter.id)[1]
    shown = json.loads(reelfarm("show", letter.id, "--json")[1])
    assert json.loads(reelfarm("--json")[1])["dead_letters"] == [shown]

    assert reelfarm("retry", letter.id)[:2] == (0, f"{record.id}\n")
    status, _, said = reelfarm("retry", letter.id)
    assert status == 4
    assert "unknown_dead_letter" in said

    nowhere = ("--url", "http://127.0.0.1:9")
    assert reelfarm(*nowhere, "retry", letter.id)[0] == 3
    assert reelfarm("retry", letter.id, *nowhere)[0] == 3
    status, _, said = reelfarm("--limit", "3", "retry", letter.id)
    assert status == 2
    assert "--limit" in said

    running = put_letter(api.catalog, api.catalog.load(record.id))
    assert json.loads(reelfarm("--json", "show", running.id)[1])["id"] == running.id
    status, _, said = reelfarm("retry", running.id, "--wait")
    assert status == 5
    assert "wrong_state" in said
