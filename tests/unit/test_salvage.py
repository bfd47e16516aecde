"""What is said of damage, and what is worth publishing."""

from __future__ import annotations

from fractions import Fraction

import pytest

from media.probed import AudioStream, Probe, Timing, VideoStream
from tests.unit.test_commands import plan
from transcoder.damage import Damage, Medium, merged
from transcoder.errors import Unplayable
from transcoder.look import Look
from transcoder.plan import Part, PartKind, Plan
from transcoder.salvage import salvage
from transcoder.segments import Receipt, Segment, TrackSegments
from transcoder.sounds import SoundMeter

PICTURES, SOUND = Medium.PICTURES, Medium.SOUND


def spot(begin: float, end: float, medium: Medium = PICTURES) -> Damage:
    return Damage(medium=medium, begin=begin, end=end)


def receipt(part: str, *damage: Damage) -> Receipt:
    return Receipt(part=part, run="r", host="h", damage=damage)


def track(name: str, seconds: float) -> TrackSegments:
    whole = Segment(path=f"1/r/{name}", size=1, start=0, ticks=round(seconds * 1000), keyframes=())
    return TrackSegments(
        track=name,
        codec="avc1",
        timescale=1000,
        delay=0,
        init_path="i",
        init_hash="h",
        segments=(whole,),
    )


def film(told: float = 60.0, **timing: object) -> Plan:
    stream = VideoStream(
        index=2, codec="h264", width=1280, height=720, start=1.43, duration=told, default=True
    )
    times = Timing.model_validate({"first_picture": Fraction(143, 100), **timing})
    found = plan().probe.model_copy(
        update={"duration": told, "start": 1.43, "video": (stream,), "timing": times}
    )
    return plan().model_copy(update={"probe": Probe.model_validate(found.model_dump())})


def tracks(pictures: float, sound: float) -> dict[str, TrackSegments]:
    made = {name: track(name, pictures) for name in ("360p", "180p") if pictures}
    return made | ({"audio-0": track("audio-0", sound)} if sound else {})


def said(*receipts: Receipt, told: float = 60.0, pictures: float = 60.0) -> list[tuple[str, str]]:
    return list(salvage(film(told), tracks(pictures, 60.0), receipts)[1])


def test_nothing_is_said_of_a_sound_film() -> None:
    assert said(receipt("v00000"), receipt("a0-rest")) == []


def test_the_words_do_not_depend_on_how_the_film_was_cut() -> None:
    whole = said(receipt("v00000", spot(6.0, 14.0)))
    text = "The source is damaged: pictures are missing or spoilt at 0:06.0–0:14.0."
    assert whole == [("damaged_pictures", text)]
    pieces = [receipt("v2", spot(9.96, 14.0)), receipt("v1", spot(6.0, 10.0))]
    assert said(*pieces) == whole
    assert said(*pieces, *reversed(pieces)) == whole, "told twice by parts that were tried again"


def test_many_spots_are_not_all_named() -> None:
    ((code, text),) = said(receipt("a", *(spot(3.0 * n, 3.0 * n + 0.1, SOUND) for n in range(20))))
    assert code == "damaged_sound"
    assert text.count("–") == 8
    assert "0:00.0–0:00.1, " in text
    assert text.endswith("12 more places and 0:57.0–0:57.1.")


def test_hours_are_told_as_hours() -> None:
    made = tracks(7200, 7200)
    words = salvage(film(7200), made, [receipt("v", spot(3723.0, 3724.5))])[1]
    assert words[0][1].endswith("1:02:03.0–1:02:04.5.")


def test_damage_behind_the_end_is_none() -> None:
    ((code, _),) = said(receipt("v", spot(40.0, 60.0)), pictures=30.0)
    assert code == "cut_short"


def test_a_film_that_ends_early_says_when() -> None:
    ((code, text),) = said(receipt("v"), pictures=31.25)
    assert code == "cut_short"
    assert "lasts 1:00.0" in text
    assert text.endswith("ends at 0:31.2.")
    assert said(receipt("v"), pictures=59.5) == [], "headers round"


def test_a_film_that_goes_on_for_too_long_says_where_it_is_cut_off() -> None:
    plan = film(1.0).model_copy(update={"longest": 62.5})
    [(code, text)] = salvage(plan, tracks(62.52, 3.0), ())[1]
    assert code == "cut_off"
    assert text.endswith("it is cut off at 1:02.5.")
    assert [code for code, _ in salvage(plan, tracks(2.0, 62.45), ())[1]] == ["cut_off"]
    assert salvage(plan, tracks(62.0, 62.0), ())[1] == ()
    # One that is as long as films may be, and says so, is whole.
    assert salvage(film(62.5).model_copy(update={"longest": 62.5}), tracks(62.5, 62.5), ())[1] == ()


