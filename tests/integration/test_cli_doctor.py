"""The doctor at real servers, healthy and not."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
import redis

from farm import hosting
from farm.display import Display
from farm.doctor import examine, run_doctor
from farm.doctor_api import check_api
from farm.doctor_check import Check
from farm.doctor_host import privacy
from farm.doctor_redis import check_redis
from farm.doctor_storage import check_storage
from farm.embedded import SeaweedFS, Valkey
from farm.errors import SettingsError
from farm.hosting import run_workers
from farm.settings import Settings, load
from media import landlock
from media.binaries import Tools
from media.boxes import boxes
from storage import layout
from storage.errors import DeniedError
from storage.objects import ObjectStore
from tests.chaos.s3_proxy import Fault, S3Proxy
from tests.integration.api_server import ApiServer


@pytest.fixture
def settings(seaweedfs: SeaweedFS, redis_url: str, tmp_path: Path) -> Settings:
    config = seaweedfs.config()
    return load(
        s3_endpoint=config.endpoint,
        s3_access_key=config.access_key,
        s3_secret_key=config.secret_key,
        redis_url=redis_url,
        data_dir=tmp_path / "none" / "yet",
    )


def statuses(settings: Settings) -> dict[str, str]:
    return {check.name: check.status for check in examine(settings)}


def test_healthy_servers(settings: Settings) -> None:
    found = statuses(settings)
    assert found.pop("disk") in ("ok", "warn")
    tried = {box.name: "ok" if box.on else "warn" for box in boxes()}
    assert {name: found.pop(name) for name in tried} == tried
    assert set(found.values()) == {"ok"}
    assert set(found) >= {
        *("ffmpeg", "ffprobe", "data_dir", "s3", "s3 clock", "s3 create", "s3 replace"),
        *("redis", "redis clock", "redis memory", "redis disk", "eviction"),
    }
    assert not settings.data_dir.exists(), "looking leaves nothing behind"


@pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
def test_a_script_in_place_of_ffmpeg(settings: Settings, tmp_path: Path) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\necho ffmpeg version 9.0\n")
    script.chmod(0o755)
    (found,) = (
        check
        for check in examine(load(**{**settings.model_dump(), "ffmpeg": script}))
        if check.name == "ffmpeg"
    )
    assert (found.status, "not a script" in found.fix) == ("fail", True)


@pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
@pytest.mark.parametrize("name", ["ffmpeg", "ffprobe"])
def test_workers_are_not_started_with_a_script(tools: Tools, tmp_path: Path, name: str) -> None:
    """Else every film of theirs would fail."""
    script = tmp_path / name
    script.write_text(f'#!/bin/sh\nexec {getattr(tools, name)} "$@"\n')
    script.chmod(0o755)
    with pytest.raises(SettingsError, match=f"{name} has to be the program itself"):
        run_workers(load(**{"data_dir": tmp_path, name: script}), None, Display(as_json=False))


def test_the_log_tells_once_which_boxes_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import media.spawn as module

    warned: list[dict[str, object]] = []

    class Log:
        def warning(self, event: str, **fields: object) -> None:
            warned.append({"event": event, **fields})

    monkeypatch.setattr(hosting, "log", Log())
    begin, end = module._LAUNCH.rsplit("; ", 1)
    monkeypatch.setattr(module, "_LAUNCH", f"{begin}; launch.BOXES.pop('seccomp'); {end}")
    hosting._tell_missing_boxes()
    assert [each["event"] for each in warned] == ["boxes_off"]
    assert "seccomp" in str(warned[0]["boxes"])


def test_a_missing_box_is_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    import media.spawn as module

    begin, end = module._LAUNCH.rsplit("; ", 1)
    monkeypatch.setattr(module, "_LAUNCH", f"{begin}; launch.BOXES.pop('seccomp'); {end}")
    out = io.StringIO()
    assert run_doctor(settings, Display(as_json=True, out=out))
    checks = {check["name"]: check for check in map(json.loads, out.getvalue().splitlines())}
    assert (checks["seccomp"]["status"], bool(checks["seccomp"]["fix"])) == ("warn", True)


def test_an_eviction_policy_that_loses_jobs(settings: Settings, redis_client: redis.Redis) -> None:
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert statuses(settings)["eviction"] == "fail"
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")


def test_servers_that_do_not_answer_are_told_apart(settings: Settings) -> None:
    away = load(
        **{
            **settings.model_dump(),
            "redis_url": "redis://127.0.0.1:1/0",
            "s3_secret_key": "wrong",
            "ffmpeg": Path(shutil.which("true") or "/bin/true"),
        }
    )
    out = io.StringIO()
    assert not run_doctor(away, Display(as_json=True, out=out))
    checks = {check["name"]: check for check in map(json.loads, out.getvalue().splitlines())}
    for name in ("redis", "s3", "ffmpeg"):
        assert (checks[name]["status"], bool(checks[name]["fix"])) == ("fail", True)
    assert "wrong" not in out.getvalue(), "secrets are not shown"


def test_a_storage_that_takes_no_dead_letters(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under a policy of the bucket that is older than their prefix."""
    allowed = ObjectStore.put

    def put(self: ObjectStore, key: str, body: bytes) -> str:
        if key.startswith(layout.DEAD_LETTERS):
            raise DeniedError("PutObject", self.bucket, key, "AccessDenied", "no")
        return allowed(self, key, body)

    monkeypatch.setattr(ObjectStore, "put", put)
    assert statuses(settings)["s3"] == "fail"


