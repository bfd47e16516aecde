"""A scaling target that only remembers: others read what it was told, and do it.

KEDA reads it from the metrics, CloudWatch's target tracking from what is published there.
"""

from __future__ import annotations

from collections.abc import Mapping


class Told:
    """What each pool was last told to have; ``counts`` are what a predecessor told."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts = dict(counts or {})

    def count(self, pool: str) -> int:
        """How many workers the pool was last told to have."""
        return self._counts.get(pool, 0)

    def scale(self, pool: str, count: int, reason: str) -> None:  # noqa: ARG002 - a port's
        """Remember it."""
        self._counts[pool] = count
