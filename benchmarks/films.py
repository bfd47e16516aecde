"""Sources to measure with: real films where there are any, and longer ones made by stream copy."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from media.binaries import find_tools

#: Names below the media folder.
BENCH_CLIP = "valid/bbb_1080p25_64s.ts"

#: A film for machines without the media folder: motion, detail and grain, 1080p25, with sound.
_MADE = (
    *("-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=25:duration=64"),
    *("-f", "lavfi", "-i", "sine=frequency=220:sample_rate=48000:duration=64"),
    *("-vf", "noise=alls=12:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-g", "48"),
    *("-b:v", "6M", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k"),
)


#: What is repeated: 33 groups of 48 pictures and as much sound, to the sample, so that no picture
#: is missing where one begins anew. A farm takes a hole for damage, and encodes around it twice.
_PICTURES: Final = 1584
_SOUNDS: Final = 2970
_SECONDS: Final = 63.36


@dataclass(frozen=True, slots=True)
class Films:
    """``media`` is the folder of real films, if there is one; ``scratch`` is for what is made."""

    media: Path | None
    scratch: Path

    def clip(self) -> Path:
        """About 64 s of 1080p25 as MPEG-TS, with sound."""
        if self.media is not None:
            return self.media / BENCH_CLIP
        return self._made("made-64s.ts", _MADE)

    def longer(self, seconds: float, suffix: str = ".mp4", *, index_first: bool = True) -> Path:
        """``clip`` repeated by stream copy and cut to so many seconds; the suffix says as what.

        An MP4 has its index in front, or behind everything else.
        """
        flags = ("-movflags", "+faststart") if suffix == ".mp4" and index_first else ()
        name = f"film-{seconds:g}s{'' if index_first else '-index-last'}{suffix}"
        repeated = ("-f", "concat", "-i", str(self._repeated(seconds)), "-map", "0")
        return self._made(name, (*repeated, "-c", "copy", "-t", f"{seconds:g}", *flags))

    def large(self, seconds: float) -> Path:
        """The clip's first seconds scaled up to 3840 × 2160; made quickly, so with many bits."""
        size = ("-vf", "scale=3840:2160", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "20")
        video = (*size, "-g", "50", "-pix_fmt", "yuv420p")
        source = ("-i", str(self.clip()), "-t", f"{seconds:g}")
        return self._made(f"large-{seconds:g}s.mp4", (*source, *video, "-c:a", "aac", "-ac", "2"))

    def small(self, seconds: float) -> Path:
        """The clip again and again with tiny pictures and its own sound."""
        video = ("-vf", "scale=320:180", "-c:v", "libx264", "-preset", "ultrafast", "-g", "250")
        repeated = ("-f", "concat", "-i", str(self._repeated(seconds)))
        cut = ("-t", f"{seconds:g}", "-c:a", "copy")
        return self._made(f"small-{seconds:g}s.mp4", (*repeated, *cut, *video))

    def _repeated(self, seconds: float) -> Path:
        """A list for ffmpeg's ``concat``: the clip as often as it takes."""
        source, copied = ("-i", str(self.clip())), ("-c", "copy")
        pictures = self._made(
            "pictures.mp4", (*source, "-map", "0:v", *copied, "-frames:v", str(_PICTURES))
        )
        adts = ("-bsf:a", "aac_adtstoasc", "-frames:a", str(_SOUNDS))
        sound = self._made("sound.mp4", (*source, "-map", "0:a", *copied, *adts))
        both = ("-i", str(pictures), "-i", str(sound), "-map", "0", "-map", "1")
        clip = self._made("clip.mp4", (*both, *copied))
        times = ceil(seconds / _SECONDS)
        path = self.scratch / f"clip-{times}.txt"
        path.write_text(
            "ffconcat version 1.0\n" + f"file {clip.name}\nduration {_SECONDS}\n" * times
        )
        return path

    def _made(self, name: str, arguments: tuple[str, ...]) -> Path:
        path = self.scratch / name
        if not path.exists():
            self.scratch.mkdir(parents=True, exist_ok=True)
            half = path.with_name(f"half-{name}")
            ffmpeg = str(find_tools().ffmpeg)
            words = (ffmpeg, "-nostdin", "-v", "error", "-y", *arguments, str(half))
            subprocess.run(words, check=True)
            half.replace(path)
        return path
