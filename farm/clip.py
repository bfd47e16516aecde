"""A film for the demo, made on the spot: a moving picture with a counter, and sound."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from media.binaries import Tools
from media.command import Command
from media.limits import Limits
from media.process import run

#: Seconds, picture size and frames per second of the film.
LENGTH: Final = 20
SIZE: Final = "1280x720"
RATE: Final = 30

#: Seconds that making it may take on a slow machine.
_DEADLINE: Final = 120.0
#: Bytes; the film has 19 MB.
_LARGEST: Final = 100 * 1000**2


def make_clip(tools: Tools, path: Path) -> None:
    """Write the film to ``path`` as MP4. Raises :class:`media.errors.RunError`."""
    with TemporaryDirectory(prefix=".clip-", dir=path.parent) as scratch:
        made = Path(scratch).absolute() / path.name
        command = Command(clip_arguments(made), _DEADLINE)
        run(tools, command, sinks={}, limits=Limits(scratch=_LARGEST), scratch=made.parent)
        made.replace(path)


def clip_arguments(path: Path) -> tuple[str, ...]:
    """ffmpeg's arguments."""
    picture = f"testsrc2=size={SIZE}:rate={RATE}:duration={LENGTH}"
    sound = f"sine=frequency=220:beep_factor=4:sample_rate=48000:duration={LENGTH}"
    return (
        *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound),
        *("-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-b:a", "96k", "-movflags", "+faststart", "-y", str(path.absolute())),
    )
