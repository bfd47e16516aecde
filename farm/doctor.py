"""Whether this machine and the servers it is pointed at can run a farm, and how to mend them."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from farm import running
from farm.display import Display
from farm.doctor_api import check_api
from farm.doctor_check import Check
from farm.doctor_encoders import check_encoders
from farm.doctor_host import check_host
from farm.doctor_redis import check_redis
from farm.doctor_storage import check_storage
from farm.embedded import EmbeddedError
from farm.embedded.seaweedfs import find_weed
from farm.embedded.valkey import find_server
from farm.settings import Settings, replaced


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


def examine(settings: Settings, clock: Callable[[], float] = time.time) -> Iterator[Check]:
    """Every check. The servers are those of the settings, else of the farm running here."""
    found = running.find(settings.data_dir)
    if found is not None:
        settings = replaced(settings, **found.settings)
    yield Check("python", "ok", f"{platform.python_version()} on {platform.machine()}")
    yield from check_host(settings)
    yield from check_encoders(settings)
    yield from check_api(settings, found.url if found else None)
    if settings.s3_endpoint is None and not settings.s3_aws:
        yield _embedded("s3", find_weed)
    else:
        yield from check_storage(settings, clock)
    if settings.redis_url is None:
        yield _embedded("redis", find_server)
    else:
        yield from check_redis(settings, clock)


def _embedded(name: str, program: Callable[[], Path]) -> Check:
    try:
        return Check(name, "ok", f"embedded: {program()}, started with the farm")
    except EmbeddedError as error:
        return Check(name, "fail", str(error), f"See the settings of {name}.")
