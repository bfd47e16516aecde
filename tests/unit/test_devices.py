"""What is a device's fault, what a process is let at for it, and how many sessions a host bears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farm.errors import SettingsError
from farm.gpus import families, gpu_slots
from farm.hosting import pools
from farm.settings import Settings, replaced
from jobs.records import Problem
from media.box import box_for
from media.command import Device
from media.devices import FAULTS, access, device_fault, tidy
from media.diagnosis import Diagnosis
from media.errors import (
    CanceledError,
    DeadlineExceededError,
    Evidence,
    FfmpegFailedError,
    SinkFailedError,
    SourceUnreadableError,
    StalledError,
)
from pipeline.devices import fault_of
from pipeline.errors import DeviceFaultError, TransientError
from transcoder.cmaf import FragmentError
from transcoder.profile import load_profile

PROBLEM = Problem(code="encode_failed", message="It failed.", hint="Look.")


@pytest.mark.parametrize(
    "line",
    [
        "[h264_nvenc @ 0x5] OpenEncodeSessionEx failed: out of memory (10): (no details)",
        "[h264_nvenc @ 0x5] OpenEncodeSessionEx failed: incompatible client key (21): (no details)",
        "[h264_nvenc @ 0x5] No capable devices found",
        "[CUDA @ 0x5] Cannot load libcuda.so.1",
        "[CUDA @ 0x5] Could not dynamically load CUDA",
        "[h264_nvenc @ 0x5] Cannot load libnvidia-encode.so.1",
        "[h264_nvenc @ 0x5] Driver does not support the required nvenc API version. Required: 13.0",
        "[AVHWDeviceContext @ 0x5] cu->cuInit(0) failed -> CUDA_ERROR_NO_DEVICE: no CUDA-capable",
        "[h264_nvenc @ 0x5] EncodePicture failed!: generic error (20)",
        "[VAAPI @ 0x5] No VA display found for device /dev/dri/renderD128.",
        "[VAAPI @ 0x5] Failed to initialise VAAPI connection: -1 (unknown libva error).",
        "[h264_vaapi @ 0x5] No usable encoding entrypoint found for profile VAProfileH264High (7).",
        "[h264_vaapi @ 0x5] Failed to end picture encode issue: 18 (invalid parameter).",
        "[AVHWDeviceContext @ 0x5] Error creating a MFX session: -9.",
        "[h264_qsv @ 0x5] Error during encoding: device failed (-17)",
        "[h264_videotoolbox @ 0x5] Error: cannot create compression session: -12908",
        "Device creation failed: -542398533.",
    ],
)
def test_what_drivers_say_is_a_fault_of_the_device(line: str) -> None:
    heard = Diagnosis(FAULTS)
    heard.feed(
        line.encode() + b"\n" + b"[vost#0:0/h264 @ 0x5] Task finished with error code: -22\n" * 60
    )
    heard.finish()
    # However much is said after it.
    assert heard.fault == line
    assert not any(line in each for each in heard.tail)
    assert device_fault(failed(fault=heard.fault)) == tidy(line)
    assert "0x5]" not in tidy(line)


@pytest.mark.parametrize(
    "line",
    [
        "[h264 @ 0x5] error while decoding MB 10 20, bytestream -5",
        "[vist#0:0/h264 @ 0x5] [dec:h264 @ 0x5] corrupt decoded frame",
        "[h264 @ 0x5] Failed setup for format cuda: hwaccel initialisation returned error.",
        "[http @ 0x5] Stream ends prematurely at 254951, should be 509903",
        "Error submitting packet to decoder: Invalid data found when processing input",
    ],
)
def test_what_is_said_of_the_source_is_not(line: str) -> None:
    heard = Diagnosis(FAULTS)
    heard.feed(line.encode() + b"\n")
    assert heard.fault is None
    assert device_fault(failed(fault=None)) is None


def failed(exit_code: int = 187, fault: str | None = None) -> FfmpegFailedError:
    return FfmpegFailedError("ffmpeg", Evidence((), (), exit_code, 1.0, fault))


def test_a_process_that_hangs_or_dies_was_in_the_driver() -> None:
    evidence = Evidence(("ffmpeg",))
    assert device_fault(StalledError("x", evidence)) == "it did not get on"
    assert device_fault(DeadlineExceededError("x", evidence)) == "it did not get on"
    assert device_fault(failed(-11)) == "killed by SIGSEGV"
    assert device_fault(CanceledError("x", evidence)) is None
    assert device_fault(SourceUnreadableError("x", evidence)) is None


def test_what_does_not_fit_counts_against_the_device_unless_the_source_is_damaged() -> None:
    def of(cause: Exception) -> str | None:
        error = TransientError(PROBLEM)
        error.__cause__ = cause
        return fault_of(error)

    assert "does not start with a key frame" in str(
        of(FragmentError("does not start with a key frame"))
    )
    # As a rule it is the sink that finds out.
    sink = SinkFailedError("a sink raised", Evidence(()))
    sink.__cause__ = FragmentError("reaches over the segment boundary")
    assert "reaches over the segment boundary" in str(of(sink))
    assert of(SinkFailedError("the storage is away", Evidence(()))) is None
    assert of(failed(-11)) == "killed by SIGSEGV"
    assert of(failed(183)) is None
    assert fault_of(DeviceFaultError(PROBLEM, "wrong pictures")) == "wrong pictures"
    assert fault_of(DeviceFaultError(PROBLEM, None)) is None


def test_a_device_is_let_at_alone() -> None:
    found = access(Device("nvenc", "1"))
    assert "/dev/nvidia1" in found.nodes
    assert "/dev/nvidia0" not in found.nodes
    assert access(Device("vaapi", "/dev/dri/renderD129")).nodes == ("/dev/dri/renderD129",)
    assert access(Device("videotoolbox", "")).nodes == ()


@pytest.mark.parametrize("name", ["../0", "0/../../etc", "", "all", "1;2"])
def test_a_name_of_a_device_is_no_way_to_another_file(name: str) -> None:
    with pytest.raises(ValueError, match="no index"):
        access(Device("nvenc", name))
    if name:
        with pytest.raises(ValueError, match="no absolute path"):
            access(Device("vaapi", name))


def test_a_box_holds_a_device_only_where_its_command_names_one() -> None:
    arguments = ("-i", "http://127.0.0.1:1/source")
    without = box_for(Path("/bin/true"), arguments)
    assert without.devices == ()
    assert not any("nvidia" in path or "/dri" in path for path in (*without.reads, *without.writes))
    assert box_for(Path("/bin/true"), arguments, device=Device("nvenc", "0")).devices[0] == (
        "/dev/nvidia0"
    )


def settings(**changes: Any) -> Settings:
    return replaced(Settings(), **changes)


@pytest.mark.parametrize(
    ("slots", "sessions", "expected"),
    # The default ladder has seven rungs; one session is kept for trials.
    [(0, 0, 0), (3, 0, 3), (3, 8, 1), (3, 14, 1), (3, 15, 2), (1, 64, 1)],
)
def test_slots_fit_the_sessions_that_the_driver_grants(
    slots: int, sessions: int, expected: int
) -> None:
    chosen = settings(gpu_slots=slots, gpu_sessions=sessions)
    assert gpu_slots(chosen, load_profile()) == expected
    specs = {spec.name: spec for spec in pools(chosen)}
    assert ("gpu" in specs) == (expected > 0)
    if expected:
        assert (specs["gpu"].minimum, specs["gpu"].maximum) == (1, expected)


def test_too_few_sessions_are_said_at_the_start() -> None:
    with pytest.raises(SettingsError, match=r"7 rungs.*\n?.*3 sessions are too few"):
        gpu_slots(settings(gpu_slots=1, gpu_sessions=3), load_profile())


def test_a_worker_speaks_to_its_device_as_the_settings_say() -> None:
    assert families(settings(encoder="vaapi")) == ("vaapi",)
    assert families(settings())[0] == "nvenc"
    for name in ("standin", "x264"):
        with pytest.raises(SettingsError):
            settings(encoder=name)
    for device in ("/etc/passwd", "/dev/dri/renderD128/../../sda", "-1"):
        with pytest.raises(SettingsError):
            settings(gpu_device=device)
