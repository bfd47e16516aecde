"""Clips in which every picture carries its number, and the way back from a decode to the numbers.

A count of frames proves little: a filter that repeats one picture and loses another keeps the
count. So each picture shows its number as a bar code, sixteen blocks of black or white with their
complement below. Blocks are a sixteenth of the picture wide and survive x264 and scaling. The
lowest third is white while a beep sounds, at the clip's start and at its end.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from media.binaries import Tools

BITS = 16
SOUND_RATE = 48_000
#: Frames a flash lasts, and its beep as long.
FLASH = 4
#: What a picture whose code cannot be read is taken for.
UNREADABLE = -1

_ROWS = 3
_PITCH = 1000


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What clip to make. Times are seconds."""

    container: str = "mp4"
    rate: Fraction = Fraction(25)
    frames: int = 200
    size: tuple[int, int] = (320, 180)
    gop: int = 40
    open_gop: bool = False
    bframes: int = 3
    #: The numbers that are in the file, for a variable rate; None for all of them.
    kept: tuple[int, ...] | None = None
    #: When the file's clock starts, and how much later than the sound the picture does.
    start: float = 0.0
    picture_delay: float = 0.0
    sound: bool = True
    #: Further options of the encoding ffmpeg, such as ``("-color_range", "pc")``.
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip as it was made."""

    path: Path
    spec: ClipSpec
    #: The number of each picture in the file, in order of presentation.
    numbers: tuple[int, ...]
    #: The first numbers of the flashes; the beeps begin with them.
    flashes: tuple[int, ...]

    def shown_at(self, time: Fraction) -> int:
        """The number on screen ``time`` seconds after the first picture."""
        due = self.numbers[0] + floor(time * self.spec.rate)
        return self.numbers[bisect_right(self.numbers, due) - 1]


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a decode shows."""

    numbers: list[int]
    #: Orders of the pictures at which a flash begins.
    flashes: list[int] = field(default_factory=list)


def make_clip(path: Path, tools: Tools, spec: ClipSpec) -> Clip:
    """Write the clip to ``path``, whose suffix is replaced by the container's."""
    path = path.with_suffix(f".{spec.container}")
    flashes = _flashes(spec)
    numbers = spec.kept or tuple(range(spec.frames))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        sound = Path(folder) / "sound.wav"
        _write_sound(sound, spec, flashes)
        arguments = _arguments(spec, numbers, sound)
        pictures = b"".join(_picture(n, spec, flashes) for n in numbers)
        subprocess.run(
            [tools.ffmpeg, "-v", "error", "-y", *arguments, path], input=pictures, check=True
        )
    return Clip(path, spec, numbers, flashes)


