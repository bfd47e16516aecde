"""Whether this machine and the servers it is pointed at can run a farm, and how to mend them.

The storage is tried rather than asked: conditional writes are what keeps two workers from
publishing the same part, and an S3 that accepts the header and ignores it looks healthy.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import redis

from farm import connections, running
from farm.display import Display, bytes_text
from farm.embedded import EmbeddedError
from farm.embedded.seaweedfs import find_weed
from farm.embedded.valkey import find_server
from farm.settings import Settings, replaced
from media.binaries import find_tools, version
from media.boxes import NO_SCRIPT, boxes, check_program
from media.errors import MediaError, ToolMissingError
from storage import layout
from storage.errors import StorageError
from storage.objects import ObjectStore
from transcoder.profile import ProfileError, load_profile

#: Writers that race for one key.
_RACERS = 8
#: Bytes of free disk below which films do not fit, and below which nothing does.
_DISK_LOW, _DISK_EMPTY = 10 * 10**9, 10**9
_REDIS_OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. ``fix`` says what to do unless it is ``ok``."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def run_doctor(settings: Settings, display: Display) -> bool:
    """Check everything and say it line by line; whether a farm can run."""
    healthy = True
    for check in examine(settings):
        healthy = healthy and check.status != "fail"
        if display.as_json:
            display.document(asdict(check))
            continue
        style = {"ok": "green", "warn": "yellow", "fail": "red"}[check.status]
        display.line(f"{check.status:<5} {check.name:<13} {check.found}", style)
        if check.fix:
            display.line(f"      {check.fix}")
    return healthy


def examine(settings: Settings) -> Iterator[Check]:
    """Every check. The servers are those of the settings, else of the farm running here."""
    found = running.find(settings.data_dir)
    if found is not None:
        settings = replaced(settings, **found.settings)
    yield Check("python", "ok", f"{platform.python_version()} on {platform.machine()}")
    yield from _programs(settings)
    yield from _boxes()
    yield _profile(settings)
    yield _disk(settings.data_dir)
    yield _exposure(settings)
    yield from _storage(settings)
    yield from _redis(settings)


def _programs(settings: Settings) -> Iterator[Check]:
    try:
        tools = find_tools(settings.ffmpeg, settings.ffprobe)
    except ToolMissingError as error:
        yield Check("ffmpeg", "fail", str(error), "Run `make setup`, or name it in the settings.")
        return
    for name, program in (("ffmpeg", tools.ffmpeg), ("ffprobe", tools.ffprobe)):
        try:
            found = version(program)
            check_program(program)
        except ToolMissingError as error:
            yield Check(name, "fail", str(error), "Run `make setup`, or name another one.")
        except MediaError as error:
            yield Check(name, "fail", f"it does not run in its boxes: {error}", NO_SCRIPT)
        else:
            yield Check(name, "ok", f"{found} ({program})")


def _boxes() -> Iterator[Check]:
    """What a hostile film is kept in. The farm runs without, so that none of them is a must."""
    try:
        for box in boxes():
            yield Check(box.name, "ok" if box.on else "warn", box.found, box.fix)
    except MediaError as error:
        fix = "Films are encoded all the same; what they are kept in is not known."
        yield Check("boxes", "warn", f"they could not be tried: {error}", fix)


def _profile(settings: Settings) -> Check:
    try:
        found = load_profile(settings.profile)
    except ProfileError as error:
        return Check("profile", "fail", str(error), "Mend the file, or unset REELFARM_PROFILE.")
    heights = ", ".join(str(rung.height) for rung in found.video.rungs)
    return Check("profile", "ok", f"{found.name}: {heights}")


def _disk(data_dir: Path) -> Check:
    place = next(p for p in (data_dir.absolute(), *data_dir.absolute().parents) if p.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Check(
            "disk", "fail", f"{data_dir} cannot be written: {place} does not let us",
            "Set REELFARM_DATA_DIR to a directory of yours.",
        )  # fmt: skip
    free = shutil.disk_usage(place).free
    if free >= _DISK_LOW:
        return Check("disk", "ok", f"{bytes_text(free)} free at {place}")
    status: Literal["warn", "fail"] = "warn" if free >= _DISK_EMPTY else "fail"
    return Check(
        "disk", status, f"only {bytes_text(free)} free at {place}",
        "Free some, or set REELFARM_DATA_DIR to a larger disk.",
    )  # fmt: skip


def _exposure(settings: Settings) -> Check:
    if settings.is_exposed:
        return Check(
            "access", "fail", f"{settings.host} can be reached from outside, without a token",
            "Set REELFARM_API_TOKEN, or serve at 127.0.0.1.",
        )  # fmt: skip
    return Check("access", "ok", f"{settings.host}:{settings.port}")


def _storage(settings: Settings) -> Iterator[Check]:
    if settings.s3_endpoint is None and not settings.s3_aws:
        yield _embedded("s3", find_weed)
        return
    store = connections.object_store(settings)
    try:
        yield from _try_storage(store, settings.s3_endpoint or "AWS")
    except StorageError as error:
        yield Check("s3", "fail", str(error), "See the s3_… settings.")
    finally:
        store.close()


def _try_storage(store: ObjectStore, where: str) -> Iterator[Check]:
    key = f"doctor/{secrets.token_hex(8)}"
    # A policy of the bucket may be older than this prefix.
    letter = layout.DEAD_LETTERS + key
    store.ensure_bucket()
    try:
        store.put(letter, b"")
        yield _race(store, key)
        yield _swap(store, key)
    finally:
        store.delete([key, letter])
    yield Check("s3", "ok", f"bucket {store.bucket} at {where} can be written, read and emptied")


def _race(store: ObjectStore, key: str) -> Check:
    """Let writers race for one new key: exactly one may win."""
    with ThreadPoolExecutor(_RACERS) as pool:
        etags = list(pool.map(lambda n: store.create(key, str(n).encode()), range(_RACERS)))
    winners = [number for number, etag in enumerate(etags) if etag is not None]
    if len(winners) == 1 and store.get(key).body == str(winners[0]).encode():
        return Check("s3 create", "ok", f"If-None-Match: 1 of {_RACERS} racing writers won")
    return Check(
        "s3 create", "fail", f"If-None-Match: {len(winners)} of {_RACERS} racing writers won",
        "This S3 ignores conditional writes. Take one that honours them: AWS, MinIO, Ceph, "
        "SeaweedFS.",
    )  # fmt: skip


def _swap(store: ObjectStore, key: str) -> Check:
    """Replace by ETag: once with the present one, once with the one before."""
    etag = store.get(key).etag
    first, second = store.replace(key, b"first", etag), store.replace(key, b"second", etag)
    if first is not None and second is None and store.get(key).body == b"first":
        return Check("s3 replace", "ok", "If-Match: a stale writer was refused")
    return Check(
        "s3 replace", "fail", "If-Match: a stale writer was not refused",
        "This S3 ignores conditional writes. Take one that honours them: AWS, MinIO, Ceph, "
        "SeaweedFS.",
    )  # fmt: skip


def _redis(settings: Settings) -> Iterator[Check]:
    if settings.redis_url is None:
        yield _embedded("redis", find_server)
        return
    try:
        with connections.redis_client(settings) as client:
            info: dict[str, Any] = dict(client.info("everything"))
    except (redis.RedisError, ValueError) as error:
        yield Check("redis", "fail", f"it does not answer: {error}", "See the setting redis_url.")
        return
    yield from judge_redis(info)


def judge_redis(info: dict[str, Any]) -> Iterator[Check]:
    """What Redis's INFO means for a farm."""
    found = str(info.get("redis_version", "0"))
    if tuple(int(number) for number in found.split(".")[:2]) < _REDIS_OLDEST:
        yield Check("redis", "fail", f"version {found}", "Take Redis 6.2 or later, or Valkey.")
    else:
        yield Check("redis", "ok", f"version {info.get('valkey_version', found)}")
    policy = info.get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        yield Check("eviction", "ok", "maxmemory-policy noeviction")
    else:
        yield Check(
            "eviction", "fail", f"maxmemory-policy {policy}: full memory silently loses jobs",
            "Set maxmemory-policy to noeviction.",
        )  # fmt: skip
    if info.get("aof_enabled"):
        yield Check("redis disk", "ok", "append-only file on")
    else:
        yield Check(
            "redis disk", "warn", "append-only file off: a restart forgets what is queued",
            "Set appendonly to yes. Nothing is lost without it, but videos wait for the sweeper.",
        )  # fmt: skip


def _embedded(name: str, program: Callable[[], Path]) -> Check:
    try:
        return Check(name, "ok", f"embedded: {program()}, started with the farm")
    except EmbeddedError as error:
        return Check(name, "fail", str(error), f"See the settings of {name}.")
