"""Who may ask what: tokens, names this farm answers to, and pages of other origins.

A farm without a token serves its own machine. That alone would not keep out web pages open in a
browser there, so the name asked for has to be a loopback one (a page whose own name was made to
point at 127.0.0.1 sends that name as Host), and changes must not come from another origin.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from hmac import compare_digest
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.answers import answer
from ingest.config import IngestConfig
from ingest.problems import (
    CROSS_ORIGIN,
    FOREIGN_CLIENT,
    FOREIGN_HOST,
    UNAUTHORIZED,
    RefusedError,
)

_HEALTH: Final = ("/healthz", "/readyz")
#: What needs no token: it tells nothing that the source code does not, or has ids nobody can guess.
_OPEN: Final = (*_HEALTH, "/", "/docs", "/openapi.json")
_OPEN_BELOW: Final = ("/play/", "/docs/")
#: What the metrics' own token is good for.
METRICS: Final = "/metrics"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_PLAY: Final = "/play/"
_ANY_ORIGIN: Final = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Content-Length, Content-Range, ETag, Accept-Ranges",
    "cross-origin-resource-policy": "cross-origin",
    "timing-allow-origin": "*",
}


class Guard:
    """Lets through what :func:`refusal` does not refuse; players of any origin may read."""

    def __init__(self, app: ASGIApp, config: IngestConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client = scope["client"][0] if scope.get("client") else None
        refused = refusal(self._config, scope["method"], scope["path"], headers, client)
        if scope["path"].startswith(_PLAY):
            send = _sharing(send)
        app = self._app if refused is None else answer(Request(scope), refused)
        await app(scope, receive, send)


def refusal(
    config: IngestConfig, method: str, path: str, headers: Headers, client: str | None
) -> RefusedError | None:
    """Why the request may not pass, or None. ``client`` is an address, None for a local socket."""
    if path in _HEALTH:
        return None
    try:
        _check_client(config, client)
        _check_host(config, headers)
        if method not in _SAFE:
            _check_origin(config, headers)
        if path not in _OPEN and not path.startswith(_OPEN_BELOW):
            _check_token(config, headers, path)
    except RefusedError as refused:
        return refused
    return None


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine and no other."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host in ("localhost", "localhost.")


def _check_client(config: IngestConfig, client: str | None) -> None:
    if config.api_token is None and client is not None and not is_loopback(client):
        raise RefusedError(FOREIGN_CLIENT, f"The request came from {client}.")


def _check_host(config: IngestConfig, headers: Headers) -> None:
    names = _names(config)
    if not names and not config.loopback and config.api_token is not None:
        return
    given = headers.getlist("host")
    host = _name(f"//{given[0]}") if _is_plain(given) else ""
    if not is_loopback(host) and host not in names:
        raise RefusedError(FOREIGN_HOST, f"It was asked for as {', '.join(given)!r}.")


def _names(config: IngestConfig) -> frozenset[str]:
    """Further names to answer under. The public one is among them where only named hosts are
    answered and a token keeps strangers out: a proxy on this machine may pass it on."""
    given = frozenset(name.lower() for name in config.allowed_hosts)
    public = _name(config.public_url or "")
    is_meant = bool(given) or (config.loopback and config.api_token is not None)
    return given | {public} if public and is_meant else given


def _name(url: str) -> str:
    """The host that a URL names, in lower case; empty where it is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # half an IPv6 address
        return ""


def _is_plain(hosts: list[str]) -> bool:
    return len(hosts) == 1 and not set(hosts[0]) & set("/?#@\\ ")


def _check_origin(config: IngestConfig, headers: Headers) -> None:
    origin = headers.get("origin")
    if origin is None:
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise RefusedError(CROSS_ORIGIN, "A page of another origin sent the request.")
    elif _origin(origin) not in set(_own_origins(config, headers)):
        raise RefusedError(CROSS_ORIGIN, f"The request came from a page of {origin}.")


def _own_origins(config: IngestConfig, headers: Headers) -> Iterator[str]:
    """The farm's own origins; a proxy in front may speak TLS, so the scheme is not compared."""
    yield headers.get("host", "").lower()
    if config.public_url:
        yield _origin(config.public_url)


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # half an IPv6 address
        return "opaque:"
    return parts.netloc.lower() if parts.scheme in ("http", "https") else "opaque:"


def _check_token(config: IngestConfig, headers: Headers, path: str) -> None:
    if config.api_token is None:
        return
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = token.strip().encode()
    good = [config.api_token]
    if path == METRICS and config.metrics_token is not None:
        good.append(config.metrics_token)
    # Each is compared, so that the time tells nothing of them.
    matches = [compare_digest(given, each.encode()) for each in good]
    if scheme.lower() != "bearer" or not any(matches):
        raise RefusedError(UNAUTHORIZED, "The request carries no valid token.")


def _sharing(send: Send) -> Send:
    async def sharing(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_ANY_ORIGIN)
        await send(message)

    return sharing
