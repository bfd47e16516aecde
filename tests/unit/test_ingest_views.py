"""The video as the API shows it, names from outside, and the description of it all."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from ingest.options import UploadOptions, clean_content_type, clean_filename
from ingest.playables import cache_control, is_playable_path, media_type
from ingest.problems import RefusedError
from ingest.progress import weigh
from ingest.schema import as_openapi_30
from ingest.views import Progress, video_view
from jobs.parts import Priority
from jobs.records import AudioSummary, Problem, Rendition, SourceSummary, VideoRecord, VideoWarning
from jobs.states import State
from media.probed import Probe
from transcoder.plan import AudioPlan, Part, PartKind, Plan

BASE = "https://farm.example"
ID = "01kxq3w5m8aj7p9rt2vbcdefgh"
CREATED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
RECORD = VideoRecord(
    id=ID,
    state=State.PROCESSING,
    playable=True,
    filename="holiday.mov",
    size=73400320,
    source=SourceSummary(
        container="mov",
        duration=61.2,
        width=1080,
        height=1920,
        rotation=90,
        fps="30000/1001",
        video_codec="hevc",
        audio=(AudioSummary(codec="aac", channels=2, language="eng"),),
    ),
    renditions=(Rendition(name="720p", width=406, height=720, codec="h264"),),
    has_poster=True,
    created_at=CREATED,
    playable_at=CREATED,
)


def test_a_video_looks_as_the_contract_says() -> None:
    view = video_view(RECORD, Progress(0.42, {"720p": 0.4}), BASE)

    assert view.model_dump(mode="json") == {
        "id": ID,
        "status": "processing",
        "playable": True,
        "progress": 0.42,
        "filename": "holiday.mov",
        "size": 73400320,
        "profile": "default",
        "priority": "normal",
        "passthrough": None,
        "source": {
            "container": "mov",
            "duration": 61.2,
            "width": 1080,
            "height": 1920,
            "rotation": 90,
            "fps": "30000/1001",
            "video_codec": "hevc",
            "hdr": None,
            "audio": [{"codec": "aac", "channels": 2, "language": "eng"}],
        },
        "renditions": [
            {
                "name": "720p",
                "width": 406,
                "height": 720,
                "codec": "h264",
                "bandwidth": 0,
                "average_bandwidth": 0,
                "progress": 0.4,
            }
        ],
        "playback": {
            "hls": f"{BASE}/play/{ID}/master.m3u8",
            "dash": None,
            "poster": f"{BASE}/play/{ID}/poster.jpg",
            "storyboard": None,
        },
        "error": None,
        "warnings": [],
        "created_at": "2026-03-01T12:00:00Z",
        "playable_at": "2026-03-01T12:00:00Z",
        "ready_at": None,
    }


def test_a_ready_video_is_done_and_has_everything() -> None:
    record = RECORD.model_copy(update={"state": State.READY, "has_storyboard": True})

    view = video_view(record, Progress(), BASE)

    assert view.progress == 1.0
    assert view.renditions[0].progress == 1.0
    assert view.playback.dash == f"{BASE}/play/{ID}/manifest.mpd"
    assert view.playback.storyboard == f"{BASE}/play/{ID}/storyboard.vtt"


def test_an_errored_video_says_why() -> None:
    problem = Problem(code="unsupported_media", message="It is text.", hint="Send a video.")
    warned = (VideoWarning(code="damaged", message="damage at 3 s"),)
    changes = {"state": State.ERRORED, "playable": False, "error": problem, "warnings": warned}

    view = video_view(RECORD.model_copy(update=changes), Progress(), BASE)

    assert view.error == problem
    assert view.warnings == warned
    assert view.playback.hls is None
    assert view.progress == 0.0


PLAN = Plan(
    profile="default",
    probe=Probe(container="mov", duration=60.0, start=0.0, size=1, bit_rate=1, indexed=True),
    target_duration=6,
    checkpoint=2,
    audio=(
        AudioPlan(
            name="a0",
            stream=1,
            zero=Fraction(0),
            language=None,
            channels=2,
            sample_rate=48000,
            bit_rate=128000,
            default=True,
            segment=281,
            duration=60.0,
        ),
    ),
    parts=(
        Part(id="v00000", kind=PartKind.VIDEO, tracks=("720p", "360p"), cost=30.0),
        Part(id="v00001", kind=PartKind.VIDEO, tracks=("720p", "360p"), cost=60.0),
        Part(id="a0-rest", kind=PartKind.AUDIO, tracks=("a0",), stream=True, cost=8.0),
        Part(id="pictures", kind=PartKind.PICTURES, cost=2.0),
    ),
    lanes=(),
)


def test_progress_weighs_parts_by_their_cost() -> None:
    progress = weigh(PLAN, {"v00000": 1}, {"v00001": 0.5, "pictures": 1.0})

    assert progress.overall == pytest.approx(0.62)
    assert progress.renditions["720p"] == pytest.approx(60 / 90)
    assert progress.renditions["a0"] == 0.0


def test_a_stream_part_counts_by_its_checkpoints_and_is_never_quite_done() -> None:
    segments = 60 * 48000 / 1024 / 281

    assert weigh(PLAN, {"a0-rest": 2}, {}).renditions["a0"] == pytest.approx(4 / segments)
    assert weigh(PLAN, {"a0-rest": 2}, {"a0-rest": 0.7}).renditions["a0"] == 0.7
    assert weigh(PLAN, {"a0-rest": 900}, {}).renditions["a0"] == 0.99


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("holiday.mov", "holiday.mov"),
        ("/etc/../passwd", "passwd"),
        ("C:\\Films\\a b.mp4", "a b.mp4"),
        ("  tab\there\x00\x1b[31m.mp4 ", "tabhere[31m.mp4"),
        ("abc\u202egpj.exe", "abcgpj.exe"),
        ("e\u0301.mp4", "é.mp4"),
        ("日本語.mp4", "日本語.mp4"),
        ("x" * 400, "x" * 255),
        ("///", None),
        ("", None),
        (None, None),
    ],
)
def test_file_names_are_made_harmless(name: str | None, clean: str | None) -> None:
    assert clean_filename(name) == clean


def test_content_types_are_kept_where_they_are_some() -> None:
    assert clean_content_type("Video/MP4; codecs=x") == "video/mp4"
    assert clean_content_type("<script>") is None
    assert clean_content_type(None) is None


def test_a_form_completes_what_the_query_says() -> None:
    query = UploadOptions.model_validate({"priority": "high"})

    both = query.with_fields({"priority": "low", "profile": "small", "csrf": "x"})

    assert both.priority is Priority.HIGH
    assert both.profile == "small"


def test_a_bad_form_field_is_named() -> None:
    with pytest.raises(RefusedError) as refused:
        UploadOptions().with_fields({"priority": "now"})
    assert refused.value.kind.code == "invalid_request"
    assert refused.value.errors[0]["field"] == "priority"


@pytest.mark.parametrize(
    "path",
    ["master.m3u8", "1/720p.m3u8", "1/0a1b2c/720p-00001.m4s", "1/720p-init-0a1b.mp4", "poster.jpg"],
)
def test_paths_the_farm_writes_are_playable(path: str) -> None:
    assert is_playable_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "../source",
        "1/../../source",
        "..",
        "",
        "/master.m3u8",
        "a//b.m4s",
        "a/./b.m4s",
        "master.m3u8/",
        "a\\b.m4s",
        "video.exe",
        "m3u8\n",
        "é.m4s",
        "x" * 101 + ".mp4",
        "a/" * 6 + "b.mp4",
    ],
)
def test_other_paths_are_not(path: str) -> None:
    assert not is_playable_path(path)


def test_types_and_caching_follow_the_name() -> None:
    assert media_type("a.m3u8") == "application/vnd.apple.mpegurl"
    assert media_type("1/x/a-00001.m4s") == "video/iso.segment"
    assert cache_control("a.m3u8") == "no-cache"
    assert "immutable" in cache_control("1/x/a-00001.m4s")


def test_the_schema_is_spelled_the_older_way() -> None:
    newer = {
        "anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}],
        "properties": {
            "a": {"anyOf": [{"$ref": "#/x"}, {"type": "null"}]},
            "b": {"const": 1},
            "c": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        },
    }

    assert as_openapi_30(newer) == {
        "type": "string",
        "maxLength": 3,
        "nullable": True,
        "properties": {
            "a": {"allOf": [{"$ref": "#/x"}], "nullable": True},
            "b": {"enum": [1]},
            "c": {"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True},
        },
    }
