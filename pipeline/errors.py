"""Why a part did not come to its end.

::

    PartError
    ├── PermanentError      the video cannot be made; trying again would not help
    ├── TransientError      trying again may help
    └── SupersededError     somebody else's run counts; nothing is wrong
"""

from __future__ import annotations

from jobs.records import Problem


class PartError(Exception):
    """A part ended without a receipt of its own."""


class PermanentError(PartError):
    """The video ends ``errored`` with ``problem``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.message}")
        self.problem = problem


class TransientError(PartError):
    """The part is tried again after a pause; ``problem`` is what stands if it never works."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.message}")
        self.problem = problem


class SupersededError(PartError):
    """Another run's receipt was first, or the generation is over; what this one wrote goes."""
