"""A multipart/form-data body taken apart while it arrives; the file never lies on a disk here."""

from __future__ import annotations

from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ingest.problems import MALFORMED_FORM, MISSING_FILE, RefusedError

#: The form field that holds the video.
FILE: Final = "file"
#: Bytes of all other fields together, and of one line of a part's header.
MAX_FIELDS: Final = 64 * 1024
MAX_HEADER: Final = 8 * 1024
#: Headers of one part, and parts of one form.
MAX_HEADERS: Final = 16
MAX_PARTS: Final = 64


class FormReader:
    """Feed it the body's chunks; each time it gives back those bytes that are the file's."""

    def __init__(self, content_type: str) -> None:
        """``content_type`` is the request's header. Raises RefusedError without a boundary."""
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise RefusedError(MALFORMED_FORM, "The Content-Type names no boundary.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.content_type: str | None = None
        self._files = 0
        self._parts = 0
        self._field_bytes = 0
        self._complete = False
        self._name: str | None = None
        self._value = bytearray()
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._file_bytes: list[bytes] = []
        self._parser = self._make_parser(boundary)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The file's bytes in ``chunk``. Raises RefusedError where the form is not well-formed."""
        self._file_bytes = []
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise RefusedError(MALFORMED_FORM, f"{error}.") from None
        return self._file_bytes

    def finish(self) -> None:
        """Call it last. Raises RefusedError for a form cut short, or without a file."""
        if not self._complete:
            raise RefusedError(MALFORMED_FORM, "The form ends before its last boundary.")
        if not self._files:
            raise RefusedError(MISSING_FILE, f"No field of the form is named {FILE!r}.")

    def _make_parser(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
                max_header_count=MAX_HEADERS,
                max_header_size=MAX_HEADER,
            )
        except FormParserError as error:
            raise RefusedError(MALFORMED_FORM, f"{error}.") from None

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise RefusedError(MALFORMED_FORM, f"The form has more than {MAX_PARTS} fields.")
        self._headers = {}
        self._value = bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _on_header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode(errors="replace")
        if self._name != FILE:
            return
        self._files += 1
        if self._files > 1:
            raise RefusedError(MISSING_FILE, f"The form has more than one field {FILE!r}.")
        name = options.get(b"filename")
        self.filename = name.decode(errors="replace") if name else None
        kind = self._headers.get(b"content-type")
        self.content_type = kind.decode("latin-1") if kind else None

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE:
            self._file_bytes.append(data[start:end])
            return
        self._field_bytes += end - start
        if self._field_bytes > MAX_FIELDS:
            detail = f"The fields beside {FILE!r} have more than {MAX_FIELDS} bytes."
            raise RefusedError(MALFORMED_FORM, detail)
        self._value.extend(data[start:end])

    def _on_part_end(self) -> None:
        if self._name and self._name != FILE:
            self.fields[self._name] = self._value.decode(errors="replace")

    def _on_end(self) -> None:
        self._complete = True
