"""Which lines of stderr mean that the source was not read whole. All lines are ffmpeg's own."""

from __future__ import annotations

import pytest

from media.diagnosis import TAIL, Diagnosis

BREAK = "[http @ 0x5a] Stream ends prematurely at 254951, should be 509903"
MEND = "[http @ 0x5a] Will reconnect at 254951 in 0 second(s), error=Connection reset by peer."
LATER = "[http @ 0x5a] Will reconnect at 300000 in 0 second(s), error=Input/output error."


def diagnose(*lines: str) -> Diagnosis:
    diagnosis = Diagnosis()
    diagnosis.feed("\n".join(lines).encode())
    diagnosis.finish()
    return diagnosis


@pytest.mark.parametrize(
    "lines",
    [
        (BREAK,),
        (BREAK, MEND, BREAK),
        (MEND, MEND, MEND),
        ("[tcp @ 0x5648] Connection to tcp://127.0.0.1:1 failed: Connection refused",),
        ("[tcp @ 0x5595] Failed to resolve hostname no.such.host: Name or service not known",),
        ("[in#0/mpegts @ 0x55ac] Error during demuxing: Input/output error",),
        ("[in#0 @ 0x55c6] Error opening input: Connection refused",),
        ("http://127.0.0.1:335/valid/bikes.mp4?a=b: I/O error",),
        ("[http @ 0x5564] HTTP error 503 Service Unavailable",),
    ],
)
def test_broken_sources(lines: tuple[str, ...]) -> None:
    assert diagnose(*lines).unreadable


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (BREAK, MEND),
        (BREAK, MEND, BREAK, LATER),
        ("[in#0/mov,mp4 @ 0x55ce] stream 0, offset 0x3e415: partial file",),
        ("[in#0/matroska,webm @ 0x56] File ended prematurely",),
        ("[in#0 @ 0x5604] moov atom not found",),
        ("[http @ 0x5564] HTTP error 416 Range Not Satisfiable",),
        ("[h264 @ 0x5575] Invalid NAL unit size (259 > 213).",),
    ],
)
def test_damaged_or_healed_sources(lines: tuple[str, ...]) -> None:
    assert diagnose(*lines).unreadable is None


def test_status_is_kept() -> None:
    assert diagnose("[http @ 0x55] HTTP error 403 Forbidden").status == 403


def test_tail_is_bounded_and_redacted() -> None:
    diagnosis = diagnose(*(f"line {n} http://h/k?X-Amz-Signature=abc" for n in range(100)))
    assert len(diagnosis.tail) == TAIL
    assert diagnosis.tail[-1] == "line 99 http://h/k?…"


def test_line_without_end_takes_no_memory() -> None:
    diagnosis = Diagnosis()
    for _ in range(100):
        diagnosis.feed(b"x" * 100_000)
    diagnosis.finish()
    assert sum(map(len, diagnosis.tail)) < 1000


def test_pieces_do_not_matter() -> None:
    diagnosis = Diagnosis()
    for byte in f"{BREAK}\n".encode():
        diagnosis.feed(bytes([byte]))
    assert diagnosis.unreadable
