"""Reconcile, do not orchestrate: look at what exists and do what follows from it.

``advance`` may be called at any time, by anybody, for any reason, any number of times. It
publishes what has become publishable, sends messages for what is missing, finishes what is
complete, and removes what was deleted. Everything it needs to know stands in storage; Redis only
tells what is already on its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from catalog.errors import UnknownVideoError
from catalog.videos import is_terminal
from jobs.ids import new_run_id
from jobs.parts import CLEAN, INSPECT, PartRef, Pool
from jobs.records import VideoRecord
from jobs.states import State
from pipeline.bench import Bench
from pipeline.errors import PermanentError, TransientError
from pipeline.fail import fail
from pipeline.finish import finish
from pipeline.problems import explained
from pipeline.publish import Publisher
from transcoder.plan import Part, Plan

_LOG = structlog.get_logger(__name__)

#: What errors call the work that is done between parts.
PUBLISH: Final = "publish"

#: Parts of one video that are queued or worked on at once, so that a long film does not stand
#: in front of a short clip.
WINDOW: Final = 16


@dataclass(frozen=True, slots=True)
class Advancer:
    """Moves videos on, one caller at a time for each."""

    bench: Bench

    def advance(self, video_id: str) -> None:
        """Do for a video whatever its state calls for.

        A second caller leaves word and returns; the first one then looks again. Raises
        :class:`storage.errors.StorageError` and :class:`redis.RedisError`; the sweeper comes back.
        """
        owner = new_run_id()
        again = self.bench.board.begin_advance(video_id, owner)
        while again:
            try:
                self._step(video_id)
            except BaseException:
                # Whoever left word is served by the sweeper; the right to advance is given up.
                while self.bench.board.end_advance(video_id, owner):
                    pass
                raise
            again = self.bench.board.end_advance(video_id, owner)

    def _step(self, video_id: str) -> None:
        bench = self.bench
        try:
            record = bench.catalog.load_any(video_id)
        except UnknownVideoError:
            self._accepted(video_id)
            return
        if record.state is State.DELETING:
            self._send(record, CLEAN, Pool.HEAD)
        elif is_terminal(record):
            self._end_or_resume(record)
        elif record.state is not State.QUEUED or self._is_acknowledged(record):
            self._work(record)

    def _end_or_resume(self, record: VideoRecord) -> None:
        now = self.bench.catalog.resumed(record)
        if is_terminal(now):
            self._end(now)
        elif now.state is not State.DELETING:
            self._work(now)

    def _end(self, record: VideoRecord) -> None:
        if record.state is not State.READY:
            self.bench.board.request_stop(record.id)
            plan = self.bench.plans.load(record.id, record.generation)
            if plan is not None:
                Publisher(self.bench, record, plan).close()
        self.bench.catalog.settle(record.id, record.generation)
        self.bench.board.forget(record.id)
        if self.bench.catalog.load_any(record.id).generation != record.generation:
            # Retried meanwhile: the mark of the new generation's message may be forgotten, too.
            self._step(record.id)

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

    def _work(self, record: VideoRecord) -> None:
        plan = self.bench.plans.load(record.id, record.generation)
        if plan is None or record.state is State.QUEUED:
            self._send(record, INSPECT, Pool.HEAD)
            return
        ref = PartRef(record.id, record.generation, PUBLISH)
        # Looked up before the receipts: what ends in between is then on its way, or done, or both.
        moving = self._moving(record)
        try:
            with explained(ref):
                state = Publisher(self.bench, record, plan).publish()
                if state.complete:
                    finish(self.bench, record, plan)
                    return
        except (PermanentError, TransientError) as error:
            fail(self.bench, record.id, record.generation, error.problem)
            self._end(self.bench.catalog.load_any(record.id))
            return
        for part in _missing(plan, state.done, moving):
            self._send(record, part.id, Pool.HEAD if part.head else Pool.CPU)

    def _moving(self, record: VideoRecord) -> frozenset[str]:
        """Parts of the generation that are queued, worked on, or waiting to be tried again."""
        prefix = f"{record.generation}/"
        names = self.bench.board.parts_in_flight(record.id)
        return frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    def _send(self, record: VideoRecord, part: str, pool: Pool) -> None:
        ref = PartRef(record.id, record.generation, part)
        self.bench.sender.send(ref, pool, record.priority)


def _missing(plan: Plan, done: frozenset[str], moving: frozenset[str]) -> list[Part]:
    """Parts to send now: neither done nor on their way, up to the window."""
    idle = [part for part in plan.parts if part.id not in done and part.id not in moving]
    return idle[: max(0, WINDOW - len(moving - done))]
