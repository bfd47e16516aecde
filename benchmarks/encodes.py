"""Encodings of short films with what they cost and how good they are, each made only once.

What was measured is kept under a hash of the command, the film's name, size and time of change,
and the version of ffmpeg; qualities under the bytes of the encoding. A second run is quick, and a
changed profile is measured anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.clips import Clip
from benchmarks.farms import BenchmarkError
from benchmarks.fixed_ladder import fixed_command, fixed_rungs
from benchmarks.rate_quality import Point
from benchmarks.vmaf import SUBSAMPLE, parse_vmaf, vmaf_command
from media.binaries import find_tools, version
from media.command import SINK
from media.probe import probe
from media.safety import input_mapping
from transcoder.command import video_command
from transcoder.plan import Part, PartKind, Plan, VideoPlan
from transcoder.planner import make_plan
from transcoder.profile import Profile
from transcoder.sources import PlanLimits


@dataclass(frozen=True, slots=True)
class Encoded:
    """One rung: bits a second with the container, and VMAF."""

    name: str
    width: int
    height: int
    rate: float
    quality: float

    @property
    def point(self) -> Point:
        """For arithmetic."""
        return Point(self.rate, self.quality)


@dataclass(frozen=True, slots=True)
class Ladder:
    """All rungs of one command, largest first, and its seconds of processor time."""

    rungs: tuple[Encoded, ...]
    cpu: float

    @property
    def points(self) -> tuple[Point, ...]:
        """The rungs for arithmetic."""
        return tuple(rung.point for rung in self.rungs)

    @property
    def stored(self) -> float:
        """Bits that a second of film takes in storage."""
        return sum(rung.rate for rung in self.rungs)


@dataclass(frozen=True, slots=True)
class Laboratory:
    """Encodes the first ``seconds`` of clips; ``kept`` is the folder of what is known already."""

    kept: Path
    scratch: Path
    seconds: float

    def by_profile(self, clip: Clip, profile: Profile) -> Ladder:
        """With the command the farm gives ffmpeg for one chunk of all rungs."""
        plan = _planned(clip, profile)
        video, count = self._film(plan, clip)
        names = tuple(rung.name for rung in video.rungs)
        part = Part(id="all", kind=PartKind.VIDEO, tracks=names, count=count)
        options = input_mapping(str(clip.path))
        command = video_command(plan, part, str(clip.path), input_options=options).arguments
        sizes = [(rung.name, rung.width, rung.height) for rung in video.rungs]
        return self._ladder(clip, video, count, command, sizes)

    def fixed(self, clip: Clip, profile: Profile) -> Ladder:
        """With Apple's rungs, at the preset and the key frames of the profile."""
        video, count = self._film(_planned(clip, profile), clip)
        command = fixed_command(video, str(clip.path), count)
        sizes = [(rung.name, rung.width, rung.height) for rung in fixed_rungs(video)]
        return self._ladder(clip, video, count, command, sizes)

    def _film(self, plan: Plan, clip: Clip) -> tuple[VideoPlan, int]:
        if plan.video is None or plan.video.frames is None:
            raise BenchmarkError(f"{clip.name} has no picture of known length")
        return plan.video, min(plan.video.frames, int(self.seconds * plan.video.rate))

    def _ladder(
        self,
        clip: Clip,
        video: VideoPlan,
        count: int,
        command: Sequence[str],
        sizes: Sequence[tuple[str, int, int]],
    ) -> Ladder:
        def measure() -> dict[str, Any]:
            with TemporaryDirectory(dir=self.scratch) as folder:
                cpu = _run(_into(command, Path(folder)))
                files = [Path(folder) / f"{name}.mp4" for name, _, _ in sizes]
                seconds = float(count / video.rate)
                rungs = [
                    Encoded(*size, file.stat().st_size * 8 / seconds, self._vmaf(clip, video, file))
                    for size, file in zip(sizes, files, strict=True)
                ]
                return asdict(Ladder(tuple(rungs), cpu))

        known = self._once(_hash(_identity(clip), *command), measure)
        return Ladder(tuple(Encoded(**rung) for rung in known["rungs"]), known["cpu"])

    def _vmaf(self, clip: Clip, video: VideoPlan, file: Path) -> float:
        count = min(video.frames or 0, int(self.seconds * video.rate))

        def measure() -> dict[str, Any]:
            log = file.with_suffix(".json")
            _run(vmaf_command(video, str(clip.path), count, file, log))
            quality, judged = parse_vmaf(log.read_text())
            if judged < count // SUBSAMPLE:
                raise BenchmarkError(f"{clip.name}: {judged} of {count} pictures were judged")
            return {"quality": quality}

        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        method = str(vmaf_command(video, "/clip", count, Path("/encoded"), Path("/log")))
        known = self._once(_hash(_identity(clip), digest, method), measure)
        return float(known["quality"])

    def _once(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.kept / f"{key}.json"
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        value = measure()
        self.kept.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".half")
        half.write_text(json.dumps(value))
        half.replace(path)
        return value


def _planned(clip: Clip, profile: Profile) -> Plan:
    return make_plan(probe(find_tools(), str(clip.path)), profile, limits=PlanLimits())


def _into(command: Sequence[str], folder: Path) -> tuple[str, ...]:
    """With files in the place of the pipes that the farm reads from."""

    def placed(word: str) -> str:
        return str(folder / word.removeprefix(SINK)) + ".mp4" if word.startswith(SINK) else word

    return tuple(map(placed, command))


def _identity(clip: Clip) -> str:
    facts = clip.path.stat()
    return f"{clip.path.name} {facts.st_size} {version(find_tools().ffmpeg)}"


def _hash(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def _run(command: Sequence[str]) -> float:
    """Seconds of processor time. Raises :class:`BenchmarkError`."""
    words = (str(find_tools().ffmpeg), "-nostdin", "-v", "error", "-y", *command)
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchmarkError(f"ffmpeg failed: {said.decode(errors='replace')[-2000:]}")
    return usage.ru_utime + usage.ru_stime
