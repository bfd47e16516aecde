"""``reelfarm top``: a farm looked at every second, for as long as somebody watches.

A farm that goes away is told of, under what was last seen of it, and looked for until it is back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.live import Live

from farm.client import Client
from farm.display import Display
from farm.errors import FarmError
from farm.top_screen import Farm, away, screen

#: Workers that are asked for: more than any screen shows.
_WORKERS = 200


@dataclass(slots=True)
class Watch:
    """What was last seen of a farm, and what has been wrong since."""

    client: Client
    seen: Farm | None = None
    trouble: str = ""

    def look(self) -> None:
        """See what there is to see; failing to is something to show."""
        try:
            self.seen, self.trouble = self.client.farm(_WORKERS), ""
        except FarmError as error:
            self.trouble = str(error)

    def shown(self, width: int, height: int) -> RenderableType:
        """A screenful."""
        if self.seen is None:
            return away(self.client.url, self.trouble)
        return screen(self.seen, self.client.url, width, height, self.trouble)


def once(client: Client, display: Display, console: Console) -> None:
    """Show the farm once. Raises the errors of :mod:`farm.errors`."""
    farm = client.farm(_WORKERS)
    if display.as_json:
        display.document(farm)
        return
    # As many rows as it takes: this is for a file, or for scrolling back.
    console.print(screen(farm, client.url, console.width, _WORKERS * 2))


def watch(
    client: Client,
    display: Display,
    console: Console,
    every: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show the farm every so many seconds until Ctrl-C; as JSON, a document a line."""
    seen = Watch(client)
    if display.as_json:
        while True:
            seen.look()
            display.document({"trouble": seen.trouble} if seen.trouble else seen.seen)
            sleep(every)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            seen.look()
            live.update(seen.shown(*console.size), refresh=True)
            sleep(every)
