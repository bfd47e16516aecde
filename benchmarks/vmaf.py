"""How good an encoding looks: VMAF against the source, by libvmaf in ffmpeg."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import ffmpeg

from media.safety import input_mapping
from transcoder.filters import ladder, on_grid
from transcoder.plan import Rung, VideoPlan

#: Lines of the largest picture to compare; the model is of a television of 1080 lines.
_TALLEST: Final = 1080

#: Every so many pictures one is judged, to save time.
SUBSAMPLE: Final = 5


def vmaf_command(
    video: VideoPlan, source: str, count: int, encoded: Path, log: Path
) -> tuple[str, ...]:
    """Compare one encoding of the first ``count`` frames of ``source`` with them.

    The reference is what the farm's own graph gives the encoder at the displayed size (1080 lines
    at the most); the encoding is scaled to that by bicubic. Pictures are paired by their number.
    """
    size = _reference(video)
    opened = ffmpeg.input(source, **input_mapping(source), copyts=None, threads=1)
    gridded = on_grid(opened[str(video.stream)], video, 0, count)
    (reference,) = ladder(gridded, video, (size,))
    seen = ffmpeg.input(str(encoded), threads=1)["v"]
    seen = seen.filter("scale", size.width, size.height, flags="bicubic").filter("setsar", 1)
    options: dict[str, Any] = {
        "n_threads": 2,
        "n_subsample": SUBSAMPLE,
        "log_fmt": "json",
        "log_path": str(log),
        "shortest": 1,
    }
    numbered = [_numbered(each, video.rate) for each in (seen, reference)]
    judged = ffmpeg.filter(numbered, "libvmaf", **options)
    return tuple(ffmpeg.get_args(ffmpeg.output(judged, "-", f="null")))


def parse_vmaf(text: str) -> tuple[float, int]:
    """The mean over the pictures, and how many were judged, from libvmaf's JSON."""
    document = json.loads(text)
    return float(document["pooled_metrics"]["vmaf"]["mean"]), len(document["frames"])


def _reference(video: VideoPlan) -> Rung:
    share = min(Fraction(_TALLEST, video.height), Fraction(1))
    width, height = (int(side * share) // 2 * 2 for side in (video.width, video.height))
    return Rung(name="reference", width=width, height=height, crf=0, maxrate=1, bufsize=1, level="")


def _numbered(stream: Any, rate: Fraction) -> Any:
    return stream.filter("settb", "1/90000").filter("setpts", f"N/({rate})/TB")
