"""Whether the API is for those it is meant for, and can be played from by pages elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import httpx

from farm.doctor_check import Check
from farm.settings import LOOPBACK, Settings

#: Seconds.
_TIMEOUT: Final = 5.0
#: What a player on a page elsewhere asks for; there is no such film, and the answer may be read.
_PLAYLIST: Final = f"/play/{'0' * 26}/master.m3u8"
_PAGE: Final = "https://player.example"
_ALLOWS: Final = "access-control-allow-origin"


def check_api(settings: Settings, url: str | None) -> Iterator[Check]:
    """``url`` is where the farm running here answers, None where none does."""
    yield _exposure(settings)
    base = settings.public_url or url
    if base is not None:
        yield _players(base.rstrip("/"))


def _exposure(settings: Settings) -> Check:
    if settings.is_exposed:
        return Check(
            "access", "fail", f"{settings.host} can be reached from outside, without a token",
            "Set REELFARM_API_TOKEN, or serve at 127.0.0.1.",
        )  # fmt: skip
    return Check("access", "ok", f"{settings.host}:{settings.port}")


def _players(base: str) -> Check:
    """The API lets every page read; a proxy or CDN before it may take that away."""
    try:
        answer = httpx.get(
            base + _PLAYLIST,
            headers={"origin": _PAGE},
            timeout=_TIMEOUT,
            trust_env=urlsplit(base).hostname not in LOOPBACK,
        )
    except httpx.HTTPError as error:
        return Check(
            "cors", "warn", f"{base} does not answer: {error}",
            "Playback URLs begin with it: see the setting public_url, and what is in front.",
        )  # fmt: skip
    if answer.headers.get(_ALLOWS) in ("*", _PAGE):
        return Check("cors", "ok", f"players on any page may read {base}/play/")
    return Check(
        "cors", "fail", f"{base}/play/ is answered without {_ALLOWS}",
        "Have the proxy or CDN in front pass the header on, as the farm sends it.",
    )  # fmt: skip
