"""What a request asks of S3, told from its first lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """A request as rules see it."""

    method: str
    #: Below the bucket; empty for requests about the bucket.
    key: str
    query: Mapping[str, str]
    #: Names in lower case.
    headers: Mapping[str, str]

    @property
    def operation(self) -> str:
        """S3's name of it: ``PutObject``, ``UploadPart``, ``GetObject``, ``ListObjects``, …"""
        names = _OPERATIONS.get((self.method, bool(self.key)), ())
        for marker, name in names:
            if marker is None or marker in self.query:
                return name
        return self.method

    @property
    def conditional(self) -> bool:
        """Whether it writes only if nothing, or a certain ETag, is there."""
        return self.method == "PUT" and bool({"if-match", "if-none-match"} & self.headers.keys())

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.method in ("PUT", "POST", "DELETE")

    @property
    def for_ffmpeg(self) -> bool:
        """Whether a source is read for ffmpeg: with nothing else its version is named."""
        return self.operation == "GetObject" and "if-match" in self.headers


_OPERATIONS: Final[Mapping[tuple[str, bool], tuple[tuple[str | None, str], ...]]] = {
    ("GET", True): (("uploadId", "ListParts"), (None, "GetObject")),
    ("GET", False): (("uploads", "ListMultipartUploads"), (None, "ListObjects")),
    ("HEAD", True): ((None, "HeadObject"),),
    ("HEAD", False): ((None, "HeadBucket"),),
    ("PUT", True): (("partNumber", "UploadPart"), (None, "PutObject")),
    ("PUT", False): ((None, "CreateBucket"),),
    ("POST", True): (
        ("uploads", "CreateMultipartUpload"),
        ("uploadId", "CompleteMultipartUpload"),
    ),
    ("POST", False): (("delete", "DeleteObjects"),),
    ("DELETE", True): (("uploadId", "AbortMultipartUpload"), (None, "DeleteObject")),
}


def read_request(method: str, path: str, headers: Any) -> Request:
    """The request of a head; ``headers`` are pairs of name and value."""
    split = urlsplit(path)
    _, _, key = unquote(split.path).lstrip("/").partition("/")
    query = {name: values[0] for name, values in parse_qs(split.query, True).items()}
    return Request(method, key, query, {name.lower(): value for name, value in headers})
