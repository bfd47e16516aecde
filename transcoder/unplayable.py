"""Why nothing can be made of a source, for the person who uploaded it."""

from __future__ import annotations


class Unplayable(Exception):  # noqa: N818 - it is the source that is, not the planner that failed
    """``code`` is stable, ``message`` says what is wrong, ``hint`` what to do about it."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint
