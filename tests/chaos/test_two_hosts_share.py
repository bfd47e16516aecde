"""Workers of a second host take part in the films of the first, which they know by its address."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from farm import running
from media.binaries import Tools
from tests.chaos.checks import RECOVERY, assert_flawless, ended
from tests.chaos.test_two_hosts import networked, started
from tests.e2e.farm_process import PROFILE, START, eventually
from tests.numbered import ClipSpec, make_clip


def test_a_film_is_made_by_two_hosts(tmp_path: Path, tools: Tools) -> None:
    """A has the API and makes what a viewer waits for; the chunks have to wait for B."""
    clip = make_clip(tmp_path / "numbered", tools, ClipSpec(frames=75))
    with networked(tmp_path, PROFILE) as (two, here, there), ExitStack() as stack:
        farm = two.farm
        stack.enter_context(started(two.a, here, farm.log, "up", "--no-workers", "--json"))
        eventually(lambda: running.find(here.data_dir), START, farm.log.read_text)
        heads = ("worker", "--pool", "head", "--json")
        stack.enter_context(started(two.a, here, tmp_path / "a.log", *heads))
        video_id = farm.client.upload(clip.path)["id"]
        eventually(lambda: farm.receipts(video_id), RECOVERY)
        with two.b.entered():
            chunks = ("worker", "--pool", "cpu", "--json")
            stack.enter_context(started(two.b, there, two.log, *chunks))
        assert_flawless(farm, tools, clip, ended(farm, video_id, RECOVERY))
        hosts = {receipt.part: receipt.host for receipt in farm.receipts(video_id)}
        whole = [part.id for part in farm.plan(video_id).parts if not part.head]
    assert {hosts[part] for part in whole} == {two.there}
    assert set(hosts.values()) == {two.here, two.there}
