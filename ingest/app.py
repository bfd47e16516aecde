"""The application, put together."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI

from ingest import answers, farm, letters, metrics, pages, playback, schema, story, videos
from ingest.access import AccessLog
from ingest.config import IngestConfig, IngestDeps
from ingest.failures import RecentFailures
from ingest.guard import Guard
from ingest.uploads import Reception

__all__ = ["IngestConfig", "IngestDeps", "create_app"]

_ABOUT: Final = """Upload a video; play it as HLS or DASH.

Errors are RFC 9457 problems with a stable `code`. Times are RFC 3339.
"""


def create_app(deps: IngestDeps) -> FastAPI:
    """The HTTP API on these ports. It starts nothing, and holds nothing open."""
    app = FastAPI(
        title="Reelfarm",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.deps = deps
    app.state.reception = Reception(deps.config.max_uploads)
    app.state.failures = RecentFailures(deps.catalog.letters.page)
    routed = (videos, farm, story, letters, playback, pages, metrics)
    for module in routed:
        app.include_router(module.router)
    pages.mount_assets(app)
    answers.install(app)
    schema.install(app, token=deps.config.api_token is not None)
    app.add_middleware(Guard, config=deps.config)
    app.add_middleware(AccessLog, tracer=deps.tracer, tallies=deps.tallies)
    return app
