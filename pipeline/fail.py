"""Ending a video that cannot be made, so that a person can act on it."""

from __future__ import annotations

import structlog

from jobs.records import Problem, VideoRecord
from jobs.states import TRANSITIONS, State
from pipeline.bench import Bench

_LOG = structlog.get_logger(__name__)


def fail(bench: Bench, video_id: str, generation: int, problem: Problem) -> None:
    """Make the video ``errored`` unless this generation is over already."""

    def errored(record: VideoRecord) -> VideoRecord:
        over = State.ERRORED not in TRANSITIONS[record.state]
        if over or record.generation != generation:
            return record
        update = {"state": State.ERRORED, "error": problem}
        return record.model_copy(update=update).with_event("errored")

    before = bench.catalog.load_any(video_id)
    if bench.catalog.update(video_id, errored) == before:
        return
    _LOG.error(
        "video_errored",
        video_id=video_id,
        code=problem.code,
        message=problem.message,
        hint=problem.hint,
    )
    bench.board.request_stop(video_id)
