"""Why a part did not come to its end.

::

    PartError
    ├── PermanentError      the video cannot be made; trying again would not help
    ├── TransientError      trying again may help
    │   └── DeviceFaultError    a graphics processor made something else than it was told to
    └── SupersededError     somebody else's run counts; nothing is wrong
"""

from __future__ import annotations

from typing import Final

from jobs.records import Problem

#: Runs of a part that may fail before the video is given up. A source that cannot be reached is
#: hardly ever the video's fault, and is given half an hour with the pauses between the tries.
TRIES: Final = 4
#: Where it was ffmpeg itself that gave up, with all bytes at hand, the same will happen each time.
#: One more try tells a file's damage from a machine's; the sender is not kept waiting for others.
CERTAIN_TRIES: Final = 2
PATIENT_TRIES: Final = 30
#: On a graphics processor: once more, and then the video is made in software.
DEVICE_TRIES: Final = 2

#: Runs of a part that may end their worker without a word before the part is given up.
MAX_CRASHES: Final = 3


class PartError(Exception):
    """A part ended without a receipt of its own."""


class PermanentError(PartError):
    """The video ends ``errored`` with ``problem``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.message}")
        self.problem = problem


class TransientError(PartError):
    """The part is tried again after a pause; ``problem`` stands if it failed ``tries`` times."""

    def __init__(self, problem: Problem, tries: int = TRIES) -> None:
        super().__init__(f"{problem.code}: {problem.message}")
        self.problem = problem
        self.tries = tries


class DeviceFaultError(TransientError):
    """What a graphics processor made is not what it was told to make.

    ``reason`` counts against the device; None where the source is as likely to be the cause.
    """

    def __init__(self, problem: Problem, reason: str | None) -> None:
        super().__init__(problem, DEVICE_TRIES)
        self.reason = reason


class SupersededError(PartError):
    """Another run's receipt was first, or the generation is over; what this one wrote goes."""
