"""What may be said about an upload beside its bytes; and names from outside, made harmless."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ingest.problems import INVALID_REQUEST, UNKNOWN_PROFILE, RefusedError
from jobs.parts import Priority

#: Characters of a stored file name.
MAX_NAME: Final = 255
#: Characters of an application's own reference.
MAX_PASSTHROUGH: Final = 1024

_CONTENT_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")


def clean_filename(name: str | None) -> str | None:
    """The last component of a name, without invisible characters; None if nothing is left.

    It is kept to be shown, and goes into no path and no command.
    """
    if name is None:
        return None
    base = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    visible = "".join(char for char in base if not unicodedata.category(char).startswith("C"))
    return unicodedata.normalize("NFC", visible).strip()[:MAX_NAME].strip() or None


def clean_content_type(value: str | None) -> str | None:
    """The media type a client claims, without parameters; None where it is not one."""
    claimed = (value or "").partition(";")[0].strip().lower()
    return claimed if _CONTENT_TYPE.fullmatch(claimed) else None


class UploadOptions(BaseModel):
    """Query parameters of an upload; forms may hold fields of the same names instead."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    profile: str | None = Field(None, max_length=64, description="One of GET /v1/profiles.")
    priority: Priority = Field(Priority.NORMAL, description="Higher ones are served first.")
    filename: Annotated[
        Annotated[str, Field(max_length=1024)] | None, AfterValidator(clean_filename)
    ] = Field(None, description="A name to show; of a path, the last component is kept.")
    passthrough: str | None = Field(
        None, max_length=MAX_PASSTHROUGH, description="Anything; it is handed back as it is."
    )

    def with_fields(self, fields: dict[str, str]) -> UploadOptions:
        """These options, completed by a form's fields. Raises RefusedError."""
        said = self.model_dump(include=self.model_fields_set)
        try:
            return UploadOptions.model_validate(fields | said)
        except ValidationError as error:
            raise invalid(error.errors(include_url=False, include_context=False)) from None

    def profile_among(self, profiles: tuple[str, ...]) -> str:
        """The profile to use. Raises RefusedError where there is none of that name."""
        name = self.profile or profiles[0]
        if name not in profiles:
            known = ", ".join(profiles)
            raise RefusedError(UNKNOWN_PROFILE, f"There is no profile {name!r}, only {known}.")
        return name


def invalid(errors: Any) -> RefusedError:
    """The refusal for pydantic's list of errors, without the values sent."""
    fields = tuple({"field": _field(error["loc"]), "message": error["msg"]} for error in errors)
    what = "; ".join(f"{field['field']}: {field['message']}" for field in fields)
    return RefusedError(INVALID_REQUEST, what or "The request is not valid.", errors=fields)


def _field(location: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in location if step not in ("query", "path", "header"))
