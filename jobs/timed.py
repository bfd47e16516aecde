"""A Redis client that tells how long its round trips take.

The library can only be watched through OpenTelemetry, which is not always there. What a channel is
listened to by has a connection of its own, and is not timed: it waits on purpose.
"""

from __future__ import annotations

import time
from typing import Any, cast

import redis
from redis.client import Pipeline
from redis.exceptions import NoScriptError

from jobs.metrics import REDIS_DURATION, REDIS_ERRORS
from jobs.tallies import Tallies


def timed(tallies: Tallies) -> type[redis.Redis]:
    """The class of clients whose round trips go into ``tallies``."""

    def done(began: float, error: redis.RedisError | None = None) -> None:
        tallies.observe(REDIS_DURATION, time.perf_counter() - began)
        # A script that the server does not know is sent along with the next try.
        if error is not None and not isinstance(error, NoScriptError):
            tallies.add(REDIS_ERRORS, (type(error).__name__,))

    # The library's methods have no types.
    class TimedPipeline(Pipeline):
        def execute(self, raise_on_error: bool = True) -> list[Any]:
            began, execute = time.perf_counter(), cast("Any", super().execute)
            try:
                found: list[Any] = execute(raise_on_error)
            except redis.RedisError as error:
                done(began, error)
                raise
            done(began)
            return found

    class TimedRedis(redis.Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            began, execute = time.perf_counter(), cast("Any", super().execute_command)
            try:
                found = execute(*args, **options)
            except redis.RedisError as error:
                done(began, error)
                raise
            done(began)
            return found

        def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
            return TimedPipeline(
                self.connection_pool, self.response_callbacks, transaction, shard_hint
            )

    return TimedRedis
