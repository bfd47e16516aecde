"""A video or dead letter as the API shows it: a pure function of its record and progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import BaseModel

from jobs.letters import Attempt, AttemptCounts, AttemptEnding, DeadLetter, RunEvidence
from jobs.parts import Priority
from jobs.records import Problem, Rendition, SourceSummary, VideoRecord
from jobs.records import VideoWarning as VideoWarning
from jobs.states import State


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of the work is done, 0 to 1: of all of it, and by rendition."""

    overall: float = 0.0
    renditions: Mapping[str, float] = field(default_factory=dict)


class RenditionView(BaseModel):
    """One rendition. Bandwidths are bits per second, 0 until measured."""

    name: str
    width: int | None
    height: int | None
    codec: str
    bandwidth: int
    average_bandwidth: int
    progress: float


class PlaybackView(BaseModel):
    """Where to fetch what there is; null until there is."""

    hls: str | None
    dash: str | None
    poster: str | None
    storyboard: str | None


class VideoView(BaseModel):
    """A video. Times are RFC 3339, durations seconds, sizes bytes."""

    id: str
    status: State
    playable: bool
    progress: float
    filename: str | None
    size: int
    profile: str
    priority: Priority
    passthrough: str | None
    source: SourceSummary | None
    renditions: tuple[RenditionView, ...]
    playback: PlaybackView
    error: Problem | None
    warnings: tuple[VideoWarning, ...]
    created_at: datetime
    playable_at: datetime | None
    ready_at: datetime | None


class VideoList(BaseModel):
    """Videos, newest first. ``next`` is the cursor of the page after, null on the last."""

    videos: tuple[VideoView, ...]
    next: str | None


class AttemptView(BaseModel):
    """One run of a part. `ended` and `seconds` are null for a crash: nobody knows when it was."""

    run: str
    host: str
    pid: int | None
    began: datetime | None
    ended: datetime | None
    seconds: float | None
    ending: AttemptEnding
    code: str
    message: str


class DeadLetterView(BaseModel):
    """Why and how a part ended its video, and what its last run of ffmpeg said, if there was one.

    `counts` are of all runs, `attempts` the last of them, oldest first.
    """

    id: str
    video_id: str
    filename: str | None
    generation: int
    part: str
    problem: Problem
    counts: AttemptCounts
    attempts: tuple[AttemptView, ...]
    evidence: RunEvidence | None
    created_at: datetime


class DeadLetterList(BaseModel):
    """Dead letters, those of the newest video first. ``next`` is as in a list of videos."""

    dead_letters: tuple[DeadLetterView, ...]
    next: str | None


def video_view(record: VideoRecord, progress: Progress, base_url: str) -> VideoView:
    """The video; playback URLs begin with ``base_url``, which has no slash at its end."""
    done = record.state is State.READY
    return VideoView(
        id=record.id,
        status=record.state,
        playable=record.playable,
        progress=1.0 if done else _fraction(progress.overall),
        filename=record.filename,
        size=record.size,
        profile=record.profile,
        priority=record.priority,
        passthrough=record.passthrough,
        source=record.source,
        renditions=tuple(
            _rendition(rendition, 1.0 if done else progress.renditions.get(rendition.name, 0.0))
            for rendition in record.renditions
        ),
        playback=_playback(record, base_url),
        error=record.error,
        warnings=record.warnings,
        created_at=record.created_at,
        playable_at=record.playable_at,
        ready_at=record.ready_at,
    )


def letter_view(letter: DeadLetter) -> DeadLetterView:
    """The dead letter."""
    return DeadLetterView(
        id=letter.id,
        video_id=letter.video_id,
        filename=letter.filename,
        generation=letter.generation,
        part=letter.part,
        problem=letter.problem,
        counts=letter.counts,
        attempts=tuple(attempt_view(attempt) for attempt in letter.attempts),
        evidence=letter.evidence,
        created_at=letter.created_at,
    )


def attempt_view(attempt: Attempt) -> AttemptView:
    seconds = None
    if attempt.began is not None and attempt.ended is not None:
        seconds = max(0.0, round((attempt.ended - attempt.began).total_seconds(), 3))
    return AttemptView(**attempt.model_dump(), seconds=seconds)


def _rendition(rendition: Rendition, progress: float) -> RenditionView:
    return RenditionView(
        name=rendition.name,
        width=rendition.width,
        height=rendition.height,
        codec=rendition.codec,
        bandwidth=rendition.bandwidth,
        average_bandwidth=rendition.average_bandwidth,
        progress=_fraction(progress),
    )


def _playback(record: VideoRecord, base_url: str) -> PlaybackView:
    def url(name: str, there: bool) -> str | None:
        return f"{base_url}/play/{record.id}/{name}" if there else None

    return PlaybackView(
        hls=url("master.m3u8", record.playable),
        dash=url("manifest.mpd", record.state is State.READY),
        poster=url("poster.jpg", record.has_poster),
        storyboard=url("storyboard.vtt", record.has_storyboard),
    )


def _fraction(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 4)
