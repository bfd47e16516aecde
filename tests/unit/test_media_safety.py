"""Whole option lists: what is missing here can be used against us."""

from __future__ import annotations

import pytest

from media.errors import UnsafeSourceError
from media.redact import redact
from media.safety import CONTAINERS, input_options

CONNECTION = (
    "-max_redirects 0 -rw_timeout 15000000"
    " -reconnect 1 -reconnect_max_retries 2 -reconnect_delay_max 2"
)


def test_http() -> None:
    assert " ".join(input_options("http://h/k?X=1")) == (
        f"-format_whitelist {CONTAINERS} -protocol_whitelist http,tcp {CONNECTION}"
    )


def test_file() -> None:
    assert " ".join(input_options("/film.mp4")) == (
        f"-format_whitelist {CONTAINERS} -protocol_whitelist file"
    )


def test_large_pictures() -> None:
    assert " ".join(input_options("/film.mp4", max_pixels=640_000)) == (
        f"-format_whitelist {CONTAINERS} -max_pixels 640000 -protocol_whitelist file"
    )


@pytest.mark.parametrize(
    "source",
    [
        "https://h/k",
        "film.mp4",
        "concat:/a|/b",
        "file:///etc/passwd",
        "-i",
        "",
        "pipe:0",
        "ftp://h/k",
        "data:,x",
    ],
)
def test_anything_else_is_refused(source: str) -> None:
    with pytest.raises(UnsafeSourceError):
        input_options(source)


def test_no_demuxer_that_opens_other_things() -> None:
    names = set(CONTAINERS.split(","))
    others = "hls dash concat sdp rtsp rtp image2 image2pipe lavfi imf webvtt srt ass"
    assert names.isdisjoint(others.split(" "))


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("http://h:1/k?…", "http://h:1/k?X-Amz-Signature=a/b&c=d"),
        ("at https://h/k?… .", "at https://h/k?a=b ."),
        ("[x] 'https://h/k?…'", "[x] 'https://h/k?a=b'"),
        ("http://…@h/k", "http://me:secret@h/k"),
        ("no address?", "no address?"),
    ],
)
def test_redaction(text: str, shown: str) -> None:
    assert redact(text) == shown
