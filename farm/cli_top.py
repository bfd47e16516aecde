"""``reelfarm top`` and ``reelfarm status``: looking at a running farm."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console

from farm import describe
from farm.cli_control import control_lines
from farm.cli_options import Json, Url, client_of
from farm.display import Display

_VIDEOS = 10


def add_to(app: typer.Typer) -> None:
    """Have the commands in ``app``."""
    for command in (top, status):
        app.command()(command)


def top(
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2)] = 1.0,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Watch a farm: queues, pools, workers and how fast each encodes, failures. Ctrl-C ends it."""
    from farm import top as screens

    display, console = Display(as_json=as_json), Console(highlight=False)
    with client_of(url) as client:
        if once or not (console.is_terminal or as_json):
            screens.once(client, display, console)
            return
        with suppress(KeyboardInterrupt):
            screens.watch(client, display, console, every)


def status(url: Url = None, as_json: Json = False) -> None:
    """Say in a few lines how the farm is, and list its newest videos."""
    from farm.top_screen import backlog_text

    display = Display(as_json=as_json)
    with client_of(url) as client:
        farm, page = client.farm(), client.videos(_VIDEOS)
    if as_json:
        display.document({"farm": farm, **page})
        return
    count, letters = farm["worker_count"], farm["recent_failures"]
    display.line(f"{client.url}: {count['total']} workers, {count['busy']} busy")
    display.line(backlog_text(farm))
    for line in control_lines(farm["control"]):
        display.line(line, "yellow")
    if letters:
        display.line(f"{len(letters)} dead letters or more: reelfarm dlq", "red")
    display.table(describe.LIST_COLUMNS, map(describe.list_row, page["videos"]))
