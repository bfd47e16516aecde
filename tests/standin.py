"""A family of encoders that stands in for hardware: x264, told as hardware is, on a "device".

The device is a file, which the box of a part has to admit. ffmpeg reads from it the filter that
its packets go through: ``null`` while all is well, and while it is not, words that make ffmpeg
itself end with the very line that a driver's failure leaves, or a filter that loses packets.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from transcoder.encoders import H264, HARDWARE, Encoder

NAME = "standin"
WORKS = "null"
NO_SESSION = "OpenEncodeSessionEx failed: out of memory (10): (no details)"
LOSES_PACKETS = "noise=drop=eq(n\\,5)"


def register(device: Path) -> Encoder:
    """Make the family known to this process, with that file as its device."""
    encoder = Encoder(
        name=NAME,
        codecs={H264: "libx264"},
        device=str(device),
        scaler="scale",
        scaling={"flags": "bicubic"},
        smallest=2,
        quality=lambda rung: {"crf": rung.crf},
        options={"sc_threshold": 0, "threads": 1, "/bsf:v": str(device)},
        presets={},
    )
    HARDWARE[NAME] = encoder
    return encoder


def condition(device: Path, state: str) -> None:
    """Have the device be so from now on; never half."""
    fresh = device.with_suffix(".next")
    fresh.write_text(state)
    shutil.move(fresh, device)
