"""A farm watched from all sides while it works and while it rests.

Its S3 is a SeaweedFS behind a proxy that counts, and its log tells what each part and each media
process took. The proxy's fraction of a millisecond for each request counts against the farm.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.farms import BenchmarkError, MeasuredFarm, measured_farm
from benchmarks.part_costs import PartCost, kinds, part_costs
from benchmarks.s3_counter import Counting, Tally, counting
from benchmarks.slot_peaks import Peaks, watched
from catalog.videos import Catalog
from farm.embedded import SeaweedFS
from jobs.states import State
from media.binaries import find_tools
from media.execute import Job, execute
from storage.objects import connect

#: The farm's own processes.
PYTHON: Final = ("API", "supervisor", "head worker", "encode worker")

_LAUNCHES: Final = 15
#: Seconds between two looks at a record, past the proxy, and for a video to be ready.
_LOOK: Final = 0.2
_LONGEST: Final = 900.0
#: Seconds for a farm to come to rest.
_REST: Final = 2.0


@dataclass(frozen=True, slots=True)
class Round:
    """One film, from upload to ready."""

    parts: tuple[PartCost, ...]
    tally: Tally
    segments: int
    source: int
    #: Processor seconds of the farm in Python, by process.
    python: dict[str, float]
    peaks: Peaks

    @property
    def requests(self) -> float:
        """To S3, for each published segment."""
        return self.tally.requests.total() / self.segments

    @property
    def read(self) -> float:
        """Bytes of the source that S3 gave out, for each byte of it."""
        return self.tally.received["GetObject source"] / self.source


@dataclass(frozen=True, slots=True)
class Idle:
    """What a farm without work costs."""

    #: Processor seconds in an hour, by process.
    cpu: dict[str, float]
    #: Requests to S3 in a minute, by what they are.
    requests: dict[str, float]


@dataclass(frozen=True, slots=True)
class WatchedFarm:
    """``catalog`` reads past the proxy; ``scratch`` is where the farm's processes may leave things;
    ``launch`` is how long a media process takes to become the program, in seconds."""

    farm: MeasuredFarm
    counted: Counting
    catalog: Catalog
    scratch: Path
    launch: float

    def film(self, film: Path) -> Round:
        """One upload, until the video is ready and its parts are acknowledged."""
        before, usage = self.counted.tally(), self._processors()
        with watched(self.farm.pid, (self.scratch, self.farm.settings.data_dir)) as peaks:
            video_id = self.farm.client.upload(film)["id"]
            self._ready(video_id)
        tally, used = self.counted.tally() - before, self._processors()
        receipts = self.farm.receipts(video_id)
        segments = sum(len(track.segments) for each in receipts for track in each.tracks)
        parts = tuple(self._parts(video_id))
        python = {name: used[name] - usage.get(name, 0.0) for name in used if name in PYTHON}
        return Round(parts, tally, segments, film.stat().st_size, python, peaks)

    def idle(self, seconds: float) -> Idle:
        """What is spent while nothing happens."""
        time.sleep(_REST)
        before, asked, began = self._processors(), self.counted.tally(), time.monotonic()
        time.sleep(seconds)
        after, more = self._processors(), self.counted.tally() - asked
        took = time.monotonic() - began
        cpu = {name: (after[name] - spent) / took * 3600 for name, spent in before.items()}
        return Idle(cpu, {name: count / took * 60 for name, count in more.requests.items()})

    def _ready(self, video_id: str) -> None:
        deadline = time.monotonic() + _LONGEST
        while (record := self.catalog.load(video_id)).state is not State.READY:
            if record.state in (State.ERRORED, State.CANCELED):
                raise BenchmarkError(f"{video_id} ended as {record.state}: {record.error}")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{video_id} was not ready within {_LONGEST:g} s")
            time.sleep(_LOOK)
        time.sleep(_REST)

    def _parts(self, video_id: str) -> list[PartCost]:
        lines = (
            *self.farm.events("process_ended", video_id),
            *self.farm.events("slot_freed", video_id),
        )
        ordered = sorted(lines, key=lambda line: str(line["timestamp"]))
        return part_costs(ordered, self.launch, kinds(self.farm.plan(video_id).parts))

    def _processors(self) -> dict[str, float]:
        """Seconds of processor time so far, by what a process is."""
        root = psutil.Process(self.farm.pid)
        found = {"supervisor": _own(root)}
        for child in root.children():
            with suppress(psutil.Error):
                name = _name(child)
                found[name] = found.get(name, 0.0) + _own(child)
        return found


@contextmanager
def watched_farm(place: Path) -> Iterator[WatchedFarm]:
    """One with two slots, a storage of its own, and a log that tells everything."""
    scratch = place / "scratch"
    scratch.mkdir(parents=True)
    storage = SeaweedFS(place / "seaweedfs")
    with storage, counting(storage.endpoint) as counted, _temporary(scratch):
        config = storage.config()
        chosen: dict[str, Any] = {
            "s3_endpoint": counted.endpoint,
            "s3_region": config.region,
            "s3_access_key": config.access_key,
            "s3_secret_key": config.secret_key,
            "log_level": "debug",
        }
        with measured_farm(place / "farm", **chosen) as farm, closing(connect(config)) as direct:
            yield WatchedFarm(farm, counted, Catalog(direct), scratch, launch())


def launch() -> float:
    """Seconds by which ffmpeg starts later as a boxed child of the farm's than by itself."""
    ffmpeg = find_tools().ffmpeg

    def boxed() -> None:
        execute(Job(program=ffmpeg, arguments=("-version",), sinks={}, deadline=10.0))

    def alone() -> None:
        subprocess.run((str(ffmpeg), "-version"), check=True, stdout=subprocess.DEVNULL)

    pairs = [(_seconds(boxed), _seconds(alone)) for _ in range(_LAUNCHES)]
    return max(0.0, statistics.median(first - second for first, second in pairs))


def _seconds(act: Any) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """Have processes that are started meanwhile put temporary files there."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = None
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    if "farm.api_process" in words:
        return "API"
    if "farm.worker_process" in words:
        return "encode worker" if "cpu" in words else "head worker"
    return str(process.name())
