"""Keys: what is written under a name is found under it, in the order listings rely on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.ids import new_video_id
from storage import layout

VIDEO = "01k0000000abcdefghjkmnpqrs"
times = st.integers(min_value=0, max_value=2**47).map(lambda milliseconds: milliseconds / 1000)
parts = st.from_regex(r"[a-z]+[0-9]{1,5}(-[a-z0-9]+)?", fullmatch=True)


def test_every_key_of_a_video_in_full() -> None:
    assert layout.inbox(VIDEO) == f"inbox/{VIDEO}.json"
    assert layout.source(VIDEO) == f"videos/{VIDEO}/source"
    assert layout.record(VIDEO) == f"videos/{VIDEO}/video.json"
    assert layout.plan(VIDEO, 2) == f"videos/{VIDEO}/plan/2.json"
    assert layout.receipts(VIDEO, 2) == f"videos/{VIDEO}/parts/2/"
    assert layout.receipt(VIDEO, 2, "v00003") == f"videos/{VIDEO}/parts/2/v00003.00000.json"
    assert layout.receipt(VIDEO, 2, "a0-rest", 7) == f"videos/{VIDEO}/parts/2/a0-rest.00007.json"
    assert layout.published(VIDEO, 2) == f"videos/{VIDEO}/published/2.json"
    assert layout.play(VIDEO, "master.m3u8") == f"videos/{VIDEO}/play/master.m3u8"


def test_everything_but_inbox_and_index_lies_below_the_video() -> None:
    below = (
        layout.source(VIDEO),
        layout.record(VIDEO),
        layout.plan(VIDEO, 1),
        layout.receipts(VIDEO, 1, "v00000"),
        layout.published(VIDEO, 1),
        layout.play(VIDEO),
    )
    assert all(key.startswith(layout.video(VIDEO)) for key in below)


@given(times)
def test_inbox_and_index_keys_name_their_video(now: float) -> None:
    video_id = new_video_id(now)
    assert layout.inbox_id(layout.inbox(video_id)) == video_id
    assert layout.index_id(layout.index(video_id)) == video_id


@given(times, st.floats(min_value=0.001, max_value=1e9))
def test_the_index_lists_the_newest_first(now: float, later: float) -> None:
    older, newer = new_video_id(now), new_video_id(now + later + 0.001)
    assert layout.index(newer) < layout.index(older)


@given(parts, st.integers(min_value=0, max_value=99_999))
def test_a_receipt_key_names_its_part_and_checkpoint(part: str, checkpoint: int) -> None:
    key = layout.receipt(VIDEO, 1, part, checkpoint)
    assert layout.receipt_name(key) == (part, checkpoint)
    assert key.startswith(layout.receipts(VIDEO, 1, part))


def test_receipts_list_in_the_order_of_parts_and_checkpoints() -> None:
    order = [("a0-head", 0), ("a0-rest", 0), ("a0-rest", 9), ("a0-rest", 10), ("v00002", 0)]
    keys = [layout.receipt(VIDEO, 1, part, checkpoint) for part, checkpoint in order]
    assert keys == sorted(keys)


def test_no_key_is_a_folder_of_another() -> None:
    """S3 would not mind, but servers that keep folders (SeaweedFS, file systems) would."""
    keys = [
        layout.inbox(VIDEO),
        layout.index(VIDEO),
        layout.source(VIDEO),
        layout.record(VIDEO),
        layout.plan(VIDEO, 1),
        layout.receipt(VIDEO, 1, "a0-head"),
        layout.receipt(VIDEO, 1, "a0-rest"),
        layout.published(VIDEO, 1),
        layout.play(VIDEO, "master.m3u8"),
        layout.play(VIDEO, "1/v720.m3u8"),
        layout.play(VIDEO, "1/0123456789ab/v720-00001.m4s"),
    ]
    assert not [(a, b) for a in keys for b in keys if b.startswith(f"{a}/")]
