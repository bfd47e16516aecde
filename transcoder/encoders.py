"""Encoder families: what encodes the pictures of a generation, and how each is told. Pure data.

A family is fixed for a generation, for the pieces of one film have to fit each other. Hardware
families keep the pictures on the device from the decoder to the encoder: ``fps``, ``setpts``,
``settb``, ``tpad`` in its mode ``clone``, ``trim``, ``split``, ``setsar`` and ``setparams`` only
pass frames on or name them anew, whatever memory these lie in, so that the output's grid is the
same, filter by filter, as with software. What touches pixels is the device's own scaler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from media.command import Device
from media.encoders import Trial
from transcoder.plan import SOFTWARE, Rung, VideoPlan

#: What players and profiles call them, and what the trial of a host asks for.
H264, HEVC, AV1 = "h264", "hevc", "av1"

Options = Mapping[str, Any]

#: Quality by a number near x264's ``crf``, for the encoders that have one: it is not measured on
#: hardware, and the ceilings of the rung hold whatever it does.
Quality = Callable[[Rung], Options]

#: Share of a rung's ceiling that a rate control without a quality of its own aims at.
_AIM: Final = 3, 4

#: By how much the scale of quantisers is longer in AV1, 0 to 255, than in the others, 0 to 51.
_AV1_SCALE: Final = 5

#: NVENC's presets, fastest first, for x264's.
_NVENC_PRESETS: Final = {
    "ultrafast": "p1",
    "superfast": "p2",
    "veryfast": "p4",
    "faster": "p4",
    "fast": "p5",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
    "veryslow": "p7",
}
#: QSV knows the last seven of x264's names.
_QSV_PRESETS: Final = {"ultrafast": "veryfast", "superfast": "veryfast"}


@dataclass(frozen=True, slots=True)
class Encoder:
    """One family. Options are ffmpeg's, by name without the dash."""

    name: str
    #: Codec to the encoder that makes it.
    codecs: Mapping[str, str]
    #: The device that is taken where none is named; what ``-init_hw_device`` is told of it.
    device: str = ""
    opens: str = ""
    #: What ``-hwaccel`` is called, and the format of its frames. Without them pictures are decoded
    #: in software, and encoded from the processor's memory.
    accel: str = ""
    frames: str = ""
    #: The device's scaler, and what it is told besides the size.
    scaler: str = ""
    scaling: Options = field(default_factory=dict)
    #: Pixels of a side at the least: NVENC refuses less than 145 across.
    smallest: int = 146
    #: Surfaces that filters and the encoder may hold beside those that the decoder needs.
    spare: int = 0
    quality: Quality = lambda rung: {}  # noqa: ARG005
    options: Options = field(default_factory=dict)
    presets: Mapping[str, str] | None = None

    def global_options(self, device: str | None) -> tuple[str, ...]:
        """What stands before everything else: the device must be there when it is named."""
        if not self.opens:
            return ()
        opened = self.opens.format(device=device or self.device)
        return "-init_hw_device", opened, "-filter_hw_device", _DEVICE

    def used(self, device: str | None) -> Device:
        """The device of that name, or the family's first."""
        return Device(self.name, device or self.device)

    def decoding(self) -> dict[str, Any]:
        """Input options that have the device decode and keep what it decoded."""
        return {
            "hwaccel": self.accel,
            "hwaccel_device": _DEVICE,
            "hwaccel_output_format": self.frames,
            "extra_hw_frames": self.spare,
        }

    def encoding(self, codec: str, rung: Rung, gop: int, preset: str) -> dict[str, Any]:
        """Output options: the encoder, a closed group of ``gop`` pictures each, the quality.

        ``preset`` is one of x264's.
        """
        made: dict[str, Any] = {"c:v": self.codecs[codec], **_grid(gop), **self.options}
        if self.presets is not None:
            made["preset"] = self.presets.get(preset, preset)
        if codec == H264:
            made["profile:v"] = "high"
        ceilings = {"maxrate": rung.maxrate, "bufsize": rung.bufsize}
        quality = dict(self.quality(rung))
        if codec == AV1 and "global_quality" in quality:
            quality["global_quality"] *= _AV1_SCALE
        return made | ceilings | quality


#: What the device is called within a command line.
_DEVICE: Final = "gpu"


def _grid(gop: int) -> dict[str, Any]:
    """Key frames on the grid, where segments begin; to some devices ``g`` is but the longest."""
    return {"g": gop, "force_key_frames": f"expr:not(mod(n,{gop}))"}


def _aim(rung: Rung) -> int:
    return rung.maxrate * _AIM[0] // _AIM[1]


