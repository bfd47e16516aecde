"""One run of one part, as its handler sees it, and the ways in which it can end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Literal

from jobs.leases import Attempts
from jobs.parts import PartRef

#: Why a run is to end early: its worker drains, the part is not wanted, or somebody else has it.
Reason = Literal["drain", "stop", "lost"]


@dataclass(slots=True)
class Run:
    """One attempt. The handler ends it soon after ``cancel`` is set; ``reason`` says why."""

    ref: PartRef
    #: What every object that the run writes carries; the owner of its lease.
    id: str
    attempts: Attempts
    #: Takes the units done so far; may be called as often as convenient, and never fails.
    report: Callable[[float], None] = lambda done: None  # noqa: ARG005
    #: To be called when the part has got on for good: earlier errors and crashes are forgotten.
    progressed: Callable[[], None] = lambda: None
    cancel: Event = field(default_factory=Event)
    reason: Reason | None = None
    #: The queue it came from, seconds it waited there, and the span its message was sent in.
    queue: str = ""
    waited: float | None = None
    traceparent: str | None = None
    #: For whoever looks on, once known: what is made (``video 1080p,720p``), its predicted
    #: core-seconds, and how fast, in seconds of film per second of the clock.
    kind: str | None = None
    cost: float | None = None
    speed: float | None = None
    #: The codec of what is made, such as ``h264``; empty where there is none.
    codec: str = ""
    #: Whether the run did all that its part asks for, and whether it ended its video.
    made: bool = False
    failed: bool = False

    def pace(self, film: float, seconds: float) -> None:
        """Say that so much film has been made in so many seconds.

        What ffmpeg says of its speed itself is nought for long, and at the end beyond all bounds.
        """
        if film > 0 and seconds > 0:
            self.speed = round(film / seconds, 3)

    def stop(self, reason: Reason) -> None:
        """Ask the run to end; the first reason stands."""
        if not self.cancel.is_set():
            self.reason = reason
            self.cancel.set()


@dataclass(frozen=True, slots=True)
class Done:
    """There is nothing left to do for the part, whatever became of it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The part is sent again after so many seconds.

    ``counted`` says whether that was an error of the part: waiting and outages are not.
    ``message`` is for the part's history.
    """

    after: float
    reason: str
    counted: bool = True
    message: str = ""


@dataclass(frozen=True, slots=True)
class Drained:
    """Ended early for the worker's sake: the part is sent again at once.

    ``schema`` is what a worker has to know to do better; by default, that of the message.
    """

    schema: int = 1


Outcome = Done | Retry | Drained
Handler = Callable[[Run], Outcome]
