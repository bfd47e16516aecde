"""A video in words and rows. Pure: the API's document in, text out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from farm.display import bytes_text, rate_text, time_text

LIST_COLUMNS = ("ID", "STATUS", "PROGRESS", "LENGTH", "SIZE", "FILE")
RENDITION_COLUMNS = ("RENDITION", "CODEC", "PICTURE", "AVERAGE", "PEAK")
TERMINAL = ("ready", "errored", "canceled")


def list_row(video: dict[str, Any]) -> tuple[str, ...]:
    """The video's row under ``LIST_COLUMNS``."""
    duration = (video.get("source") or {}).get("duration")
    return (
        video["id"],
        status_text(video),
        f"{100 * progress_of(video):.0f} %",
        time_text(duration),
        bytes_text(video["size"]),
        video.get("filename") or "-",
    )


def rendition_rows(video: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row under ``RENDITION_COLUMNS`` for each rendition."""
    return [
        (
            rendition["name"],
            rendition["codec"],
            f"{rendition['width']}×{rendition['height']}" if rendition.get("width") else "-",
            rate_text(rendition.get("average_bandwidth") or 0),
            rate_text(rendition.get("bandwidth") or 0),
        )
        for rendition in video.get("renditions") or ()
    ]


def facts(video: dict[str, Any]) -> list[tuple[str, str]]:
    """What there is to know of a video, as (name, text)."""
    known = [
        ("id", video["id"]),
        ("status", f"{status_text(video)}, {100 * progress_of(video):.0f} %"),
        ("file", f"{video.get('filename') or '-'}, {bytes_text(video['size'])}"),
        ("source", source_text(video.get("source"))),
        ("playable", _after(video, "playable_at")),
        ("ready", _after(video, "ready_at")),
    ]
    known += [(name, url) for name, url in (video.get("playback") or {}).items() if url]
    known += [("warning", warning["message"]) for warning in video.get("warnings") or ()]
    if video.get("error"):
        known.append(("error", error_text(video)))
    return known


def progress_of(video: dict[str, Any]) -> float:
    """How much of the video is done, from 0 to 1."""
    return float(video.get("progress") or 0.0)


def status_text(video: dict[str, Any]) -> str:
    """The state, and whether the video can be watched already."""
    early = video.get("playable") and video["status"] not in TERMINAL
    return f"{video['status']} (playable)" if early else str(video["status"])


def error_text(video: dict[str, Any]) -> str:
    """Why the video errored and what to do."""
    error = video.get("error") or {}
    said = f"{error.get('message', 'no reason was given')} ({error.get('code', 'unknown')})"
    return f"{said}. {error['hint']}" if error.get("hint") else said


def source_text(source: dict[str, Any] | None) -> str:
    """Container, length, picture and sound of the source."""
    if not source:
        return "-"
    words = [source["container"], time_text(source.get("duration"))]
    if source.get("video_codec"):
        fps = f" {source['fps']} fps" if source.get("fps") else ""
        words.append(f"{source['width']}×{source['height']} {source['video_codec']}{fps}")
    words += [f"{track['codec']} {track['channels']} ch" for track in source.get("audio") or ()]
    return ", ".join(words)


def seconds_until(video: dict[str, Any], moment: str) -> float | None:
    """Seconds from the video's acceptance to ``moment``; None where it has not come."""
    if not video.get(moment):
        return None
    begun = datetime.fromisoformat(video["created_at"])
    return (datetime.fromisoformat(video[moment]) - begun).total_seconds()


def _after(video: dict[str, Any], moment: str) -> str:
    seconds = seconds_until(video, moment)
    return "-" if seconds is None else f"{seconds:.1f} s after the upload"