def test_a_film_of_fragments_says_when_not_all_of_it_can_be_read() -> None:
    made = tracks(8.0, 8.0)
    ((code, text),) = salvage(film(8.0, unread=51_424), made, [])[1]
    assert code == "cut_short"
    assert text.endswith("ends at 0:08.0, but 51424 bytes of it lie behind that.")


def with_sound(told: float | None, container: str = "mov") -> Plan:
    made = film()
    (track,) = made.audio
    stream = AudioStream(
        index=track.stream, codec="aac", channels=2, sample_rate=48_000, duration=told
    )
    probe = made.probe.model_copy(update={"audio": (stream,), "container": container})
    track = track.model_copy(update={"duration": told or 60.0})
    return made.model_copy(update={"probe": probe, "audio": (track,)})


def test_sound_that_ends_early_is_nothing_unusual() -> None:
    assert salvage(with_sound(20.0), tracks(60.0, 20.0), [])[1] == ()
    assert salvage(with_sound(None), tracks(60.0, 20.0), [])[1] == (), "nothing stated"


def test_sound_that_ends_before_it_says_is_damaged() -> None:
    ((code, text),) = salvage(with_sound(60.0), tracks(60.0, 52.1), [])[1]
    assert code == "damaged_sound"
    assert text.endswith("sound is missing at 0:52.1–1:00.0.")
    assert salvage(with_sound(60.0), tracks(60.0, 59.3), [])[1] == (), "headers round"


def test_sound_that_ends_with_a_film_that_breaks_off_is_not_told_apart() -> None:
    words = salvage(with_sound(60.0), tracks(30.0, 30.0), [])[1]
    assert [code for code, _ in words] == ["cut_short"]


def test_of_a_container_without_times_it_is_said_what_a_loss_does() -> None:
    words = salvage(with_sound(60.0, "avi"), tracks(60.0, 48.0), [])[1]
    assert [code for code, _ in words] == ["damaged_sound", "out_of_place"]
    assert salvage(with_sound(60.0, "avi"), tracks(60.0, 60.0), [])[1] == ()


def test_of_an_avi_that_breaks_off_the_header_knows_how_long_it_was() -> None:
    made = with_sound(36.0, "avi")
    (stream,) = made.probe.video
    cut = stream.model_copy(
        update={"duration": 36.0, "frames": 36_000, "time_base": Fraction(1, 600)}
    )
    probe = made.probe.model_copy(update={"duration": 36.0, "video": (cut,)})
    made = made.model_copy(update={"probe": probe})
    (code, text), (also, _) = salvage(made, tracks(36.0, 36.0), [])[1]
    assert (code, also) == ("cut_short", "out_of_place")
    assert "lasts 1:00.0" in text


def test_a_film_whose_first_pictures_are_lost_says_so() -> None:
    late = film()
    assert late.video is not None
    video = late.video.model_copy(update={"zero": Fraction(643, 100)})
    ((code, text),) = salvage(late.model_copy(update={"video": video}), tracks(55.0, 55.0), [])[1]
    assert code == "late_start"
    assert "5.0 s" in text


def test_sound_before_the_first_picture_is_said_to_be_left_out() -> None:
    made = with_sound(60.0)
    (sound,) = made.probe.audio
    for start, expected in ((0.43, ["late_start"]), (0.9, []), (1.43, [])):
        early = sound.model_copy(update={"start": start})
        probe = made.probe.model_copy(update={"audio": (early,)})
        told = salvage(made.model_copy(update={"probe": probe}), tracks(60.0, 60.0), [])[1]
        assert [code for code, _ in told] == expected


def test_pictures_of_which_none_can_be_decoded_are_left_out() -> None:
    left, words = salvage(film(), tracks(0.0, 60.0), [receipt("v", spot(0.0, 60.0))])
    assert left.video is None
    assert [code for code, _ in words] == ["picture_left_out"]


