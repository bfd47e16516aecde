"""The durable documents of a video that is being worked on, as they stand in storage.

A document that needs a schema which a process does not know, it does not read (:mod:`jobs.schema`).
Fields that are merely unknown are kept as they are where the document is written again, so that an
older process undoes nothing that a newer one wrote. Times are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from jobs.parts import Priority
from jobs.states import State
from jobs.traceparent import TraceContext, derived, parse


class Document(BaseModel):
    """An immutable JSON document."""

    model_config = ConfigDict(frozen=True, extra="allow")


class InboxEntry(Document):
    """The to-do list's line for one video that is not terminal.

    ``receiving`` entries expire; they become ``abandoned`` and what they point to is removed.
    """

    schema_version: int = 1
    state: Literal["receiving", "abandoned", "accepted"]
    expires_at: datetime | None = None


class Problem(Document):
    """Why a video is ``errored``, for the person who has to act on it."""

    code: str
    message: str
    hint: str


class VideoWarning(Document):
    """What was mended, such as damage at a time or a track left out."""

    code: str
    message: str


class Event(Document):
    """Something that happened once. The id makes "exactly once" checkable."""

    id: str
    name: str
    at: datetime


class AudioSummary(Document):
    """One audio track of the source."""

    codec: str
    channels: int
    language: str | None = None


class SourceSummary(Document):
    """What the uploaded file turned out to be. Sizes are as displayed, duration in seconds."""

    container: str
    duration: float | None
    width: int | None = None
    height: int | None = None
    rotation: int = 0
    fps: str | None = None
    video_codec: str | None = None
    hdr: str | None = None
    audio: tuple[AudioSummary, ...] = ()


class Rendition(Document):
    """One rung or audio track of the result. Bandwidths are bits per second, 0 until measured."""

    name: str
    width: int | None = None
    height: int | None = None
    codec: str
    bandwidth: int = 0
    average_bandwidth: int = 0


class VideoRecord(Document):
    """The durable record, ``video.json``; replaced by compare-and-swap on its ETag."""

    schema_version: int = 1
    id: str
    state: State
    generation: int = 1
    playable: bool = False
    filename: str | None = None
    size: int
    content_type: str | None = None
    profile: str = "default"
    priority: Priority = Priority.NORMAL
    passthrough: str | None = None
    #: What the work on the video hangs on: its upload, as W3C Trace Context writes it.
    traceparent: str | None = None
    source: SourceSummary | None = None
    renditions: tuple[Rendition, ...] = ()
    has_poster: bool = False
    has_storyboard: bool = False
    error: Problem | None = None
    warnings: tuple[VideoWarning, ...] = ()
    events: tuple[Event, ...] = ()
    created_at: datetime
    playable_at: datetime | None = None
    ready_at: datetime | None = None

    @property
    def trace(self) -> TraceContext:
        """The trace that everything about the video belongs to."""
        return parse(self.traceparent) or derived(self.id)

    def with_event(self, name: str, at: datetime | None = None) -> VideoRecord:
        """This record with the event appended, unless an event of that id is there already."""
        event_id = f"{self.id}:{self.generation}:{name}"
        if any(event.id == event_id for event in self.events):
            return self
        event = Event(id=event_id, name=name, at=at or datetime.now(UTC))
        return self.model_copy(update={"events": (*self.events, event)})
