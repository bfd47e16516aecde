"""Who may ask what."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from ingest.config import IngestConfig
from ingest.guard import is_loopback, refusal

LOCAL = IngestConfig()
OPEN = IngestConfig(api_token="s3cret", loopback=False, public_url="https://farm.example")
NAMED = IngestConfig(api_token="s3cret", loopback=False, allowed_hosts=("Farm.example",))


def code(
    config: IngestConfig,
    method: str = "GET",
    path: str = "/v1/videos",
    client: str | None = "127.0.0.1",
    **headers: str,
) -> str | None:
    sent = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    refused = refusal(config, method, path, sent, client)
    return refused.kind.code if refused else None


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("127.0.0.1:8000", None),
        ("localhost:8000", None),
        ("LOCALHOST", None),
        ("[::1]:8000", None),
        ("127.8.8.8", None),
        ("evil.example", "host_not_allowed"),
        ("localhost.evil.example", "host_not_allowed"),
        ("evil.example@127.0.0.1", "host_not_allowed"),
        ("127.0.0.1/evil.example", "host_not_allowed"),
        ("10.0.0.1:8000", "host_not_allowed"),
        ("[::1", "host_not_allowed"),
        ("", "host_not_allowed"),
    ],
)
def test_without_a_token_only_loopback_names_are_answered(host: str, wanted: str | None) -> None:
    assert code(LOCAL, host=host) == wanted
    assert code(LOCAL, path="/play/x/master.m3u8", host=host) == wanted


def test_without_a_token_other_machines_are_refused() -> None:
    assert code(LOCAL, client="10.0.0.7", host="localhost") == "loopback_only"
    assert code(LOCAL, client=None, host="localhost") is None


def test_health_is_for_everybody() -> None:
    assert code(LOCAL, path="/healthz", client="10.0.0.7", host="10.0.0.1") is None
    assert code(OPEN, path="/readyz", client="10.0.0.7", host="pod") is None


@pytest.mark.parametrize(
    ("authorization", "wanted"),
    [
        ("Bearer s3cret", None),
        ("bearer  s3cret", None),
        ("Bearer wrong", "unauthorized"),
        ("Bearer ", "unauthorized"),
        ("Basic s3cret", "unauthorized"),
        ("Bearer s3crét", "unauthorized"),
        ("", "unauthorized"),
    ],
)
def test_the_token_opens_the_api(authorization: str, wanted: str | None) -> None:
    remote = {"client": "10.0.0.7", "host": "farm.example"}

    assert code(OPEN, authorization=authorization, **remote) == wanted
    assert code(OPEN, "DELETE", authorization=authorization, **remote) == wanted
    assert code(OPEN, path="/play/x/master.m3u8", **remote) is None
    assert code(OPEN, path="/docs/assets/swagger-ui.css", **remote) is None
    assert code(OPEN, path="/v1/profiles", **remote) == "unauthorized"


def test_named_hosts_are_the_only_ones() -> None:
    token = {"authorization": "Bearer s3cret", "client": "10.0.0.7"}

    assert code(NAMED, host="farm.example:443", **token) is None
    assert code(NAMED, host="other.example", **token) == "host_not_allowed"


def test_behind_a_proxy_on_this_machine_the_public_name_is_answered_with_a_token() -> None:
    public = "https://farm.example"
    told = IngestConfig(api_token="s3cret", public_url=public)
    sent = {"host": "farm.example", "authorization": "Bearer s3cret"}

    assert code(told, **sent) is None
    assert code(told, **{**sent, "host": "evil.example"}) == "host_not_allowed"
    assert code(IngestConfig(public_url=public), **sent) == "host_not_allowed"


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, None),
        ({"origin": "http://127.0.0.1:8000"}, None),
        ({"origin": "http://127.0.0.1:9000"}, "cross_origin"),
        ({"origin": "http://evil.example"}, "cross_origin"),
        ({"origin": "null"}, "cross_origin"),
        ({"origin": "http://["}, "cross_origin"),
        ({"origin": "file://127.0.0.1:8000"}, "cross_origin"),
        ({"sec_fetch_site": "cross-site"}, "cross_origin"),
        ({"sec_fetch_site": "same-origin"}, None),
        ({"sec_fetch_site": "none"}, None),
    ],
)
def test_pages_of_other_origins_change_nothing(headers: dict[str, str], wanted: str | None) -> None:
    assert code(LOCAL, "POST", host="127.0.0.1:8000", **headers) == wanted
    assert code(LOCAL, "GET", host="127.0.0.1:8000", **headers) is None


def test_the_public_origin_is_an_own_one() -> None:
    headers = {"authorization": "Bearer s3cret", "host": "inner:8000"}

    assert code(OPEN, "POST", origin="https://farm.example", **headers) is None
    assert code(OPEN, "POST", origin="https://evil.example", **headers) == "cross_origin"


def test_loopback_is_known_by_address_and_name() -> None:
    assert is_loopback("::1")
    assert is_loopback("[::1]")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("127.0.0.1.example")
