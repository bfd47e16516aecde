"""Which lines of stderr mean that the source was not read whole. All lines are ffmpeg's own."""

from __future__ import annotations

import time

import pytest

from media.diagnosis import TAIL, Diagnosis
from media.redact import redact

UNOPENED = (
    "http://127.0.0.1:335/valid/bikes.mp4?a=b: I/O error",
    "[in#0 @ 0x55d5] Error opening input: Input/output error",
)
DAMAGED_HEADER = (
    "[matroska,webm @ 0x7f] File ended prematurely at pos. 447 (0x1bf)",
    "[in#0 @ 0x55fd5bc42600] Duplicate element",
    "Truncating packet of size 201 to 179",
)
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
        ("[http @ 0x7efc] Error reading HTTP response: End of file",),
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
        (BREAK, MEND, "[http @ 0x5a] Error reading HTTP response: End of file", LATER),
        ("[in#0/mov,mp4 @ 0x55ce] stream 0, offset 0x3e415: partial file",),
        ("[in#0/matroska,webm @ 0x56] File ended prematurely",),
        ("[in#0 @ 0x5604] moov atom not found",),
        ("[http @ 0x5564] HTTP error 416 Range Not Satisfiable",),
        ("[h264 @ 0x5575] Invalid NAL unit size (259 > 213).",),
    ],
)
def test_damaged_or_healed_sources(lines: tuple[str, ...]) -> None:
    assert diagnose(*lines).unreadable is None


@pytest.mark.parametrize("last", UNOPENED)
@pytest.mark.parametrize("said", DAMAGED_HEADER)
def test_an_io_error_is_the_networks_unless_a_demuxer_alone_has_spoken(
    said: str, last: str
) -> None:
    """A redirect and a header that was cut off before the upload end with the same words."""
    assert diagnose(last).unreadable
    assert diagnose(said, last).unreadable is None
    for wire in (BREAK, MEND, "[tls @ 0x5] The TLS connection was non-properly terminated."):
        assert diagnose(wire, said, last).unreadable


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


@pytest.mark.parametrize("word", ["x", "a://", "http://", "[https @ ", "a://b@"])
def test_long_words_cost_no_time(word: str) -> None:
    """A file names its tracks as it likes. While a pattern is looked for, no other thread runs."""
    began = time.process_time()
    diagnosis, words = Diagnosis(), word * (100_000 // len(word))
    for _ in range(TAIL):
        diagnosis.feed(f"{words}\n".encode())
    assert len(diagnosis.tail) == TAIL
    redact(words)
    assert time.process_time() - began < 3.0


def test_pieces_do_not_matter() -> None:
    diagnosis = Diagnosis()
    for byte in f"{BREAK}\n".encode():
        diagnosis.feed(bytes([byte]))
    assert diagnosis.unreadable


@pytest.mark.parametrize(
    ("line", "damaged"),
    [
        ("[vist#0:0/h264 @ 0x5] [dec:h264 @ 0x6] corrupt decoded frame", True),
        ("[aist#0:1/aac @ 0x5] [dec:aac @ 0x6] Error submitting packet to decoder: Invalid", True),
        ("[in#0/mpegts @ 0x5] Packet corrupt (stream = 0, dts = 702000).", True),
        ("[in#0/mpegts @ 0x5] max resync size reached, could not find sync byte", True),
        ("[in#0/matroska @ 0x5] 0x00 at pos 0 invalid as first byte of an EBML number", True),
        ("[in#0/matroska,webm @ 0x5] Invalid track number 120", True),
        ("[h264 @ 0x5] co located POCs unavailable", False),
        ("[h264 @ 0x5] mmco: unref short failure", False),
    ],
)
def test_damage_is_heard_and_a_seek_is_none(line: str, damaged: bool) -> None:
    found = diagnose(line)
    assert found.damaged is damaged
    assert not found.unreadable
