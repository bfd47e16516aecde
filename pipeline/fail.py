"""Ending a video that cannot be made, so that a person can act on it."""

from __future__ import annotations

import structlog

from jobs.letters import DeadLetter
from jobs.metrics import DEAD_LETTERS_WRITTEN
from jobs.records import Problem, VideoRecord
from jobs.states import TRANSITIONS, State
from pipeline.bench import Bench
from pipeline.gpu import FELL_BACK
from storage.errors import StorageError, UnavailableError

_LOG = structlog.get_logger(__name__)


def fail(
    bench: Bench,
    video_id: str,
    generation: int,
    problem: Problem,
    letter: DeadLetter | None = None,
) -> None:
    """Make the video ``errored`` unless this generation is over already.

    The letter comes first, so that nobody finds the video errored without it. Raises
    :class:`storage.errors.StorageError`: then the video is not ended, and the part tried again.
    A letter that is refused for good is done without: it would hold the end up for ever.
    """
    ended = False

    def over(record: VideoRecord) -> bool:
        return State.ERRORED not in TRANSITIONS[record.state] or record.generation != generation

    def errored(record: VideoRecord) -> VideoRecord:
        nonlocal ended
        ended = not over(record)
        if not ended:
            return record
        update = {"state": State.ERRORED, "error": problem}
        return record.model_copy(update=update).with_event("errored")

    before = bench.catalog.load_any(video_id)
    if over(before):
        return
    if letter is not None and not _put(bench, letter, before.filename):
        letter = None
    after = bench.catalog.update(video_id, errored)
    if not ended:
        if letter is not None:
            _take_back(bench, letter, after)
        return
    _LOG.error(
        "video_errored",
        video_id=video_id,
        code=problem.code,
        message=problem.message,
        hint=problem.hint,
        dead_letter=letter.id if letter else None,
    )
    if letter is not None:
        bench.board.tallies.add(DEAD_LETTERS_WRITTEN, (problem.code,))
    bench.board.request_stop(video_id)
    bench.catalog.letters.retire(video_id, generation, keep=letter.id if letter else None)


def fall_back(bench: Bench, video_id: str, generation: int, reason: str) -> None:
    """Have the video made in software, from the beginning, but for its sound and stills.

    Nothing happens where the generation is over: parts that fail together do so once. Raises
    :class:`storage.errors.StorageError`.
    """
    after = bench.catalog.fall_back(video_id, generation, FELL_BACK)
    if after.generation != generation + 1 or after.state is not State.QUEUED:
        return
    _LOG.warning("video_fell_back", video_id=video_id, generation=after.generation, reason=reason)
    bench.board.request_stop(video_id)
    # There may be no worker left who would take them off.
    bench.board.withdraw(video_id, generation)


def _put(bench: Bench, letter: DeadLetter, filename: str | None) -> bool:
    """Write the letter, if the storage takes letters at all. Raises UnavailableError."""
    try:
        bench.catalog.letters.put(letter.model_copy(update={"filename": filename}))
    except UnavailableError:
        raise
    except StorageError as error:
        _LOG.error("dead_letter_not_written", letter=letter.id, error=str(error))
        return False
    return True


def _take_back(bench: Bench, letter: DeadLetter, record: VideoRecord) -> None:
    """Remove the letter of a video that somebody else ended first.

    Another run of the same part may have: then the one letter that there is tells of both.
    """
    letters = bench.catalog.letters
    same = record.state is State.ERRORED and record.generation == letter.generation
    prefix = f"{letter.video_id}-{letter.generation}-"
    if same and [each for each in letters.of(letter.video_id) if each.startswith(prefix)] == [
        letter.id
    ]:
        return
    letters.remove(letter.id)
