"""What a request looks like when it leaves: nothing is sent here."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from storage.client import ASKED_FOR, S3Config, client


class Nothing(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield b""


def sent(body: bytes) -> AWSPreparedRequest:
    """The request that puts ``body``."""
    s3 = client(S3Config("http://127.0.0.1:1", "us-east-1", "b", "", "key", "secret"))
    requests: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        requests.append(request)
        return AWSResponse(request.url, 200, {"ETag": '"x"'}, Nothing())

    s3.meta.events.register("before-send.s3", answer)
    s3.put_object(Bucket="b", Key="k", Body=body)
    s3.close()
    return requests[0]


@pytest.mark.parametrize(("size", "asks"), [(0, False), (300, False), (ASKED_FOR, True)])
def test_only_a_large_body_waits_to_be_asked_for(size: int, asks: bool) -> None:
    request = sent(bytes(size))
    assert ("Expect" in request.headers) is asks
    assert int(request.headers["Content-Length"]) == size


def test_bodies_are_signed_and_carry_no_trailer() -> None:
    headers = sent(b"abc").headers
    assert headers["X-Amz-Content-SHA256"] == (
        b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert not [name for name in headers if name.lower().startswith("x-amz-checksum")]
    assert headers["User-Agent"].startswith(b"reelfarm")
