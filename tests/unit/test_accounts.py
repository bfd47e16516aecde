"""What a worker says of its runs and its time."""

from __future__ import annotations

import pytest

from jobs.leases import Attempts
from jobs.parts import PartRef
from jobs.tallies import Tallies
from pipeline.accounts import Timesheet, ending, made_of, tally_run, tally_speed
from pipeline.runs import Done, Drained, Outcome, Reason, Retry, Run


def run(kind: str | None = None, reason: Reason | None = None) -> Run:
    found = Run(PartRef("v", 1, "p"), "run", Attempts(starts=1))
    found.kind, found.reason = kind, reason
    return found


@pytest.mark.parametrize(
    ("outcome", "made", "failed", "reason", "told"),
    [
        (Done(), True, False, None, "made"),
        (Done(), False, True, None, "failed"),
        (Done(), False, False, None, "overtaken"),
        (Done(), False, False, "stop", "stopped"),
        (Done(), False, False, "lost", "stopped"),
        (Drained(), False, False, "drain", "given_back"),
        (Retry(1.0, "encode_failed"), False, False, None, "retried"),
        (Retry(1.0, "unforeseen", counted=False), False, False, None, "given_back"),
    ],
)
def test_how_a_run_ended(
    outcome: Outcome, made: bool, failed: bool, reason: Reason | None, told: str
) -> None:
    over = run(reason=reason)
    over.made, over.failed = made, failed
    assert ending(over, outcome) == told


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("video 1080p,720p", ("video", "1080p")),
        ("video 634p,360p", ("video", "720p")),
        ("video 8640p", ("video", "other")),
        ("video cinema", ("video", "other")),
        ("audio audio-deu-2", ("audio", "audio")),
        ("pictures", ("pictures", "")),
        ("inspect", ("inspect", "")),
        (None, ("unknown", "")),
    ],
)
def test_what_a_run_was_to_make(kind: str | None, expected: tuple[str, str]) -> None:
    assert made_of(run(kind)) == expected


def test_only_errors_count_as_retries() -> None:
    tallies = Tallies()
    tally_run(tallies, run("video 720p"), Retry(1.0, "superseded", counted=False), 3.0)
    tally_run(tallies, run("video 720p"), Retry(1.0, "encode_failed"), 3.0)
    assert tallies.pending["reelfarm_part_retries_total\tvideo"] == 1


def test_speed_is_film_by_time_and_nothing_where_nothing_was_made() -> None:
    tallies, fast = Tallies(), run("video 720p")
    fast.codec = "h264"
    tally_speed(tallies, fast, 8.0, 2.0)
    tally_speed(tallies, fast, 0.0, 2.0)
    tally_speed(tallies, fast, 8.0, 0.0)
    assert tallies.pending == {
        "reelfarm_encode_speed_ratio\th264\t720p\t5.0": 1.0,
        "reelfarm_encode_speed_ratio\th264\t720p\tsum": 4.0,
    }


def test_a_long_part_is_seen_while_it_runs() -> None:
    now, tallies = [100.0], Tallies()
    sheet = Timesheet(tallies, "cpu", lambda: now[0])

    def told() -> tuple[float, float]:
        pending = tallies.pending
        names = ("reelfarm_worker_seconds_total\tcpu", "reelfarm_worker_busy_seconds_total\tcpu")
        return pending.get(names[0], 0.0), pending.get(names[1], 0.0)

    now[0] += 10
    sheet.settle()
    assert told() == (10, 0)
    with sheet.at_work():
        now[0] += 30
        sheet.settle()
        assert told() == (40, 30)
        now[0] += 5
    now[0] += 2
    sheet.settle()
    assert told() == (47, 35)
