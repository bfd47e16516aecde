"""Uploads in parts: a large object arrives piece by piece, and appears all at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from storage.errors import NotFoundError, StorageError, translate
from storage.etags import quoted

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

#: S3's limits: bytes of every part but the last, and the highest part number.
MIN_PART = 5 * 1024**2
MAX_PARTS = 10_000


class MultipartUpload:
    """One upload in parts. ``upload_part`` may be called by several threads at once."""

    def __init__(self, s3: S3Client, bucket: str, full_key: str, upload_id: str) -> None:
        self.upload_id = upload_id
        self._s3 = s3
        self._bucket = bucket
        self._key = full_key
        self._lock = threading.Lock()
        #: Part number to ETag and bytes.
        self._parts: dict[int, tuple[str, int]] = {}

    @property
    def size(self) -> int:
        """Bytes uploaded so far."""
        with self._lock:
            return sum(size for _, size in self._parts.values())

    def upload_part(self, number: int, data: bytes) -> None:
        """Send part ``number`` (from 1); sent again, it replaces the earlier one.

        Raises NotFoundError once the upload is completed or aborted.
        """
        with self._translated("UploadPart"):
            answer = self._s3.upload_part(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self.upload_id,
                PartNumber=number,
                Body=data,
            )
        with self._lock:
            self._parts[number] = (answer["ETag"], len(data))

    def complete(self) -> str:
        """Make the object out of its parts, in the order of their numbers. Returns its ETag.

        The client's own retry finds the upload gone when only the first answer was lost: an
        object of exactly the uploaded size then counts as that success.
        """
        try:
            return self._complete()
        except NotFoundError:
            etag = self._completed_etag()
            if etag is None:
                raise
            return etag

    def abort(self) -> None:
        """Drop the parts; fine if the upload is gone already."""
        try:
            with self._translated("AbortMultipartUpload"):
                self._s3.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self.upload_id
                )
        except NotFoundError:
            return

    def _complete(self) -> str:
        with self._lock:
            parts = sorted(self._parts.items())
        with self._translated("CompleteMultipartUpload"):
            answer = self._s3.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self.upload_id,
                MultipartUpload={
                    "Parts": [{"PartNumber": n, "ETag": etag} for n, (etag, _) in parts]
                },
            )
        return quoted(answer["ETag"])

    def _completed_etag(self) -> str | None:
        try:
            with self._translated("HeadObject"):
                answer = self._s3.head_object(Bucket=self._bucket, Key=self._key)
        except StorageError:
            return None
        return quoted(answer["ETag"]) if answer["ContentLength"] == self.size else None

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise translate(error, operation, self._bucket, self._key) from error
