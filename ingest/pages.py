"""What the API tells about itself: health, profiles, and pages for people.

The pages load nothing from elsewhere: a farm may have no way to the internet, and nobody should
learn who reads its documentation.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from anyio import fail_after
from anyio.to_thread import run_sync
from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from ingest.state import Deps

router = APIRouter(tags=["farm"])

_LOG = structlog.get_logger(__name__)

#: Seconds the checks of ``/readyz`` may take together.
READY_TIMEOUT: Final = 5.0

_POLICY: Final = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
}

_HOME: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reelfarm</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 4rem auto; }
  pre { background: #f4f4f4; color: #222; padding: 1rem; overflow: auto }
</style>
<h1>Reelfarm</h1>
<p>Upload once, play everywhere. This is the API of a running farm.</p>
<pre>curl -T clip.mp4 -X POST "$URL/v1/videos?filename=clip.mp4"</pre>
<ul>
  <li><a href="/docs">The API, to read and to try</a></li>
  <li><a href="/v1/videos">The videos</a></li>
  <li><a href="/v1/profiles">The profiles</a></li>
  <li><a href="/readyz">Whether the farm is ready</a></li>
</ul>
</html>
"""


class ProfileView(BaseModel):
    """A profile that uploads may name."""

    name: str
    default: bool


class ProfileList(BaseModel):
    """The farm's profiles."""

    profiles: tuple[ProfileView, ...]


@router.get("/v1/profiles", response_model=ProfileList)
async def profiles(deps: Deps) -> ProfileList:
    """What uploads can be turned into."""
    names = deps.config.profiles
    return ProfileList(
        profiles=tuple(ProfileView(name=name, default=name == names[0]) for name in names)
    )


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process answers at all."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "Something needed is missing."}})
async def readyz(deps: Deps) -> Response:
    """Whether everything that the API needs is there."""
    checks = await _checks(deps)
    ready = not any(checks.values())
    shown = {name: problem or "ok" for name, problem in checks.items()}
    body = {"status": "ready" if ready else "not_ready", "checks": shown}
    return JSONResponse(body, 200 if ready else 503)


async def _checks(deps: Deps) -> dict[str, str | None]:
    try:
        with fail_after(READY_TIMEOUT):
            found = await run_sync(deps.ready, limiter=deps.threads.checks, abandon_on_cancel=True)
    except TimeoutError:
        return {"checks": f"they did not end within {READY_TIMEOUT:g} s"}
    except Exception as error:  # noqa: BLE001 - logged, and not ready
        _LOG.exception("checks_failed", error=repr(error))
        return {"checks": "they ended with an unexpected error; see the log"}
    return dict(found)


@router.get("/", include_in_schema=False)
async def home() -> HTMLResponse:
    """The front page."""
    return HTMLResponse(_HOME, headers=_POLICY)


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """Swagger UI, from this server alone."""
    parameters: dict[str, Any] = {"validatorUrl": None, "tryItOutEnabled": True}
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Reelfarm API",
        swagger_js_url="/docs/assets/swagger-ui-bundle.js",
        swagger_css_url="/docs/assets/swagger-ui.css",
        swagger_favicon_url="/docs/assets/favicon-32x32.png",
        swagger_ui_parameters=parameters,
    )
    page.headers.update(_POLICY)
    return page


def mount_assets(app: FastAPI) -> None:
    """Serve what the documentation page is made of."""
    app.mount("/docs/assets", StaticFiles(directory=str(swagger_ui_path)), name="assets")