def of_storage(settings: Settings, name: str) -> Check:
    """The one check of that name, the storage alone looked at."""
    (found,) = (check for check in check_storage(settings, time.time) if check.name == name)
    return found


def test_what_redis_forgets_and_drops(settings: Settings, tmp_path: Path) -> None:
    """A Redis as it comes out of many a box: no append-only file, and it evicts."""
    with Valkey(tmp_path / "valkey") as valkey, redis.Redis.from_url(valkey.url) as client:
        own = load(**{**settings.model_dump(), "redis_url": valkey.url})

        def found() -> dict[str, str]:
            return {check.name: check.status for check in check_redis(own, time.time)}

        assert set(found().values()) == {"ok"}
        client.config_set("appendonly", "no")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", int(1.1 * client.info("memory")["used_memory"]))
        names = ("redis disk", "eviction", "redis memory")
        assert [found()[name] for name in names] == ["warn", "fail", "warn"]
        client.execute_command("ACL", "SETUSER", "shy", "on", ">pw", "~*", "&*", "+@all", "-info")
        place = valkey.url.rpartition("@")[2]
        shy = load(**{**settings.model_dump(), "redis_url": f"redis://shy:pw@{place}"})
        (told,) = (check for check in check_redis(shy, time.time) if check.name == "redis")
        assert (told.status, "+info" in told.fix) == ("warn", True)


@pytest.mark.parametrize(("ahead", "status"), [(0, "ok"), (-30, "warn"), (600, "fail")])
def test_clocks_that_differ(settings: Settings, ahead: float, status: str) -> None:
    def clock() -> float:
        return time.time() + ahead

    checks = [*check_storage(settings, clock), *check_redis(settings, clock)]
    found = {check.name: check.status for check in checks if check.name.endswith("clock")}
    assert found == {"s3 clock": status, "redis clock": status}


@pytest.fixture
def proxied(settings: Settings) -> Iterator[tuple[S3Proxy, Settings]]:
    """The same farm with a proxy before its storage."""
    place = urlsplit(settings.s3_endpoint or "")
    assert place.hostname is not None
    assert place.port is not None
    with S3Proxy((place.hostname, place.port)) as proxy:
        yield proxy, load(**{**settings.model_dump(), "s3_endpoint": proxy.endpoint})


@pytest.mark.parametrize(
    ("header", "check"), [("if-none-match", "s3 create"), ("if-match", "s3 replace")]
)
def test_a_storage_that_refuses_conditional_writes(
    proxied: tuple[S3Proxy, Settings], header: str, check: str
) -> None:
    proxy, settings = proxied
    proxy.fail(Fault.UNKNOWN, match=lambda request: header in request.headers)
    found = of_storage(settings, check)
    assert (found.status, "conditional writes" in found.fix) == ("fail", True)


def test_a_storage_that_ignores_conditional_writes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(store: ObjectStore, key: str, body: bytes, *_: str) -> str:
        return store.put(key, body)

    monkeypatch.setattr(ObjectStore, "create", put)
    monkeypatch.setattr(ObjectStore, "replace", put)
    found = {check.name: check.status for check in check_storage(settings, time.time)}
    assert (found["s3 create"], found["s3 replace"]) == ("fail", "fail")


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        ("PutObject", "s3:PutObject ("),
        ("GetObject", "s3:GetObject ("),
        ("ListObjects", "s3:ListBucket ("),
        ("DeleteObjects", "s3:DeleteObject ("),
        ("UploadPart", "s3:PutObject in parts ("),
        ("AbortMultipartUpload", "s3:AbortMultipartUpload ("),
        ("ListMultipartUploads", "s3:ListBucketMultipartUploads ("),
    ],
)
def test_each_permission_that_is_missing_is_named(
    proxied: tuple[S3Proxy, Settings], operation: str, named: str
) -> None:
    proxy, settings = proxied
    proxy.fail(Fault.DENIED, operation=operation)
    found = of_storage(settings, "s3")
    assert found.status == "fail"
    assert named in found.found


@pytest.mark.parametrize(("mode", "status"), [(0o700, "ok"), (0o755, "warn"), (0o777, "fail")])
def test_who_may_use_the_data_directory(settings: Settings, mode: int, status: str) -> None:
    settings.data_dir.mkdir(parents=True)
    settings.data_dir.chmod(mode)
    assert privacy(settings.data_dir).status == status


class _Plain(BaseHTTPRequestHandler):
    """A CDN that leaves headers out."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_whether_players_elsewhere_may_read(settings: Settings, object_store: ObjectStore) -> None:
    def cors(url: str) -> str:
        served = load(**{**settings.model_dump(), "public_url": url})
        return {check.name: check.status for check in check_api(served, None)}["cors"]

    names = [check.name for check in check_api(settings, None)]
    assert names == ["access"], "no farm is running here, and no address was given"
    assert cors("http://127.0.0.1:1") == "warn"
    with ApiServer(object_store) as api:
        assert cors(f"http://127.0.0.1:{api.port}/") == "ok"
    server = HTTPServer(("127.0.0.1", 0), _Plain)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        assert cors(f"http://127.0.0.1:{server.server_address[1]}") == "fail"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
