"""What the commands share: their options, and the farm that they are about."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated

import typer

from farm import describe, running
from farm.client import Client
from farm.display import Display
from farm.errors import SettingsError
from farm.settings import Settings, load

Json = Annotated[bool, typer.Option("--json", help="Say the result as JSON.")]
Url = Annotated[str | None, typer.Option(help="The farm's address; else REELFARM_URL, or the one "
                                              "running here.")]  # fmt: skip
Limit = Annotated[int, typer.Option(help="At most so many.", min=1, max=100)]
Cursor = Annotated[str | None, typer.Option(help="Go on where a page ended.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is ready.")]


def client_of(url: str | None) -> AbstractContextManager[Client]:
    """The farm at ``url``, or the one that the settings or this machine know of."""
    settings = load(url=url)
    token = settings.api_token.get_secret_value() if settings.api_token else None
    return Client(_address(settings), token)


def show_video(display: Display, video: dict[str, object], *, brief: bool = False) -> None:
    """All there is to know of a video, or only its id."""
    if display.as_json:
        display.document(video)
        return
    if brief:
        display.line(str(video["id"]))
        return
    for name, text in describe.facts(video):
        display.line(f"{name:<10} {text}")
    if video.get("renditions"):
        display.table(describe.RENDITION_COLUMNS, describe.rendition_rows(video))


def _address(settings: Settings) -> str:
    """Where the farm is: as told, or where the one running here says, or where it would be."""
    if settings.url is not None:
        if not settings.url.startswith(("http://", "https://")):
            raise SettingsError(f"{settings.url} is no address; it begins with http:// or https://")
        return settings.url
    found = running.find(settings.data_dir)
    return found.url if found else f"http://127.0.0.1:{settings.port}"
