"""A host's slots come when there is work and go when there is none, and nothing is lost by it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.scaling import Look, draw, stairs
from jobs import control
from jobs.demand import demand
from jobs.pace import paces
from jobs.parts import Pool
from jobs.scaling import ScalingDecision, current, recent
from jobs.workers import list_workers
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import READY, Farm, eventually, running_farm
from tests.numbered import ClipSpec

SLOTS = 3


def test_a_burst_takes_a_host_from_no_worker_to_all_and_back_to_none(
    tmp_path: Path, clip: MakeClip
) -> None:
    file = clip("burst", ClipSpec(frames=100)).path
    looks: list[Look] = []
    with running_farm(tmp_path, slots=SLOTS, head_slots=1, min_slots=0, slot_cooldown=2.0) as farm:
        assert list_workers(farm.redis, farm.namespace) == [], "nothing stands by"
        began = time.time()

        def workers() -> int:
            found = list_workers(farm.redis, farm.namespace)
            busy = sum(bool(worker.part) for worker in found)
            waiting = demand(farm.redis, farm.namespace).pool(Pool.CPU).waiting
            looks.append(Look(time.time() - began, len(found), busy, waiting))
            return len(found)

        with ThreadPoolExecutor(3) as pool:
            videos = list(pool.map(farm.client.upload, [file] * 3))
        eventually(lambda: workers() >= SLOTS, READY, farm.log.read_text)
        for video in videos:
            farm.ready(video["id"])
        eventually(lambda: workers() == 0, READY, farm.log.read_text)
        decisions = recent(farm.redis, farm.namespace)
        cpu = [each for each in reversed(decisions) if each.pool == "cpu"]
        held = {each.pool: each.count for each in current(farm.redis, farm.namespace)}
        told = farm.log.read_text()
        known = paces(farm.redis, farm.namespace)
        left = demand(farm.redis, farm.namespace)
        obey(farm, held_by_order(farm))
    assert cpu[0].before == 0
    assert max(each.count for each in cpu) == SLOTS
    assert cpu[-1].count == 0
    assert held == {"head": 0, "cpu": 0}
    assert all(each.reason.startswith(("grow: ", "shrink: ")) for each in cpu)
    assert all(each.target == "local" and each.host for each in cpu)
    assert max(each.backlog for each in cpu) > 0, "messages tell what their parts cost"
    assert known["cpu"] > 0
    assert (left.pool(Pool.CPU).waiting, left.retrying, left.plans) == (0, 0, {})
    assert "process_died" not in told, "workers are drained, not killed"
    assert "pool_scaled" in told
    drawn = draw(tmp_path / "scaling.png", began, looks, decisions)
    assert drawn.read_bytes().startswith(b"\x89PNG")


def held_by_order(farm: Farm) -> str:
    """The host's name, once it has a worker because the operator says so."""
    control.set_count(farm.redis, farm.namespace, "cpu", 1)
    eventually(lambda: list_workers(farm.redis, farm.namespace), READY, farm.log.read_text)
    [state] = [d for d in current(farm.redis, farm.namespace) if d.pool == "cpu"]
    assert (state.count, state.reason) == (1, "set by the operator")
    return state.host


def obey(farm: Farm, host: str) -> None:
    """The host is drained by order, whatever count is set."""
    control.drain(farm.redis, farm.namespace, host)
    eventually(lambda: not list_workers(farm.redis, farm.namespace), READY, farm.log.read_text)
    [state, *_] = recent(farm.redis, farm.namespace)
    assert (state.count, state.reason) == (0, "the operator has this host drained")


def test_the_picture_shows_what_held_between_two_decisions() -> None:
    def decision(at: float, before: int, count: int) -> ScalingDecision:
        return ScalingDecision(at, "cpu", "h", "local", before, count, before, "")

    xs, ys = stairs([decision(130.0, 3, 0), decision(101.0, 0, 3)], 100.0, 40.0)
    assert xs == [0.0, 1.0, 1.0, 30.0, 30.0, 40.0]
    assert ys == [0.0, 0.0, 3.0, 3.0, 0.0, 0.0]
