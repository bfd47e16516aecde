"""An office is held by one process at a time, for as long as it says so; another one takes over."""

from __future__ import annotations

import redis

from jobs import redis_scripts


class Office:
    """The office of that ``key``, lost after ``ttl`` seconds without a word.

    Both methods raise redis.RedisError.
    """

    def __init__(self, client: redis.Redis, key: str, owner: str, ttl: float) -> None:
        self._key = key
        self._owner = owner
        self._ttl = max(1, round(ttl * 1000))
        self._hold = client.register_script(redis_scripts.HOLD)
        self._leave = client.register_script(redis_scripts.LEAVE)

    def hold(self) -> bool:
        """Whether the owner holds it, or does from now on."""
        return bool(self._hold([self._key], [self._owner, self._ttl]))

    def leave(self) -> None:
        """Let another one have it at once."""
        self._leave([self._key], [self._owner])
