"""The calls the farm makes to S3, and no others.

One :class:`ObjectStore` is shared by all threads of a process. It puts the configured prefix
before every key, translates every error, and adds the two conditional writes that commit
things: :meth:`ObjectStore.create` and :meth:`ObjectStore.replace`. Both can meet their own
success as a refusal when the first answer was lost; :mod:`storage.documents` sees through that.

Permissions needed: GetObject, PutObject, DeleteObject, ListBucket, AbortMultipartUpload,
ListBucketMultipartUploads, and CreateBucket where the bucket is to be made.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from storage.client import READ_TIMEOUT, TRIES, S3Config, client
from storage.errors import (
    NotFoundError,
    UnavailableError,
    error_code,
    http_status,
    refused,
    translate,
)
from storage.etags import quoted
from storage.multipart import MultipartUpload
from storage.streams import ObjectStream
from storage.watch import Watch

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

__all__ = ["ObjectInfo", "ObjectStore", "ObjectStream", "S3Config", "Stored", "Upload", "connect"]

#: The most keys one DeleteObjects call takes.
DELETE_BATCH = 1000
#: Tries of a conditional write that S3 answers with 409, a race still undecided.
CONFLICT_TRIES = 6
OCTETS = "application/octet-stream"

#: Seconds; a signature of version 4 is good for no longer.
_LONGEST_URL = 7 * 86_400


@dataclass(frozen=True)
class Stored:
    """An object's bytes, and the ETag (quoted) to replace it by."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class ObjectInfo:
    """What storage knows about an object. Listings have no content type: it is None there."""

    key: str
    #: Bytes.
    size: int
    #: Quoted, as HTTP wants it.
    etag: str
    modified: datetime
    content_type: str | None


class Upload(NamedTuple):
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str


def connect(
    config: S3Config,
    *,
    read_timeout: float = READ_TIMEOUT,
    tries: int = TRIES,
    watch: Watch | None = None,
) -> ObjectStore:
    """A store on the configured endpoint, bucket and prefix. Nothing is sent yet.

    ``read_timeout`` is the longest silence, in seconds; ``tries`` is of one request in all;
    ``watch`` is told of each of them.
    """
    s3 = client(config, read_timeout=read_timeout, tries=tries, watch=watch)
    return ObjectStore(s3, config.bucket, config.prefix)


