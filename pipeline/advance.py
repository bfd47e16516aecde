"""Reconcile, do not orchestrate: look at what exists and do what follows from it.

``advance`` may be called at any time, by anybody, for any reason, any number of times. It
publishes what has become publishable, sends messages for what is missing, finishes what is
complete, and removes what was deleted. Everything it needs to know stands in storage; Redis only
tells what is already on its way.

There are two ways of looking at a video that is worked on. The thorough one compares the plan with
all receipts that are not published yet and all parts that are on their way. While many parts of a
long video are on their way, it is taken every few seconds only; in between a quick one sends what
comes next in the plan and publishes what joins on, at the same cost however long the video and
however many the workers. What the quick one may miss, a part that got lost, the next thorough one
finds. It leans on a cursor in Redis that says how far parts have been sent, and that is gone as
soon as a part behind it may have been lost.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import structlog
from structlog.contextvars import bound_contextvars

from catalog.errors import UnknownVideoError
from catalog.videos import is_terminal, utc_now
from jobs.ids import new_run_id
from jobs.leases import Unsent
from jobs.letters import DeadLetter
from jobs.metrics import PART_RETRIES
from jobs.parts import CLEAN, INSPECT, PartRef, Pool, Priority, queue_name
from jobs.records import VideoRecord
from jobs.states import State
from pipeline.bench import Bench, needed_schema
from pipeline.errors import PermanentError, TransientError
from pipeline.fail import fail, fall_back
from pipeline.finish import finish, remove_leftovers
from pipeline.gpu import main_pool, on_gpu, place_of
from pipeline.letters import dead_letter
from pipeline.problems import explained
from pipeline.publish import Publisher
from transcoder.cost import LOOK_COST, UNPLANNED_COST
from transcoder.plan import Part, Plan

_LOG = structlog.get_logger(__name__)

#: What errors call the work that is done between parts, and the board where it is tried again.
PUBLISH: Final = "publish"

#: Parts of one video that are queued or worked on at once, so that a long film does not stand
#: in front of a short clip: at least so many, and more until all videos together have half as many
#: again as there are workers, so that each finds the next part waiting.
WINDOW: Final = 16

#: Where no more parts than these are left to be done, every look is a thorough one, and follows
#: at once: it costs one short list, and the end of a video waits for nothing.
_FEW: Final = 64

#: Parts sent before another look: viewers may wait for the first segments meanwhile, and the right
#: to advance lapses if it is not renewed.
_BATCH: Final = 64

#: Seconds between looks at whether the parts of a video that has ended have stopped, which double,
#: and after which it is said that they do not.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_PATIENCE: Final = 60.0


class _Next(Enum):
    """What follows a look: nothing unless word was left, a rest in any case, another look."""

    NOTHING = "nothing"
    REST = "rest"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class Advancer:
    """Moves videos on, one caller at a time for each."""

    bench: Bench

    def advance(self, video_id: str, run: str | None = None) -> None:
        """Do for a video whatever its state calls for.

        ``run`` is the caller's, if it has one that writes nothing more. A second caller leaves
        word and returns; the first one then looks again. Raises
        :class:`storage.errors.StorageError` and :class:`redis.RedisError`; the sweeper comes back.
        """
        owner = new_run_id()
        board = self.bench.board
        again = board.begin_advance(video_id, owner)
        more = False
        while again:
            try:
                with bound_contextvars(video_id=video_id):
                    then = self._step(video_id, run)
            except BaseException:
                # Whoever left word is served by the sweeper; the right to advance is given up.
                while self.bench.board.end_advance(video_id, owner):
                    pass
                raise
            # Where there was more than one batch to send, the rest before was too long.
            rest = board.timings.advance_every if then is _Next.REST and not more else 0.0
            more = then is _Next.MORE
            again = board.end_advance(video_id, owner, rest=rest, more=more)

    def _step(self, video_id: str, run: str | None) -> _Next:
        bench = self.bench
        try:
            record = bench.catalog.load_any(video_id)
        except UnknownVideoError:
            self._accepted(video_id)
            return _Next.NOTHING
        if record.state is State.DELETING:
            self._send(record, CLEAN, Pool.HEAD)
        elif is_terminal(record):
            return self._end_or_resume(record, run)
        elif record.state is not State.QUEUED or self._is_acknowledged(record):
            return self._work(record, run)
        return _Next.NOTHING

    def _end_or_resume(self, record: VideoRecord, run: str | None) -> _Next:
        now = self.bench.catalog.resumed(record)
        if is_terminal(now):
            self._end(now, run)
        elif now.state is not State.DELETING:
            return self._work(now, run)
        return _Next.NOTHING

    def _end(self, record: VideoRecord, run: str | None = None) -> None:
        bench = self.bench
        whole = record.state is State.READY
        if not whole:
            self._close(record)
        present = record.state is State.ERRORED
        bench.catalog.letters.retire(record.id, record.generation - present)
        if whole or self._has_come_to_rest(record, run):
            bench.catalog.settle(record.id, record.generation)
        bench.board.forget(record.id)
        if bench.catalog.load_any(record.id).generation != record.generation:
            # Retried meanwhile: the mark of the new generation's message may be forgotten, too.
            self._step(record.id, run)

    def _close(self, record: VideoRecord) -> None:
        """Stop what runs, tell viewers that no more will come, list the video as ended."""
        self.bench.board.request_stop(record.id)
        plan = self.bench.plans.load(record.id, record.generation)
        if plan is not None:
            Publisher(self.bench, record, plan).close()
        self.bench.catalog.enlist(record.id)

    def _has_come_to_rest(self, record: VideoRecord, run: str | None) -> bool:
        """Whether no part but ``run`` is worked on any more; what runs left goes then.

        Else it is looked at again: soon at first, later with pauses as long as the video has
        been over.
        """
        board = self.bench.board
        refs = [PartRef.parse(f"{record.id}/{name}") for name in board.parts_in_flight(record.id)]
        running = sorted(ref.part for ref in refs if board.holder(ref) not in (None, run))
        if not running:
            remove_leftovers(self.bench, record)
            return True
        ended = record.events[-1].at if record.events else record.created_at
        over = (utc_now() - ended).total_seconds()
        if over > _PATIENCE:
            _LOG.warning("parts_do_not_stop", video_id=record.id, parts=running, seconds=int(over))
        board.wake(record.id, min(max(_FIRST_PAUSE, over), _LONGEST_PAUSE))
        return False

    def _is_acknowledged(self, record: VideoRecord) -> bool:
        """Whether somebody was promised this generation; a retry is of a video that was."""
        return record.generation > 1 or self._accepted(record.id)

    def _accepted(self, video_id: str) -> bool:
        """Whether the upload was acknowledged; one that was given up on is removed."""
        entry = self.bench.catalog.entry(video_id)
        if entry is None or entry.state == "accepted":
            return entry is not None
        if self.bench.catalog.is_expired(entry):
            _LOG.info("upload_abandoned", video_id=video_id)
            self.bench.catalog.abandon(video_id)
        return False

    def _work(self, record: VideoRecord, run: str | None) -> _Next:
        queued = record.state is State.QUEUED
        plan = None if queued else self.bench.plans.load(record.id, record.generation)
        if plan is None:
            self._send(record, INSPECT, Pool.HEAD, LOOK_COST)
            return _Next.NOTHING
        ref = PartRef(record.id, record.generation, PUBLISH)
        try:
            with explained(ref):
                then = self._glance(record, plan, run)
                return self._look(record, plan) if then is None else then
        except PermanentError as error:
            letter = dead_letter(ref, error.problem, utc_now(), error=error)
            self._give_up(letter, run)
        except TransientError as error:
            self._again(ref, error, run)
        return _Next.NOTHING

    def _glance(self, record: VideoRecord, plan: Plan, run: str | None) -> _Next | None:
        """The quick look; None where it will not do."""
        if len(plan.parts) <= _FEW:
            return None
        board = self.bench.board
        queue = queue_name(main_pool(plan), record.priority, needed_schema(record, plan))
        cursor = board.cursor(record.id, record.generation, queue)
        if cursor is None or len(plan.parts) - cursor.place + cursor.moving <= _FEW:
            return None
        with self.bench.tracer.span("publish", trace=record.trace, facts={"look": "quick"}):
            joined_on = Publisher(self.bench, record, plan).extend()
        if not joined_on:
            return None
        # The caller's own part is on its way until it has returned.
        free = self._free(cursor.moving - (run is not None), cursor.load)
        parts = plan.parts[cursor.place : cursor.place + min(free, _BATCH)]
        place = cursor.place + len(parts)
        if parts:
            self._send_all(record, plan, parts)
            unsent = Unsent(len(plan.parts) - place, plan.costs_from[place], main_pool(plan))
            board.move_cursor(record.id, record.generation, place, seen=False, unsent=unsent)
        if len(parts) < free and place < len(plan.parts):
            return _Next.MORE
        board.wake(record.id, board.timings.cursor_ttl)
        ran_dry = parts and cursor.load < board.slots()
        return _Next.NOTHING if ran_dry else _Next.REST

    def _look(self, record: VideoRecord, plan: Plan) -> _Next:
        """The thorough one."""
        board, is_long = self.bench.board, len(plan.parts) > _FEW
        if is_long:
            # Gone by the end of the look if a part is taken off the record meanwhile.
            board.move_cursor(record.id, record.generation, 0, seen=True)
        # Looked up before the receipts: what ends in between is then on its way, or done, or both.
        moving = self._moving(record)
        tracer = self.bench.tracer
        with tracer.span("publish", trace=record.trace, facts={"look": "thorough"}):
            state = Publisher(self.bench, record, plan).publish()
        if state.complete:
            with tracer.span("finish", trace=record.trace):
                finish(self.bench, record, plan)
            return _Next.NOTHING
        self._forgive(PartRef(record.id, record.generation, PUBLISH))
        if self._is_stranded(plan, state.done):
            fall_back(self.bench, record.id, record.generation, "no device for it works")
            return _Next.MORE
        known = state.done | moving
        idle = [part for part in plan.parts if part.id not in known]
        queue = queue_name(main_pool(plan), record.priority, needed_schema(record, plan))
        load = board.load(queue)
        free = self._free(len(moving - state.done), load)
        batch = idle[: min(free, _BATCH)]
        self._send_all(record, plan, batch)
        rest = idle[len(batch) :]
        unsent = Unsent(len(rest), sum(part.cost for part in rest), main_pool(plan))
        if is_long:
            place = plan.places[rest[0].id] if rest else len(plan.parts)
            board.move_cursor(record.id, record.generation, place, seen=False, unsent=unsent)
        elif len(plan.parts) > WINDOW:
            board.note_unsent(record.id, unsent)
        if rest and len(batch) < free:
            return _Next.MORE
        if not state.begun or len(plan.parts) - len(state.done) <= _FEW:
            return _Next.NOTHING
        board.wake(record.id, board.timings.cursor_ttl)
        return _Next.REST

    def _free(self, moving: int, load: int) -> int:
        """How many more parts of a video may be sent now.

        ``moving`` of them are on their way, and ``load`` of all videos worked on or waiting.
        """
        enough = self.bench.board.slots() * 3 // 2
        return max(WINDOW - moving, enough - max(moving, load), 0)

    def _is_stranded(self, plan: Plan, done: frozenset[str]) -> bool:
        """Whether parts wait for a graphics processor, and every one there is is out of use."""
        fleet = self.bench.fleet
        if fleet is None or main_pool(plan) is not Pool.GPU:
            return False
        waiting = any(on_gpu(plan, part) and part.id not in done for part in plan.parts)
        return waiting and fleet.has_given_up(plan)

    def _give_up(self, letter: DeadLetter, run: str | None) -> None:
        """End the video, if it is not over; whatever became of it meanwhile is gone by.

        Pieces of a graphics processor's that do not fit each other are no reason to end it.
        """
        plan = self.bench.plans.load(letter.video_id, letter.generation)
        if plan is not None and main_pool(plan) is Pool.GPU:
            fall_back(self.bench, letter.video_id, letter.generation, letter.problem.message)
            self._step(letter.video_id, run)
            return
        fail(self.bench, letter.video_id, letter.generation, letter.problem, letter)
        self._step(letter.video_id, run)

    def _again(self, ref: PartRef, error: TransientError, run: str | None) -> None:
        """Have publishing tried again by the sweeper, as a part that failed, or give up."""
        board, owner = self.bench.board, new_run_id()
        if not board.mark_sent(ref, PUBLISH, owner):
            _LOG.info("publish_failed_again", reason="it is to be tried again in any case")
            return
        lease = board.take(ref, owner, host=self.bench.host, pid=os.getpid())
        if lease is None:
            return
        errors, problem = lease.attempts.errors + 1, error.problem
        last = errors >= error.tries
        pause = None if last else board.timings.retry_first * 2.0 ** (errors - 1)
        board.release(lease, "error", pause, code=problem.code, message=problem.message)
        if not last:
            board.tallies.add(PART_RETRIES, (PUBLISH,))
            _LOG.warning("publish_failed", code=problem.code, retry_in=pause)
            return
        counts, attempts = board.attempts(ref), board.history(ref)
        self._give_up(
            dead_letter(ref, problem, utc_now(), counts=counts, attempts=attempts, error=error), run
        )

    def _forgive(self, ref: PartRef) -> None:
        """Forget earlier failures to publish: it has worked since."""
        board, owner = self.bench.board, new_run_id()
        if board.attempts(ref).starts and board.mark_sent(ref, PUBLISH, owner):
            lease = board.take(ref, owner)
            if lease is not None:
                board.release(lease, "done")

    def _moving(self, record: VideoRecord) -> frozenset[str]:
        """Parts of the generation that are queued, worked on, or waiting to be tried again."""
        prefix = f"{record.generation}/"
        names = self.bench.board.parts_in_flight(record.id)
        return frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    def _send_all(self, record: VideoRecord, plan: Plan, parts: Sequence[Part]) -> None:
        for part in parts:
            pool, priority = place_of(plan, part, record.priority)
            self._send(record, part.id, pool, part.cost, plan, priority)

    def _send(
        self,
        record: VideoRecord,
        part: str,
        pool: Pool,
        cost: float = UNPLANNED_COST,
        plan: Plan | None = None,
        priority: Priority | None = None,
    ) -> None:
        ref, needs = PartRef(record.id, record.generation, part), needed_schema(record, plan)
        self.bench.sender.send(
            ref, pool, priority or record.priority, cost=cost, schema=needs, trace=record.trace
        )
