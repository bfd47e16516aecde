"""What an error of a step means for the video."""

from __future__ import annotations

import signal

import pytest
import redis

from jobs.parts import PartRef
from jobs.records import Problem
from media.errors import (
    CanceledError,
    DeadlineExceededError,
    Evidence,
    FfmpegFailedError,
    NotMediaError,
    NotStartedError,
    SinkFailedError,
    SourceUnreadableError,
    StalledError,
)
from pipeline.errors import (
    CERTAIN_TRIES,
    PATIENT_TRIES,
    TRIES,
    PermanentError,
    SupersededError,
    TransientError,
)
from pipeline.problems import explained
from storage.errors import UnavailableError
from transcoder.errors import FragmentError, Unplayable

REF = PartRef("01m80fbj2527ffrm714smxgfa9", 1, "v00002")
EVIDENCE = Evidence(argv=("ffmpeg",), stderr=("moov atom not found",), exit_code=183, wall=0.1)
OUTAGE = UnavailableError("PutObject", "bucket", "key", "503", "slow down")


def meaning(error: Exception, cause: BaseException | None = None) -> Exception:
    """What ``error`` becomes."""
    with pytest.raises(Exception) as caught, explained(REF):
        raise error from cause
    return caught.value


def test_what_is_no_media_is_final_and_says_what_to_upload() -> None:
    said = "http://10.0.0.7:8333/reelfarm/videos/x/source?…: Invalid data found"
    error = meaning(NotMediaError("no film and no sound", (said,)))
    assert isinstance(error, PermanentError)
    assert error.problem.code == "unsupported_media"
    assert error.problem.message.endswith(": Invalid data found")
    assert "http" not in error.problem.message
    assert "MP4" in error.problem.hint


def test_a_refusal_of_the_planner_keeps_its_words() -> None:
    error = meaning(Unplayable("encrypted", "The file is encrypted.", "Upload another."))
    assert isinstance(error, PermanentError)
    assert error.problem == Problem(
        code="encrypted", message="The file is encrypted.", hint="Upload another."
    )


def ended(code: int, *said: str) -> Evidence:
    """How ffmpeg ended, and what it said last."""
    return Evidence(argv=("ffmpeg",), stderr=said, exit_code=code, wall=0.1)


@pytest.mark.parametrize(
    ("error", "tries", "code"),
    [
        (FfmpegFailedError("failed", EVIDENCE), CERTAIN_TRIES, "damaged_media"),
        (FfmpegFailedError("failed", ended(8, "no such encoder")), CERTAIN_TRIES, "encode_failed"),
        (FfmpegFailedError("failed", ended(-signal.SIGSEGV)), CERTAIN_TRIES, "encode_failed"),
        (FfmpegFailedError("failed", ended(-signal.SIGXCPU)), CERTAIN_TRIES, "encode_failed"),
        (DeadlineExceededError("not done in 90 s", EVIDENCE), CERTAIN_TRIES, "encode_failed"),
        (
            DeadlineExceededError(
                "not done in 90 s", ended(1, "[http @ 0x5] Will reconnect at 7 in 0 second(s)")
            ),
            TRIES,
            "encode_failed",
        ),
        (FragmentError("rubbish"), CERTAIN_TRIES, "encode_failed"),
        (FfmpegFailedError("failed", ended(-signal.SIGKILL)), TRIES, "encode_failed"),
        (FfmpegFailedError("failed", ended(-signal.SIGTERM)), TRIES, "encode_failed"),
        (
            FfmpegFailedError(
                "failed", ended(244, "x: Cannot allocate memory", "Conversion failed")
            ),
            TRIES,
            "encode_failed",
        ),
        (StalledError("no progress", EVIDENCE), TRIES, "encode_failed"),
        (NotStartedError("no room", ended(126, "no room")), PATIENT_TRIES, "encode_failed"),
    ],
)
def test_what_will_fail_again_is_tried_but_once_more(
    error: Exception, tries: int, code: str
) -> None:
    meant = meaning(error)
    assert isinstance(meant, TransientError)
    assert (meant.tries, meant.problem.code) == (tries, code)
    assert REF.part in meant.problem.message


@pytest.mark.parametrize(
    "said",
    [
        "[http @ 0x5575abc8aa80] http://127.0.0.1:8333/b/videos/x/source?…: I/O error",
        "[in#0/mov,mp4,m4a @ 0x55] Error opening /var/lib/farm/scratch/x1/film.mp4: I/O error",
    ],
)
def test_nobody_is_told_of_the_farms_inside(said: str) -> None:
    for error in (
        FfmpegFailedError(f"ffmpeg: exit status 1: {said}", ended(1, said)),
        NotMediaError("this is no media", (said,)),
        StalledError(f"ffmpeg: no progress for 30 s: {said}", ended(1, said)),
    ):
        meant = meaning(error)
        assert isinstance(meant, (TransientError, PermanentError))
        message = meant.problem.message
        assert "I/O error" in message
        assert not any(word in message for word in ("http", "://", "0x", "8333", "/var", "scratch"))


def test_the_evidence_of_a_failed_run_is_in_the_message() -> None:
    meant = meaning(FfmpegFailedError("ffmpeg failed", EVIDENCE))
    assert isinstance(meant, TransientError)
    assert "exit status 183" in meant.problem.message
    assert "moov atom not found" in meant.problem.message


def test_a_source_out_of_reach_is_waited_for() -> None:
    meant = meaning(SourceUnreadableError("cut off", EVIDENCE))
    assert isinstance(meant, TransientError)
    assert meant.tries == PATIENT_TRIES


@pytest.mark.parametrize("outage", [OUTAGE, redis.ConnectionError("refused")])
def test_outages_are_not_the_videos_fault(outage: Exception) -> None:
    assert meaning(outage) is outage


def test_an_outage_while_storing_a_segment_is_one_too() -> None:
    assert meaning(SinkFailedError("sink raised", EVIDENCE), OUTAGE) is OUTAGE


def test_a_run_that_came_second_is_no_failure() -> None:
    second = SupersededError("another receipt was first")
    assert meaning(SinkFailedError("sink raised", EVIDENCE), second) is second
    assert isinstance(meaning(CanceledError("canceled", EVIDENCE)), SupersededError)


def test_a_fault_of_ours_ends_the_video_in_the_end() -> None:
    meant = meaning(KeyError("v00099"))
    assert isinstance(meant, TransientError)
    assert meant.tries == TRIES
    assert meant.problem.code == "internal_error"
    assert "v00099" in meant.problem.message
