"""Files that mean harm end quickly, inside their limits, and reach nothing that is not theirs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from media.binaries import Tools
from tests.e2e.farm_process import Farm, eventually
from tests.e2e.guards import (
    Canary,
    MediaWatch,
    assert_nothing_left,
    assert_told_plainly,
    canary,
    no_complaints,
    now,
)
from tests.hostile import FEW, FILES, Hostile, Kit

#: Seconds from the upload to the end, with nothing else in work.
SOON: Final = 10.0

#: Bytes of resident memory that no media process may take for any of these files: less than one
#: picture of a bomb. Honest films in 8K take more: it is what a picture may have that decides.
MEMORY: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one file."""

    file: Hostile
    video_id: str
    status: str
    code: str
    message: str
    warnings: tuple[str, ...]
    seconds: float
    peak: int

    def faults(self) -> Iterator[str]:
        """What is wrong with it."""
        end = self.code if self.status == "errored" else self.status
        if end not in self.file.ends:
            yield f"ended as {end}: {self.message}"
        if end == "ready" and self.file.warns not in ("", *self.warnings):
            yield f"is not warned of {self.file.warns}"
        if self.seconds > SOON:
            yield f"took {self.seconds:.1f} s"
        if self.peak > MEMORY:
            yield f"took {self.peak / 1e6:.0f} MB"

    def __str__(self) -> str:
        told = f"{self.seconds:5.1f} s {self.peak / 1e6:5.0f} MB  {self.status:8}{self.code:22.22}"
        return f"{self.file.name:26.26}  {self.file.tries:42.42} {told}"


@pytest.fixture
def bird(tools: Tools, tmp_path: Path) -> Iterator[Canary]:
    """The canary: a real film, so that whoever reads it has something to show."""
    nowhere = Kit(tools, tmp_path, tmp_path, "")
    secret = tmp_path / "secret.ts"
    secret.write_bytes(nowhere.film("film.ts"))
    with canary(secret) as found:
        yield found


@pytest.fixture
def kit(tools: Tools, tmp_path: Path, bird: Canary) -> Kit:
    """What the files are made from."""
    return Kit(tools, tmp_path, bird.file, bird.url)


def test_the_canary_sings(tools: Tools, kit: Kit, bird: Canary) -> None:
    """The very files that reach nothing below do reach it where nobody forbids it."""

    def play(name: str, *options: str) -> None:
        file = kit.folder / name
        file.write_bytes(next(f for f in FILES if f.name == name).make(kit))
        argv = (tools.ffmpeg, "-v", "error", *options, "-i", file, "-f", "null", "-")
        subprocess.run(argv, capture_output=True, timeout=30, check=False)

    assert not bird.openings()
    play("concat-file-a.mkv", "-safe", "0", "-protocol_whitelist", "file")
    assert bird.openings()
    assert not bird.visits
    everything = "file,http,tcp,crypto,data"
    play("hls-address-a.m3u8", "-protocol_whitelist", everything)
    eventually(lambda: bird.visits, 5.0)
    play("dref-alias.mov", "-enable_drefs", "1", "-use_absolute_path", "1")
    assert bird.openings()


def test_hostile_files_end_quickly(
    farm: Farm, kit: Kit, bird: Canary, record_property: Callable[[str, object], None]
) -> None:
    try_all(farm, kit, bird, list(FEW), record_property)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_hostile_file_ends_quickly(
    farm: Farm, kit: Kit, bird: Canary, record_property: Callable[[str, object], None]
) -> None:
    try_all(farm, kit, bird, list(FILES), record_property)


def try_all(
    farm: Farm,
    kit: Kit,
    bird: Canary,
    files: list[Hostile],
    record_property: Callable[[str, object], None],
) -> None:
    """Upload them one after another; tell of all before failing for any."""
    rows: list[Row] = []
    made = [(file, file.make(kit)) for file in files]
    bird.openings()
    with no_complaints(farm), MediaWatch(farm) as watch:
        for file, data in made:
            rows.append(outcome(farm, watch, kit.folder, file, data))
            sys.stdout.write(f"{rows[-1]}\n")
        assert_nothing_left(farm, [row.video_id for row in rows])
        watch.assert_over()

    record_property("table", "\n".join(map(str, rows)))
    faults = [f"{row.file.name}: {fault}" for row in rows for fault in row.faults()]
    assert not faults, "\n".join(faults)
    assert not bird.visits, "an address in a file was called"
    assert not bird.openings(), "a file named by a file was opened"


def outcome(farm: Farm, watch: MediaWatch, folder: Path, file: Hostile, data: bytes) -> Row:
    """What becomes of one."""
    path = folder / file.name
    path.write_bytes(data)
    watch.start_over()
    began = now()
    video_id = farm.client.upload(path)["id"]
    try:
        video = farm.ended(video_id)
    except AssertionError:  # let the others have their turn
        farm.client.cancel(video_id)
        video = {"status": "stuck", "error": None, "warnings": []}
    took = now() - began
    path.unlink()
    error = video["error"] or {"code": "", "message": ""}
    if video["error"]:
        assert_told_plainly(error)
    warnings = tuple(warning["code"] for warning in video["warnings"])
    told = error["code"] or " ".join(warnings), error["message"], warnings
    return Row(file, video_id, video["status"], *told, took, watch.peak)
