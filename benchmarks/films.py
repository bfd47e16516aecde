"""Sources to measure with: real films where there are any, and longer ones made by stream copy."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from media.binaries import find_tools

#: Names below the media folder.
BENCH_CLIP = "valid/bbb_1080p25_64s.ts"

#: A film for machines without the media folder: motion, detail and grain, 1080p25, with sound.
_MADE = (
    *("-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=25:duration=64"),
    *("-f", "lavfi", "-i", "sine=frequency=220:sample_rate=48000:duration=64"),
    *("-vf", "noise=alls=12:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-g", "50"),
    *("-b:v", "6M", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k"),
)


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

    def longer(self, seconds: float, suffix: str = ".mp4") -> Path:
        """``clip`` repeated by stream copy and cut to so many seconds; the suffix says as what."""
        source = self.clip()
        copied = ("-c", "copy", "-t", f"{seconds:g}")
        flags = ("-movflags", "+faststart") if suffix == ".mp4" else ()
        adts = ("-bsf:a", "aac_adtstoasc") if suffix == ".mp4" else ()
        loops = ("-stream_loop", str(int(seconds // 60)), "-i", str(source))
        return self._made(f"film-{seconds:g}s{suffix}", (*loops, *copied, *adts, *flags))

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
