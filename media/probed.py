"""What ffprobe says of a source, frozen. Times are seconds, rates exact fractions."""

from __future__ import annotations

from fractions import Fraction

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """An immutable set of facts."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class VideoStream(Facts):
    """One picture track."""

    index: int
    codec: str
    profile: str | None = None
    #: Coded size; ``rotation`` and ``sample_aspect`` make the displayed one.
    width: int
    height: int
    #: Width of a pixel by its height; 1 where the container does not say.
    sample_aspect: Fraction = Fraction(1)
    #: Clockwise degrees to turn the picture for display: 0, 90, 180 or 270.
    rotation: int = 0
    pixel_format: str | None = None
    bit_depth: int = 8
    interlaced: bool = False
    color_range: str | None = None
    color_space: str | None = None
    color_primaries: str | None = None
    color_transfer: str | None = None
    #: Average rate over the file, and the lowest that hits every timestamp; None where unknown.
    average_rate: Fraction | None = None
    base_rate: Fraction | None = None
    time_base: Fraction = Fraction(1, 1000)
    start: float | None = None
    duration: float | None = None
    frames: int | None = None
    #: A cover picture, not a film.
    attached_picture: bool = False
    default: bool = False


class AudioStream(Facts):
    """One sound track."""

    index: int
    codec: str
    channels: int
    layout: str | None = None
    sample_rate: int
    language: str | None = None
    title: str | None = None
    start: float | None = None
    duration: float | None = None
    default: bool = False


class SubtitleStream(Facts):
    """One text or bitmap caption track."""

    index: int
    codec: str
    language: str | None = None
    default: bool = False
    forced: bool = False


class Timing(Facts):
    """What the first packets of the main picture track tell beyond the header."""

    #: Presentation time of the first displayed picture, in the source's own clock.
    first_picture: Fraction
    #: Seconds between the sampled key frames, the longest; None with fewer than two.
    longest_gop: float | None = None
    #: Seconds: no sampled picture is shown further ahead of one that is decoded before it; None
    #: where the sample is too short to tell.
    reordering: float | None = None
    #: Whether sampled pictures lie on an even grid.
    constant_rate: bool = True
    #: Whether they do but for a hole or two: damage, or a still; the rate is that of the grid.
    holed: bool = False
    #: The rate the sampled pictures have; None with fewer than two.
    rate: Fraction | None = None
    #: Whether packets lack presentation times, so that a picture's time after a seek may differ
    #: from the one it has when all is decoded from the start.
    timestamps_missing: bool = False
    #: When the last picture that can be read is shown, where that is clearly before the stated end.
    breaks_off: Fraction | None = None
    #: Whether that was found out.
    seen_to_end: bool = False
    #: Bytes of film behind the last packet that can be read, in files that state no length.
    unread: int = 0


class Probe(Facts):
    """One source."""

    container: str
    duration: float | None
    #: Whether ``duration`` is a guess from the bit rate.
    estimated: bool = False
    start: float | None
    #: Bytes.
    size: int | None
    bit_rate: int | None
    #: Whether a key-frame index lets a seek land exactly on a key frame.
    indexed: bool
    video: tuple[VideoStream, ...] = ()
    audio: tuple[AudioStream, ...] = ()
    subtitles: tuple[SubtitleStream, ...] = ()
    #: Picture and sound tracks that nothing could decode, and that are not among those above.
    undecodable: int = 0
    timing: Timing | None = None
    encrypted: bool = False

    @property
    def main_video(self) -> VideoStream | None:
        """The film: the default picture track, else the largest; no cover. ``timing`` is its."""
        films = [stream for stream in self.video if not stream.attached_picture]
        return max(films, key=lambda film: (film.default, film.width * film.height), default=None)
