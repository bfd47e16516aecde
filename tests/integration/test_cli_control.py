"""The operator's commands against a farm that the command started."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import redis

from catalog.durable import is_memory
from farm.settings import Settings
from jobs.keys import Keys
from storage.objects import ObjectStore, S3Config, connect
from tests.integration.command_farm import Farm, documents, until


def look(farm: Farm) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{farm.url}/v1/farm", trust_env=False).json()
    return found


def workers(farm: Farm, pool: str) -> int:
    return sum(each["pool"] == pool for each in look(farm)["workers"])


def video_of(farm: Farm, video_id: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{farm.url}/v1/videos/{video_id}", trust_env=False).json()
    return found


def status(farm: Farm, video_id: str) -> str:
    return str(video_of(farm, video_id).get("status"))


def test_pause_resume_and_what_is_said_of_it(farm: Farm, clip: Path) -> None:
    paused = farm.here("pause")
    assert paused.returncode == 0, paused.stderr
    assert paused.stdout.startswith("paused: ")
    (video,) = documents(farm.here("upload", str(clip), "--json"))
    until(lambda: look(farm)["queues"]["head.normal"]["waiting"] == 1, 10)
    assert status(farm, video["id"]) == "queued"
    told = farm.here("status").stdout
    assert "paused: " in told
    assert video["id"] in told
    assert video["id"] in json.dumps(documents(farm.here("status", "--json")))

    assert documents(farm.here("resume", "--json"))[0]["paused"] == []
    until(lambda: status(farm, video["id"]) == "ready", 60)


def test_the_operators_count_comes_before_the_policy(farm: Farm) -> None:
    until(lambda: workers(farm, "cpu") == 1, 20)
    assert farm.here("scale", "cpu", "0").returncode == 0
    until(lambda: workers(farm, "cpu") == 0, 20)
    (pool,) = [each for each in look(farm)["pools"] if each["name"] == "cpu"]
    assert (pool["override"], pool["desired"]) == (0, 0)
    assert "operator" in pool["reason"]
    assert documents(farm.here("scale", "cpu", "auto", "--json"))[0]["counts"] == {}
    until(lambda: workers(farm, "cpu") == 1, 20)
    wrong = farm.here("scale", "cpu", "many")
    assert wrong.returncode == 2
    assert "neither a number" in " ".join(wrong.stderr.split())
    assert farm.here("scale", "quantum", "1").returncode == 2


def test_a_drained_host_has_no_workers_until_it_is_resumed(farm: Farm) -> None:
    until(lambda: workers(farm, "cpu") == 1, 20)
    assert farm.here("drain", "--wait").returncode == 0
    found, here = look(farm), socket.gethostname()
    assert found["worker_count"]["total"] == 0
    assert found["control"]["draining"] == [here]
    assert "unknown_host" in farm.here("drain", "nowhere").stderr
    assert "operator_said" in (farm.data_dir / "farm.log").read_text()
    assert farm.here("resume", "--host", here).returncode == 0
    until(lambda: workers(farm, "cpu") == 1, 20)


def test_top_for_pipes_and_scripts(farm: Farm) -> None:
    shown = farm.here("top")
    assert shown.returncode == 0, shown.stderr
    assert {"POOL", "WORKER", "FAILED"} <= set(shown.stdout.split())
    assert max(map(len, shown.stdout.splitlines())) <= 80
    (document,) = documents(farm.here("top", "--once", "--json"))
    assert document.keys() == look(farm).keys()
    away = farm.here("top", "--once", "--url", "http://127.0.0.1:1")
    assert (away.returncode, away.stdout) == (3, "")


def test_purge_asks_and_takes_what_was_meant(farm: Farm, clip: Path) -> None:
    (page,) = documents(farm.here("ls", "--status", "ready", "--json"))
    video = page["videos"][0]
    choice = ("purge", "--older-than", "0m", "--status", "ready")
    (told,) = documents(farm.here(*choice, "--dry-run", "--json"))
    assert told["videos"] >= 1
    assert (told["deleted"], told["bytes"] >= clip.stat().st_size) == (0, True)
    asked = farm.here(*choice)
    assert asked.returncode == 1
    assert "Delete" in asked.stderr
    assert documents(farm.here("purge", "--older-than", "1h", "--yes", "--json"))[0]["deleted"] == 0
    assert status(farm, video["id"]) == "ready"
    assert farm.here("purge", "--older-than", "soon").returncode == 2
    assert farm.here(*choice[:3], "--status", "processing").returncode == 2
    assert documents(farm.here(*choice, "--yes", "--json"))[0]["deleted"] == told["videos"]
    assert status(farm, video["id"]) == "404"


def test_a_farm_that_lost_its_memory_gets_it_back(farm: Farm, clip: Path, tmp_path: Path) -> None:
    """One film is ready, one half done; all records and all of Redis go; both end ready."""
    (ready,) = documents(farm.here("upload", str(clip), "--wait", "--json"))
    assert farm.here("pause", "cpu").returncode == 0
    (half,) = documents(farm.here("upload", str(clip), "--json"))
    until(lambda: video_of(farm, half["id"])["playable"], 30)

    file = tmp_path / "farm.tar.gz"
    made = farm.here("backup", str(file))
    assert made.returncode == 0, made.stderr
    assert " records" in made.stdout
    assert farm.here("backup", str(file)).returncode == 2, "it is not replaced"
    assert farm.here("drain", "--wait").returncode == 0
    forget(farm)
    assert status(farm, ready["id"]) == "404"

    (done,) = documents(farm.here("restore", str(file), "--json"))
    assert done["written"] > done["present"]
    until(lambda: status(farm, half["id"]) == "processing", 10)
    for video in (ready, half):
        until(lambda video=video: status(farm, video["id"]) == "ready", 90)
        shown = video_of(farm, video["id"])
        playlist = httpx.get(shown["playback"]["hls"], trust_env=False)
        assert playlist.text.startswith("#EXTM3U")
        assert played(shown["playback"]["hls"], playlist.text) > 0
    assert farm.here("restore", str(tmp_path / "none")).returncode == 4
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused = farm.here("restore", str(broken))
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)


def forget(farm: Farm) -> None:
    """Remove every record, and everything in Redis."""
    store = storage(farm)
    store.delete([info.key for info in store.list("") if is_memory(info.key)])
    store.close()
    settings = Settings(**_named(farm))
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        client.delete(*client.scan_iter(f"{Keys(settings.namespace).broker}*"))


def storage(farm: Farm) -> ObjectStore:
    settings = Settings(**_named(farm))
    secret = settings.s3_secret_key
    return connect(
        S3Config(
            settings.s3_endpoint,
            settings.s3_region,
            settings.s3_bucket,
            settings.s3_prefix,
            settings.s3_access_key,
            secret.get_secret_value() if secret else None,
        )
    )


def _named(farm: Farm) -> dict[str, str]:
    """The farm's settings, of those that say where its servers are."""
    names = ("s3_endpoint", "s3_prefix", "s3_access_key", "s3_secret_key", "redis_url", "namespace")
    return {name: farm.environment[f"REELFARM_{name.upper()}"] for name in names}


