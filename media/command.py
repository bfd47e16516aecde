"""A process to be started, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Marks an output in ``arguments`` that the runner replaces by a pipe to the named sink.
SINK: Final = "sink:"


@dataclass(frozen=True, slots=True)
class Device:
    """A graphics processor: the family by which it is spoken to, and its name there.

    The name is an index (``0``) or a render node (``/dev/dri/renderD128``).
    """

    family: str
    name: str

    def __str__(self) -> str:
        return f"{self.family}:{self.name}"


#: Niceness of work for which no viewer is waiting: where both want the processor, a thirtieth of
#: what work with none gets.
BACKGROUND: Final = 15


@dataclass(frozen=True, slots=True)
class Command:
    """Arguments for ffmpeg, without the binary. ``sink:NAME`` stands for the pipe to a sink."""

    arguments: tuple[str, ...]
    #: Seconds after which the run has failed, whatever it is doing.
    deadline: float
    #: How far it stands back where others want the processor, 0 to 19.
    niceness: int = 0
    #: The device it opens, whose files its box is to hold; None for none.
    device: Device | None = None

    @property
    def sinks(self) -> tuple[str, ...]:
        """The names of the sinks the command writes to, in order."""
        return tuple(a.removeprefix(SINK) for a in self.arguments if a.startswith(SINK))
