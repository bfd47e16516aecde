"""What of this host a farm needs: programs, their boxes, a disk, a folder that is its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from farm.display import bytes_text
from farm.doctor_check import Check, Status
from farm.settings import Settings
from media.binaries import find_tools, version
from media.boxes import NO_SCRIPT, boxes, check_program
from media.errors import MediaError, ToolMissingError
from transcoder.profile import ProfileError, load_profile

#: Bytes of free disk below which films do not fit, and below which nothing does.
_DISK_LOW: Final = 10 * 10**9
_DISK_EMPTY: Final = 10**9
#: Permissions of others: to write in a folder, and to look into it.
_WRITE: Final = 0o022
_LOOK: Final = 0o055


def check_host(settings: Settings) -> Iterator[Check]:
    """Every check of this host."""
    yield from _programs(settings)
    yield from _boxes()
    yield _profile(settings)
    yield _disk(settings.data_dir)
    yield privacy(settings.data_dir)


def _programs(settings: Settings) -> Iterator[Check]:
    try:
        tools = find_tools(settings.ffmpeg, settings.ffprobe)
    except ToolMissingError as error:
        yield Check("ffmpeg", "fail", str(error), "Run `make setup`, or name it in the settings.")
        return
    for name, program in (("ffmpeg", tools.ffmpeg), ("ffprobe", tools.ffprobe)):
        try:
            found = version(program)
            check_program(program)
        except ToolMissingError as error:
            yield Check(name, "fail", str(error), "Run `make setup`, or name another one.")
        except MediaError as error:
            yield Check(name, "fail", f"it does not run in its boxes: {error}", NO_SCRIPT)
        else:
            yield Check(name, "ok", f"{found} ({program})")


def _boxes() -> Iterator[Check]:
    """What a hostile film is kept in. The farm runs without, so that none of them is a must."""
    try:
        for box in boxes():
            yield Check(box.name, "ok" if box.on else "warn", box.found, box.fix)
    except MediaError as error:
        fix = "Films are encoded all the same; what they are kept in is not known."
        yield Check("boxes", "warn", f"they could not be tried: {error}", fix)


def _profile(settings: Settings) -> Check:
    try:
        found = load_profile(settings.profile)
    except ProfileError as error:
        return Check("profile", "fail", str(error), "Mend the file, or unset REELFARM_PROFILE.")
    heights = ", ".join(str(rung.height) for rung in found.video.rungs)
    return Check("profile", "ok", f"{found.name}: {heights}")


def _disk(data_dir: Path) -> Check:
    place = next(p for p in (data_dir.absolute(), *data_dir.absolute().parents) if p.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Check(
            "disk", "fail", f"{data_dir} cannot be written: {place} does not let us",
            "Set REELFARM_DATA_DIR to a directory of yours.",
        )  # fmt: skip
    free = shutil.disk_usage(place).free
    if free >= _DISK_LOW:
        return Check("disk", "ok", f"{bytes_text(free)} free at {place}")
    status: Status = "warn" if free >= _DISK_EMPTY else "fail"
    return Check(
        "disk", status, f"only {bytes_text(free)} free at {place}",
        "Free some, or set REELFARM_DATA_DIR to a larger disk.",
    )  # fmt: skip


def privacy(data_dir: Path) -> Check:
    """Keys lie in the folder, and a note of which farm to trust with the token."""
    fix = f"chmod 700 {data_dir}"
    try:
        mode = data_dir.stat().st_mode
    except OSError:
        return Check("data_dir", "ok", f"{data_dir} is made with the farm, for its user alone")
    if mode & _WRITE:
        return Check("data_dir", "fail", f"other users may write in {data_dir}", fix)
    if mode & _LOOK:
        return Check("data_dir", "warn", f"other users may look into {data_dir}", fix)
    return Check("data_dir", "ok", f"{data_dir} is for its user alone")
