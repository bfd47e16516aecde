"""The one place where a worker process decides what to fetch, and when.

Dramatiq runs a consumer per queue, each of which fetches ahead by itself: one process on several
queues would hoard a part of each, and serve them in no order. Here the consumer of the first
queue fetches for all of them, one message at a time, and only while the slot is free; the others,
and those of the delay queues, merely acknowledge. Redis failing is not an error but a wait.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from threading import Event, Lock
from typing import Any

import redis
import structlog
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError

from jobs.broker import REDIS_ID, FarmBroker
from jobs.control import PAUSED
from jobs.parts import pool_of, queue_name, queue_parts
from jobs.schema import NEEDS, SCHEMA

_LOG = structlog.get_logger(__name__)

#: Every so many fetches a low queue goes first.
AGEING = 8

#: What the arguments of a message are called; see :mod:`pipeline.actors`.
_ARGUMENTS = ("video_id", "generation", "part")

#: Seconds: what keeps a closed consumer from spinning until its thread has noticed.
_CLOSED_PAUSE = 0.02


def serving_order(queues: tuple[str, ...], turn: int, every: int = AGEING) -> tuple[str, ...]:
    """The order in which the ``turn``-th fetch looks at the queues, highest first.

    Each ``every``-th one looks from below, and starts each time at another queue, so that none
    waits for ever.
    """
    if (turn + 1) % every:
        return queues
    start = turn // every % len(queues)
    below = queues[::-1]
    return below[start:] + below[:start]


class Gate:
    """Lets one message at a time into the process."""

    def __init__(
        self,
        broker: FarmBroker,
        queues: tuple[str, ...],
        *,
        fetch_every: float = 1.0,
        schema: int = SCHEMA,
        on_idle: Callable[[], None] = lambda: None,
        admits: Callable[[], bool] = lambda: True,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.queues = queues
        self._broker = broker
        self._fetch_every = fetch_every
        self._schema = schema
        self._on_idle = on_idle
        self._admits = admits
        self._jitter = jitter
        self._monotonic = monotonic
        self._lock = Lock()
        self._bell = Event()
        self._closed = Event()
        self._held: Message[Any] | None = None
        self._held_since = 0.0
        self._draining = False
        self._reachable = True
        self._stranded = False
        self._paused: set[str] = set()
        self._turn = 0

    @property
    def busy(self) -> bool:
        """Whether a message was fetched and is not acknowledged yet."""
        with self._lock:
            return self._held is not None

    def ring(self) -> None:
        """There may be something to fetch."""
        self._bell.set()

    def drain(self) -> None:
        """Fetch no more; once this returns, nothing is being fetched."""
        with self._lock:
            self._draining = True

    def close(self) -> None:
        """Let the consumers return, so that their threads can end."""
        self.drain()
        self._closed.set()
        self._bell.set()

    def consumer(self, queue: str) -> Consumer:
        """What dramatiq's consumer thread of ``queue`` iterates over."""
        return _GatedConsumer(self, self._broker, leads=queue == self.queues[0])

    def next(self) -> MessageProxy | None:
        """The next message if there is one to be had now, else None after a wait."""
        self._bell.clear()
        # Without the lock: it may take the seconds of a trial.
        admits = self._admits()
        with self._lock:
            if admits and not self._draining and self._held is None:
                message = self._fetch()
                if message is not None:
                    return message
        self._bell.wait(self._fetch_every * (0.7 + 0.6 * self._jitter()))
        if self._closed.is_set():
            time.sleep(_CLOSED_PAUSE)
        return None

    def idle(self) -> None:
        """Wait as a consumer that never fetches does: there is nothing to look for until the end.

        A look now and then would have a process wake dozens of times a second for nothing.
        """
        self._closed.wait()
        time.sleep(_CLOSED_PAUSE)

    def finished(self, redis_id: str) -> None:
        """The message was acknowledged; the slot is free."""
        with self._lock:
            held = self._held
            if held is None or held.options[REDIS_ID] != redis_id:
                return
            self._held = None
            seconds = round(self._monotonic() - self._held_since, 4)
        self._bell.set()
        self._on_idle()
        about = dict(zip(_ARGUMENTS, held.args, strict=False))
        _LOG.debug("slot_freed", **about, seconds=seconds)

    def _fetch(self) -> MessageProxy | None:
        try:
            if self._stranded:
                self._reclaim()
            message = self._fetch_first()
        except redis.RedisError as error:
            self._stranded = True
            if self._reachable:
                _LOG.warning("queues_unreachable", error=str(error))
            self._reachable = False
            return None
        if not self._reachable:
            _LOG.info("queues_reachable_again")
        self._reachable = True
        return message

    def _fetch_first(self) -> MessageProxy | None:
        for queue in self._waiting(serving_order(self.queues, self._turn)):
            message = self._fetch_from(queue)
            if message is not None:
                self._turn += 1
                self._held = message
                self._held_since = self._monotonic()
                return MessageProxy(message)
        return None

    def _waiting(self, order: tuple[str, ...]) -> list[str]:
        """The queues with something on them, in order, but for those of paused pools.

        While there is nothing on any: at one command.
        """
        client, keys = self._broker.client, self._broker.keys
        if not client.exists(*map(keys.queue, order)):
            return []
        pools = sorted({pool_of(queue) for queue in order})
        pipeline = client.pipeline(transaction=False)
        pipeline.hmget(keys.control, [PAUSED + pool for pool in pools])
        for queue in order:
            pipeline.llen(keys.queue(queue))
        marks, *counts = pipeline.execute()
        paused = {pool for pool, mark in zip(pools, marks, strict=True) if mark is not None}
        self._tell_paused(paused)
        waiting = [queue for queue, count in zip(order, counts, strict=True) if count]
        return [queue for queue in waiting if pool_of(queue) not in paused]

    def _tell_paused(self, paused: set[str]) -> None:
        """Say why nothing begins though something waits, once."""
        if paused != self._paused:
            _LOG.info("pools_paused" if paused else "pools_resumed", pools=sorted(paused))
        self._paused = paused

    def _fetch_from(self, queue: str) -> Message[Any] | None:
        while found := self._broker.do_fetch(queue, 1):
            message = _decode(found[0], queue)
            if message is None:
                _LOG.error("message_unreadable", queue=queue, message=repr(found[0])[:200])
                self._broker.do_nack(queue, *self._fetched(queue))
                return None
            if message.options.get(NEEDS, 1) <= self._schema:
                return message
            self._forward(message)
        return None

    def _forward(self, message: Message[Any]) -> None:
        """Put what only newer workers understand where they alone look; cut off, it is there twice.

        The farm's own senders put it there at once.
        """
        pool, priority, _ = queue_parts(message.queue_name)
        queue = queue_name(pool, priority, message.options[NEEDS])
        redis_id: str = message.options[REDIS_ID]
        _LOG.warning("message_left_to_newer_version", queue=queue, redis_id=redis_id)
        self._broker.enqueue(message.copy(queue_name=queue))
        self._broker.do_ack(message.queue_name, redis_id)

    def _reclaim(self) -> None:
        """Return what was fetched while the reply got lost; holds nothing itself."""
        for queue in self.queues:
            stranded = self._fetched(queue)
            if stranded:
                _LOG.warning("messages_reclaimed", queue=queue, count=len(stranded))
                self._broker.do_requeue(queue, *stranded)
        self._stranded = False

    def _fetched(self, queue: str) -> list[bytes]:
        key = self._broker.keys.fetched(self._broker.broker_id, queue)
        members: Any = self._broker.client.smembers(key)
        return list(members)


