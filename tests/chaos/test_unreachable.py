"""Workers that cannot reach what they work for: told at once, and given up only at the start."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from farm.embedded import SeaweedFS, Valkey
from farm.embedded.ports import free_ports
from farm.errors import StartError
from farm.lookout import Lookout, Trouble, await_servers, troubles
from farm.settings import Settings, environment, replaced
from storage.objects import connect
from tests.e2e.farm_process import OWN, eventually


def joined(seaweedfs: SeaweedFS, valkey: Valkey, **changes: Any) -> Settings:
    """Settings of a host that works for these servers."""
    config = seaweedfs.config()
    servers = {
        "s3_endpoint": seaweedfs.endpoint,
        "s3_access_key": config.access_key,
        "s3_secret_key": config.secret_key,
        "redis_url": valkey.url,
    }
    return replaced(Settings(), **(OWN | servers | changes))


def test_servers_that_answer_are_no_trouble(seaweedfs: SeaweedFS, valkey: Valkey) -> None:
    assert list(troubles(joined(seaweedfs, valkey))) == []
    await_servers(joined(seaweedfs, valkey), lambda: False, patience=0.0)


def test_what_does_not_answer_is_named_without_its_secrets(
    seaweedfs: SeaweedFS, valkey: Valkey
) -> None:
    redis_port, s3_port = free_ports(2)
    lost = joined(
        seaweedfs,
        valkey,
        redis_url=f"redis://:hunter2@127.0.0.1:{redis_port}/0",
        s3_endpoint=f"http://127.0.0.1:{s3_port}",
        s3_secret_key="hunter2",
    )
    redis, storage = troubles(lost)
    assert (redis.what, storage.what) == ("redis", "storage")
    assert f"127.0.0.1:{redis_port}" in redis.error
    assert f"127.0.0.1:{s3_port}" in storage.error
    assert "REELFARM_REDIS_URL" in redis.to_do
    assert "REELFARM_S3_" in storage.to_do
    assert "hunter2" not in f"{redis}{storage}"


def test_wrong_passwords_are_told(seaweedfs: SeaweedFS, valkey: Valkey) -> None:
    port = valkey.state.ports[0]
    wrong = joined(
        seaweedfs, valkey, redis_url=f"redis://:no@127.0.0.1:{port}/0", s3_secret_key="no"
    )
    redis, storage = troubles(wrong)
    assert "password" in redis.error
    assert "SignatureDoesNotMatch" in storage.error or "AccessDenied" in storage.error


def test_waiting_ends_with_an_error_or_with_the_wish_to_stop(
    seaweedfs: SeaweedFS, valkey: Valkey
) -> None:
    lost = joined(seaweedfs, valkey, redis_url=f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    ticks = iter(range(100))
    with pytest.raises(StartError, match="does not answer"):
        await_servers(
            lost,
            lambda: False,
            patience=3.0,
            clock=lambda: float(next(ticks)),
            sleep=lambda _: None,
        )
    await_servers(lost, lambda: True)


def test_trouble_is_told_again_while_it_lasts_and_once_it_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [Trouble("redis", "It is away.", "Bring it back.")]
    looks, stop = [], Event()

    def look() -> Any:
        looks.append(len(found))
        if len(looks) == 3:
            found.clear()
        if len(looks) == 4:
            stop.set()
        return iter(found)

    Lookout(look, every=0.01).run(stop)
    said = capsys.readouterr().out
    assert said.count("waiting_for") == 2
    assert said.count("trouble_over") == 1


@pytest.mark.long
def test_a_worker_command_gives_up_at_its_start_and_says_why(
    seaweedfs: SeaweedFS, valkey: Valkey, tmp_path: Path
) -> None:
    """In a process of its own, since that is how people meet it; it takes its 30 s."""
    settings = joined(
        seaweedfs, valkey, data_dir=tmp_path, redis_url=f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    )
    command = [sys.executable, "-P", "-m", "farm", "worker"]
    since = time.monotonic()
    done = subprocess.run(
        command, env=environment(settings), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == StartError.exit_status, done.stderr
    assert time.monotonic() - since < 60.0
    assert "does not answer" in done.stderr
    assert "REELFARM_REDIS_URL" in done.stderr
    (told,) = (line for line in (done.stdout + done.stderr).splitlines() if "waiting_for" in line)
    assert json.loads(told)["what"] == "redis"


@pytest.mark.long
def test_a_worker_that_has_worked_waits_for_a_redis_that_went_away(tmp_path: Path) -> None:
    with SeaweedFS(tmp_path / "seaweedfs") as seaweedfs, Valkey(tmp_path / "valkey") as valkey:
        settings = joined(seaweedfs, valkey, data_dir=tmp_path / "data")
        with closing(connect(seaweedfs.config())) as store:
            store.ensure_bucket()
        with (tmp_path / "log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "farm", "worker"],
                env=environment(settings),
                stdout=log,
                stderr=log,
            )
        try:
            eventually(lambda: "Working for" in (tmp_path / "log").read_text(), 60.0)
            valkey.stop()
            eventually(
                lambda: (tmp_path / "log").read_text().count("waiting_for") > 1,
                120.0,
                (tmp_path / "log").read_text,
            )
            assert worker.poll() is None, "a worker ended because Redis was away"
            valkey.start()
            eventually(lambda: "trouble_over" in (tmp_path / "log").read_text(), 90.0)
        finally:
            worker.terminate()
            worker.wait(60.0)
