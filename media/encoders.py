"""Which hardware encoders work on this host: each is really opened, and what it made is decoded.

A driver that is there says nothing: its version may not fit ffmpeg's, the device may have no
encoder for the codec or no session left, a container may hide its nodes. So two pictures are
encoded as a part's are, in the same box, and read back in software.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from media.binaries import Tools
from media.command import SINK, Command, Device
from media.devices import FAULTS, tidy
from media.errors import MediaError, RunError
from media.process import run

#: Seconds; a device that sleeps takes two or three to wake.
_DEADLINE: Final = 20.0
#: Larger than the smallest that every encoder takes, and a whole number of its blocks.
_SIZE: Final = 256
_FRAMES: Final = 2
#: Lines of stderr that are shown.
_EVIDENCE: Final = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be tried, told as parts are. ``encoder`` is ffmpeg's name of it."""

    device: Device
    codec: str
    encoder: str
    opening: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """How it went. ``found`` says what was seen, or why it does not work."""

    device: Device
    codec: str
    encoder: str
    works: bool
    found: str


def compiled_in(tools: Tools) -> frozenset[str]:
    """The names of the encoders that this ffmpeg has. Raises :class:`OSError`."""
    asked = (str(tools.ffmpeg), "-hide_banner", "-encoders")
    said = subprocess.run(asked, capture_output=True, timeout=_DEADLINE, check=False)
    rows = (line.split() for line in said.stdout.decode("utf-8", "replace").splitlines())
    return frozenset(row[1] for row in rows if len(row) > 1 and row[0].startswith("V"))


def tried(tools: Tools, trials: Iterable[Trial]) -> tuple[Tried, ...]:
    """Each encoder that ffmpeg has, really opened; those that it lacks do not work."""
    known = compiled_in(tools)
    return tuple(
        try_encoder(tools, trial)
        if trial.encoder in known
        else _result(trial, "this ffmpeg was built without it")
        for trial in trials
    )


def try_encoder(tools: Tools, trial: Trial) -> Tried:
    """Encode two pictures with it, and decode what came out."""
    made = bytearray()
    command = Command(_encoding(trial), _DEADLINE, device=trial.device)
    try:
        run(tools, command, sinks={"trial": made.extend})
        frames = _decoded(tools, bytes(made))
    except MediaError as error:
        return _result(trial, _why(error))
    except (OSError, subprocess.SubprocessError) as error:
        return _result(trial, f"what it encoded cannot be decoded: {error}")
    if frames != _FRAMES:
        return _result(trial, f"of {_FRAMES} pictures that it encoded {frames} can be decoded")
    found = f"encoded {_FRAMES} pictures into {len(made)} bytes, which decode"
    return _result(trial, found, works=True)


def _encoding(trial: Trial) -> tuple[str, ...]:
    upload = ("-vf", "format=nv12,hwupload=extra_hw_frames=16") if trial.opening else ()
    picture = f"testsrc2=size={_SIZE}x{_SIZE}:rate=25"
    return (
        *(*trial.opening, "-f", "lavfi", "-i", picture, *upload, "-frames:v", str(_FRAMES)),
        *("-c:v", trial.encoder, *trial.options, "-f", "nut", SINK + "trial"),
    )


def _decoded(tools: Tools, data: bytes) -> int:
    """How many pictures software decodes of it; none where it is no film at all."""
    counted = subprocess.run(
        [
            *(tools.ffmpeg, "-v", "error", "-xerror", "-f", "nut", "-i", "pipe:0"),
            *("-fps_mode", "passthrough", "-f", "framehash", "-hash", "crc32", "pipe:1"),
        ],
        input=data,
        capture_output=True,
        timeout=_DEADLINE,
        check=False,
    )
    lines = counted.stdout.decode("utf-8", "replace").splitlines()
    return sum(1 for line in lines if line and not line.startswith("#"))


def _why(error: MediaError) -> str:
    """The line that names the trouble, else the last ones."""
    if not isinstance(error, RunError):
        return str(error)
    lines = error.evidence.stderr
    named = [line for line in lines if FAULTS.search(line)] or list(lines[-_EVIDENCE:])
    return "; ".join(map(tidy, named[:_EVIDENCE])) or error.evidence.describe_exit()


def _result(trial: Trial, found: str, *, works: bool = False) -> Tried:
    return Tried(trial.device, trial.codec, trial.encoder, works, found)
