"""Scaling a whole farm: one that leads, the operator's own program, and CloudWatch."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import redis

from autoscaler.cloudwatch import Publisher
from autoscaler.command import AGAIN, OPEN_FOR, OPENS_AFTER, CommandTarget, Ran, run
from autoscaler.policy import Decision, PoolDemand
from autoscaler.scaler import ScaledPool
from farm.autoscale import Autoscaler, command, pools
from farm.errors import SettingsError
from farm.settings import Settings, foreign_environment, load
from jobs import control, scaling
from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.keys import Keys
from jobs.office import Office
from jobs.parts import PartRef, Pool, Priority
from jobs.send import Sender
from jobs.workers import WorkerInfo, announce

VIDEO = "01jz0000000000000000000000"


class Clock:
    """A clock that is moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


# The operator's own program


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], list[str]]:
    """Makes a program of that body; the command line that runs it."""

    def make(body: str) -> list[str]:
        path = tmp_path / "scale it.sh"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return [str(path), "an argument", "$POOL; false"]

    return make


def test_the_program_is_told_what_is_wanted_and_nothing_secret(
    script: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELFARM_S3_SECRET_KEY", "geheim")
    out = tmp_path / "told"
    told = script(f'{{ printf "%s|" "$POOL" "$COUNT" "$BEFORE" "$REASON" "$@"; env; }} > "{out}"')
    target = CommandTarget(told, foreign_environment(), timeout=20, clock=Clock())
    target.scale("cpu", 3, "grow: 3 waiting; $(reboot)")
    assert target.count("cpu") == 3
    first, *environment = out.read_text().splitlines()
    assert first.startswith("cpu|3||grow: 3 waiting; $(reboot)|an argument|$POOL; false|")
    assert not [line for line in environment if line.startswith("REELFARM_")]
    assert any(line.startswith("PATH=") for line in environment)
    target.scale("cpu", 1, "shrink")
    assert out.read_text().startswith("cpu|1|3|shrink|")


def test_a_program_that_fails_says_why_and_one_that_hangs_is_ended(
    script: Callable[[str], list[str]],
) -> None:
    failed = run(script("echo no quota left >&2; exit 7"), foreign_environment(), 20)
    assert failed == Ran(7, "no quota left")
    assert run(["/nowhere/at-all"], {}, 1.0).words.startswith("it could not be started")
    began = time.monotonic()
    hung = run(script("echo begun; sleep 300 & sleep 300"), foreign_environment(), 0.5)
    assert (hung.status, hung.words) == (None, "begun")
    assert time.monotonic() - began < 20


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_program_that_cannot_be_run_or_ended_ends_nobody_else(
    script: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_group: int, _number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr("os.killpg", refuse)
        assert run(script("sleep 2"), foreign_environment(), 0.2).status is None

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    assert "No space left" in run(["true"], {}, 1.0).words


class Executor:
    """Notes what it is told to run, and ends as it is told to."""

    def __init__(self) -> None:
        self.status = 0
        self.counts: list[str] = []

    def __call__(
        self, arguments: Sequence[str], environment: Mapping[str, str], timeout: float
    ) -> Ran:
        self.counts.append(environment["COUNT"])
        return Ran(self.status, "")


def test_a_count_is_said_when_it_changes_and_again_now_and_then() -> None:
    clock, executor = Clock(), Executor()
    target = CommandTarget(["x"], {}, timeout=1, clock=clock, counts={"cpu": 2}, execute=executor)
    assert target.count("cpu") == 2
    for count in (2, 2, 3, 3):
        target.scale("cpu", count, "")
    assert executor.counts == ["2", "3"]
    clock.now += AGAIN
    target.scale("cpu", 3, "")
    assert executor.counts == ["2", "3", "3"]


def test_a_program_that_goes_on_failing_is_left_alone_for_a_while() -> None:
    clock, executor = Clock(), Executor()
    target = CommandTarget(["x"], {}, timeout=1, clock=clock, execute=executor)
    executor.status = 1
    tries = []
    for _ in range(600):
        before = len(executor.counts)
        target.scale("cpu", 4, "")
        if len(executor.counts) > before:
            tries.append(clock.now - 1000)
        clock.now += 1
    assert tries == [0, 5, 15, 35, 75], "pauses that double, and then none at all"
    assert len(tries) == OPENS_AFTER
    executor.status = 0
    clock.now = 1000 + 75 + OPEN_FOR
    target.scale("cpu", 5, "")
    target.scale("cpu", 6, "")
    assert executor.counts[-2:] == ["5", "6"], "and is told at once again"


@pytest.mark.parametrize("text", ["", "  ", "'unfinished"])
def test_a_command_that_cannot_be_run_is_a_wrong_setting(text: str) -> None:
    with pytest.raises(SettingsError, match="AUTOSCALE_COMMAND"):
        command(load(autoscale_command=text))


# CloudWatch


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    """A client of a server that speaks the API, and its address."""
    from moto.server import ThreadedMotoServer

    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield aws(f"http://{host}:{port}"), f"http://{host}:{port}"
    finally:
        server.stop()


def aws(endpoint: str) -> Any:
    return boto3.client(
        "cloudwatch", region_name="eu-west-1", endpoint_url=endpoint,
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip


def published(client: Any, name: str, pool: str, farm: str) -> list[float]:
    now = datetime.now(UTC)
    found = client.get_metric_statistics(
        Namespace="Reelfarm",
        MetricName=name,
        Dimensions=[{"Name": "Farm", "Value": farm}, {"Name": "Pool", "Value": pool}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=60,
        Statistics=["Average"],
    )
    return [point["Average"] for point in found["Datapoints"]]


def test_the_figures_for_target_tracking_reach_cloudwatch(
    cloudwatch: tuple[Any, str], redis_url: str, redis_client: redis.Redis, namespace: str
) -> None:
    client, address = cloudwatch
    settings = scaled_by(
        redis_url, namespace, autoscale_target="cloudwatch", cloudwatch_endpoint=address,
        cloudwatch_region="eu-west-1",
    )  # fmt: skip
    send(redis_client, namespace, 30, 100.0)
    employ(redis_client, namespace, 4)
    (scaled,) = Autoscaler(settings, redis_client).step() or ()
    assert scaled.decision.count == 10
    assert published(client, "BacklogPerWorker", "cpu", namespace) == [750.0]
    assert published(client, "DesiredWorkers", "cpu", namespace) == [10.0]
    assert published(client, "Workers", "cpu", namespace) == [4.0]


def test_a_cloudwatch_that_does_not_answer_stops_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        publisher = Publisher(aws(f"http://127.0.0.1:{unused.getsockname()[1]}"), "n", "f")
        publisher.client.meta.config.retries = {"total_max_attempts": 1}  # type: ignore[attr-defined]
        pool = ScaledPool("cpu", 0, Decision(1, ""), PoolDemand(1, 0))
        assert not publisher.publish([pool], {"cpu": 0}, datetime.now(UTC))


# One that leads


def scaled_by(redis_url: str, namespace: str, **more: Any) -> Settings:
    own = {"autoscale_drain": 300.0, "autoscale_start": 0.0, "autoscale_cpu": "0-20"}
    return load(redis_url=redis_url, namespace=namespace, **(own | more))


def employ(client: redis.Redis, namespace: str, count: int) -> None:
    for number in range(count):
        info = WorkerInfo(f"w{number}", "h", number, (Pool.HEAD, Pool.CPU), 0.0)
        announce(client, namespace, info, ttl=60, now=time.time())


def send(client: redis.Redis, namespace: str, parts: int, cost: float) -> None:
    sender = Sender(FarmBroker(client, namespace), Board(client, namespace))
    for number in range(parts):
        sender.send(PartRef(VIDEO, 1, f"v{number}"), Pool.CPU, Priority.NORMAL, cost=cost)


def test_one_leads_and_another_goes_on_from_what_it_left(
    redis_url: str, redis_client: redis.Redis, namespace: str
) -> None:
    settings = scaled_by(redis_url, namespace)
    first, second = (Autoscaler(settings, redis_client) for _ in range(2))
    send(redis_client, namespace, 30, 100.0)
    (scaled,) = first.step() or ()
    assert (scaled.before, scaled.decision.count) == (0, 10)
    assert second.step() is None
    (noted,) = scaling.current(redis_client, namespace)
    assert (noted.count, noted.host, noted.target, noted.waiting) == (10, "", "report", 30)
    assert noted.backlog == pytest.approx(3000.0)
    assert (
        noted.reason == "grow: 30 waiting, 0 in work, 3000 s of work for 300 s, at least 0 wanted"
    )
    first.resign()
    redis_client.delete(Keys(namespace).queue("cpu.normal"), Keys(namespace).messages("cpu.normal"))
    (scaled,) = second.step() or ()
    assert (scaled.before, scaled.decision.count) == (10, 10), "it does not drop them at once"
    assert first.step() is None


def test_one_decision_at_a_time_shrinks_a_pool_that_nobody_has_needed_for_long(
    redis_url: str, redis_client: redis.Redis, namespace: str
) -> None:
    settings = scaled_by(redis_url, namespace, autoscale_cooldown=600.0)
    began, counts = time.time(), []
    send(redis_client, namespace, 30, 100.0)
    for minute in range(0, 15, 5):
        # A process each, whose clock begins anew.
        once = Autoscaler(
            settings, redis_client, clock=lambda: 7.0, wall=lambda at=began + 60 * minute: at
        )
        counts += [each.decision.count for each in once.step() or ()]
        once.resign()
        redis_client.delete(
            Keys(namespace).queue("cpu.normal"), Keys(namespace).messages("cpu.normal")
        )
    assert counts == [10, 10, 0]


def test_the_pace_and_the_operator_are_heeded(
    redis_url: str, redis_client: redis.Redis, namespace: str
) -> None:
    from jobs.pace import note

    settings = scaled_by(redis_url, namespace)
    send(redis_client, namespace, 30, 10.0)
    autoscaler = Autoscaler(settings, redis_client)
    assert [each.decision.count for each in autoscaler.preview()] == [1]
    for _ in range(30):
        note(redis_client, namespace, "cpu", 100.0, 1000.0)
    assert [each.decision.count for each in autoscaler.preview()] == [10]
    control.set_count(redis_client, namespace, "cpu", 3)
    assert [each.decision.reason for each in autoscaler.preview()] == ["set by the operator"]
    assert scaling.current(redis_client, namespace) == (), "a preview leaves no trace"


def test_an_office_is_lost_by_who_says_nothing(redis_client: redis.Redis, namespace: str) -> None:
    key = Keys(namespace).autoscaler
    one, other = (Office(redis_client, key, name, ttl) for name, ttl in (("a", 0.05), ("b", 60)))
    assert one.hold()
    assert one.hold()
    time.sleep(0.1)
    assert other.hold()
    assert not one.hold()
    one.leave()
    assert redis_client.get(key) == b"b"


def test_a_farm_without_any_pool_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="0-10"):
        pools(load(autoscale_cpu="0-0"))
    with pytest.raises(SettingsError, match="LEAST-MOST"):
        load(autoscale_cpu="5-2")


def test_the_command_decides_once_as_json(
    redis_url: str, redis_client: redis.Redis, namespace: str, tmp_path: Path
) -> None:
    send(connect_redis(redis_url), namespace, 4, 200.0)
    environment = foreign_environment() | {
        "REELFARM_REDIS_URL": redis_url,
        "REELFARM_NAMESPACE": namespace,
        "REELFARM_AUTOSCALE_TARGET": "command",
        "REELFARM_AUTOSCALE_COMMAND": f"sh -c 'echo $POOL $COUNT >> {tmp_path}/told'",
    }

    def reelfarm(*options: str) -> dict[str, Any]:
        argv = [sys.executable, "-P", "-m", "farm", "autoscale", "--json", *options]
        done = subprocess.run(
            argv, env=environment, cwd=tmp_path, capture_output=True, timeout=60, check=True
        )
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    said = reelfarm("--dry-run")
    assert [(pool["pool"], pool["count"]) for pool in said["pools"]] == [("cpu", 4)]
    assert not (tmp_path / "told").exists()
    assert reelfarm("--once")["leads"]
    assert (tmp_path / "told").read_text() == "cpu 4\n"
    assert [each.count for each in scaling.recent(redis_client, namespace)] == [4]
