"""A farm as a screenful of text: pure, from the API's document and the room there is.

What does not fit is counted, not shown: the busiest workers and the fullest queues come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farm.cli_control import control_lines
from farm.display import time_text

#: A farm as ``GET /v1/farm`` gives it.
Farm = dict[str, Any]

#: Columns below which less is told of each worker, and rows of the smaller tables at the most.
_WIDE: Final = 110
_QUEUES, _POOLS, _FAILURES, _DEVICES = 6, 6, 4, 3
#: Columns of text: the most for a name, and the fewest for what takes the room that is left.
_LONG: Final = 24
_NARROW: Final = 10
#: Rows of workers that are kept even where there is no room.
_FEWEST: Final = 3


def screen(farm: Farm, url: str, width: int, height: int, trouble: str = "") -> RenderableType:
    """The farm at ``url`` in so many columns and rows; ``trouble`` says why it is out of date."""
    top = [*header(farm, url, trouble)]
    small = [queues(farm), pools(farm), failures(farm)]
    used = len(top) + sum(table.row_count + 2 for table in small)
    rows = max(_FEWEST, height - used - 4)
    return Group(*top, *_spaced(small[0], small[1], *workers(farm, width, rows), small[2]))


def away(url: str, trouble: str) -> RenderableType:
    """What to show of a farm that has not answered yet."""
    lines = trouble.splitlines() or ["It does not answer."]
    told = (Text(plain(said).plain, style="" if n else "red") for n, said in enumerate(lines))
    return Group(Text(f"reelfarm  {url}", style="bold"), Text(), *told, Text("Trying again …"))


def header(farm: Farm, url: str, trouble: str) -> list[Text]:
    """Where, when, how much there is to do and how fast it is being done."""
    count = farm["worker_count"]
    at = datetime.fromisoformat(farm["now"]).strftime("%H:%M:%S UTC")
    workers = f"{count['total']} workers, {count['busy']} busy"
    workers += f", {count['draining']} draining" if count["draining"] else ""
    return [
        line(f"reelfarm  {url}  {at}", "bold"),
        line(f"{workers}; encoding at {speed_text(throughput(farm))}"),
        line(backlog_text(farm)),
        *(line(said, "yellow") for said in control_lines(farm["control"])),
        *(line(said, "red") for said in devices_out(farm)),
        *(line(said, "bold red") for said in trouble.splitlines()[:1]),
    ]


def devices_out(farm: Farm) -> list[str]:
    """Graphics processors that nothing is fetched for at the moment, and why."""
    return [
        f"out of work: {each['encoder']} on {each['host']} {each['device']}: "
        + plain(each["reason"] or "it has yet to be tried again").plain
        for each in farm.get("devices", ())
        if each["circuit"] != "closed"
    ][:_DEVICES]


def line(text: str, style: str = "") -> Text:
    """One line, cut where there is no room for all of it."""
    return Text(plain(text).plain, style=style, no_wrap=True, overflow="ellipsis")


def throughput(farm: Farm) -> float:
    """Seconds of picture that the listed workers encode in a second, all together."""
    parts = filter(None, (worker["part"] for worker in farm["workers"]))
    pictures = (part for part in parts if (part["kind"] or "").startswith("video"))
    return sum(part["speed"] or 0.0 for part in pictures)


def backlog_text(farm: Farm) -> str:
    """What there is to do, and for how long it keeps the present workers busy."""
    backlog, workers = farm["backlog"], farm["worker_count"]["total"]
    if not backlog["seconds"]:
        text = "nothing waits"
    else:
        text = f"{time_text(backlog['seconds'])} of core time waits"
        text += f", about {time_text(backlog['seconds'] / workers)} for these" if workers else ""
    return text + (f", {backlog['retrying']} to be retried" if backlog["retrying"] else "")


def queues(farm: Farm) -> Table:
    """The queues with something in them, the fullest first."""
    known = [(name, queue) for name, queue in farm["queues"].items() if _is_used(queue)]
    known.sort(key=lambda each: (-each[1]["backlog_seconds"], -each[1]["waiting"], each[0]))
    columns = ("QUEUE", ">WAITING", ">IN WORK", ">DEAD", ">OLDEST", ">CORE TIME")
    rows = [
        (
            name,
            str(queue["waiting"]),
            str(queue["in_flight"]),
            str(queue["dead"]),
            time_text(queue["oldest_seconds"]),
            time_text(queue["backlog_seconds"]),
        )
        for name, queue in known
    ]
    return table(columns, rows or [("all queues are empty", *("",) * 5)], _QUEUES)


def pools(farm: Farm) -> Table:
    """Each pool on each host: wanted and there, and why."""
    rows = [
        (
            pool["name"] + (" (paused)" if pool["paused"] else ""),
            pool["host"] or "-",
            "-" if pool["desired"] is None else str(pool["desired"]),
            str(pool["actual"]),
            pool["reason"] or "nobody scales it",
        )
        for pool in farm["pools"]
    ]
    columns = ("POOL", "<HOST", ">WANTED", ">THERE", "~WHY")
    return table(columns, rows or [("no pools", *("",) * 4)], _POOLS)


def workers(farm: Farm, width: int, rows: int) -> Sequence[RenderableType]:
    """Those longest at work, and a line that counts the rest."""
    now = datetime.fromisoformat(farm["now"])
    listed, count = farm["workers"][:rows], farm["worker_count"]
    shown = [_worker_row(worker, now, wide=width >= _WIDE) for worker in listed]
    columns = ("<WORKER", "POOL", *(("VIDEO",) if width >= _WIDE else ()), "PART", "~MAKES")
    columns += (">SPEED", ">FOR", ">PREDICTED") if width >= _WIDE else (">SPEED", ">FOR")
    made = table(columns, shown or [("no workers", *("",) * (len(columns) - 1))], rows)
    left = count["total"] - len(listed)
    if left <= 0:
        return (made,)
    busy = count["busy"] - sum(worker["part"] is not None for worker in listed)
    return made, Text(f"… and {left} more, {max(0, busy)} of them busy", style="dim")


def failures(farm: Farm) -> Table:
    """What could not be made lately."""
    columns = ("<FAILED", ">AGO", "PART", "~WHY")
    found = farm["recent_failures"]
    if not found:
        told = "the storage does not tell" if found is None else "no dead letters"
        return table(columns, [("-", "-", "-", told)], 1)
    now = datetime.fromisoformat(farm["now"])
    rows = [
        (
            each["filename"] or each["video_id"],
            ago_text(now, each["created_at"]),
            each["part"],
            f"{each['code']}: {each['message']}",
        )
        for each in found
    ]
    return table(columns, rows, _FAILURES)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], most: int) -> Table:
    """At most so many rows under headings.

    ``>`` before a heading puts its column to the right, ``<`` cuts it where it is long, and ``~``
    gives it what room is left.
    """
    filled = any(name.startswith("~") for name in columns)
    made = Table(box=None, pad_edge=False, header_style="bold dim", expand=filled)
    for name in columns:
        made.add_column(
            name.lstrip("<>~"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if name.startswith("~") else None,
            min_width=_NARROW if name.startswith("~") else None,
            max_width=_LONG if name.startswith("<") else None,
        )
    for row in list(rows)[:most]:
        made.add_row(*map(plain, row))
    return made


def plain(text: str) -> Text:
    """Text that came from outside, on one line and without control characters."""
    return Text("".join(c if c.isprintable() else " " for c in text))


def speed_text(speed: float | None) -> str:
    """A speed such as ``2.4×``; a dash where it is not known."""
    if not speed:
        return "-"
    return f"{speed:.1f}×" if speed >= 1 else f"{speed:.2f}×"


def ago_text(now: datetime, then: str) -> str:
    """How long ago, by the farm's clock."""
    return time_text(max(0.0, (now - datetime.fromisoformat(then)).total_seconds()))


def _worker_row(worker: dict[str, Any], now: datetime, *, wide: bool) -> tuple[str, ...]:
    part = worker["part"]
    name = worker["name"] + (" (draining)" if worker["draining"] else "")
    if part is None:
        idle = (name, worker["pool"], *(("",) if wide else ()), "", "idle", "", "")
        return (*idle, "") if wide else idle
    since = ago_text(now, part["since"]) if part["since"] else "-"
    seconds = part["cost_seconds"]
    row = (
        name,
        worker["pool"],
        *((part["video_id"],) if wide else ()),
        part["part"],
        part["kind"] or "-",
        speed_text(part["speed"]),
        since,
    )
    return (*row, "-" if seconds is None else time_text(seconds)) if wide else row


def _is_used(queue: dict[str, Any]) -> bool:
    return bool(queue["waiting"] or queue["in_flight"] or queue["dead"])


def _spaced(*parts: RenderableType) -> list[RenderableType]:
    spaced: list[RenderableType] = []
    for part in parts:
        if isinstance(part, Table):
            spaced.append(Text())
        spaced.append(part)
    return spaced
