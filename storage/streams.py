"""An object read piece by piece, so that memory does not grow with its size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from storage.etags import quoted

if TYPE_CHECKING:
    from datetime import datetime

    from types_boto3_s3.type_defs import GetObjectOutputTypeDef

    from storage.errors import StorageError

#: Bytes.
CHUNK = 256 * 1024


class ObjectStream:
    """The body of one GetObject, and what its headers said. Close it, or use it with ``with``.

    ``size`` is the count of bytes this stream yields, ``total`` that of the whole object,
    ``content_range`` the header of a partial answer (``bytes 0-99/1000``) or None.
    """

    def __init__(
        self, answer: GetObjectOutputTypeDef, translated: Callable[[Exception], StorageError]
    ) -> None:
        self._body = answer["Body"]
        self._translated = translated
        self.size: int = answer["ContentLength"]
        self.etag: str = quoted(answer["ETag"])
        self.content_range: str | None = answer.get("ContentRange")
        self.content_type: str | None = answer.get("ContentType")
        self.cache_control: str | None = answer.get("CacheControl")
        self.modified: datetime = answer["LastModified"]

    @property
    def total(self) -> int:
        """Bytes of the whole object."""
        return int(self.content_range.rsplit("/", 1)[1]) if self.content_range else self.size

    def iter_chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """The bytes, at most ``size`` at a time.

        Raises UnavailableError where the connection breaks before all of them have come.
        """
        try:
            yield from self._body.iter_chunks(size)
        except BotoCoreError as error:
            raise self._translated(error) from error

    def close(self) -> None:
        """Give the connection back; what was not read is dropped. May be called again."""
        self._body.close()

    def __enter__(self) -> ObjectStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
