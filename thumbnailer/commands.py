"""The one ffmpeg run that delivers pictures for the poster and the storyboard. Pure.

Raw RGB comes out of two pipes, so that nothing touches a disk: small tiles, the first picture of
each stretch of the film, and a few large candidates for the poster. The times of the tiles come
out of a third one. Decoding key frames alone costs a fraction of decoding the film.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import ffmpeg

from media.command import BACKGROUND, SINK, Command
from thumbnailer.poster import CANDIDATES, MAX_SIDE
from thumbnailer.storyboard import Layout, fitted

TILES: Final = "tiles"
TIMES: Final = "frames"
POSTERS: Final = "posters"

#: Number, time stamp and its unit, of the decoded picture, not of what filters made of it.
_TIMES_FORMAT: Final = "{n} {ptsi} {tbi}"

#: Stretches of a film of unknown length that the poster's candidates are taken from, in seconds.
_UNKNOWN_STEP: Final = Fraction(30)

#: What ``scale`` calls the matrices that ffprobe names.
_MATRICES: Final = frozenset({"bt709", "bt470bg", "smpte170m", "fcc", "smpte240m", "bt2020nc"})

#: Nits of the white that HDR is brought down to (ITU-R BT.2408).
_WHITE: Final = 203

#: Lines from which on pictures without a named matrix are taken for bt709.
_HIGH_DEFINITION: Final = 720


@dataclass(frozen=True, slots=True)
class Film:
    """What is to be shown. Sizes are as displayed: turned, and with square pixels."""

    url: str
    stream: int
    width: int
    height: int
    #: Presentation time of the first displayed picture, in seconds of the source's clock.
    zero: Fraction
    #: Seconds; None where the source does not tell.
    duration: Fraction | None
    #: Pictures of the whole film; None where unknown.
    frames: int | None = None
    #: Input options that keep ffmpeg from doing more than read this source.
    input_options: Mapping[str, str] = field(default_factory=dict)
    interlaced: bool = False
    #: ``smpte2084`` or ``arib-std-b67`` where the picture has to be brought down from HDR.
    tone_map: str | None = None
    #: The matrix as ffprobe calls it; None, or a name that ``scale`` does not know, for a guess.
    color_matrix: str | None = None


def poster_size(film: Film) -> tuple[int, int]:
    """Pixels of the poster."""
    return fitted(film.width, film.height, MAX_SIDE, MAX_SIDE)


def pictures_command(film: Film, layout: Layout, *, key_frames: bool, deadline: float) -> Command:
    """Tiles, their times and poster candidates; of key frames alone, or of all pictures."""
    options: dict[str, Any] = {**film.input_options, "copyts": None, "reinit_filter": 0}
    if key_frames:
        options["skip_frame"] = "nokey"
    source = ffmpeg.input(film.url, **options)[str(film.stream)]
    branches = source.filter_multi_output("split", 2)
    for_tiles, for_poster = branches.stream(0), branches.stream(1)
    tiles = _shown(_every(for_tiles, film, layout.interval), film, *_tile_size(layout))
    step = film.duration / CANDIDATES if film.duration else _UNKNOWN_STEP
    posters = _shown(_every(for_poster, film, step), film, *poster_size(film))
    times = {"stats_enc_pre": SINK + TIMES, "stats_enc_pre_fmt": _TIMES_FORMAT}
    graph = ffmpeg.merge_outputs(
        _raw(tiles, TILES, layout.tiles, times), _raw(posters, POSTERS, CANDIDATES, {})
    )
    return Command(arguments=tuple(graph.get_args()), deadline=deadline, niceness=BACKGROUND)


def _tile_size(layout: Layout) -> tuple[int, int]:
    return layout.tile_width, layout.tile_height


def _every(stream: Any, film: Film, step: Fraction) -> Any:
    """The first picture of each ``step`` seconds."""
    zero, seconds = float(film.zero), float(step)
    bucket = f"floor((t-{zero!r})/{seconds!r})"
    before = f"floor((prev_selected_t-{zero!r})/{seconds!r})"
    return stream.filter("select", f"isnan(prev_selected_t)+gt({bucket},{before})")


def _shown(stream: Any, film: Film, width: int, height: int) -> Any:
    """As a viewer sees it, at that size. Only one field of an interlaced picture is shown: its
    neighbours in time, which a deinterlacer needs, may not have been decoded."""
    if film.interlaced:
        stream = stream.filter("field", type="top")
    scaling: dict[str, Any] = {"w": width, "h": height, "flags": "bicubic+accurate_rnd"}
    if not film.tone_map:
        scaling["in_color_matrix"] = _matrix(film)
    stream = stream.filter("scale", **scaling).filter("setsar", 1)
    if film.tone_map:
        stream = _tone_mapped(stream, film.tone_map)
    return stream.filter("format", "rgb24")


def _matrix(film: Film) -> str:
    """Sources that do not say follow the custom of their size."""
    guess = "bt709" if film.height >= _HIGH_DEFINITION else "bt601"
    return film.color_matrix if film.color_matrix in _MATRICES else guess


def _tone_mapped(stream: Any, transfer: str) -> Any:
    # zscale refuses odd sizes where colour is subsampled.
    linear = {"t": "linear", "npl": _WHITE, "tin": transfer, "pin": "bt2020", "min": "bt2020nc"}
    return (
        stream.filter("format", "yuv444p10le")
        .filter("zscale", **linear)
        .filter("format", "gbrpf32le")
        .filter("zscale", p="bt709")
        .filter("tonemap", "mobius", desat=0)
        .filter("zscale", t="bt709", m="bt709", r="tv")
    )


def _raw(stream: Any, sink: str, frames: int, more: Mapping[str, str]) -> Any:
    return ffmpeg.output(
        stream,
        SINK + sink,
        format="rawvideo",
        vcodec="rawvideo",
        pix_fmt="rgb24",
        fps_mode="passthrough",
        **{"frames:v": frames, **more},
    )
