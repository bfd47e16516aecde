"""The application, put together."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI

from ingest import answers, letters, pages, playback, schema, videos
from ingest.access import AccessLog
from ingest.config import IngestConfig, IngestDeps
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
    for router in (videos.router, letters.router, playback.router, pages.router):
        app.include_router(router)
    pages.mount_assets(app)
    answers.install(app)
    schema.install(app, token=deps.config.api_token is not None)
    app.add_middleware(Guard, config=deps.config)
    app.add_middleware(AccessLog)
    return app
