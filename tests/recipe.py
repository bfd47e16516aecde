"""Runs every part of a plan on a local file and joins what the parts made."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from media.binaries import Tools
from media.command import SINK, Command
from transcoder.cmaf import CutSegment, Grid, Segmenter
from transcoder.command import (
    FRAMES_SINK,
    audio_command,
    audio_cut,
    audio_plan,
    video_command,
)
from transcoder.frames import FrameMeter, FrameReport
from transcoder.plan import AAC_FRAME, Part, PartKind, Plan


@dataclass(slots=True)
class Track:
    """What all parts made of one track, in the order of its lane."""

    inits: list[bytes] = field(default_factory=list)
    segments: list[CutSegment] = field(default_factory=list)

    def write(self, path: Path) -> Path:
        """The track as one fragmented MP4."""
        path.write_bytes(self.inits[0] + b"".join(cut.data for cut in self.segments))
        return path


@dataclass(slots=True)
class Made:
    """The tracks of a plan, and the frame reports of its video parts."""

    tracks: dict[str, Track] = field(default_factory=dict)
    reports: dict[str, FrameReport] = field(default_factory=dict)


def run_plan(tools: Tools, plan: Plan, source: Path) -> Made:
    """Run the parts one after the other."""
    made = Made()
    for lane in plan.lanes:
        for part_id in lane.parts:
            part = plan.part(part_id)
            cuts = run_part(tools, plan, part, source, made.reports)
            for name in lane.tracks:
                track = made.tracks.setdefault(name, Track())
                init, segments = cuts[name]
                track.inits += [init] if segments else []
                track.segments += segments
    return made


def run_part(
    tools: Tools,
    plan: Plan,
    part: Part,
    source: Path,
    reports: dict[str, FrameReport] | None = None,
    *,
    first: int | None = None,
    preroll: float | None = None,
) -> dict[str, tuple[bytes, list[CutSegment]]]:
    """The init segment and the segments of each track of a part."""
    begin = part.first if first is None else first
    if part.kind is PartKind.AUDIO:
        command = audio_command(plan, part, str(source), input_options={}, first=first)
        written = run_command(tools, command)
        return {name: _cut_audio(plan, part, begin, written[name]) for name in part.tracks}
    video = plan.video
    assert video is not None
    command = video_command(plan, part, str(source), input_options={}, first=first, preroll=preroll)
    written = run_command(tools, command)
    meter = FrameMeter(video, begin)
    meter.feed(written[FRAMES_SINK])
    if reports is not None:
        reports[part.id] = meter.report()
    ticks = video.frame_ticks
    grid = Grid(head=video.gop * ticks, segment=video.segment * ticks)
    return {
        name: _cut(
            Segmenter(grid, timescale=video.timescale, first=begin * ticks, label=name),
            written[name],
        )
        for name in part.tracks
    }


def _cut_audio(plan: Plan, part: Part, first: int, data: bytes) -> tuple[bytes, list[CutSegment]]:
    audio = audio_plan(plan, part)
    cut = audio_cut(audio, first)
    segmenter = Segmenter(
        Grid(head=audio.fragment * AAC_FRAME, segment=audio.segment * AAC_FRAME),
        timescale=audio.sample_rate,
        first=cut.shift,
        drop_until=cut.drop_until,
        shift=cut.shift,
        label=audio.name,
    )
    return _cut(segmenter, data)


def _cut(segmenter: Segmenter, data: bytes) -> tuple[bytes, list[CutSegment]]:
    segments = [*segmenter.feed(data), *segmenter.finish()]
    return segmenter.init.data, segments


def run_command(tools: Tools, command: Command) -> Mapping[str, bytes]:
    """Everything the command writes, by sink. Raises CalledProcessError."""
    pipes = {name: os.pipe() for name in command.sinks}
    made: dict[str, bytes] = {}
    arguments = [
        f"pipe:{pipes[a.removeprefix(SINK)][1]}" if a.startswith(SINK) else a
        for a in command.arguments
    ]
    with subprocess.Popen(
        [tools.ffmpeg, "-v", "error", "-nostdin", *arguments],
        pass_fds=[write for _, write in pipes.values()],
        stderr=subprocess.PIPE,
    ) as process:
        for _, write in pipes.values():
            os.close(write)

        def read(name: str, fd: int) -> None:
            with open(fd, "rb") as pipe:
                made[name] = pipe.read()

        threads = [
            threading.Thread(target=read, args=(name, fd)) for name, (fd, _) in pipes.items()
        ]
        for thread in threads:
            thread.start()
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace")
        for thread in threads:
            thread.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, stderr=said)
    return made
