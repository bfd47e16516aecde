"""Where workers come from: how long one takes to start, and how old the figures are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Platform:
    """All times are seconds. A worker is paid for from when it is asked for until it is gone."""

    name: str
    #: From asking for a worker until it takes its first part.
    start: float
    #: Between two decisions, and how old the demand is that they are made by.
    interval: float
    stale: float
    #: Most workers there may be, and how many are busy in the mean of most traces.
    maximum: int
    load: float


#: Processes on a large host, told every second by a supervisor that looks itself.
LOCAL: Final = Platform("local", 1.0, 1.0, 0.0, maximum=64, load=12.0)

#: Pods on nodes that are there, asked for by figures that are scraped.
PODS: Final = Platform("pods", 30.0, 15.0, 15.0, maximum=500, load=60.0)

#: Virtual machines, asked for by figures of a cloud's own monitoring.
CLOUD: Final = Platform("cloud", 120.0, 60.0, 60.0, maximum=4000, load=300.0)

PLATFORMS: Final = (LOCAL, PODS, CLOUD)
