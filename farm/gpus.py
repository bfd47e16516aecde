"""The graphics processors of this host: how many slots they bear, and which of them work."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from farm.errors import SettingsError
from farm.settings import Settings
from farm.wiring import Queue
from jobs.devices import Circuit, DeviceInfo, devices, live
from media.binaries import Tools
from media.encoders import Trial, Tried, tried, try_encoder
from pipeline.advance import Advancer
from pipeline.gpu import AUTO, Gpu
from pipeline.work import Workshop
from transcoder.encoders import H264, HARDWARE, trials
from transcoder.plan import SOFTWARE
from transcoder.profile import Profile

_LOG = structlog.get_logger(__name__)

#: Kept free for the trial of an encoder while parts are at work.
_FOR_TRIALS: Final = 1


def gpu_slots(settings: Settings, profile: Profile) -> int:
    """Slots of the GPU pool on this host: a part opens a session for each of its rungs.

    Raises :class:`SettingsError` where not even one part fits into the sessions that the driver
    grants.
    """
    slots = settings.gpu_slots
    if not slots or not settings.gpu_sessions:
        return slots
    rungs = len(profile.video.rungs)
    fitting = (settings.gpu_sessions - _FOR_TRIALS) // rungs
    if fitting < 1:
        raise SettingsError(
            f"The profile {profile.name} has {rungs} rungs, of which a part opens a session each, "
            f"and one is kept for trials: {settings.gpu_sessions} sessions are too few.\n"
            f"Take a profile with fewer rungs, or a device with at least {rungs + _FOR_TRIALS}."
        )
    return min(slots, fitting)


def families(settings: Settings) -> tuple[str, ...]:
    """The families that this host's device may be spoken to by, the likeliest first."""
    if settings.encoder in (AUTO, SOFTWARE):
        return tuple(HARDWARE)
    return (settings.encoder,)


def encoder_checks(
    tools: Tools, device: str | None = None, names: tuple[str, ...] | None = None
) -> tuple[Tried, ...]:
    """Each hardware encoder, really opened: takes a second or so for each that works.

    Those that this ffmpeg was built without are among them, and do not work.
    """
    wanted = tuple(HARDWARE) if names is None else names
    return tried(tools, [trial for name in wanted for trial in trials(name, _named(name, device))])


def own_gpu(settings: Settings, queue: Queue, tools: Tools) -> Gpu:
    """The device of a worker of the GPU pool, its encoder opened, and its circuit.

    A device that another worker of this host is on already is not tried: that would take a session
    from it. One that does not work is announced all the same, as out of use, and is tried again.
    """
    client, namespace, host = queue.client, settings.namespace, socket.gethostname()
    known = live(devices(client, namespace), time.time())
    for family in families(settings):
        told = next((each for each in known if _is_own(each, family, host, settings)), None)
        if told is not None:
            return _gpu(Circuit(client, namespace, told), tools)
    found = encoder_checks(tools, settings.gpu_device, families(settings))
    working = [each for each in found if each.works and each.codec == H264]
    first = (working or [each for each in found if each.codec == H264])[0]
    info = DeviceInfo(
        host=host,
        device=first.device.name,
        encoder=first.device.family,
        codecs=tuple(e.codec for e in found if e.device == first.device and e.works) or (H264,),
        found=first.found,
    )
    circuit = Circuit(client, namespace, info)
    if not first.works:
        _LOG.error("no_encoder_works", device=str(first.device), found=first.found)
        circuit.open(time.time(), first.found)
    return _gpu(circuit, tools)


def on_device(workshop: Workshop, gpu: Gpu) -> Workshop:
    """The same handler with the device of its worker."""
    tools = replace(workshop.bench, gpu=gpu)
    return replace(workshop, bench=tools, advancer=Advancer(tools))


def _gpu(circuit: Circuit, tools: Tools) -> Gpu:
    trial = trials(circuit.info.encoder, circuit.info.device)[0]
    return Gpu(circuit, trial.device, _again(tools, trial))


def _again(tools: Tools, trial: Trial) -> Callable[[], Tried]:
    return lambda: try_encoder(tools, trial)


def _is_own(info: DeviceInfo, family: str, host: str, settings: Settings) -> bool:
    device = HARDWARE[family].used(_named(family, settings.gpu_device))
    return (info.host, info.encoder, info.device) == (host, family, device.name)


def _named(family: str, device: str | None) -> str | None:
    """The setting, for the families whose devices are named so."""
    is_path = HARDWARE[family].device.startswith("/")
    return device if device is not None and device.startswith("/") == is_path else None
