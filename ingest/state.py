"""What the routes share, found through the application they belong to."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from ingest.config import IngestDeps
from ingest.uploads import Reception


def _deps(request: Request) -> IngestDeps:
    return cast("IngestDeps", request.app.state.deps)


def _reception(request: Request) -> Reception:
    return cast("Reception", request.app.state.reception)


def _base_url(request: Request) -> str:
    public = _deps(request).config.public_url
    return (public or str(request.base_url)).rstrip("/")


Deps = Annotated[IngestDeps, Depends(_deps)]
Desk = Annotated[Reception, Depends(_reception)]
#: What absolute URLs in answers begin with, without a slash at the end.
BaseUrl = Annotated[str, Depends(_base_url)]
