"""A profile: what renditions are made and how, as data in a TOML file."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from transcoder.errors import ProfileError

__all__ = [
    "PRESETS",
    "AudioProfile",
    "Profile",
    "ProfileError",
    "RungProfile",
    "VideoProfile",
    "load_profile",
]

#: Presets of x264, fastest first.
PRESETS: Final = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)

_Positive = Annotated[int, Field(gt=0)]
_Seconds = Annotated[float, Field(gt=0, le=3600)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RungProfile(_Table):
    """One rung, by displayed height. Rates are bits per second at up to 30 frames a second."""

    height: int = Field(ge=2, le=8640, multiple_of=2)
    crf: float = Field(ge=0, le=51)
    #: The same where it is the highest rung that a film gets; ``crf`` where that is not said.
    best_crf: float | None = Field(default=None, ge=0, le=51)
    maxrate: _Positive
    bufsize: _Positive


class VideoProfile(_Table):
    """How pictures are encoded. Lengths of time are seconds."""

    preset: str = "veryfast"
    max_rate: int = Field(default=60, ge=10, le=240)
    gop: _Seconds = 2.0
    segment: _Seconds = 6.0
    chunk_shortest: _Seconds = 6.0
    chunk_longest: _Seconds = 30.0
    #: Whether a source well between two rungs gets a rung of its own size on top.
    own_size: bool = False
    rungs: tuple[RungProfile, ...] = Field(min_length=1, max_length=12)

    @property
    def gops(self) -> int:
        """Groups of pictures in a segment."""
        return round(self.segment / self.gop)

    @model_validator(mode="after")
    def _agrees(self) -> VideoProfile:
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}")
        if self.gops < 1 or abs(self.gops * self.gop - self.segment) > 1e-6:
            raise ValueError("segment must be a whole number of times gop")
        if self.chunk_longest < self.chunk_shortest:
            raise ValueError("chunk_longest must not be less than chunk_shortest")
        heights = [rung.height for rung in self.rungs]
        if len(set(heights)) < len(heights):
            raise ValueError("two rungs have the same height")
        return self


class AudioProfile(_Table):
    """How sound is encoded. Rates are bits per second."""

    stereo: int = Field(default=128_000, ge=16_000, le=512_000)
    mono: int = Field(default=64_000, ge=16_000, le=256_000)
    max_tracks: int = Field(default=8, ge=1, le=32)


class Profile(_Table):
    """Everything a source is encoded by."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    video: VideoProfile
    audio: AudioProfile = AudioProfile()


def load_profile(path: Path | None = None) -> Profile:
    """The profile in the file, or the package's default. Raises :class:`ProfileError`."""
    shown = str(path or "the default profile")
    try:
        text = path.read_text(encoding="utf-8") if path else _default()
        return Profile.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"the profile {shown} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"the profile {shown} is not TOML: {error}") from error
    except ValidationError as error:
        raise ProfileError(f"the profile {shown} will not do: {_explain(error)}") from error


def _default() -> str:
    return (resources.files("transcoder") / "profiles" / "default.toml").read_text("utf-8")


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {_reason(problem['type'], problem)}"
        for problem in error.errors(include_url=False, include_input=False)
    )


def _reason(kind: str, problem: object) -> str:
    if kind == "extra_forbidden":
        return "there is no such key"
    message = problem["msg"] if isinstance(problem, dict) else ""
    return str(message).removeprefix("Value error, ")
