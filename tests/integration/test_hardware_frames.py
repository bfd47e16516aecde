"""The grid's filters on frames that are in a device's memory: the same pictures at the same times.

Any device will do, and OpenCL has one that is the processor: PoCL, such as that of the package
``pocl-binary-distribution``, named in a folder that ``OCL_ICD_VENDORS`` names.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import ffmpeg
import pytest

from media.binaries import Tools
from tests.unit.test_commands import plan
from transcoder.filters import on_grid
from transcoder.plan import VideoPlan

OPENING = ("-init_hw_device", "opencl=gpu", "-filter_hw_device", "gpu")
COUNT = 40


@pytest.fixture(scope="module")
def device(tools: Tools) -> None:
    try_it = (tools.ffmpeg, "-v", "error", *OPENING, "-f", "lavfi", "-i", "color=s=64x64:d=0.1")
    done = subprocess.run((*try_it, "-f", "null", "-"), capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no OpenCL device to stand in for others: {done.stderr[-200:]}")


def shown(tools: Tools, folder: Path, video: VideoPlan, first: int, *, uploaded: bool) -> str:
    """Checksum and time of every picture, and of the source's picture in it."""
    source: Any = ffmpeg.input("testsrc2=s=320x240:r=25:d=1.5", f="lavfi").filter("format", "rgba")
    stream = on_grid(source.filter("hwupload") if uploaded else source, video, first, COUNT)
    ours, others = stream.split()[0], stream.split()[1]
    if uploaded:
        ours, others = (each.filter("hwdownload") for each in (ours, others))
    frames, stats = folder / "frames", folder / "stats"
    watched = {"stats_enc_pre": stats, "stats_enc_pre_fmt": "{n} {pts} {tb} {ptsi} {tbi}"}
    made = ffmpeg.output(
        ours.filter("format", "rgba"), str(frames), f="framemd5", fps_mode="passthrough", **watched
    )
    beside = ffmpeg.output(others.filter("format", "rgba"), "-", f="null", fps_mode="passthrough")
    arguments = ffmpeg.get_args(ffmpeg.merge_outputs(made, beside))
    subprocess.run((tools.ffmpeg, "-v", "error", "-y", *OPENING, *arguments), check=True)
    return frames.read_text() + stats.read_text()


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("first", [0, 6])
def test_the_grid_does_not_care_where_the_pictures_are(
    tools: Tools, tmp_path: Path, first: int
) -> None:
    """A rate that doubles pictures, and a last one that is held."""
    video = plan(zero=0).video
    assert video is not None
    here, there = (shown(tools, tmp_path, video, first, uploaded=each) for each in (False, True))
    assert here == there
    assert here.count("\n") > 2 * COUNT


@pytest.mark.usefixtures("device")
def test_what_touches_pictures_does_care(tools: Tools) -> None:
    for touching in ("scale=64:64", "bwdif"):
        graph = f"format=rgba,hwupload,{touching},hwdownload,format=rgba"
        source = ("-f", "lavfi", "-i", "testsrc2=s=320x240:d=0.1", "-vf", graph)
        command = (tools.ffmpeg, "-v", "error", *OPENING, *source, "-f", "null", "-")
        assert subprocess.run(command, capture_output=True).returncode
