"""Graphics processors: what a process needs to reach one, and how they are known to fail.

The files are admitted to the box of a command that names a device, and to no other: a driver is
code of the kernel's that a decoder which was taken over had better not talk to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from media.command import Device
from media.errors import DeadlineExceededError, FfmpegFailedError, StalledError

#: The family whose driver has files of its own; the others are spoken to through a render node.
_NVIDIA: Final = "nvenc"

#: Where NVIDIA's nodes are; those that a host lacks are passed over. The control node and that of
#: unified memory belong to all of its devices.
_NVIDIA_NODES: Final = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
_NVIDIA_READS: Final = (
    *("/proc/driver/nvidia", "/proc/devices", "/proc/modules", "/proc/meminfo", "/proc/self"),
    *("/proc/sys/vm", "/sys/devices/system", "/sys/bus/pci", "/sys/devices", "/etc/nvidia"),
    *("/usr/share/nvidia", "/usr/local/nvidia", "/dev/nvidia-caps"),
)
#: What libva, libdrm, Mesa and Intel's runtime look up of a node: its driver, and their settings.
_RENDER_READS: Final = (
    *("/sys/dev/char", "/sys/devices", "/sys/class/drm", "/sys/bus/pci", "/proc/self"),
    *("/proc/meminfo", "/etc/drirc", "/usr/share/drirc.d", "/usr/share/libdrm", "/etc/OpenCL"),
    *("/opt/amdgpu/share/libdrm", "/opt/amdgpu/lib", "/opt/intel"),
)
_INDEX: Final = re.compile(r"\d{1,3}")

#: Pieces of what ffmpeg says where the device, its driver or the room on it is the trouble, and not
#: the film: of NVENC and CUDA, VAAPI, QSV, VideoToolbox, then of all. That a decoder of the device
#: does not know the source's format (``Failed setup for format``) is not among them.
FAULTS: Final = re.compile(
    "|".join(
        (
            r"OpenEncodeSessionEx failed|No capable devices found|NV_ENC_ERR_|CUDA_ERROR_",
            r"(?:Cannot|Could not) (?:dynamically )?load (?:lib)?(?:cuda|CUDA|nv)",
            r"Driver does not support the required nvenc API",
            r"(?:InitializeEncoder|EncodePicture|LockBitstream|MapInputResource) failed",
            r"No VA display found|Failed to initialise VAAPI connection",
            r"No usable encoding (?:profile|entrypoint) found",
            r"Failed to (?:begin|end|issue) picture (?:en|de)code|Failed to sync surface",
            r"\bMFX session|MFX_ERR_|Error during encoding: (?:device|GPU|memory)",
            r"[Dd]evice (?:failed|lost)|GPU [Hh]ang",
            r"cannot create compression session|Error encoding frame: -\d",
            r"Device creation failed|No device available for decoder|Hardware device setup failed",
        )
    )
)


#: What ffmpeg puts before a line: a part of it, and where that is in memory.
_SAID_BY: Final = re.compile(r"\[([^\]\s]+) @ 0x[0-9a-f]+\] ")


def tidy(line: str) -> str:
    """A line of ffmpeg's without addresses, which differ each time: ``CUDA: Cannot load …``."""
    return _SAID_BY.sub(r"\1: ", line)


@dataclass(frozen=True, slots=True)
class Access:
    """Device files to read, write and control, and what may be read to find the way there."""

    nodes: tuple[str, ...]
    reads: tuple[str, ...]


def access(device: Device) -> Access:
    """What a process that uses ``device`` is let at: that one, and no other of the host's.

    Raises :class:`ValueError` for a name that is neither an index nor an absolute path.
    """
    if device.family == _NVIDIA:
        if not _INDEX.fullmatch(device.name):
            raise ValueError(f"{device.name!r} is no index of an NVIDIA device")
        return Access((f"/dev/nvidia{device.name}", *_NVIDIA_NODES), _NVIDIA_READS)
    if not device.name:
        return Access((), ())
    node = Path(device.name)
    if not node.is_absolute() or ".." in node.parts:
        raise ValueError(f"{device.name!r} is no absolute path of a device")
    return Access((str(node),), _RENDER_READS)


def device_fault(error: BaseException) -> str | None:
    """What the run of a device died of, where that was the device; None where it was not.

    What a decoder says of its source is no fault of the device, and neither is a source that could
    not be read. A process that was killed by what it did, or did not get on, was in the driver.
    """
    if isinstance(error, StalledError | DeadlineExceededError):
        return tidy(error.evidence.fault or "it did not get on")
    if not isinstance(error, FfmpegFailedError):
        return None
    evidence = error.evidence
    died = evidence.exit_code is not None and evidence.exit_code < 0
    if evidence.fault:
        return tidy(evidence.fault)
    return evidence.describe_exit() if died else None
