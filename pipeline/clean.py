"""The last part of a deleted video: its bytes go once nobody writes any more."""

from __future__ import annotations

from typing import Final

from jobs.parts import CLEAN, PartRef
from pipeline.bench import Bench
from pipeline.runs import Outcome, Retry

#: Seconds between looks at whether the running parts have stopped.
_PAUSE: Final = 1.0


def clean(bench: Bench, ref: PartRef) -> Outcome | None:
    """Remove everything of the video but its tombstone, or say when to try again."""
    moving = bench.board.parts_in_flight(ref.video_id) - {f"{ref.generation}/{CLEAN}"}
    if any(bench.board.is_leased(PartRef.parse(f"{ref.video_id}/{name}")) for name in moving):
        bench.board.request_stop(ref.video_id)
        return Retry(_PAUSE, "parts of the video are still running", counted=False)
    bench.sources.forget(ref.video_id)
    bench.catalog.purge(ref.video_id)
    bench.board.forget(ref.video_id)
    return None
