"""The operator's word on a running farm: pause, resume, scale, drain. By the API alone."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from farm.cli_options import Json, Url, client_of
from farm.client import Client
from farm.display import Display
from farm.errors import SettingsError
from jobs.parts import Pool

#: What ``scale`` takes in place of a count to leave a pool to the policy.
_AUTO: Final = "auto"
#: Seconds between two looks at whether a host is drained.
_LOOK_EVERY: Final = 1.0

_OnePool = Annotated[
    Pool | None, typer.Argument(metavar="POOL", help="head, cpu or gpu; else all.")
]
_Host = Annotated[str | None, typer.Option(help="End the draining of this host.")]


def add_to(app: typer.Typer) -> None:
    """Have the commands in ``app``."""
    for command in (pause, resume, scale, drain):
        app.command()(command)


def pause(pool: _OnePool = None, url: Url = None, as_json: Json = False) -> None:
    """Have workers begin nothing new. What runs ends; uploads are still taken."""
    _say(url, as_json, lambda client: client.pause(pool))


def resume(
    pool: _OnePool = None, host: _Host = None, url: Url = None, as_json: Json = False
) -> None:
    """Let what is paused go on, or a drained host have workers again."""
    if host is not None and pool is not None:
        raise typer.BadParameter("a pool and --host are not for the same command.")
    _say(url, as_json, lambda c: c.resume(pool) if host is None else c.undrain(host))


def scale(
    pool: Annotated[Pool, typer.Argument(metavar="POOL", help="head, cpu or gpu.")],
    count: Annotated[str, typer.Argument(metavar="N", help="Workers; `auto` for the policy.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Have N workers of a pool, whatever waits, or leave it to the autoscaler's policy.

    N is for each host that runs workers, within its slots, and for a group of machines that
    `reelfarm autoscale` scales.
    """
    if count != _AUTO and not count.isdecimal():
        raise typer.BadParameter(f"{count!r} is neither a number nor `{_AUTO}`.")
    _say(url, as_json, lambda c: c.scale(pool, None if count == _AUTO else int(count)))


def drain(
    host: Annotated[str | None, typer.Argument(help="A host of the farm; else this one.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until its workers are gone.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Have the workers of a host finish what they do and go; none are started there.

    It holds until `reelfarm resume --host HOST`. Nothing is killed.
    """
    name = socket.gethostname() if host is None else host
    _say(url, as_json, lambda client: _drained(client, name) if wait else client.drain(name))


def control_lines(control: dict[str, Any]) -> list[str]:
    """What the operator has said that holds, in words; nothing where nothing does."""
    lines = []
    if control["paused"]:
        lines.append(f"paused: {', '.join(control['paused'])}")
    if control["counts"]:
        counts = (f"{pool} {count}" for pool, count in control["counts"].items())
        lines.append(f"set by the operator: {', '.join(counts)}")
    if control["draining"]:
        lines.append(f"draining: {', '.join(control['draining'])}")
    return lines


def _say(url: str | None, as_json: bool, order: Callable[[Client], dict[str, Any]]) -> None:
    display = Display(as_json=as_json)
    with client_of(url) as client:
        control = order(client)
    if as_json:
        display.document(control)
    for line in control_lines(control) or ["nothing is paused, drained or set by the operator"]:
        display.line(line)


def _drained(client: Client, host: str) -> dict[str, Any]:
    """Drain a host and return once none of its workers is left."""
    control = client.drain(host)
    while any(worker["host"] == host for worker in _workers(client)):
        time.sleep(_LOOK_EVERY)
    return control


def _workers(client: Client) -> list[dict[str, Any]]:
    found = client.farm(workers=1000)
    workers: list[dict[str, Any]] = found["workers"]
    if found["worker_count"]["total"] > len(workers):
        raise SettingsError("--wait is for farms of at most 1000 workers; look at `reelfarm top`.")
    return workers
