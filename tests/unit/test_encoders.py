"""Golden command lines of the hardware families, and what is true of all of them."""

from __future__ import annotations

import re
import subprocess
from functools import cache

import pytest

from media.binaries import find_tools
from media.command import Command, Device
from media.probed import VideoStream
from tests.unit.test_commands import CHUNK, HEAD, LAST, SAFE, STREAM, URL, after, graph, plan
from transcoder.command import decodes_on_device, video_command
from transcoder.encoders import AV1, H264, HARDWARE, HEVC, encoder_of, trials
from transcoder.plan import Part, Plan, ToneMap

FAMILIES = tuple(HARDWARE)
GRID = (
    "[0:2]setpts=round(PTS-(143/100)/TB)[s0];[s0]settb=1/30000[s1];"
    "[s1]fps=fps=30000/1001:start_time=2.002000[s2];"
    "[s2]tpad=stop=-1:stop_mode=clone[s3];[s3]trim=end_frame=180[s4];"
)
TAGS = (
    "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:field_mode=prog:range=limited"
)
MUXED = (
    "-movflags +delay_moov+default_base_moof+skip_trailer+frag_keyframe+frag_discont",
    "-force_key_frames expr:not(mod(n,60))",
    "-fps_mode passthrough",
    "-video_track_timescale 30000",
)


def film(family: str, **more: object) -> Plan:
    """A plan of that family whose source is what most uploads are: H.264, BT.709, upright."""
    stream = {"index": 2, "codec": "h264", "width": 1280, "height": 720, "pixel_format": "yuv420p"}
    about = {
        name: more[name]
        for name in ("codec", "pixel_format", "rotation", "bit_depth")
        if name in more
    }
    rest = {name: value for name, value in more.items() if name not in about}
    found = plan(**{"encoder": family, "color_space": "bt709"} | rest)
    probe = found.probe.model_copy(update={"video": (VideoStream(**stream | about),)})
    return found.model_copy(update={"probe": probe})


def command(family: str, part: Part = CHUNK, **more: object) -> Command:
    return video_command(film(family, **more), part, URL, input_options=SAFE)


def text(made: Command) -> str:
    return " ".join(made.arguments)


def test_a_chunk_by_nvenc_stays_on_the_device() -> None:
    made = command("nvenc")
    assert text(made) == (
        "-init_hw_device cuda=gpu:0 -filter_hw_device gpu"
        " -copyts -extra_hw_frames 8 -hwaccel cuda -hwaccel_device gpu"
        " -hwaccel_output_format cuda -noaccurate_seek -protocol_whitelist http,tcp"
        " -reinit_filter 0 -rw_timeout 15000000 -seek_timestamp 1 -ss 2.865000 -threads 1"
        " -i http://store/source?signature=x"
        f" -filter_complex {GRID}"
        "[s4]scale_cuda=format=nv12:h=360:interp_algo=bicubic:w=640[s5];[s5]setsar=1[s6];"
        f"[s6]{TAGS}[s7];[s7]split=2[s8][s9];"
        "[s9]scale_cuda=format=nv12:h=180:interp_algo=bicubic:w=320[s10];[s10]setsar=1[s11]"
        " -map [s8] -f mp4 -avoid_negative_ts disabled -b:v 0 -bf 2 -bufsize 1200 -c:v h264_nvenc"
        " -cq 23.0 -fflags +bitexact -flags:v +bitexact -force_key_frames expr:not(mod(n,60))"
        " -forced-idr 1 -fps_mode passthrough -frames:v 180 -g 60 -map_chapters -1"
        " -map_metadata -1 -maxrate 800"
        " -movflags +delay_moov+default_base_moof+skip_trailer+frag_keyframe+frag_discont"
        " -no-scenecut 1 -preset p4 -profile:v high -rc vbr -rc-lookahead 0 -spatial-aq 1"
        " -stats_enc_pre sink:frames -stats_enc_pre_fmt {n} {pts} {tb} {ptsi} {tbi}"
        " -strict_gop 1 -tune hq -video_track_timescale 30000 sink:360p"
        " -map [s11] -f mp4 -avoid_negative_ts disabled -b:v 0 -bf 2 -bufsize 600"
        " -c:v h264_nvenc -cq 24.5 -fflags +bitexact -flags:v +bitexact"
        " -force_key_frames expr:not(mod(n,60)) -forced-idr 1 -fps_mode passthrough -frames:v 180"
        " -g 60 -map_chapters -1 -map_metadata -1 -maxrate 400"
        " -movflags +delay_moov+default_base_moof+skip_trailer+frag_keyframe+frag_discont"
        " -no-scenecut 1 -preset p4 -profile:v high -rc vbr -rc-lookahead 0 -spatial-aq 1"
        " -strict_gop 1 -tune hq -video_track_timescale 30000 sink:180p"
    )
    assert made.device == Device("nvenc", "0")


