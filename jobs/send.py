"""Sending a part: mark it first, so that a part is on its way at most once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

import redis
from dramatiq import Message

from jobs.board import Board
from jobs.broker import ACTOR, REDIS_ID, FarmBroker
from jobs.parts import PartRef, Pool, Priority, queue_name
from jobs.schema import NEEDS
from jobs.traceparent import TraceContext
from jobs.tracing import OFF, Facts, Tracer

#: The option that carries the predicted core-seconds of the part.
COST: Final = "cost"

#: The option that says what span the message was sent in; the video's record decides.
TRACEPARENT: Final = "traceparent"

Options = Mapping[str, str | float]


class QueueUnavailableError(Exception):
    """Redis did not take the message; storage still knows the work, and the sweeper sends it."""

    def __init__(self, ref: PartRef, cause: Exception) -> None:
        super().__init__(
            f"part {ref.part} of video {ref.video_id} was not sent, because Redis failed: {cause}. "
            "Nothing is lost: it is sent by the sweeper once Redis answers."
        )
        self.ref = ref


class Sender:
    """Sends pointers to parts; needs no actor to be declared here."""

    def __init__(self, broker: FarmBroker, board: Board, tracer: Tracer = OFF) -> None:
        self._broker = broker
        self._board = board
        self._tracer = tracer

    def send(
        self,
        ref: PartRef,
        pool: Pool,
        priority: Priority,
        *,
        cost: float = 0.0,
        schema: int = 1,
        trace: TraceContext | None = None,
    ) -> bool:
        """Put the part on its queue; False when it is on its way already.

        ``cost``, in predicted core-seconds, tells the autoscaler how much waits. Workers that do
        not know ``schema`` are not offered it. ``trace`` is the video's. Raises
        QueueUnavailableError.
        """
        queue, redis_id = queue_name(pool, priority, schema), str(uuid4())
        try:
            if not self._board.mark_sent(ref, queue, redis_id):
                return False
            self._traced(
                ref, queue, trace, {REDIS_ID: redis_id, COST: round(cost, 3), NEEDS: schema}
            )
        except redis.RedisError as error:
            with contextlib.suppress(redis.RedisError):
                self._board.unmark(ref, redis_id)
            raise QueueUnavailableError(ref, error) from error
        return True

    def _traced(
        self, ref: PartRef, queue: str, trace: TraceContext | None, options: Options
    ) -> None:
        if trace is None:
            self._enqueue(ref, queue, options)
            return
        facts: Facts = {
            "video_id": ref.video_id,
            "generation": ref.generation,
            "part": ref.part,
            "queue": queue,
            "cost": options[COST],
        }
        with self._tracer.span("send", kind="producer", parent=trace, facts=facts) as span:
            self._enqueue(ref, queue, {**options, TRACEPARENT: str(span.context or trace)})

    def _enqueue(self, ref: PartRef, queue: str, options: Options) -> None:
        message: Message[None] = Message(
            queue_name=queue,
            actor_name=ACTOR,
            args=(ref.video_id, ref.generation, ref.part),
            kwargs={},
            options=dict(options),
        )
        self._broker.enqueue(message)