def _flashes(spec: ClipSpec) -> tuple[int, ...]:
    edge = min(int(spec.rate / 2), spec.frames // 4)
    return (edge, spec.frames - edge - FLASH)


def _arguments(spec: ClipSpec, numbers: Sequence[int], sound: Path) -> list[str]:
    width, height = spec.size
    shown = ["-f", "rawvideo", "-pixel_format", "gray", "-video_size", f"{width}x{height}"]
    heard = ["-i", str(sound), "-map", "0:v", "-map", "1:a"] if spec.sound else []
    codec = f"keyint={spec.gop}:min-keyint={spec.gop}:scenecut=0:bframes={spec.bframes}"
    return [
        *(*shown, "-framerate", str(spec.rate), "-i", "pipe:0", *heard),
        *("-vf", f"{_timing(spec, numbers)},format=yuv420p", "-fps_mode", "passthrough"),
        *("-enc_time_base", f"1/{_ticks(spec)}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "fastdecode", "-crf", "18"),
        *("-x264-params", f"{codec}:open-gop={int(spec.open_gop)}:b-adapt=0"),
        *("-c:a", "aac", "-b:a", "96k", *spec.more),
        *("-output_ts_offset", str(spec.start), *_muxer(spec.container)),
    ]


def _timing(spec: ClipSpec, numbers: Sequence[int]) -> str:
    """The times of the pictures: the number by the rate, whatever is left out."""
    skips, terms = 0, []
    for order, number in enumerate(numbers):
        if number - order != skips:
            terms.append(f"gte(N,{order})*{number - order - skips}")
            skips = number - order
    steps = "+".join(["N", *terms])
    time = f"({steps})/({spec.rate})+{spec.picture_delay}"
    return f"settb=1/{_ticks(spec)},setpts='round(({time})/TB)'"


def _ticks(spec: ClipSpec) -> int:
    """Ticks per second as ffmpeg's own MP4 muxer chooses them."""
    numerator = spec.rate.numerator
    return numerator if numerator >= 10_000 else numerator * 512


def _muxer(container: str) -> tuple[str, ...]:
    known = {"mkv": "matroska", "ts": "mpegts"}
    # The muxer's own delay would be a second late start.
    extra = ("-muxdelay", "0", "-muxpreload", "0") if container == "ts" else ()
    return ("-f", known.get(container, container), *extra)


def _picture(number: int, spec: ClipSpec, flashes: Sequence[int]) -> bytes:
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    flash = any(0 <= number - begin < FLASH for begin in flashes)
    rows = np.array([bits, [1 - bit for bit in bits], [int(flash)] * BITS])
    width, height = spec.size
    columns = np.arange(width) * BITS // width
    lines = np.arange(height) * _ROWS // height
    return (rows[lines][:, columns] * 219 + 16).astype(np.uint8).tobytes()


def _write_sound(path: Path, spec: ClipSpec, flashes: Sequence[int]) -> None:
    seconds = float(spec.frames / spec.rate) + spec.picture_delay
    time = np.arange(int(seconds * SOUND_RATE)) / SOUND_RATE
    loud = np.zeros_like(time)
    for begin in flashes:
        at = float(begin / spec.rate) + spec.picture_delay
        on = (time >= at) & (time < at + float(FLASH / spec.rate))
        loud += np.where(on, np.sin(2 * np.pi * _PITCH * (time - at)), 0.0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes((loud * 20_000).astype("<i2").tobytes())


def read_pictures(
    tools: Tools, source: str | Path, size: tuple[int, int], options: Sequence[str] = ()
) -> Pictures:
    """Decode ``source`` (a file or a playlist) and read every picture.

    ``options`` stand between the input and the output, such as ``("-map", "0:v:1")``.
    """
    raw = decode(tools, source, (*options, "-fps_mode", "passthrough", "-pix_fmt", "gray"))
    width, height = size
    frames = np.frombuffer(raw, np.uint8).reshape(-1, height, width)
    cells = _cells(frames)
    lit = cells[:, 2].mean(axis=1) > 0.5
    flashes = [int(n) for n in np.flatnonzero(lit) if n == 0 or not lit[n - 1]]
    return Pictures([_number(cell) for cell in cells], flashes)


def read_numbers(
    tools: Tools, source: str | Path, size: tuple[int, int], options: Sequence[str] = ()
) -> list[int]:
    """The number on every picture; :data:`UNREADABLE` where there is none."""
    return read_pictures(tools, source, size, options).numbers


def decode(tools: Tools, source: str | Path, options: Sequence[str]) -> bytes:
    """The raw pictures of ``source``. A broken stream raises CalledProcessError."""
    command = [tools.ffmpeg, "-v", "error", "-xerror", "-i", source, *options]
    done = subprocess.run([*command, "-an", "-f", "rawvideo", "-"], capture_output=True)
    if done.returncode or done.stderr:
        raise subprocess.CalledProcessError(
            done.returncode, command, stderr=done.stderr.decode(errors="replace")
        )
    return done.stdout


def _cells(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether each block of each picture is white, read in the middle of the block."""
    _, height, width = frames.shape
    rows = [
        slice(int(height * (r + 0.3) / _ROWS), int(height * (r + 0.7) / _ROWS)) for r in range(3)
    ]
    columns = [
        slice(int(width * (c + 0.3) / BITS), int(width * (c + 0.7) / BITS) + 1) for c in range(BITS)
    ]
    means = np.array([[frames[:, r, c].mean(axis=(1, 2)) for c in columns] for r in rows])
    return np.moveaxis(means, 2, 0) > 127


def _number(cell: npt.NDArray[np.bool_]) -> int:
    if not np.array_equal(cell[0], ~cell[1]):
        return UNREADABLE
    return sum(1 << bit for bit in range(BITS) if cell[0][bit])


def read_sound(
    tools: Tools, source: str | Path, options: Sequence[str] = ()
) -> npt.NDArray[np.float32]:
    """The sound of ``source`` as one channel at :data:`SOUND_RATE`, from time 0 of its clock."""
    to_zero = ("-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", str(SOUND_RATE))
    command = [tools.ffmpeg, "-v", "error", "-i", source, *options, *to_zero, "-vn", "-f", "f32le"]
    done = subprocess.run([*command, "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


def beeps(sound: npt.NDArray[np.float32]) -> list[float]:
    """When beeps begin, in seconds."""
    loud = np.flatnonzero(np.abs(sound) > 0.25) / SOUND_RATE
    return [float(at) for order, at in enumerate(loud) if order == 0 or at - loud[order - 1] > 0.1]
