"""What ``-progress`` writes, in any pieces."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from media.progress import Progress, ProgressReader

BLOCKS = (
    b"frame=0\nfps=0.00\nout_time_us=N/A\nout_time=N/A\nspeed=N/A\nprogress=continue\n"
    b"frame=50\nfps=0.00\nstream_0_0_q=28.0\ntotal_size=N/A\nout_time_us=1960000\n"
    b"out_time_ms=1960000\ndup_frames=1\ndrop_frames=2\nspeed=3.5x\nprogress=continue\n"
    b"frame=75\nout_time_us=3000000\nspeed= 4e+01x\nprogress=end\n"
)


def test_each_block_is_reported_once() -> None:
    seen: list[Progress] = []
    ProgressReader(seen.append).feed(BLOCKS)
    assert seen == [
        Progress(),
        Progress(frame=50, out_time=1.96, speed=3.5, duplicated=1, dropped=2),
        Progress(frame=75, out_time=3.0, speed=40.0, done=True),
    ]


@settings(deadline=None)
@given(st.lists(st.integers(0, len(BLOCKS)), max_size=9))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    whole: list[Progress] = []
    ProgressReader(whole.append).feed(BLOCKS)
    pieces: list[Progress] = []
    reader = ProgressReader(pieces.append)
    edges = [0, *sorted(cuts), len(BLOCKS)]
    for start, end in pairwise(edges):
        reader.feed(BLOCKS[start:end])
    assert pieces == whole


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_rubbish_never_raises(data: bytes) -> None:
    ProgressReader(lambda _: None).feed(data + b"\nframe=nan\nspeed=infx\nprogress=end\n")