class _GatedConsumer(Consumer):
    """Acknowledges on the queue a message came from, whichever consumer fetched it."""

    def __init__(self, gate: Gate, broker: FarmBroker, *, leads: bool) -> None:
        self._gate = gate
        self._broker = broker
        self._leads = leads

    def __next__(self) -> MessageProxy | None:
        if self._leads:
            return self._gate.next()
        self._gate.idle()
        return None

    def ack(self, message: MessageProxy) -> None:
        """Dramatiq tries again for as long as this raises ConnectionClosed."""
        self._settle(self._broker.do_ack, message)

    def nack(self, message: MessageProxy) -> None:
        """As ``ack``, to the dead letters."""
        self._settle(self._broker.do_nack, message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put back what was fetched and not begun."""
        for message in messages:
            self._settle(self._broker.do_requeue, message)

    def _settle(self, command: Callable[[str, str], object], message: MessageProxy) -> None:
        redis_id: str = message.options[REDIS_ID]
        try:
            command(message.queue_name, redis_id)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        self._gate.finished(redis_id)


def _decode(data: bytes | None, queue: str) -> Message[Any] | None:
    """The message, unless it is none of ours."""
    try:
        message: Message[Any] = Message.decode(data or b"")
    except DecodeError:
        return None
    known = message.queue_name == queue and message.options.get(REDIS_ID)
    return message if known and "eta" not in message.options else None