@pytest.mark.parametrize(
    ("family", "opening", "reading", "scaling", "encoding"),
    [
        (
            "vaapi",
            "-init_hw_device vaapi=gpu:/dev/dri/renderD128 -filter_hw_device gpu",
            "-extra_hw_frames 8 -hwaccel vaapi -hwaccel_device gpu -hwaccel_output_format vaapi",
            "scale_vaapi=format=nv12:h=360:mode=hq:w=640",
            "-b:v 600 -bf 2 -bufsize 1200 -c:v h264_vaapi|-global_quality 23 -idr_interval 0"
            "|-rc_mode QVBR|-maxrate 800|-g 60|-profile:v high",
        ),
        (
            "qsv",
            "-init_hw_device"
            " qsv=gpu:hw_any,child_device=/dev/dri/renderD128,child_device_type=vaapi"
            " -filter_hw_device gpu",
            "-extra_hw_frames 64 -hwaccel qsv -hwaccel_device gpu -hwaccel_output_format qsv",
            "vpp_qsv=format=nv12:h=360:scale_mode=hq:w=640",
            "-b:v 600 -bf 2 -bufsize 1200 -c:v h264_qsv|-forced_idr 1|-global_quality 23"
            "|-adaptive_i 0|-preset veryfast|-maxrate 800|-g 60",
        ),
        (
            "videotoolbox",
            "-init_hw_device videotoolbox=gpu -filter_hw_device gpu",
            "-hwaccel videotoolbox -hwaccel_device gpu -hwaccel_output_format videotoolbox_vld",
            "scale_vt=h=360:w=640",
            "-b:v 600 -bf 2 -bufsize 1200 -c:v h264_videotoolbox|-allow_sw 0|-maxrate 800|-g 60",
        ),
    ],
)
def test_a_chunk_by_the_others(
    family: str, opening: str, reading: str, scaling: str, encoding: str
) -> None:
    made = text(command(family))
    assert made.startswith(f"{opening} -copyts ")
    assert reading in made
    assert f"-filter_complex {GRID}[s4]{scaling}[s5];[s5]setsar=1[s6];[s6]{TAGS}[s7]" in made
    assert all(f" {words} " in made for words in (*encoding.split("|"), *MUXED))
    # Nothing brings the pictures into the processor's memory.
    assert not re.search(r"hwdownload|hwupload|\bscale=|format=yuv420p", made)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_grid_is_that_of_software_filter_by_filter(family: str) -> None:
    for part in (HEAD, CHUNK, LAST, STREAM):
        ours = graph(command(family, part)).split(";")
        software = graph(video_command(plan(), part, URL, input_options=SAFE)).split(";")
        count = next(n for n, step in enumerate(ours) if "=w=" in step or ":w=" in step)
        assert ours[:count] == software[:count]
        assert after(command(family, part), "-frames:v") == after(
            video_command(plan(), part, URL, input_options=SAFE), "-frames:v"
        )


