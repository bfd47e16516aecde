"""The message broker: dramatiq's for Redis, reduced to carrying pointers.

Whether a part is tried again, for how long it may run and what becomes of its result is decided
from storage and the board, so dramatiq's middleware for retries, time limits, results and
callbacks stay out. Maintenance, which returns the messages of dead workers, is the elected
sweeper's, at times of its own choosing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import redis
from dramatiq import Message
from dramatiq.broker import Consumer
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs import redis_scripts
from jobs.keys import Keys
from jobs.parts import Pool, queue_names
from jobs.tallies import Tallies
from jobs.timed import timed
from jobs.timings import Timings

#: Seconds for connecting, and for an answer.
_CONNECT_TIMEOUT = 2.0
_ANSWER_TIMEOUT = 5.0

#: The one actor there is; a message's queue is its sender's choice.
ACTOR = "run_part"

#: Parts that wait on a queue although a worker may be idle: it has been called and is on its way.
_BACKLOG = 8

#: The option that carries the id under which dramatiq keeps a message in Redis.
REDIS_ID = "redis_message_id"


def connect_redis(url: str, tallies: Tallies | None = None) -> redis.Redis:
    """A client of bytes that never repeats a command by itself: who calls it knows what is safe.

    ``tallies`` takes how long its round trips take, and which fail.
    """
    made = redis.Redis if tallies is None else timed(tallies)
    return made.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=_CONNECT_TIMEOUT,
        socket_timeout=_ANSWER_TIMEOUT,
        socket_keepalive=True,
    )


class FarmBroker(RedisBroker):
    """Sends, and in a worker receives, on the queues of every pool.

    ``consumers`` is set by a worker's runtime: it makes the consumer of the queue of that name.
    """

    def __init__(
        self,
        client: redis.Redis,
        namespace: str,
        timings: Timings | None = None,
        *,
        maintains: bool = False,
    ) -> None:
        timings = timings or Timings()
        self.keys = Keys(namespace)
        self._maintains = maintains
        self.consumers: Callable[[str], Consumer] | None = None
        super().__init__(  # type: ignore[no-untyped-call]
            client=client,
            namespace=self.keys.broker,
            middleware=[CurrentMessage()],
            maintenance_chance=0,
            heartbeat_timeout=round(timings.heartbeat_timeout * 1000),
        )
        self._ring = client.register_script(redis_scripts.RING)
        for queue in queue_names(tuple(Pool)):
            self.declare_queue(queue)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer of the queue."""
        if self.consumers is None:
            return super().consume(queue_name, prefetch, timeout)
        return self.consumers(queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Put a message on its queue under its preset id, if it has one, and ring the doorbell.

        Raises ValueError for a delay: what is due later is the sweeper's business.
        """
        if delay is not None:
            raise ValueError("messages cannot be delayed; let the board's retries come due")
        message = message.copy(options={REDIS_ID: message.options.get(REDIS_ID) or str(uuid4())})
        self.emit_before("enqueue", message, delay)
        self.do_enqueue(message.queue_name, message.options[REDIS_ID], message.encode())
        self.emit_after("enqueue", message, delay)
        self.ring(message.queue_name)
        return message

    def ring(self, queue: str) -> None:
        """Wake idle workers; were the ring lost, they would look by themselves a little later.

        Every worker hears it. Where several parts wait already, none of those they wait for is
        idle, and it is not rung: a farm in full work would do little else than listen.
        """
        try:
            self._ring([self.keys.queue(queue)], [self.keys.doorbell, queue, _BACKLOG])
        except redis.RedisError as error:
            self.logger.debug("The doorbell of %r did not ring: %s", queue, error)

    def maintain(self, queue: str) -> None:
        """Return messages of dead workers to the queue, if this broker ``maintains``."""
        self.do_qsize(queue)

    def _should_do_maintenance(self, command: str) -> int:
        """Dramatiq would have chance decide, at any command; it is too costly for that."""
        return int(self._maintains and command == "qsize")

    def beat(self, now: float) -> None:
        """Say that this broker lives, at ``now`` in seconds since 1970, as its commands do."""
        self.client.zadd(self.keys.heartbeats, {self.broker_id: int(now * 1000)})
