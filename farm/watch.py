"""Uploads and encodings in progress, drawn on a terminal or told in lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from farm.client import Client, Video, size_of
from farm.describe import TERMINAL, error_text, progress_of, seconds_until, status_text
from farm.display import Display, bytes_text
from farm.errors import UnreachableError

#: Seconds between two looks at a video.
_INTERVAL = 0.5
#: Seconds for which a farm that does not answer is waited for.
_PATIENCE = 60.0


def follow(
    client: Client,
    video_ids: Sequence[str],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Video]:
    """Every video again and again until each is terminal.

    A farm that is away is waited for; :class:`UnreachableError` when it stays away.
    """
    waiting, seen = list(video_ids), clock()
    while waiting:
        try:
            videos = [client.video(video_id) for video_id in waiting]
            seen = clock()
        except UnreachableError:
            if clock() - seen > _PATIENCE:
                raise
            videos = []
        yield from videos
        done = {video["id"] for video in videos if video["status"] in TERMINAL}
        waiting = [video_id for video_id in waiting if video_id not in done]
        if waiting:
            sleep(_INTERVAL)


def upload(client: Client, file: Path, display: Display, **options: str | None) -> Video:
    """Upload ``file`` under the eyes of the user."""
    columns = (*_columns(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    size, started = size_of(file), time.monotonic()
    with _bars(display, columns) as bars:
        task = bars.add_task(f"upload {file.name}", total=size)
        video = client.upload(
            file, **options, progress=lambda sent: bars.update(task, completed=sent)
        )
    speed = bytes_text(size / max(time.monotonic() - started, 1e-6))
    display.say(f"uploaded {file.name}, {bytes_text(size)} at {speed}/s: {video['id']}")
    return video


def encode(client: Client, video_ids: Sequence[str], display: Display) -> list[Video]:
    """Wait under the eyes of the user until each video is terminal; as they ended, in order."""
    last: dict[str, Video] = {}
    with _bars(display, (*_columns(), _Speed(), TimeRemainingColumn())) as bars:
        tasks = {video_id: bars.add_task(f"encode {video_id}", total=1.0) for video_id in video_ids}
        for video in follow(client, video_ids):
            _tell(display, last.get(video["id"], {}), video)
            bars.update(
                tasks[video["id"]],
                completed=1.0 if video["status"] == "ready" else progress_of(video),
                description=f"{status_text(video):<22} {video.get('filename') or video['id']}",
                length=(video.get("source") or {}).get("duration"),
            )
            last[video["id"]] = video
    return [last[video_id] for video_id in video_ids]


def _tell(display: Display, before: Video, video: Video) -> None:
    """Say what has changed, once."""
    name = video.get("filename") or video["id"]
    if video.get("playable") and not before.get("playable"):
        display.say(f"{name} is playable{_lapse(video, 'playable_at')}")
    if video["status"] == before.get("status"):
        return
    if video["status"] == "ready":
        display.say(f"{name} is ready{_lapse(video, 'ready_at')}")
    elif video["status"] == "errored":
        display.complain(f"{name}: {error_text(video)}")
    elif not display.is_lively:
        display.say(f"{name} is {video['status']}")


def _lapse(video: Video, moment: str) -> str:
    seconds = seconds_until(video, moment)
    return "" if seconds is None else f" after {seconds:.1f} s"


class _Speed(ProgressColumn):
    """Seconds of film encoded in a second."""

    def render(self, task: Task) -> Text:
        length, elapsed = task.fields.get("length"), task.elapsed
        if not length or not elapsed or not task.completed:
            return Text("")
        return Text(f"{task.completed * length / elapsed:.1f}x", style="progress.data.speed")


def _columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()


@contextmanager
def _bars(display: Display, columns: tuple[ProgressColumn, ...]) -> Iterator[Progress]:
    bars = Progress(*columns, console=display.talk, transient=True, disable=not display.is_lively)
    with bars:
        yield bars


def outcome(videos: Sequence[dict[str, Any]]) -> bool:
    """Whether every video became what was wanted."""
    return all(video["status"] == "ready" for video in videos)