def played(url: str, master: str) -> int:
    """Bytes of the first segment of the first rendition."""
    rendition = next(line for line in master.splitlines() if line and not line.startswith("#"))
    base = httpx.URL(url).join(rendition)
    media = httpx.get(base, trust_env=False).text
    assert "#EXT-X-ENDLIST" in media
    segment = next(line for line in media.splitlines() if line and not line.startswith("#"))
    return len(httpx.get(base.join(segment), trust_env=False).content)


def test_make_knows_every_command() -> None:
    """Dry: what make would run is what the command takes."""
    root = Path(__file__).resolve().parents[2]
    for target, arguments in {
        ("scale", "POOL=cpu", "N=4"): 'scale "$POOL" "$N"',
        ("drain", "HOST=a"): 'drain "$HOST"',
        ("resume", "HOST=a"): '--host "$HOST"',
        ("pause", "POOL=cpu"): "pause ${POOL:+",
        ("status",): "reelfarm status",
        ("top",): "reelfarm top",
        ("backup", "FILE=a"): 'backup "$FILE"',
        ("restore", "FILE=a"): 'restore "$FILE"',
        ("purge", "OLDER=30d"): 'purge --older-than "$OLDER"',
    }.items():
        done = subprocess.run(
            ("make", "-n", *target), cwd=root, capture_output=True, text=True, check=True
        )
        assert arguments in done.stdout, done.stdout
