"""What an error of a step means for the video."""

from __future__ import annotations

import pytest
import redis

from jobs.parts import PartRef
from jobs.records import Problem
from media.errors import (
    CanceledError,
    Evidence,
    FfmpegFailedError,
    NotMediaError,
    SinkFailedError,
    SourceUnreadableError,
)
from pipeline.errors import PATIENT_TRIES, TRIES, PermanentError, SupersededError, TransientError
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


@pytest.mark.parametrize(
    "error", [FfmpegFailedError("ffmpeg failed", EVIDENCE), FragmentError("rubbish")]
)
def test_a_failed_run_is_tried_a_few_times(error: Exception) -> None:
    meant = meaning(error)
    assert isinstance(meant, TransientError)
    assert meant.tries == TRIES
    assert meant.problem.code == "encode_failed"
    assert REF.part in meant.problem.message


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
