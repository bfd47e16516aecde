"""Units, the container file and the compose file: about settings and commands that there are."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from farm.cli import app
from farm.settings import PREFIX, Settings, load
from farm.supervisor import RELEASE
from jobs.parts import Pool

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields}

Service = dict[str, Any]


def named(text: str) -> set[str]:
    """The farm's variables that a text names."""
    return set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+", text))


def words(arguments: list[str]) -> None:
    """The command line is one that the command takes; nothing is run."""
    command = get_command(app)
    name, *rest = arguments
    sub = command.commands[name]  # type: ignore[attr-defined]
    sub.make_context(name, rest)


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    found: dict[str, Service] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_every_variable_in_any_of_the_files_is_a_setting() -> None:
    for path in (path for path in DEPLOY.rglob("*") if path.is_file()):
        if path.suffix in (".png", ".lock") or path.parent.name in ("grafana", "prometheus"):
            continue
        unknown = named(path.read_text()) - SETTINGS
        assert not unknown, f"{path.relative_to(ROOT)}: {unknown}"


# systemd


def option(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_give_parts_their_time_and_signal_one_process(unit: Path) -> None:
    environment = dict(each.split("=", 1) for each in option(unit, "Environment")[0].split())
    (stop,) = option(unit, "TimeoutStopSec")
    assert float(stop) > float(environment["REELFARM_DRAIN_TIMEOUT"]) + 2 * RELEASE
    assert option(unit, "KillMode") == ["mixed"]
    (start,) = option(unit, "ExecStart")
    program, *arguments = start.split()
    assert program.endswith("/.venv/bin/reelfarm")
    words([each.replace("%i", Pool.CPU) for each in arguments])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_the_units(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze on PATH")
    program = tmp_path / "bin" / "reelfarm"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    text = unit.read_text().replace("/opt/reelfarm/.venv/bin", str(program.parent))
    copy = tmp_path / unit.name.replace("@.", "@cpu.")
    copy.write_text(text)
    run = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", "--generators=no", str(copy)),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    told = [line for line in run.stderr.splitlines() if unit.name.partition(".")[0] in line]
    if run.returncode and not told:
        pytest.skip(f"systemd-analyze does not work here: {run.stderr.strip()[-300:]}")
    assert not told, run.stderr


def test_three_settings_make_a_worker() -> None:
    text = (DEPLOY / "systemd" / "worker.env.example").read_text()
    given = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
    assert len(given) == 3
    assert set(given) <= SETTINGS


def test_keys_in_the_endpoint_are_taken_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY"):
        monkeypatch.delenv(PREFIX + name, raising=False)
    monkeypatch.setenv("REELFARM_S3_ENDPOINT", "https://KEY:se%2Fcr%40t@s3.example.com:9000")
    settings = load()
    assert settings.s3_endpoint == "https://s3.example.com:9000"
    assert settings.s3_access_key == "KEY"
    assert settings.s3_secret_key is not None
    assert settings.s3_secret_key.get_secret_value() == "se/cr@t"
    assert "cr@t" not in repr(settings)
    monkeypatch.setenv("REELFARM_S3_ACCESS_KEY", "named")
    assert load().s3_access_key == "named", "what is named on its own stands"
    monkeypatch.setenv("REELFARM_S3_ENDPOINT", "https://s3.example.com/odd@path")
    assert load().s3_endpoint == "https://s3.example.com/odd@path"


# The container


def test_the_image_has_all_packages_of_the_project_and_no_more() -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE)) == packages
    allowed = set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert allowed == packages
    words([each.strip('" ') for each in re.findall(r"^CMD \[(.+)\]$", text, re.M)[-1].split(",")])


def test_the_image_takes_the_packages_of_the_lock_with_their_hashes_and_none_of_the_tests() -> None:
    whole, lean = pins(ROOT / "requirements.lock"), pins(DEPLOY / "container" / "requirements.lock")
    for name, block in lean.items():
        assert whole.get(name) == block, f"{name}: `make lock` writes both files"
    assert needed("hatchling") | needed("reelfarm") <= set(lean) | {"reelfarm"}
    assert "pytest" not in lean


def pins(lock: Path) -> dict[str, str]:
    """Each package of a lock file, and its lines."""
    blocks = re.split(r"\n(?=\S)", lock.read_text().strip())
    return {canonicalize_name(re.split(r"[=\s;\[]", block)[0]): block for block in blocks}


def needed(name: str) -> set[str]:
    """What a package draws in on this machine, itself among it."""
    seen: set[str] = set()
    left = [(canonicalize_name(name), frozenset[str]())]
    while left:
        name, extras = left.pop()
        if name in seen and not extras:
            continue
        seen.add(name)
        for text in importlib.metadata.requires(name) or ():
            wanted = Requirement(text)
            marker = wanted.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in (*extras, "")):
                left.append((canonicalize_name(wanted.name), frozenset(wanted.extras)))
    return seen


# Compose


def test_services_have_settings_and_commands_that_there_are(services: dict[str, Service]) -> None:
    for name in ("api", "worker", "worker-gpu"):
        assert named(" ".join(services[name]["environment"])) <= SETTINGS
        words(services[name]["command"])
        assert set(services[name]["depends_on"]) <= set(services)
    example = (DEPLOY / "compose.env.example").read_text()
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert asked == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_services_are_given_time_to_end_and_no_rights(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"] if name != "api" else "image tells"
        drain = float(service["environment"].get("REELFARM_DRAIN_TIMEOUT", 0))
        assert seconds(service["stop_grace_period"]) >= drain + 2 * RELEASE
    (published,) = services["api"]["ports"]
    assert published.startswith("127.0.0.1:")


def test_nothing_secret_is_in_an_argument(services: dict[str, Service]) -> None:
    for service in services.values():
        command = " ".join(service["command"])
        assert not re.search(r"\$\{", command), "compose would write it into the arguments"
    assert "noeviction" in services["queue"]["command"][0]
    assert "--appendonly yes" in services["queue"]["command"][0]
