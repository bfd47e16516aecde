"""Parts are the unit of work; a message is nothing but a pointer to one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: Probes the source and writes the plan; the one part that exists before there is a plan.
INSPECT: Final = "inspect"

#: Removes what a canceled or deleted video left behind.
CLEAN: Final = "clean"


class Priority(StrEnum):
    """How urgent a video is; within a pool, higher ones are served first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Pool(StrEnum):
    """What kind of slot a part needs. ``HEAD`` holds short work a viewer is waiting for."""

    HEAD = "head"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class PartRef:
    """One part of one generation of one video."""

    video_id: str
    generation: int
    part: str

    def __str__(self) -> str:
        return f"{self.video_id}/{self.generation}/{self.part}"

    @classmethod
    def parse(cls, text: str) -> PartRef:
        """The inverse of ``str``."""
        video_id, generation, part = text.split("/")
        return cls(video_id, int(generation), part)


def queue_name(pool: Pool, priority: Priority) -> str:
    """The queue of a pool and priority, such as ``cpu.normal``."""
    return f"{pool}.{priority}"


def queue_names(pools: tuple[Pool, ...]) -> tuple[str, ...]:
    """Queues in the order a slot serves them: by pool as given, then by priority."""
    return tuple(queue_name(pool, priority) for pool in pools for priority in Priority)
