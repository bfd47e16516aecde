"""Cutting a film's work into parts, and ordering them into lanes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Final

from transcoder.cost import audio_cost, video_cost
from transcoder.plan import AAC_FRAME, PICTURES, AudioPlan, Lane, Part, PartKind, Rung, VideoPlan
from transcoder.profile import VideoProfile
from transcoder.timeline import Chunk, chunk_sizes, chunks

#: Rungs of the first head: those a player begins with.
_LOW: Final = 2

#: Seconds of sound and groups of pictures below which nothing is cut off for a head.
_TOO_SHORT: Final = 2

#: The pictures are made of key frames only, about one in so many.
_KEY_FRAMES: Final = 50

Parts = tuple[Part, ...]


def video_parts(
    video: VideoPlan, profile: VideoProfile, most: float, *, cuttable: bool
) -> tuple[Parts, Parts, tuple[Lane, ...]]:
    """Heads, what follows them, and the lanes. ``most`` seconds is the longest it may last."""
    if video.frames is None:
        whole = _stream_part(video, 0, first=0, most=most)
        names = tuple(rung.name for rung in video.rungs)
        return (), (whole,), (Lane(tracks=names, parts=(whole.id,)),)
    groups = _groups(video)
    pieces = _pieces(video, profile, cuttable=cuttable)
    heads = tuple(
        _part(video, order, rungs, Chunk(0, video.gop if pieces else None), head=order == 0)
        for order, rungs in enumerate(groups)
    )
    numbers = count(len(heads))
    if pieces and not cuttable:
        rest: Parts = (_stream_part(video, next(numbers), first=video.gop, most=most),)
    else:
        rest = tuple(_part(video, next(numbers), video.rungs, piece) for piece in pieces)
    lanes = tuple(
        Lane(
            tracks=tuple(rung.name for rung in rungs),
            parts=(head.id, *(part.id for part in rest)),
        )
        for rungs, head in zip(groups, heads, strict=True)
    )
    return heads, rest, lanes


def audio_parts(audio: AudioPlan, order: int, most: float) -> Parts:
    """The head, which is one fragment, and the rest; only one part where that is all there is."""
    head = Part(
        id=f"a{order}-head",
        kind=PartKind.AUDIO,
        head=True,
        tracks=(audio.name,),
        cost=audio_cost(audio.fragment * AAC_FRAME / audio.sample_rate),
    )
    rest = head.model_copy(
        update={
            "id": f"a{order}-rest",
            "head": False,
            "stream": True,
            "cost": audio_cost(most if audio.duration is None else audio.duration),
        }
    )
    if audio.duration is None:
        return (rest,)
    if audio.duration * audio.sample_rate < _TOO_SHORT * audio.fragment * AAC_FRAME:
        return (head,)
    return (
        head.model_copy(update={"count": audio.fragment}),
        rest.model_copy(update={"first": audio.fragment}),
    )


def pictures_part(video: VideoPlan, most: float) -> Part:
    """The poster and the storyboards."""
    frames = video.frames if video.frames is not None else most * float(video.rate)
    cost = video_cost(video, video.rungs[-1:], frames / _KEY_FRAMES, 0)
    return Part(id=PICTURES, kind=PartKind.PICTURES, cost=cost)


def _groups(video: VideoPlan) -> tuple[tuple[Rung, ...], ...]:
    """The lowest rungs, which are made first, and the others."""
    low, high = video.rungs[-_LOW:], video.rungs[:-_LOW]
    return (low, high) if high else (low,)


def _pieces(video: VideoPlan, profile: VideoProfile, *, cuttable: bool) -> tuple[Chunk, ...]:
    sizes = chunk_sizes(profile, video.preroll if cuttable else 0.0)
    return chunks(video.frames or 0, video.gop, video.segment, sizes)


def _part(
    video: VideoPlan, order: int, rungs: Iterable[Rung], piece: Chunk, *, head: bool = False
) -> Part:
    rungs = tuple(rungs)
    frames = (video.frames or 0) - piece.first if piece.count is None else piece.count
    skipped = video.preroll * float(video.rate) if piece.first else 0.0
    return Part(
        id=f"v{order:05}",
        kind=PartKind.VIDEO,
        head=head,
        tracks=tuple(rung.name for rung in rungs),
        first=piece.first,
        count=piece.count,
        cost=video_cost(video, rungs, max(frames, 1), skipped),
    )


def _stream_part(video: VideoPlan, order: int, first: int, most: float) -> Part:
    frames = most * float(video.rate) if video.frames is None else video.frames
    part = _part(video, order, video.rungs, Chunk(first, None))
    cost = video_cost(video, video.rungs, frames, 0)
    return part.model_copy(update={"stream": True, "cost": cost})
