"""Forms taken apart, whatever the chunks they arrive in; bodies cut into parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from ingest.forms import MAX_FIELDS, FormReader
from ingest.problems import RefusedError
from ingest.streams import PART, bounded, part_size, regroup
from storage.multipart import MAX_PARTS

BOUNDARY = "----x"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
#: Looks like a boundary in every way but one.
TRICKY = b"\r\n------\r\n------y\r\n-----x\r\r\n------X--\r\n--" + b"\r\n-----" * 3 + b"\r\n"


def part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FORM = (
    part("profile", b"small")
    + part("file", TRICKY, '; filename="\u00fc; \\"q\\".mp4"\r\nContent-Type: video/mp4')
    + part("passthrough", "déjà".encode())
    + END
)


def read(body: bytes, size: int, content_type: str = TYPE) -> tuple[bytes, FormReader]:
    reader = FormReader(content_type)
    found = b"".join(
        piece
        for start in range(0, len(body), size)
        for piece in reader.feed(body[start : start + size])
    )
    reader.finish()
    return found, reader


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, 10_000])
def test_the_file_comes_out_as_it_went_in(size: int) -> None:
    found, reader = read(FORM, size)

    assert found == TRICKY
    assert reader.fields == {"profile": "small", "passthrough": "déjà"}
    assert reader.filename == 'ü; "q".mp4'
    assert reader.content_type == "video/mp4"


def refused(body: bytes, content_type: str = TYPE) -> RefusedError:
    with pytest.raises(RefusedError) as error:
        read(body, 100, content_type)
    return error.value


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (part("profile", b"x") + END, "missing_file"),
        (part("file", b"a") + part("file", b"b") + END, "missing_file"),
        (part("file", b"a"), "malformed_form"),
        (b"not a form at all", "malformed_form"),
        (b"", "malformed_form"),
        (part("big", b"x" * (MAX_FIELDS + 1)) + part("file", b"a") + END, "malformed_form"),
        (b"".join(part(f"f{n}", b"") for n in range(70)) + END, "malformed_form"),
        (part("file", b"a", "\r\nX-Long: " + "y" * 10_000) + END, "malformed_form"),
    ],
)
def test_forms_that_are_none_are_refused(body: bytes, code: str) -> None:
    assert refused(body).kind.code == code


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=" + "b" * 300]
)
def test_a_form_needs_a_sane_boundary(content_type: str) -> None:
    assert refused(FORM, content_type).kind.code == "malformed_form"


async def _stream(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def parts_of(chunks: Sequence[bytes], size: int) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [part async for part in regroup(_stream(chunks), size)]

    return asyncio.run(collect())


@pytest.mark.parametrize(
    ("chunks", "parts"),
    [
        ([], []),
        ([b""], []),
        ([b"abc"], [b"abc"]),
        ([b"abcd"], [b"abcd"]),
        ([b"ab", b"cd", b"e"], [b"abcd", b"e"]),
        ([b"abcdefghij"], [b"abcd", b"efgh", b"ij"]),
        ([b"a", b"bcdefgh"], [b"abcd", b"efgh"]),
    ],
)
def test_bodies_are_cut_into_equal_parts(chunks: list[bytes], parts: list[bytes]) -> None:
    assert parts_of(chunks, 4) == parts


def test_a_limit_is_reached_by_its_own_byte_and_passed_by_the_next() -> None:
    async def through(limit: int) -> int:
        return sum([len(chunk) async for chunk in bounded(_stream([b"abc", b"de"]), limit)])

    assert asyncio.run(through(5)) == 5
    with pytest.raises(RefusedError) as error:
        asyncio.run(through(4))
    assert error.value.kind.status == 413


def test_parts_grow_where_their_count_would_not_do() -> None:
    tebibyte = 1024**4

    assert part_size(1) == PART
    assert part_size(PART * MAX_PARTS) == PART
    assert part_size(5 * tebibyte) * MAX_PARTS >= 5 * tebibyte
    assert part_size(PART * MAX_PARTS + 1) == PART + 1024**2
