"""What can be wrong with a request about a video.

::

    CatalogError
    ├── UnknownVideoError
    ├── UnknownLetterError
    ├── UploadExpiredError
    ├── ContendedError
    └── NewerSchemaError
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CatalogError(Exception):
    """The catalog could not do what was asked."""


class UnknownVideoError(CatalogError):
    """No such video was ever accepted, or it has been deleted."""

    def __init__(self, video_id: str) -> None:
        super().__init__(f"there is no video {video_id}; it was never accepted or is deleted")
        self.video_id = video_id


class UnknownLetterError(CatalogError):
    """No such dead letter was ever written, or its video was retried or deleted."""

    def __init__(self, letter_id: str) -> None:
        super().__init__(
            f"there is no dead letter {letter_id}; its video was retried or deleted, if it ever was"
        )
        self.letter_id = letter_id


class UploadExpiredError(CatalogError):
    """The upload took longer than its inbox entry was good for; nothing of it is kept."""

    def __init__(self, video_id: str) -> None:
        super().__init__(
            f"the upload of video {video_id} expired before it was complete; upload it again"
        )
        self.video_id = video_id


class ContendedError(CatalogError):
    """A document changed under us more often than is plausible."""

    def __init__(self, key: str, tries: int) -> None:
        super().__init__(f"{key} changed during each of {tries} attempts to replace it; try again")
        self.key = key


class NewerSchemaError(CatalogError):
    """A document was written by a version of the farm that knows more than this one.

    ``document`` is as it was found, of which this version may believe nothing but the schema, and
    that a state ``deleting`` means what it says.
    """

    def __init__(self, key: str, document: Mapping[str, Any], schema: int, known: int) -> None:
        super().__init__(
            f"{key} was written by a newer version of the farm (schema {schema}; this one knows "
            f"{known}): upgrade this process, or leave the video to those that are upgraded"
        )
        self.key = key
        self.document = document
        self.schema = schema
