"""Which hardware encoders work on this host, each really opened."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from farm.doctor_check import Check
from farm.gpus import encoder_checks, families
from farm.settings import Settings
from media.binaries import find_tools
from media.encoders import Tried
from media.errors import ToolMissingError
from pipeline.gpu import AUTO
from transcoder.plan import SOFTWARE

_FIX = "See docs/gpu.md: driver, device nodes and their group, and what to run to find out."


def check_encoders(settings: Settings) -> Iterator[Check]:
    """A line for each that works or is wanted here, and one for all others."""
    try:
        tools = find_tools(settings.ffmpeg, settings.ffprobe)
        found = encoder_checks(tools, settings.gpu_device)
    except (ToolMissingError, OSError, subprocess.SubprocessError) as error:
        yield Check("encoders", "warn", f"they could not be tried: {error}", _FIX)
        return
    wanted = families(settings) if settings.encoder not in (AUTO, SOFTWARE) else ()
    for each in found:
        if each.works:
            yield Check(each.encoder, "ok", f"{each.device}: {each.found}")
        elif each.device.family in wanted and settings.gpu_slots:
            yield Check(each.encoder, "warn", f"{each.device}: {each.found}", _FIX)
    missing = settings.gpu_slots and not any(each.works for each in found)
    others = _summary(found)
    yield Check("encoders", "warn" if missing else "ok", others, _FIX if missing else "")


def _summary(found: tuple[Tried, ...]) -> str:
    working = sorted({each.device.family for each in found if each.works})
    why = {each.device.family: each.found for each in found if each.device.family not in working}
    absent = "; ".join(f"{name}: {said.partition(';')[0]}" for name, said in why.items())
    return f"software{''.join(f', {name}' for name in working)}; not here: {absent or 'none'}"
