"""The MPD as a golden string, and its time line."""

from __future__ import annotations

from fractions import Fraction
from xml.etree.ElementTree import fromstring

from media.probed import Probe
from transcoder.dash import mpd
from transcoder.plan import AudioPlan, Plan, Rung, VideoPlan
from transcoder.segments import Segment, Thumbnails, TrackSegments

NS = {"d": "urn:mpeg:dash:schema:mpd:2011"}

GOLDEN = """\
<?xml version="1.0" encoding="utf-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-main:2011" \
type="static" mediaPresentationDuration="PT14.400000S" maxSegmentDuration="PT6.016000S" \
minBufferTime="PT6S">
  <Period id="0" start="PT0S">
    <AdaptationSet contentType="video" mimeType="video/mp4" segmentAlignment="true" \
startWithSAP="1" maxWidth="640" maxHeight="360" id="1">
      <Representation id="v360" codecs="avc1.64001e" bandwidth="8000" width="640" height="360" \
frameRate="25" sar="1:1">
        <SegmentList timescale="25000">
          <Initialization sourceURL="1/v360-init.mp4" />
          <SegmentTimeline>
            <S t="0" d="50000" />
            <S t="50000" d="150000" r="1" />
            <S t="350000" d="10000" />
          </SegmentTimeline>
          <SegmentURL media="1/run/v360-0.m4s" />
          <SegmentURL media="1/run/v360-1.m4s" />
          <SegmentURL media="1/run/v360-2.m4s" />
          <SegmentURL media="1/run/v360-3.m4s" />
        </SegmentList>
      </Representation>
    </AdaptationSet>
    <AdaptationSet contentType="audio" mimeType="audio/mp4" segmentAlignment="true" \
startWithSAP="1" lang="fr" id="2">
      <Label>French</Label>
      <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main" />
      <Representation id="audio-0" codecs="mp4a.40.2" bandwidth="8000" audioSamplingRate="48000">
        <AudioChannelConfiguration \
schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2" />
        <SegmentList timescale="48000">
          <Initialization sourceURL="1/audio-0-init.mp4" />
          <SegmentTimeline>
            <S t="0" d="287744" />
            <S t="287744" d="288768" />
          </SegmentTimeline>
          <SegmentURL media="1/run/audio-0-0.m4s" />
          <SegmentURL media="1/run/audio-0-1.m4s" />
        </SegmentList>
      </Representation>
    </AdaptationSet>
    <AdaptationSet contentType="image" mimeType="image/jpeg" id="3">
      <SegmentTemplate media="storyboard_$Number$.jpg" timescale="1000" duration="50000" \
startNumber="0" />
      <Representation id="storyboard" bandwidth="16000" width="1200" height="675">
        <EssentialProperty schemeIdUri="http://dashif.org/guidelines/thumbnail_tile" value="5x5" />
      </Representation>
    </AdaptationSet>
  </Period>
</MPD>
"""


def track(name: str, codec: str, timescale: int, ticks: list[int], delay: int = 0) -> TrackSegments:
    segments, start = [], 0
    for number, length in enumerate(ticks):
        path = f"1/run/{name}-{number}.m4s"
        size = 1000 * length // timescale
        segments.append(Segment(path=path, size=size, start=start, ticks=length))
        start += length
    return TrackSegments(
        track=name,
        codec=codec,
        timescale=timescale,
        delay=delay,
        init_path=f"1/{name}-init.mp4",
        init_hash="",
        segments=tuple(segments),
    )


def plan() -> Plan:
    rung = Rung(name="v360", width=640, height=360, crf=23, maxrate=1, bufsize=1, level="3")
    video = VideoPlan(
        stream=0,
        zero=Fraction(0),
        rate=Fraction(25),
        gop=50,
        segment=150,
        frames=360,
        preroll=0,
        constant_rate=True,
        width=640,
        height=360,
        preset="veryfast",
        rungs=(rung.model_copy(update={"name": "v720", "height": 720}), rung),
    )
    sound = AudioPlan(
        name="audio-0",
        stream=1,
        zero=Fraction(0),
        language="fra",
        channels=2,
        sample_rate=48000,
        bit_rate=1,
        default=True,
        segment=282,
        duration=12,
    )
    probe = Probe(container="mp4", duration=12, start=0, size=None, bit_rate=None, indexed=True)
    return Plan(
        profile="default",
        probe=probe,
        target_duration=6,
        checkpoint=4,
        video=video,
        audio=(sound,),
        parts=(),
        lanes=(),
    )


TRACKS = {
    "v360": track("v360", "avc1.64001e", 25000, [50000, 150000, 150000, 10000]),
    "audio-0": track("audio-0", "mp4a.40.2", 48000, [288768, 288768], delay=1024),
}


def test_the_manifest_of_a_film() -> None:
    sheets = Thumbnails(
        width=1200, height=675, columns=5, rows=5, interval=Fraction(2), largest=100_000
    )
    assert mpd(plan(), TRACKS, sheets) == GOLDEN


def test_the_manifest_is_the_same_every_time() -> None:
    assert mpd(plan(), TRACKS, None) == mpd(plan(), dict(reversed(TRACKS.items())), None)


def test_sound_without_pictures() -> None:
    root = fromstring(mpd(plan(), {"audio-0": TRACKS["audio-0"]}, None))
    sets = root.findall("d:Period/d:AdaptationSet", NS)
    assert [s.get("contentType") for s in sets] == ["audio"]
    assert root.get("mediaPresentationDuration") == "PT12.010667S"


def test_the_time_line_is_without_gaps() -> None:
    root = fromstring(mpd(plan(), TRACKS, None))
    for timeline in root.iter(f"{{{NS['d']}}}SegmentTimeline"):
        expected = 0
        for entry in timeline:
            assert int(entry.get("t", "-1")) == expected
            expected += int(entry.get("d", "0")) * (1 + int(entry.get("r", "0")))
