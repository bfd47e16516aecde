"""The two ways in which a video's bytes arrive: as the request's body, or inside a form."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, Protocol

from fastapi import Request

from ingest.config import IngestConfig
from ingest.forms import FormReader
from ingest.options import UploadOptions, clean_content_type, clean_filename
from ingest.problems import CONTENT_ENCODED, URL_IMPORTS, RefusedError
from ingest.streams import bounded, too_large, watched

#: Bytes by which a form may be longer than its file.
FORM_OVERHEAD: Final = 1024**2


class Intake(Protocol):
    """A video on its way in."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes, once. Raises RefusedError."""

    def options(self) -> UploadOptions:
        """What was said about it; only known after the last chunk. Raises RefusedError."""

    def content_type(self) -> str | None:
        """The media type the client claims."""


class BodyIntake:
    """The request's body is the video."""

    def __init__(self, request: Request, options: UploadOptions, config: IngestConfig) -> None:
        self._body = watched(request.stream(), config.stall_timeout)
        self._options = options
        self._limit = config.max_upload
        self._type = request.headers.get("content-type")

    def chunks(self) -> AsyncIterator[bytes]:
        """The body."""
        return bounded(self._body, self._limit)

    def options(self) -> UploadOptions:
        """Those of the query."""
        return self._options

    def content_type(self) -> str | None:
        """The request's."""
        return clean_content_type(self._type)


class FormIntake:
    """The video is a form's file; other fields may complete the query's options."""

    def __init__(self, request: Request, options: UploadOptions, config: IngestConfig) -> None:
        limit = config.max_upload
        body = watched(request.stream(), config.stall_timeout)
        self._body = bounded(body, limit + FORM_OVERHEAD, stated=limit)
        self._limit = limit
        self._options = options
        self._form = FormReader(request.headers["content-type"])

    def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes."""
        return bounded(self._file(), self._limit)

    def options(self) -> UploadOptions:
        """The query's options, then the form's fields, then the file's own name."""
        options = self._options.with_fields(self._form.fields)
        name = options.filename or clean_filename(self._form.filename)
        return options.model_copy(update={"filename": name})

    def content_type(self) -> str | None:
        """The file's."""
        return clean_content_type(self._form.content_type)

    async def _file(self) -> AsyncGenerator[bytes, None]:
        async for chunk in self._body:
            for piece in self._form.feed(chunk):
                yield piece
        self._form.finish()


def intake_of(request: Request, options: UploadOptions, config: IngestConfig) -> Intake:
    """How to read this request. Raises RefusedError for what its headers already rule out."""
    media_type = clean_content_type(request.headers.get("content-type"))
    if media_type == "application/json":
        raise RefusedError(URL_IMPORTS, "The body is JSON, which would be a URL to import.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(CONTENT_ENCODED, "The request has a Content-Encoding.")
    is_form = media_type == "multipart/form-data"
    length = request.headers.get("content-length", "")
    limit = config.max_upload + (FORM_OVERHEAD if is_form else 0)
    if length.isdecimal() and int(length) > limit:
        raise too_large(config.max_upload)
    return (FormIntake if is_form else BodyIntake)(request, options, config)
