"""Where sound is missing: the silence that fills a gap hides it from the listener and the count.

ffmpeg writes a line for every frame given to the encoder (``-stats_enc_pre``), with the time of
the decoded sound in it. Where silence was put in, that time runs ahead of the frame's own.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from transcoder.damage import Damage, Medium, merged
from transcoder.frames import Lines, seconds
from transcoder.plan import AudioPlan, Plan

#: Seconds of silence that are worth a word. The clock of a sound drifts by less.
_SHORTEST: Final = 0.5


class SoundMeter(Lines):
    """A sink for the statistics of one run, whose first sample is that of number ``shift``."""

    def __init__(self, plan: Plan, audio: AudioPlan, shift: int) -> None:
        super().__init__()
        stream = next(each for each in plan.probe.audio if each.index == audio.stream)
        self._zero = audio.zero
        self._shift = Fraction(shift, audio.sample_rate)
        # A track may begin late: that is no gap.
        self._begin = 0.0 if stream.start is None else stream.start - float(audio.zero)
        self._gaps: list[Damage] = []

    def gaps(self) -> tuple[Damage, ...]:
        """Where, up to now, silence was put in for sound that is missing."""
        return merged(self._gaps)

    def take(self, words: list[bytes]) -> None:
        """One frame."""
        _, pts, base, source_pts, source_base = (*words, b"", b"", b"", b"", b"")[:5]
        written, decoded = seconds(pts, base), seconds(source_pts, source_base)
        if written is None or decoded is None:
            return
        begin, end = float(written + self._shift), float(decoded - self._zero)
        if end - begin > _SHORTEST and end - self._begin > _SHORTEST:
            begin = max(begin, self._begin)
            self._gaps.append(Damage(medium=Medium.SOUND, begin=begin, end=end))