@pytest.mark.parametrize(
    ("told", "pictures", "sound", "damage", "kept"),
    [
        (60.0, 0.0, 0.0, (), False),
        (60.0, 0.9, 0.0, (), False),
        (60.0, 1.0, 0.0, (), True),
        (60.0, 0.5, 1.5, (), True),
        (60.0, 60.0, 0.0, (spot(0.0, 59.5),), False),
        (60.0, 60.0, 60.0, (spot(0.0, 60.0),), True),
        (60.0, 60.0, 60.0, (spot(0.0, 60.0), spot(0.0, 59.9, SOUND)), False),
        (0.04, 0.04, 0.0, (), True),
        (0.5, 0.2, 0.0, (), False),
    ],
)
def test_a_film_is_kept_where_a_second_of_it_plays(
    told: float, pictures: float, sound: float, damage: tuple[Damage, ...], kept: bool
) -> None:
    made = tracks(pictures, sound)
    if kept:
        salvage(film(told), made, [receipt("v", *damage)])
    else:
        with pytest.raises(Unplayable) as refused:
            salvage(film(told), made, [receipt("v", *damage)])
        assert refused.value.code == "damaged_media"


def test_spots_a_second_apart_are_one() -> None:
    spots = [spot(5.0, 6.0), spot(1.0, 2.0), spot(2.9, 3.0), spot(1.5, 1.6)]
    assert [(s.begin, s.end) for s in merged(spots)] == [(1.0, 3.0), (5.0, 6.0)]


CHUNK = Part(id="v1", kind=PartKind.VIDEO, tracks=("360p",), first=300, count=300)


def looked(*pictures: str) -> list[tuple[float, float]]:
    video = plan(rate=Fraction(25), zero=Fraction(2)).video
    assert video is not None
    look = Look(video, CHUNK)
    for word in pictures:
        time = word.removesuffix("!")
        if word.endswith("!"):
            look.feed(b"[vist#0:0/h264 @ 0x5] [dec:h264 @ 0x6] corrupt decoded frame\n")
        look.feed(
            b"[vist#0:0/h264 @ 0x5] [dec:h264 @ 0x6] decoder -> pts:%d pts_time:1 pkt_dts:1 "
            b"duration:1 keyframe:0 frame_type:3 time_base:1/100\n" % round(float(time) * 100)
        )
        look.feed(b"[in#0] demuxer -> ist_index:0:0 type:video next_dts:NOPTS\n")
    return [(s.begin, s.end) for s in look.damage()]


def test_a_second_look_tells_which_pictures_were_mended() -> None:
    assert looked("14", "14.04!", "14.08", "14.12!", "14.16") == [(12.04, 12.16)]
    assert looked("14", "14.04", "14.08") == []


def test_a_second_look_tells_of_holes() -> None:
    assert looked("15", "15.04", "18.0", "18.04") == [(13.08, 16.0)]


def test_a_second_look_tells_only_of_its_part() -> None:
    assert looked("13.9!", "13.94", "14.04", "25.92!", "25.96", "26.0!", "26.04!") == [
        (12.08, 23.96)
    ]
    assert looked("13.9!", "13.94", "13.98", "14.02") == []


def heard(meter: SoundMeter, *lines: tuple[int, float | None]) -> list[tuple[float, float]]:
    for order, (samples, decoded) in enumerate(lines):
        time = b"-9223372036854775808 0/0" if decoded is None else b"%d 1/1000" % (decoded * 1000)
        meter.feed(b"%d %d 1/48000 %s\n" % (order, samples, time))
    return [(s.begin, pytest.approx(s.end)) for s in meter.gaps()]


def meter(shift: int = 0, start: float = 1.43) -> SoundMeter:
    made = film()
    (audio,) = made.audio
    stream = {"index": audio.stream, "codec": "aac", "channels": 2, "sample_rate": 48_000}
    found = made.probe.model_dump() | {"audio": ({**stream, "start": start},)}
    made = made.model_copy(update={"probe": Probe.model_validate(found)})
    return SoundMeter(made, audio, shift)


def test_silence_that_was_put_in_is_a_gap() -> None:
    gap = heard(meter(), (0, 1.43), (48_000, 5.43), (49_024, 5.43), (50_048, None), (192_000, 5.43))
    assert gap == [(1.0, 4.0)]


def test_sound_that_begins_late_is_no_gap() -> None:
    assert heard(meter(start=6.43), (0, 6.43), (1024, 6.43)) == []
    assert heard(meter(start=6.43), (0, 8.43)) == [(5.0, 7.0)]


def test_a_run_that_goes_on_tells_the_films_time() -> None:
    assert heard(meter(shift=480_000), (0, 11.43), (48_000, 13.43)) == [(11.0, 12.0)]


def test_a_drifting_clock_is_no_gap() -> None:
    assert heard(meter(), (0, 1.43), (48_000, 2.8)) == []