class ObjectStore:
    """Objects of one bucket below one prefix. Thread-safe.

    Every method raises :class:`storage.errors.StorageError`, or the subclass that fits.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        prefix: str = "",
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._s3 = s3
        self._sleep = sleep
        self._jitter = jitter

    def close(self) -> None:
        """Close the pooled connections."""
        self._s3.close()

    def ensure_bucket(self) -> None:
        """Create the bucket if it is not there."""
        try:
            with self._translated("HeadBucket"):
                self._s3.head_bucket(Bucket=self.bucket)
        except NotFoundError:
            self._create_bucket()

    def get(self, key: str) -> Stored:
        """The whole object; for small ones. Raises NotFoundError."""
        with self._translated("GetObject", key):
            answer = self._s3.get_object(Bucket=self.bucket, Key=self._full(key))
            # The body's own ``with`` would yield urllib3's stream, which lets short reads pass.
            with closing(answer["Body"]) as body:
                return Stored(body.read(), quoted(answer["ETag"]))

    def head(self, key: str) -> ObjectInfo:
        """Size, ETag, time and type. Raises NotFoundError."""
        with self._translated("HeadObject", key):
            answer = self._s3.head_object(Bucket=self.bucket, Key=self._full(key))
        return ObjectInfo(
            key,
            answer["ContentLength"],
            quoted(answer["ETag"]),
            answer["LastModified"],
            answer.get("ContentType"),
        )

    def open(
        self,
        key: str,
        first: int | None = None,
        last: int | None = None,
        *,
        etag: str | None = None,
    ) -> ObjectStream:
        """Read the bytes from ``first`` to ``last`` (inclusive) as they arrive.

        Without ``last`` to the end; a negative ``first`` stands for that many bytes from the end.
        With an ``etag`` of that object only. Raises NotFoundError, ChangedError, and
        InvalidRangeError where the range begins behind the end.
        """
        wanted: dict[str, Any] = {} if first is None else {"Range": _range(first, last)}
        if etag is not None:
            wanted["IfMatch"] = etag
        with self._translated("GetObject", key):
            answer = self._s3.get_object(Bucket=self.bucket, Key=self._full(key), **wanted)
        return ObjectStream(answer, lambda error: translate(error, "GetObject", *self._name(key)))

    def put(
        self, key: str, body: bytes, *, content_type: str = OCTETS, cache_control: str | None = None
    ) -> str:
        """Write the object, whatever was there. Returns its ETag."""
        with self._translated("PutObject", key):
            return self._put(key, body, _headers(content_type, cache_control))

    def put_file(
        self, key: str, path: Path, *, content_type: str = OCTETS, cache_control: str | None = None
    ) -> str:
        """Write a file of at most 5 GiB without reading it into memory. Returns the ETag."""
        with path.open("rb") as body, self._translated("PutObject", key):
            return self._put(key, body, _headers(content_type, cache_control))

    def create(
        self, key: str, body: bytes, *, content_type: str = OCTETS, cache_control: str | None = None
    ) -> str | None:
        """Write the object only if there is none. Returns its ETag, or None if one exists."""
        headers = _headers(content_type, cache_control) | {"IfNoneMatch": "*"}
        return self._put_if(key, body, headers)

    def replace(
        self,
        key: str,
        body: bytes,
        etag: str,
        *,
        content_type: str = OCTETS,
        cache_control: str | None = None,
    ) -> str | None:
        """Write the object only if it still has that ETag. Returns the new one, or None."""
        headers = _headers(content_type, cache_control) | {"IfMatch": etag}
        try:
            return self._put_if(key, body, headers)
        except NotFoundError:
            return None

    def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> Iterator[ObjectInfo]:
        """Objects whose keys begin with ``prefix`` and sort behind ``after``, in key order.

        Pages are fetched as they are needed; ``limit`` is the most objects yielded. SeaweedFS
        orders folder by folder (``a/1`` before ``a-b``), which differs from the order of keys
        where a folder's name begins another's: do not give such names to siblings.
        """
        query: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self._full(prefix)}
        if after is not None:
            query["StartAfter"] = self._full(after)
        if limit is not None:
            query["MaxKeys"] = min(limit, DELETE_BATCH)
        return islice(self._listed(prefix, query), limit)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects; ones that do not exist count as deleted."""
        remaining = iter(keys)
        while batch := list(islice(remaining, DELETE_BATCH)):
            self._delete_batch(batch)

    def presign(self, key: str, expires: float) -> str:
        """A URL that reads the object for ``expires`` seconds, a week at the most as S3 has it.

        It carries a signature: a secret.
        """
        with self._translated("Presign", key):
            return self._s3.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": self._full(key)},
                ExpiresIn=min(int(expires), _LONGEST_URL),
            )

    def multipart(self, key: str, *, content_type: str = OCTETS) -> MultipartUpload:
        """Begin an upload in parts."""
        with self._translated("CreateMultipartUpload", key):
            answer = self._s3.create_multipart_upload(
                Bucket=self.bucket, Key=self._full(key), ContentType=content_type
            )
        return MultipartUpload(self._s3, self.bucket, self._full(key), answer["UploadId"])

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Multipart uploads to keys below ``prefix`` that are still open."""
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix=self._full(prefix)
        )
        with self._translated("ListMultipartUploads", prefix):
            for page in pages:
                for upload in page.get("Uploads", []):
                    yield Upload(self._relative(upload["Key"]), upload["UploadId"])

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an open multipart upload and its parts; fine if it is gone already."""
        MultipartUpload(self._s3, self.bucket, self._full(key), upload_id).abort()

    def _create_bucket(self) -> None:
        region = self._s3.meta.region_name
        place: dict[str, Any] = {}
        if region != "us-east-1":  # S3 refuses its own default region as a constraint
            place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with self._translated("CreateBucket"):
            try:
                self._s3.create_bucket(Bucket=self.bucket, **place)
            except ClientError as error:
                if error_code(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise
                self._s3.head_bucket(Bucket=self.bucket)

    def _put(self, key: str, body: bytes | BinaryIO, headers: dict[str, Any]) -> str:
        answer = self._s3.put_object(Bucket=self.bucket, Key=self._full(key), Body=body, **headers)
        return quoted(answer["ETag"])

    def _put_if(self, key: str, body: bytes, headers: dict[str, Any]) -> str | None:
        for attempt in range(CONFLICT_TRIES):
            with self._translated("PutObject", key):
                try:
                    return self._put(key, body, headers)
                except ClientError as error:
                    if http_status(error) == 412:
                        return None
                    if http_status(error) != 409:
                        raise
            self._sleep(self._jitter() * 0.1 * 2**attempt)
        detail = f"{CONFLICT_TRIES} conditional writes in a row met another in flight."
        raise UnavailableError("PutObject", *self._name(key), "Conflict", detail)

    def _listed(self, prefix: str, query: dict[str, Any]) -> Iterator[ObjectInfo]:
        with self._translated("ListObjectsV2", prefix):
            for page in self._s3.get_paginator("list_objects_v2").paginate(**query):
                for item in page.get("Contents", []):
                    yield ObjectInfo(
                        self._relative(item["Key"]),
                        item["Size"],
                        quoted(item["ETag"]),
                        item["LastModified"],
                        None,
                    )

    def _delete_batch(self, keys: Sequence[str]) -> None:
        with self._translated("DeleteObjects", keys[0]):
            answer = self._s3.delete_objects(
                Bucket=self.bucket,
                Delete={"Objects": [{"Key": self._full(key)} for key in keys], "Quiet": True},
            )
        failed = [e for e in answer.get("Errors", []) if e.get("Code") != "NoSuchKey"]
        if failed:
            first = failed[0]
            detail = f"{len(failed)} of {len(keys)} were refused: {first.get('Message', '')}"
            raise refused(first.get("Code", "unknown"), self.bucket, first.get("Key", ""), detail)

    def _full(self, key: str) -> str:
        return self.prefix + key

    def _relative(self, full_key: str) -> str:
        return full_key.removeprefix(self.prefix)

    def _name(self, key: str) -> tuple[str, str]:
        return self.bucket, self._full(key)

    @contextmanager
    def _translated(self, operation: str, key: str = "") -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise translate(error, operation, *self._name(key)) from error


def _range(first: int, last: int | None) -> str:
    if first < 0:
        return f"bytes={first}"
    return f"bytes={first}-" if last is None else f"bytes={first}-{last}"


def _headers(content_type: str, cache_control: str | None) -> dict[str, Any]:
    headers = {"ContentType": content_type}
    return headers if cache_control is None else headers | {"CacheControl": cache_control}
