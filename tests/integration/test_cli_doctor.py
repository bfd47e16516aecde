"""The doctor at real servers, healthy and not."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
import redis

from farm.display import Display
from farm.doctor import examine, run_doctor
from farm.embedded import SeaweedFS
from farm.settings import Settings, load


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
    assert set(found.values()) == {"ok"}
    assert {"ffmpeg", "ffprobe", "s3", "s3 create", "s3 replace", "redis", "eviction"} <= set(found)
    assert not settings.data_dir.exists(), "looking leaves nothing behind"


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
