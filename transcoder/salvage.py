"""What is made of a damaged source, decided in one place. Pure.

Parts find damage by themselves and say in their receipts when it is, so that the words for it do
not depend on how the film was cut, on who made which part or on how often one was tried. The
order in which a source is judged stands in ``docs/salvage.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor
from typing import Final

from transcoder.damage import Damage, Medium, merged
from transcoder.errors import Unplayable
from transcoder.plan import Plan
from transcoder.segments import Receipt, TrackSegments

Warnings = tuple[tuple[str, str], ...]
Tracks = Mapping[str, TrackSegments]

#: Seconds that must play, or half of a film that is shorter than two of them. Nobody uploaded a
#: longer film for less than that; and one that is so short is all there ever was.
_WORTH: Final = 1.0

#: Spots that are named; of more, the first ones and the last.
_NAMED: Final = 8

#: Seconds by which a track may end before its stated end without a word.
_CUT: Final = 1.0

#: Seconds by which a track that is cut off may miss the mark: a sound frame or a picture.
_ROUNDED: Final = 0.1

#: Containers whose packets have no times of their own, but follow one another.
_UNTIMED: Final = frozenset({"avi"})
_OUT_OF_PLACE: Final = (
    "out_of_place",
    "Files of this kind state no times: what follows a lost piece plays that much too soon.",
)

_LACK: Final = {
    Medium.PICTURES: "pictures are missing or spoilt",
    Medium.SOUND: "sound is missing",
}


def salvage(plan: Plan, tracks: Tracks, receipts: Iterable[Receipt]) -> tuple[Plan, Warnings]:
    """What is published of the tracks that came out, and what is said about it.

    Pictures of which nothing could be decoded are left out where there is sound. Raises
    :class:`Unplayable` where too little plays for a person to want it.
    """
    damage = tuple(each for receipt in receipts for each in receipt.damage)
    pictures = _seconds(tracks, [rung.name for rung in plan.video.rungs] if plan.video else ())
    sound = _seconds(tracks, [track.name for track in plan.audio])
    lengths = {Medium.PICTURES: pictures, Medium.SOUND: sound}
    plays = max(_intact(pictures, damage, Medium.PICTURES), _intact(sound, damage, Medium.SOUND))
    if plays < min(_WORTH, (plan.probe.duration or max(pictures, sound)) / 2) or plays == 0:
        raise Unplayable(
            "damaged_media",
            f"The file is damaged: only {plays:.1f} s of it can be played.",
            "Play it locally; repair it, export it again or upload it once more.",
        )
    ends = (*_cut_short(plan, pictures, sound), *_cut_off(plan, max(pictures, sound)))
    lost = (*damage, *_sound_lost(plan, tracks, pictures))
    lasts = lengths | {Medium.SOUND: max(pictures, sound)}
    said = (*_late(plan), *ends, *_words(lost, lasts))
    if said and plan.probe.container in _UNTIMED:
        said = (*said, _OUT_OF_PLACE)
    if plan.video is None or pictures > 0:
        return plan, said
    text = "Not one picture of the film could be decoded. The sound is kept."
    left = plan.model_copy(update={"video": None})
    return left, (("picture_left_out", text), *_words(damage, lengths))


def _seconds(tracks: Tracks, names: Iterable[str]) -> float:
    """Length of the longest of the tracks."""
    return max((float(tracks[name].duration) for name in names if name in tracks), default=0.0)


def _intact(seconds: float, damage: Iterable[Damage], medium: Medium) -> float:
    """Seconds of a track outside of what is damaged."""
    spots = merged(_within(damage, seconds, medium), gap=0.0)
    return seconds - sum(spot.end - spot.begin for spot in spots)


def _within(damage: Iterable[Damage], seconds: float, medium: Medium) -> list[Damage]:
    return [
        each.model_copy(update={"end": min(each.end, seconds)})
        for each in damage
        if each.medium is medium and each.begin < seconds
    ]


def _words(damage: Sequence[Damage], lengths: Mapping[Medium, float]) -> Warnings:
    """One warning for each medium, whichever parts found the damage, and how often."""
    made: list[tuple[str, str]] = []
    for medium, seconds in lengths.items():
        spots = merged(_within(damage, seconds, medium))
        if spots:
            text = f"The source is damaged: {_LACK[medium]} at {_named(spots)}."
            made.append((f"damaged_{medium}", text))
    return tuple(made)


def _late(plan: Plan) -> Warnings:
    """What is said of a film whose first seconds have no picture, or none that can be decoded."""
    video = plan.video
    if video is None:
        return ()
    used = {video.stream, *(track.stream for track in plan.audio)}
    starts = [
        *(each.start for each in plan.probe.video if each.index in used),
        *(each.start for each in plan.probe.audio if each.index in used),
    ]
    zero = float(video.zero)
    late = zero - min((start for start in starts if start is not None), default=zero)
    if late < _CUT:
        return ()
    text = (
        f"The first {late:.1f} s have no picture that can be decoded; the film begins after them."
    )
    return (("late_start", text),)


def _cut_short(plan: Plan, pictures: float, sound: float) -> Warnings:
    """What is said of a film that ends before it says.

    Sound that ends early under pictures that do not is told apart.
    """
    told, ends = (_told_pictures(plan), pictures) if plan.video else (_told_sound(plan), sound)
    if plan.probe.timing is not None and (unread := plan.probe.timing.unread):
        text = (
            f"The source breaks off: what can be read ends at {_clock(round(ends * 10))}, but"
            f" {unread} bytes of it lie behind that."
        )
        return (("cut_short", text),)
    if told is None or ends > told - _CUT:
        return ()
    text = (
        f"The source breaks off: it says that it lasts {_clock(round(told * 10))}, but what can be"
        f" read ends at {_clock(round(ends * 10))}."
    )
    return (("cut_short", text),)


def _sound_lost(plan: Plan, tracks: Tracks, pictures: float) -> tuple[Damage, ...]:
    """Sound that is stated and did not come, where the pictures go on.

    A sound track may end early, but says so then.
    """
    stated = {each.index for each in plan.probe.audio if each.duration is not None}
    lost = []
    for track in plan.audio:
        if track.duration is None or track.name not in tracks or track.stream not in stated:
            continue
        begin = float(tracks[track.name].duration)
        end = min(track.duration, pictures)
        if end - begin > _CUT:
            lost.append(Damage(medium=Medium.SOUND, begin=begin, end=end))
    return tuple(lost)


def _cut_off(plan: Plan, ends: float) -> Warnings:
    """What is said of a film that goes on for longer than it may (:attr:`Plan.longest`)."""
    told = plan.probe.duration
    if ends < plan.longest - _ROUNDED or (told is not None and told >= plan.longest):
        return ()
    text = (
        "The source goes on for longer than it says, or than its size can hold: it is cut off at"
        f" {_clock(round(plan.longest * 10))}."
    )
    return (("cut_off", text),)


def _told_pictures(plan: Plan) -> float | None:
    """Seconds that the picture track is said to last; None where only the whole file's are told."""
    assert plan.video is not None
    zero, timing = float(plan.video.zero), plan.probe.timing
    stream = next(each for each in plan.probe.video if each.index == plan.video.stream)
    whole = plan.probe.duration
    if plan.probe.container in _UNTIMED and stream.frames is not None:
        # In ticks, whatever their name says; its duration is that of what is left.
        return float(stream.frames * stream.time_base)
    if stream.duration is not None and not plan.probe.estimated:
        told = stream.duration + (zero if stream.start is None else stream.start) - zero
        return told if whole is None else min(told, (plan.probe.start or 0.0) + whole - zero)
    if timing is None or timing.breaks_off is None or whole is None:
        return None
    return whole - zero


def _told_sound(plan: Plan) -> float | None:
    return max((track.duration for track in plan.audio if track.duration is not None), default=None)


def _named(spots: Sequence[Damage]) -> str:
    names = [f"{_clock(floor(spot.begin * 10))}–{_clock(ceil(spot.end * 10))}" for spot in spots]
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], f"{len(names) - _NAMED} more places", names[-1]]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def _clock(tenths: int) -> str:
    """A time as a player shows it, to a tenth of a second."""
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{tenths // 10:02}.{tenths % 10}"
    return f"{hours}:{minutes:02}:{tail}" if hours else f"{minutes}:{tail}"
