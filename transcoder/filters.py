"""The filter graph of the pictures: onto the output's grid, into its colours, down the ladder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from transcoder.encoders import Encoder
from transcoder.plan import Rung, VideoPlan

#: A node of ffmpeg-python, which has no types.
Stream = Any

#: Names of ``scale`` for what ffprobe calls the matrix.
_MATRICES: Final = {
    "bt709": "bt709",
    "smpte170m": "bt601",
    "bt470bg": "bt601",
    "fcc": "fcc",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
    "gbr": "auto",
    "rgb": "auto",
}

#: Lines from which players take an untagged picture for high definition.
_HD: Final = 720

#: Nits of the white that HDR is mapped to (ITU-R BT.2408 has 203 for graphics white).
_WHITE: Final = "203"


def on_grid(
    source: Stream, plan: VideoPlan, first: int, count: int | None, *, fill: bool = False
) -> Stream:
    """Exactly the pictures ``first``, ``first + 1``, … of the output's grid.

    The source's clock is brought to 0 and to ticks of which a frame has a whole number, so that
    ``fps`` rounds alike in whichever chunk it starts. A count makes the last picture stand until
    the end: what comes later belongs to the next chunk. ``fill`` does the same where the last
    picture lies before ``first``, which ``fps`` by itself would throw away.
    """
    stream = source
    if plan.deinterlace:
        stream = stream.filter("bwdif", mode="send_frame", deint="interlaced")
    time = f"N/({plan.rate})/TB" if plan.timeless else f"PTS-({plan.zero - plan.nudge})/TB"
    stream = stream.filter("setpts", f"round({time})")
    stream = stream.filter("settb", f"1/{plan.timescale}")
    if fill and count is not None:
        stream = stream.filter("fps", fps=str(plan.rate))
        stream = stream.filter("tpad", stop=-1, stop_mode="clone")
    start = float(first / plan.rate)
    stream = stream.filter("fps", fps=str(plan.rate), start_time=f"{start:.6f}")
    if count is None:
        return stream
    stream = stream.filter("tpad", stop=-1, stop_mode="clone")
    return stream.filter("trim", end_frame=count)


def ladder(stream: Stream, plan: VideoPlan, rungs: Sequence[Rung]) -> list[Stream]:
    """One stream for each rung, each scaled from the one before it."""
    first, *others = rungs
    stream = _graded(stream, plan, first)
    made: list[Stream] = []
    for rung in others:
        copies = stream.split()
        made.append(copies[0])
        stream = _scaled(copies[1], rung)
    return [*made, stream]


def device_ladder(
    stream: Stream, plan: VideoPlan, rungs: Sequence[Rung], encoder: Encoder, *, decoded: bool
) -> list[Stream]:
    """The same on a device, where the pictures are already if it ``decoded`` them.

    Else they are brought to the size and the colours of the first rung here, and uploaded once.
    """
    first, *others = rungs
    if decoded:
        stream = _tagged(_device_scaled(stream, first, encoder))
    else:
        stream = _graded(stream, plan, first)
        if encoder.frames:
            stream = stream.filter("format", "nv12")
            stream = stream.filter("hwupload", extra_hw_frames=encoder.spare)
    made: list[Stream] = []
    for rung in others:
        copies = stream.split()
        made.append(copies[0])
        stream = _device_scaled(copies[1], rung, encoder)
    return [*made, stream]


def uses_device_pictures(plan: VideoPlan) -> bool:
    """Whether the device's scaler alone makes of the pictures what :func:`ladder` would.

    It knows sizes, and is not relied on for colours or fields: what has to be converted from
    another matrix, from full range or from HDR, or is interlaced, is decoded and graded here.
    """
    converted = plan.tone_map is not None or plan.full_range or _matrix(plan) != "bt709"
    return not (converted or plan.deinterlace)


def _device_scaled(stream: Stream, rung: Rung, encoder: Encoder) -> Stream:
    size = {"w": rung.width, "h": rung.height}
    return stream.filter(encoder.scaler, **size, **encoder.scaling).filter("setsar", 1)


def _graded(stream: Stream, plan: VideoPlan, rung: Rung) -> Stream:
    """At the size of ``rung``, in the colours of ITU-R BT.709 and square pixels."""
    if plan.tone_map is not None:
        stream = _tone_mapped(stream, plan, rung)
    else:
        stream = stream.filter(
            "scale",
            rung.width,
            rung.height,
            flags="bicubic",
            in_color_matrix=_matrix(plan),
            out_color_matrix="bt709",
            in_range="full" if plan.full_range else "auto",
            out_range="limited",
        )
    return _tagged(stream.filter("format", "yuv420p").filter("setsar", 1))


def _tagged(stream: Stream) -> Stream:
    return stream.filter(
        "setparams",
        field_mode="prog",
        range="limited",
        color_primaries="bt709",
        color_trc="bt709",
        colorspace="bt709",
    )


def _tone_mapped(stream: Stream, plan: VideoPlan, rung: Rung) -> Stream:
    """Brought down from PQ or HLG in linear light, at the size of ``rung`` to save work."""
    assert plan.tone_map is not None
    to_linear = {
        "width": rung.width,
        "height": rung.height,
        "filter": "bicubic",
        "matrixin": "2020_ncl",
        "primariesin": "2020",
        "transferin": plan.tone_map.value,
        "rangein": "full" if plan.full_range else "limited",
        "transfer": "linear",
        "npl": _WHITE,
    }
    return (
        stream.filter("zscale", **to_linear)
        .filter("format", "gbrpf32le")
        .filter("zscale", primaries="709")
        .filter("tonemap", "mobius", desat=0)
        .filter("zscale", transfer="709", matrix="709", range="limited", dither="none")
    )


def _scaled(stream: Stream, rung: Rung) -> Stream:
    return stream.filter("scale", rung.width, rung.height, flags="bicubic").filter("setsar", 1)


def _matrix(plan: VideoPlan) -> str:
    guess = "bt709" if plan.height >= _HD else "bt601"
    return _MATRICES.get(plan.color_space or "", guess)
