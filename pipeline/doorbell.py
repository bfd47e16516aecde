"""Wakes an idle worker the moment something is put on one of its queues.

Polling often enough to start work within milliseconds would cost a large farm tens of thousands
of commands a second; a subscription costs nothing while nothing happens. It may lose a ring, so
the worker also looks by itself now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import redis
import structlog

from jobs.keys import Keys

_LOG = structlog.get_logger(__name__)

#: Seconds between two looks at whether to end, and before subscribing anew.
_WAIT = 0.5


class Doorbell:
    """Calls ``ring`` from a thread of its own. ``start``, then ``stop``."""

    def __init__(
        self, client: redis.Redis, keys: Keys, queues: tuple[str, ...], ring: Callable[[], None]
    ) -> None:
        self._client = client
        self._channel = keys.doorbell
        self._queues = {queue.encode() for queue in queues}
        self._ring = ring
        self._stop = Event()
        self._thread = Thread(target=self._run, name="doorbell", daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stop.set()
        self._thread.join(4 * _WAIT)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError, ValueError) as error:
                _LOG.debug("doorbell_disconnected", error=str(error))
                self._stop.wait(_WAIT)

    def _listen(self) -> None:
        with self._client.pubsub() as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(self._channel)
            while not self._stop.is_set():
                message: dict[str, Any] | None = subscription.get_message(timeout=_WAIT)
                if message is not None and self._concerns(message):
                    self._ring()

    def _concerns(self, message: dict[str, Any]) -> bool:
        """A new subscription rings too: something may have come while there was none."""
        return message["type"] == "subscribe" or message["data"] in self._queues
