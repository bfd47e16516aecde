"""Dead letters: their ids, what they say of a failure, and how the command shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm import letters
from ingest.views import letter_view
from jobs.ids import is_letter_id, new_video_id
from jobs.leases import Attempts
from jobs.letters import Attempt, letter_id
from jobs.parts import PartRef
from jobs.records import Problem
from media.errors import Evidence, FfmpegFailedError, NotMediaError, SinkFailedError
from pipeline.errors import PermanentError, TransientError
from pipeline.letters import dead_letter, is_refusal
from pipeline.problems import explained
from pipeline.work import pause_after
from storage import layout
from transcoder.errors import FragmentError, Unplayable

VIDEO = "01k0000000abcdefghjkmnpqrs"
REF = PartRef(VIDEO, 2, "a0-head")
AT = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
PROBLEM = Problem(code="encode_failed", message="It failed.", hint="Look.")
SECRET = "X-Amz-Signature=5ec2e7"
URL = f"http://127.0.0.1:8333/reelfarm/videos/{VIDEO}/source"


def meaning(error: Exception, cause: BaseException | None = None) -> Exception:
    """What ``error`` becomes in a step."""
    with pytest.raises(Exception) as caught, explained(REF):
        raise error from cause
    return caught.value


def failed(code: int | None, *, argv: tuple[str, ...] = ("ffmpeg",)) -> FfmpegFailedError:
    return FfmpegFailedError("ffmpeg failed", Evidence(argv, ("it is so",), code, 1.5))


@given(st.integers(min_value=1, max_value=40), st.floats(min_value=0, max_value=1))
def test_pauses_double_up_to_a_minute_and_are_spread_by_half(errors: int, luck: float) -> None:
    middle = min(60.0, 2.0 ** (errors - 1))
    assert middle * 0.5 <= pause_after(errors, luck) <= middle * 1.5
    assert pause_after(errors, 1.0) == pytest.approx(3 * pause_after(errors, 0.0))
    assert pause_after(errors + 1, luck) >= pause_after(errors, luck)


def test_pauses_in_full() -> None:
    assert [pause_after(n, 0.5) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.floats(min_value=0, max_value=2**37), st.integers(min_value=1, max_value=10**6))
def test_an_id_leads_to_a_key_and_back(now: float, generation: int) -> None:
    name = letter_id(PartRef(new_video_id(now), generation, "a0-head"))
    assert is_letter_id(name)
    key = layout.dead_letter(name)
    assert layout.dead_letter_id(key) == name
    assert key.startswith(layout.dead_letters(name[:26]))
    assert "/" not in key.removeprefix(layout.DEAD_LETTERS)


@given(st.floats(min_value=0, max_value=2**36), st.floats(min_value=0.002, max_value=1e9))
def test_letters_of_the_newest_video_list_first(now: float, later: float) -> None:
    older, newer = (PartRef(new_video_id(at), 1, "v00001") for at in (now, now + later))
    assert layout.dead_letter(letter_id(newer)) < layout.dead_letter(letter_id(older))


@pytest.mark.parametrize(
    "text",
    ["", VIDEO, f"{VIDEO}-0-v00001", f"{VIDEO}-1-", f"{VIDEO}-1-../x", f"{VIDEO}-1-v\n",
     f"{VIDEO.upper()}-1-v00001", f"../{VIDEO}-1-v00001", f"{VIDEO}-1-" + "v" * 41],
)  # fmt: skip
def test_what_is_no_id_never_comes_near_a_key(text: str) -> None:
    assert not is_letter_id(text)


@pytest.mark.parametrize(
    "error", [NotMediaError("nothing in it"), Unplayable("too_large", "It is.", "Smaller.")]
)
def test_an_input_that_is_refused_leaves_no_letter(error: Exception) -> None:
    assert is_refusal(meaning(error))


@pytest.mark.parametrize("error", [failed(1), FragmentError("rubbish"), KeyError("v1")])
def test_any_other_failure_leaves_one(error: Exception) -> None:
    assert not is_refusal(meaning(error))
    assert not is_refusal(PermanentError(PROBLEM))
    assert not is_refusal(None)


def test_a_letter_carries_the_evidence_of_the_last_run() -> None:
    argv = ("ffmpeg", "-i", f"{URL}?{SECRET}", "-f", "null", "-")
    letter = dead_letter(REF, PROBLEM, AT, error=meaning(failed(183, argv=argv)))
    assert letter.evidence is not None
    assert letter.evidence.argv == ("ffmpeg", "-i", f"{URL}?…", "-f", "null", "-")
    assert (letter.evidence.exit_status, letter.evidence.signal) == (183, None)
    assert letter.evidence.stderr == ("it is so",)
    assert letter.evidence.seconds == 1.5
    assert (letter.id, letter.part) == (f"{VIDEO}-2-a0-head", "a0-head")


@pytest.mark.parametrize(
    ("code", "signal"), [(-9, "SIGKILL"), (-11, "SIGSEGV"), (-99, "signal 99")]
)
def test_a_signal_is_told_by_its_name(code: int, signal: str) -> None:
    evidence = dead_letter(REF, PROBLEM, AT, error=meaning(failed(code))).evidence
    assert evidence is not None
    assert (evidence.exit_status, evidence.signal) == (None, signal)


def test_no_letter_carries_a_signature() -> None:
    said = f"{URL}?{SECRET}: Connection refused"
    problem = PROBLEM.model_copy(update={"message": said})
    error = FfmpegFailedError("x", Evidence(("ffmpeg", f"{URL}?{SECRET}"), (said,), 1, 0.1))
    assert SECRET not in dead_letter(REF, problem, AT, error=meaning(error)).model_dump_json()


def test_evidence_is_found_behind_a_sink_that_failed() -> None:
    second = TransientError(PROBLEM)
    error = meaning(SinkFailedError("a sink raised", Evidence(("ffmpeg",))), second)
    assert error is second, "which has the sink's error for a cause, and that has it for its own"
    assert dead_letter(REF, PROBLEM, AT, error=error).evidence is not None
    assert dead_letter(REF, PROBLEM, AT, error=meaning(FragmentError("x"))).evidence is None


def document() -> dict[str, Any]:
    """A letter as the API shows it."""
    crash = Attempt(run="r1", host="east", pid=7, began=AT, ending="crash")
    error = Attempt(
        run="r2", host="west", pid=8, began=AT, ended=AT.replace(second=9), ending="error",
        code="encode_failed", message="it\nfailed",
    )  # fmt: skip
    letter = dead_letter(
        REF, PROBLEM, AT, counts=Attempts(crashes=1, errors=2), attempts=(crash, error),
        error=meaning(failed(-9, argv=("ffmpeg", "-i", "a b"))),
    )  # fmt: skip
    view = letter_view(letter.model_copy(update={"filename": "holiday.mov"}))
    shown: dict[str, Any] = view.model_dump(mode="json")
    return shown


def test_a_row_of_the_list() -> None:
    row = (f"{VIDEO}-2-a0-head", VIDEO, "a0-head", "encode_failed", "1 crash, 2 errors", "1:00")
    assert letters.list_row(document(), AT.timestamp() + 60) == (*row, "holiday.mov")


def test_all_the_evidence_is_shown() -> None:
    facts = letters.facts(document())
    assert ("failed", "1 crash, 2 errors") in facts
    assert ("problem", "It failed. (encode_failed)") in facts
    assert ("command", "ffmpeg -i 'a b'") in facts
    assert ("exit", "killed by SIGKILL after 1.5 s") in facts
    assert ("stderr", "it is so") in facts
    first, second = letters.attempt_rows(document())
    assert first[1:] == ("-", "east", "7", "r1", "crash", "-")
    assert second[1:] == ("4.0", "west", "8", "r2", "error", "encode_failed: it failed")


def test_a_letter_without_evidence_or_failures_is_shown_too() -> None:
    bare = letter_view(dead_letter(REF, PROBLEM, AT)).model_dump(mode="json")
    assert ("failed", "-") in letters.facts(bare)
    assert letters.attempt_rows(bare) == []
    assert letters.list_row(bare, 0.0)[-2:] == ("0:00", "-")
