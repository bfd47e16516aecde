"""Deleting many videos that have ended: which, and then one by one through the API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from farm.client import Client
from farm.errors import NotFoundError, SettingsError

#: What may be purged: what is still in work is canceled first, by hand.
STATUSES: Final = ("ready", "errored", "canceled")

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Doomed:
    """A video that is to go; ``size`` in bytes as uploaded."""

    id: str
    size: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Which videos: in one of these states, accepted before that time."""

    statuses: tuple[str, ...]
    before: datetime

    @classmethod
    def parse(cls, statuses: str, age: timedelta, now: datetime) -> Self:
        """From states with commas in between. Raises :class:`farm.errors.SettingsError`."""
        named = tuple(filter(None, (each.strip() for each in statuses.split(","))))
        wrong = [each for each in named if each not in STATUSES]
        if wrong or not named:
            raise SettingsError(
                f"--status {statuses!r} will not do: it takes some of {', '.join(STATUSES)}."
            )
        try:
            return cls(named, now - age)
        except OverflowError:
            raise SettingsError(f"There were no videos {age.days} days ago.") from None

    def fits(self, video: dict[str, Any]) -> bool:
        """Whether a video of the API is one of them."""
        accepted = datetime.fromisoformat(video["created_at"])
        return video["status"] in self.statuses and accepted < self.before


def parse_age(text: str) -> timedelta:
    """An age such as ``30d``. Raises :class:`farm.errors.SettingsError`."""
    found = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    if found is None:
        raise SettingsError(f"{text!r} is no age: 45m, 12h, 30d and 8w are.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def chosen(client: Client, choice: Choice) -> list[Doomed]:
    """The videos, looked up page by page before the first is deleted."""
    found: dict[str, Doomed] = {}
    for status in choice.statuses:
        for video in _listed(client, status):
            if choice.fits(video):
                found[video["id"]] = Doomed(video["id"], video["size"])
    return list(found.values())


def purge_videos(client: Client, videos: Sequence[Doomed], choice: Choice) -> int:
    """Delete them; how many.

    One that was retried meanwhile stays, and one that somebody else has deleted is gone anyhow.
    """
    deleted = 0
    for video in videos:
        try:
            if choice.fits(client.video(video.id)):
                client.delete(video.id)
                deleted += 1
        except NotFoundError:
            continue
    return deleted


def _listed(client: Client, status: str) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = client.videos(_PAGE, status, cursor)
        yield from page["videos"]
        cursor = page.get("next")
        if cursor is None:
            return
