"""Whether Redis is what a farm needs: its version, memory, persistence and clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import redis

from farm import connections
from farm.display import bytes_text
from farm.doctor_check import Check, clock_check
from farm.settings import Settings

_OLDEST: Final = (6, 2)
#: Seconds by which clocks may differ: leases and retries go by that of Redis, ages by both.
_CLOCK_ALLOWED, _CLOCK_UNUSABLE = 5.0, 300.0
#: The part of its memory that may be in use before new work is about to be refused.
_FULL: Final = 0.8


def check_redis(settings: Settings, clock: Callable[[], float]) -> Iterator[Check]:
    """Every check of the Redis that the settings name; ``clock`` in seconds since 1970."""
    try:
        with connections.redis_client(settings) as client:
            client.ping()
            yield _clock(client, clock)
            yield from _asked(client)
    except (redis.RedisError, ValueError) as error:
        yield Check("redis", "fail", f"it does not answer: {error}", "See the setting redis_url.")


def judge_redis(info: Mapping[str, Any]) -> Iterator[Check]:
    """What Redis's INFO means for a farm."""
    yield _version(info)
    yield _eviction(info)
    yield _memory(info)
    yield _persistence(info)


def _asked(client: redis.Redis) -> Iterator[Check]:
    try:
        info: dict[str, Any] = dict(client.info("everything"))
    except redis.ResponseError as error:
        yield Check(
            "redis", "warn", f"it answers, and does not tell of itself: {error}",
            "Allow its user INFO (ACL SETUSER … +info): restarts go unnoticed without.",
        )  # fmt: skip
        return
    yield from judge_redis(info)


def _clock(client: redis.Redis, clock: Callable[[], float]) -> Check:
    before = clock()
    seconds, microseconds = client.time()
    ahead = seconds + microseconds / 1e6 - (before + clock()) / 2
    return clock_check("redis clock", ahead, _CLOCK_ALLOWED, _CLOCK_UNUSABLE)


def _version(info: Mapping[str, Any]) -> Check:
    found = str(info.get("redis_version", "0"))
    if tuple(int(number) for number in found.split(".")[:2]) < _OLDEST:
        return Check("redis", "fail", f"version {found}", "Take Redis 6.2 or later, or Valkey.")
    return Check("redis", "ok", f"version {info.get('valkey_version', found)}")


def _eviction(info: Mapping[str, Any]) -> Check:
    policy = info.get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        return Check("eviction", "ok", "maxmemory-policy noeviction")
    return Check(
        "eviction", "fail", f"maxmemory-policy {policy}: full memory silently loses jobs",
        "Set maxmemory-policy to noeviction.",
    )  # fmt: skip


def _memory(info: Mapping[str, Any]) -> Check:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if most and used > _FULL * most:
        return Check(
            "redis memory", "warn", f"{bytes_text(used)} of {bytes_text(most)} are in use",
            "Raise maxmemory, or give the farm a Redis of its own: a full one takes no more work.",
        )  # fmt: skip
    return Check("redis memory", "ok", f"{bytes_text(used)} in use")


def _persistence(info: Mapping[str, Any]) -> Check:
    if not info.get("aof_enabled"):
        return Check(
            "redis disk", "warn", "append-only file off: a restart forgets what is queued",
            "Set appendonly to yes. Nothing is lost without it, but videos wait for the sweeper.",
        )  # fmt: skip
    if info.get("aof_last_write_status", "ok") != "ok":
        return Check(
            "redis disk", "fail", "the append-only file could not be written",
            "Look at Redis's log, and at the room on its disk: it refuses writes meanwhile.",
        )  # fmt: skip
    return Check("redis disk", "ok", "append-only file on")