@pytest.mark.parametrize(
    "source",
    [
        {"color_space": "smpte170m"},
        {"tone_map": ToneMap.PQ, "color_space": "bt2020nc"},
        {"full_range": True},
        {"deinterlace": True},
        {"rotation": 90},
        {"codec": "prores", "pixel_format": "yuv422p10le"},
        {"codec": "h264", "pixel_format": "yuv422p"},
        {"codec": "av1"},
    ],
    ids=str,
)
def test_what_the_device_would_not_show_as_it_is_comes_to_it_decoded(
    source: dict[str, object],
) -> None:
    assert not decodes_on_device(film("nvenc", **source))
    made = text(command("nvenc", **source))
    assert "-hwaccel" not in made
    assert made.count("hwupload=extra_hw_frames=8") == 1
    # All rungs below the first are scaled there all the same.
    assert "[s0]" in made
    assert made.count("scale_cuda=") == 1


def test_ten_bits_are_decoded_there_if_its_scaler_takes_them_to_eight() -> None:
    deep = {"codec": "hevc", "pixel_format": "yuv420p10le", "bit_depth": 10}
    assert all(decodes_on_device(film(name, **deep)) for name in ("nvenc", "qsv", "vaapi"))
    assert not decodes_on_device(film("videotoolbox", **deep))


def test_a_worker_names_its_own_device() -> None:
    made = video_command(film("nvenc"), CHUNK, URL, input_options=SAFE, device="2")
    assert after(made, "-init_hw_device") == "cuda=gpu:2"
    assert made.device == Device("nvenc", "2")
    node = "/dev/dri/renderD129"
    made = video_command(film("qsv"), CHUNK, URL, input_options=SAFE, device=node)
    assert node in str(after(made, "-init_hw_device"))


def test_software_opens_no_device() -> None:
    made = video_command(plan(), CHUNK, URL, input_options=SAFE)
    assert made.device is None
    assert encoder_of(plan().video) is None  # type: ignore[arg-type]
    assert not re.search("init_hw|hwaccel|force_key", text(made))


def test_a_plan_of_before_is_software() -> None:
    written = plan().model_dump(mode="json")
    del written["video"]["encoder"]
    assert Plan.model_validate(written) == plan()


def test_every_codec_of_every_family_is_tried() -> None:
    names = {(t.device.family, t.codec): t.encoder for name in FAMILIES for t in trials(name)}
    assert names["nvenc", HEVC] == "hevc_nvenc"
    assert names["vaapi", AV1] == "av1_vaapi"
    assert {family for family, codec in names if codec == H264} == set(FAMILIES)
    (h264, _, av1) = trials("vaapi")
    assert h264.opening == ("-init_hw_device", "vaapi=gpu:/dev/dri/renderD128",
                            "-filter_hw_device", "gpu")  # fmt: skip
    # AV1 counts quantisers on another scale.
    quality = [o.options[o.options.index("-global_quality") + 1] for o in (h264, av1)]
    assert quality == ["23", "115"]


@cache
def known_options(kind: str, name: str) -> frozenset[str]:
    """What this ffmpeg says that an encoder or filter takes; nothing where it has none."""
    asked = [find_tools().ffmpeg, "-hide_banner", "-h", f"{kind}={name}"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    # Names of options stand two or three columns in; those of their values, five.
    return frozenset(re.findall(r"^ {2,3}-?([\w-]+) +<", said, re.MULTILINE))


#: Options of every encoder (avcodec) or of ffmpeg itself.
_GENERAL = frozenset(
    {"c:v", "g", "bf", "b:v", "maxrate", "bufsize", "force_key_frames", "global_quality"}
)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_option_is_one_that_ffmpeg_knows(family: str) -> None:
    encoder = HARDWARE[family]
    for codec, name in encoder.codecs.items():
        known = known_options("encoder", name)
        if not known:
            pytest.skip(f"this ffmpeg was built without {name}")
        rung = film(family).video.rungs[0]  # type: ignore[union-attr]
        used = encoder.encoding(codec, rung, 60, "veryfast").keys() - _GENERAL
        assert {option.removesuffix(":v") for option in used} <= known
    assert {"w", "h", *encoder.scaling} <= known_options("filter", encoder.scaler)
