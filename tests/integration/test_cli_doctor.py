"""The doctor at real servers, healthy and not."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
import redis

from farm import hosting
from farm.display import Display
from farm.doctor import examine, run_doctor
from farm.embedded import SeaweedFS
from farm.errors import SettingsError
from farm.hosting import run_workers
from farm.settings import Settings, load
from media import landlock
from media.binaries import Tools
from media.boxes import boxes
from storage import layout
from storage.errors import DeniedError
from storage.objects import ObjectStore


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
    assert {"ffmpeg", "ffprobe", "s3", "s3 create", "s3 replace", "redis", "eviction"} <= set(found)
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