NVENC: Final = Encoder(
    name="nvenc",
    codecs={H264: "h264_nvenc", HEVC: "hevc_nvenc", AV1: "av1_nvenc"},
    device="0",
    opens="cuda=gpu:{device}",
    accel="cuda",
    frames="cuda",
    scaler="scale_cuda",
    scaling={"interp_algo": "bicubic", "format": "nv12"},
    spare=8,
    quality=lambda rung: {"rc": "vbr", "cq": rung.crf, "b:v": 0},
    options={
        "tune": "hq",
        "bf": 2,
        "forced-idr": 1,
        "no-scenecut": 1,
        "strict_gop": 1,
        "spatial-aq": 1,
        "rc-lookahead": 0,
    },
    presets=_NVENC_PRESETS,
)

VAAPI: Final = Encoder(
    name="vaapi",
    codecs={H264: "h264_vaapi", HEVC: "hevc_vaapi", AV1: "av1_vaapi"},
    device="/dev/dri/renderD128",
    opens="vaapi=gpu:{device}",
    accel="vaapi",
    frames="vaapi",
    scaler="scale_vaapi",
    scaling={"mode": "hq", "format": "nv12"},
    spare=8,
    quality=lambda rung: {
        "rc_mode": "QVBR",
        "global_quality": round(rung.crf),
        "b:v": _aim(rung),
    },
    options={"bf": 2, "idr_interval": 0, "async_depth": 4},
)

QSV: Final = Encoder(
    name="qsv",
    codecs={H264: "h264_qsv", HEVC: "hevc_qsv", AV1: "av1_qsv"},
    device="/dev/dri/renderD128",
    opens="qsv=gpu:hw_any,child_device={device},child_device_type=vaapi",
    accel="qsv",
    frames="qsv",
    scaler="vpp_qsv",
    scaling={"scale_mode": "hq", "format": "nv12"},
    spare=64,
    # With both a quality and a ceiling ffmpeg chooses QVBR.
    quality=lambda rung: {"global_quality": round(rung.crf), "b:v": _aim(rung)},
    options={
        "bf": 2,
        "forced_idr": 1,
        "adaptive_i": 0,
        "async_depth": 4,
    },
    presets=_QSV_PRESETS,
)

VIDEOTOOLBOX: Final = Encoder(
    name="videotoolbox",
    codecs={H264: "h264_videotoolbox", HEVC: "hevc_videotoolbox"},
    opens="videotoolbox=gpu",
    accel="videotoolbox",
    frames="videotoolbox_vld",
    scaler="scale_vt",
    # Its quality (-q:v) knows no ceiling, so that it is left out.
    quality=lambda rung: {"b:v": _aim(rung)},
    options={"bf": 2, "allow_sw": 0, "require_sw": 0, "realtime": 0, "prio_speed": 0},
)

#: Pixels of a side: many devices refuse more in H.264. Rungs that are kept at the least.
_LARGEST: Final = 4096
_FEWEST: Final = 2

#: What encoders are tried with.
_SAMPLE: Final = Rung(
    name="trial", width=256, height=256, crf=23, maxrate=2_000_000, bufsize=3_000_000, level="3.0"
)
_SAMPLE_GOP: Final = 50

#: By name, in the order in which one is chosen where a farm has several.
HARDWARE: Final[dict[str, Encoder]] = {
    each.name: each for each in (NVENC, QSV, VAAPI, VIDEOTOOLBOX)
}


def fitting(family: str, rungs: tuple[Rung, ...]) -> tuple[Rung, ...]:
    """Those of the ladder that a device of the family takes; none where software has to make it.

    The lowest may be left out: of an upright film they are too narrow for some devices. A film is
    not to lack its highest, and not to have a single one where it could have several.
    """
    encoder = HARDWARE[family]
    kept = tuple(rung for rung in rungs if min(rung.width, rung.height) >= encoder.smallest)
    too_large = max(rungs[0].width, rungs[0].height) > _LARGEST
    return () if too_large or len(kept) < min(len(rungs), _FEWEST) else kept


def trials(family: str, device: str | None = None) -> tuple[Trial, ...]:
    """How each codec of a family is tried on a host; raises :class:`KeyError` for none of them."""
    encoder = HARDWARE[family]
    return tuple(
        Trial(
            device=encoder.used(device),
            codec=codec,
            encoder=name,
            opening=encoder.global_options(device),
            options=_words(encoder.encoding(codec, _SAMPLE, _SAMPLE_GOP, "veryfast")),
        )
        for codec, name in encoder.codecs.items()
    )


def _words(options: Options) -> tuple[str, ...]:
    """As on a command line; the encoder itself is named elsewhere."""
    named = {name: value for name, value in options.items() if name != "c:v"}
    return tuple(word for name, value in named.items() for word in (f"-{name}", str(value)))


def encoder_of(video: VideoPlan) -> Encoder | None:
    """The hardware that encodes the pictures; None for software.

    Raises :class:`KeyError` for a family of a later version.
    """
    return None if video.encoder == SOFTWARE else HARDWARE[video.encoder]
