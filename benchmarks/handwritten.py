"""What an engineer would type instead of running a farm: ffmpeg by hand, at the farm's settings.

One process decodes once, scales each rung from the next larger one, and writes HLS; or one process
for each rendition decodes and scales by itself, as most tools have it. Both encode with the
preset, quality, rates and key frames of the farm's plan, from a local file to a local folder.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.farms import BenchmarkError
from transcoder.plan import Plan, Rung, VideoPlan

Words = tuple[str, ...]

_HLS: Final = (
    *("-f", "hls", "-hls_time", "6", "-hls_playlist_type", "vod"),
    *("-hls_segment_type", "fmp4"),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall and of processor time."""

    wall: float
    cpu: float


def all_rungs(ffmpeg: Path, source: Path, plan: Plan, folder: Path) -> Cost:
    """One process for everything. Raises :class:`BenchmarkError`."""
    return _timed([cascade_command(ffmpeg, source, plan, folder)], [folder])


def one_each(ffmpeg: Path, source: Path, plan: Plan, folder: Path) -> Cost:
    """One process for each rendition, all at once, and one for the sound."""
    commands = rendition_commands(ffmpeg, source, plan, folder)
    return _timed(list(commands.values()), [folder / name for name in commands])


def cascade_command(ffmpeg: Path, source: Path, plan: Plan, folder: Path) -> Words:
    """One decode, each rung scaled from the one before it."""
    video = _video(plan)
    names = [f"v{order}" for order in range(len(video.rungs))]
    outputs: list[str] = []
    for order, rung in enumerate(video.rungs):
        outputs += ["-map", f"[{names[order]}]", *_encoder(video, rung, order)]
    variants = [f"v:{order}" + (",agroup:a" if plan.audio else "") for order in range(len(names))]
    if plan.audio:
        variants.append("a:0,agroup:a")
    streams = ("-var_stream_map", " ".join(variants), "-master_pl_name", "master.m3u8")
    graph = ("-filter_complex", _cascade(video, names))
    output = (*outputs, *_sound(plan), *_HLS, *streams, str(folder / "%v.m3u8"))
    return (*_input(ffmpeg, source), *graph, *output)


def rendition_commands(ffmpeg: Path, source: Path, plan: Plan, folder: Path) -> dict[str, Words]:
    """By rendition; each decodes the film."""
    video = _video(plan)

    def command(name: str, output: Words) -> Words:
        return (*_input(ffmpeg, source), *output, *_HLS, str(folder / name / "index.m3u8"))

    made = {
        rung.name: command(
            rung.name,
            ("-map", f"0:{video.stream}", "-vf", _scale(rung), *_encoder(video, rung, 0)),
        )
        for rung in video.rungs
    }
    return made | ({"sound": command("sound", _sound(plan))} if plan.audio else {})


def _video(plan: Plan) -> VideoPlan:
    if plan.video is None:
        raise BenchmarkError("the film to compare with has no picture")
    return plan.video


def _input(ffmpeg: Path, source: Path) -> Words:
    return (str(ffmpeg), "-nostdin", "-v", "error", "-y", "-i", str(source))


def _scale(rung: Rung) -> str:
    return f"scale={rung.width}:{rung.height}:flags=bicubic"


def _cascade(video: VideoPlan, names: list[str]) -> str:
    graph, last = [], f"0:{video.stream}"
    for order, (rung, name) in enumerate(zip(video.rungs, names, strict=True)):
        if order + 1 < len(names):
            graph.append(f"[{last}]{_scale(rung)},split[{name}][s{order}]")
            last = f"s{order}"
        else:
            graph.append(f"[{last}]{_scale(rung)}[{name}]")
    return ";".join(graph)


def _encoder(video: VideoPlan, rung: Rung, order: int) -> Words:
    pairs = {
        "c": "libx264",
        "preset": video.preset,
        "profile": "high",
        "crf": rung.crf,
        "maxrate": rung.maxrate,
        "bufsize": rung.bufsize,
        "g": video.gop,
        "keyint_min": video.gop,
        "sc_threshold": 0,
        "pix_fmt": "yuv420p",
    }
    return tuple(w for name, value in pairs.items() for w in (f"-{name}:v:{order}", str(value)))


def _sound(plan: Plan) -> Words:
    if not plan.audio:
        return ()
    track = plan.audio[0]
    rate = ("-b:a", str(track.bit_rate), "-ac", str(track.channels), "-ar", str(track.sample_rate))
    return ("-map", f"0:{track.stream}", "-c:a", "aac", *rate)


def _timed(commands: list[Words], folders: list[Path]) -> Cost:
    """Run them side by side. Raises :class:`BenchmarkError`."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    began, before = time.monotonic(), os.times()
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    said = [process.communicate()[1] for process in processes]
    wall, after = time.monotonic() - began, os.times()
    for process, text in zip(processes, said, strict=True):
        if process.returncode != 0:
            raise BenchmarkError(f"ffmpeg by hand failed: {text.decode(errors='replace')[-2000:]}")
    user = after.children_user - before.children_user
    return Cost(wall, user + after.children_system - before.children_system)
