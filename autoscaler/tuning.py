"""The parameters of the policy that win, by how long a worker takes to start. Pure.

They are those of a sweep over simulated farms, and what they follow from is simple. A queue that
is allowed to be long saves nothing, as the work stays the same, and lets everybody wait; it is only
a start for a part of some seconds that does not pay. A worker that has nothing to do is worth
keeping for somewhat longer than another would take to come, and not for less than it takes until a
decision shows, or the pool swings; after some minutes it has cost more than a new one.
"""

from __future__ import annotations

from typing import Final

from autoscaler.policy import PoolSpec

#: Seconds; the longest target is reached by workers that take twenty to start.
_SHORTEST_DRAIN: Final = 10.0
_LONGEST_DRAIN: Final = 30.0

#: Seconds, as many more for each second that a start takes, and the longest.
_COOLDOWN: Final = 10.0
_COOLDOWN_BY_START: Final = 2.5
_LONGEST_COOLDOWN: Final = 150.0

#: Seconds within which what long films have not sent yet is to be done. It follows as there is
#: room, so this is for films whose parts are so short that those with room call for few workers.
FOLLOW_DRAIN: Final = 1800.0


def target_drain(start_delay: float) -> float:
    """Seconds within which what waits is to be done."""
    return min(_LONGEST_DRAIN, _SHORTEST_DRAIN + start_delay)


def cooldown(start_delay: float) -> float:
    """Seconds without a need until the pool shrinks."""
    return min(_LONGEST_COOLDOWN, _COOLDOWN + _COOLDOWN_BY_START * start_delay)


def tuned(name: str, minimum: int, maximum: int, start_delay: float) -> PoolSpec:
    """A pool whose workers take ``start_delay`` seconds to start. Its steps have no limit."""
    return PoolSpec(
        name,
        minimum,
        maximum,
        cooldown=cooldown(start_delay),
        step_up=max(1, maximum),
        step_down=max(1, maximum),
        target_drain=target_drain(start_delay),
        start_delay=start_delay,
        follow_drain=FOLLOW_DRAIN,
    )
