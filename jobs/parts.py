"""Parts are the unit of work; a message is nothing but a pointer to one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jobs.schema import SCHEMA

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
    """What kind of slot a part needs.

    ``HEAD`` holds short work a viewer is waiting for, ``GPU`` all pictures of videos that a
    graphics processor encodes; their heads are among it, and go first.
    """

    HEAD = "head"
    CPU = "cpu"
    GPU = "gpu"


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


def queue_name(pool: Pool, priority: Priority, schema: int = 1) -> str:
    """The queue of a pool and priority, such as ``cpu.normal``.

    Parts that need a later ``schema`` have queues of their own, such as ``cpu.normal.s2``: workers
    that do not know it never see them, and need put nothing back.
    """
    return f"{pool}.{priority}" if schema == 1 else f"{pool}.{priority}.s{schema}"


def pool_of(queue: str) -> str:
    """The pool that a queue belongs to."""
    return queue.partition(".")[0]


def queue_names(pools: tuple[Pool, ...], schema: int = SCHEMA) -> tuple[str, ...]:
    """Queues in the order a slot serves them: by pool as given, by priority, the newest first."""
    return tuple(
        queue_name(pool, priority, each)
        for pool in pools
        for priority in Priority
        for each in range(schema, 0, -1)
    )


def queue_parts(queue: str) -> tuple[Pool, Priority, int]:
    """Pool, priority and schema of a queue's name."""
    pool, priority, *schema = queue.split(".")
    return Pool(pool), Priority(priority), int(schema[0][1:]) if schema else 1
