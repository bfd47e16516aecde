"""Dead letters: what is kept of a part that ended its video, for the person who operates the farm.

A letter is evidence and a handle: it tells what was tried, where and how it went, and a retry
of it is a retry of its video. It stands in storage for as long as the video is ``errored``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from jobs.parts import PartRef
from jobs.records import Document, Problem

#: How a run ended, if it did. A crash is a run that never said: its lease lapsed.
AttemptEnding = Literal["error", "drain", "done", "crash", "running"]


class Attempt(Document):
    """One run of a part. ``host`` and ``pid`` are the worker's; ``code`` says why it ended."""

    run: str
    host: str
    pid: int | None = None
    began: datetime | None = None
    #: None for a crash, of which nobody knows when it was.
    ended: datetime | None = None
    ending: AttemptEnding
    code: str = ""
    message: str = ""


class AttemptCounts(Document):
    """All runs that failed, by how; the history may go back less far."""

    crashes: int = 0
    errors: int = 0
    #: Runs that were given back unfinished, as by a worker told to stop; they count for nothing.
    drains: int = 0


class RunEvidence(Document):
    """The last run of ffmpeg or ffprobe. Nothing in it carries the query string of a URL."""

    argv: tuple[str, ...]
    #: Either of these two, or neither where the process had not ended by itself.
    exit_status: int | None = None
    signal: str | None = None
    #: The last lines.
    stderr: tuple[str, ...] = ()
    seconds: float = 0.0


class DeadLetter(Document):
    """Why and how one part of one generation ended its video."""

    schema_version: int = 1
    id: str
    video_id: str
    filename: str | None = None
    generation: int
    part: str
    problem: Problem
    counts: AttemptCounts = AttemptCounts()
    attempts: tuple[Attempt, ...] = ()
    evidence: RunEvidence | None = None
    created_at: datetime


def letter_id(ref: PartRef) -> str:
    """The letter of a part; safe in keys and URLs, since the names of parts are."""
    return f"{ref.video_id}-{ref.generation}-{ref.part}"
