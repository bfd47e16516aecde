"""Sending a part: mark it first, so that a part is on its way at most once."""

from __future__ import annotations

import contextlib
from uuid import uuid4

import redis
from dramatiq import Message

from jobs.board import Board
from jobs.broker import ACTOR, REDIS_ID, FarmBroker
from jobs.parts import PartRef, Pool, Priority, queue_name


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

    def __init__(self, broker: FarmBroker, board: Board) -> None:
        self._broker = broker
        self._board = board

    def send(self, ref: PartRef, pool: Pool, priority: Priority) -> bool:
        """Put the part on its queue; False when it is on its way already.

        Raises QueueUnavailableError.
        """
        queue, redis_id = queue_name(pool, priority), str(uuid4())
        try:
            if not self._board.mark_sent(ref, queue, redis_id):
                return False
            self._enqueue(ref, queue, redis_id)
        except redis.RedisError as error:
            with contextlib.suppress(redis.RedisError):
                self._board.unmark(ref, redis_id)
            raise QueueUnavailableError(ref, error) from error
        return True

    def _enqueue(self, ref: PartRef, queue: str, redis_id: str) -> None:
        message: Message[None] = Message(
            queue_name=queue,
            actor_name=ACTOR,
            args=(ref.video_id, ref.generation, ref.part),
            kwargs={},
            options={REDIS_ID: redis_id},
        )
        self._broker.enqueue(message)
