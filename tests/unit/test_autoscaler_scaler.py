"""The step from what is seen to what is told: the operator first, then the policy."""

from __future__ import annotations

import pytest

from autoscaler.outlook import demands, serving, work_left
from autoscaler.policy import PoolDemand, PoolSpec
from autoscaler.scaler import Scaler
from autoscaler.told import Told
from farm.room import SLOT_MEMORY, slots
from jobs.control import Control
from jobs.demand import Demand, QueueDemand
from jobs.gauges import of_scaling
from jobs.leases import Unsent
from jobs.metrics import POOL_DESIRED
from jobs.parts import Pool, queue_names
from jobs.scaling import ScalingDecision
from jobs.workers import WorkerInfo

POOL = PoolSpec("cpu", minimum=1, maximum=4, cooldown=60)


class Desk:
    """A scaler, and everything that it looks at."""

    def __init__(self, counts: dict[str, int] | None = None) -> None:
        self.now = 0.0
        self.demand = {"cpu": PoolDemand(2, 0)}
        self.control = Control()
        self.told = Told(counts)
        self.scaler = Scaler(
            (POOL,), self.told, lambda: self.demand, lambda: self.now,
            control=lambda: self.control, host="h1",
        )  # fmt: skip

    def step(self) -> tuple[int, str]:
        (scaled,) = self.scaler.step()
        assert self.told.count("cpu") == scaled.decision.count
        return scaled.decision.count, scaled.decision.reason


def test_the_operator_comes_before_the_policy_within_what_there_is_room_for() -> None:
    desk = Desk()
    assert desk.step()[0] == 2
    desk.control = Control(counts={"cpu": 0})
    assert desk.step() == (0, "set by the operator")
    desk.control = Control(counts={"cpu": 9})
    assert desk.step() == (4, "set by the operator: 9, room for 4")
    desk.control = Control(counts={"head": 3})
    assert desk.step()[0] == 4, "back with the policy, it does not drop what it has at once"
    desk.now = 61
    assert desk.step()[0] == 2


def test_a_host_that_drains_has_no_workers_and_others_do() -> None:
    desk = Desk()
    desk.control = Control(draining=frozenset({"h2"}))
    assert desk.step()[0] == 2
    desk.control = Control(draining=frozenset({"h1"}), counts={"cpu": 3})
    assert desk.step() == (0, "the operator has this host drained")


def test_who_takes_over_goes_on_from_the_count_that_was_left() -> None:
    desk = Desk({"cpu": 4})
    desk.demand = {}
    assert desk.step()[0] == 4
    desk.now = 59
    assert desk.step()[0] == 4
    desk.now = 60
    assert desk.step()[0] == 1


def test_a_preview_tells_nobody() -> None:
    desk = Desk()
    assert desk.scaler.decide()[0].decision.count == 2
    assert desk.told.count("cpu") == 0


def found(**queues: QueueDemand) -> Demand:
    empty = dict.fromkeys(queue_names(tuple(Pool)), QueueDemand())
    named = {name.replace("_", "."): queue for name, queue in queues.items()}
    return Demand(empty | named, plans={Pool.CPU: Unsent(7, 70.0)})


def test_predictions_are_corrected_by_the_pace_of_the_pool() -> None:
    queue = QueueDemand(waiting=3, in_flight=1, oldest=90.0, backlog=30.0)
    made = demands(
        found(cpu_normal=queue), 100.0, paces={"cpu": 2.0, "gpu": 9.0}, left={Pool.CPU: 5.0}
    )
    assert made["cpu"] == PoolDemand(3, 1, 60.0, 5.0, 140.0, 7, 10.0)
    assert made["head"] == PoolDemand(0, 0)


def test_chunk_slots_take_heads_as_well() -> None:
    heads = QueueDemand(waiting=2, in_flight=1, oldest=40.0, backlog=4.0)
    chunks = QueueDemand(waiting=3, backlog=30.0, oldest=70.0)
    made = demands(found(head_high=heads, cpu_low=chunks), 100.0)
    assert made["head"] == PoolDemand(2, 1, 4.0, oldest=60.0)
    assert made["cpu"] == PoolDemand(5, 1, 34.0, 0.0, 70.0, 7, 60.0)


def test_what_waits_for_a_paused_pool_is_nobodys_work() -> None:
    heads, chunks = QueueDemand(2, 1, backlog=2.0), QueueDemand(3, 4, backlog=30.0)
    made = demands(found(head_high=heads, cpu_low=chunks), 0.0, paused={"cpu"})
    assert made["cpu"] == PoolDemand(2, 5, 2.0)
    assert made["head"] == PoolDemand(2, 1, 2.0)


def test_a_clock_that_is_behind_makes_no_part_younger_than_new() -> None:
    made = demands(found(cpu_low=QueueDemand(1, oldest=200.0)), 100.0)
    assert made["cpu"].oldest == 0.0


def worker(name: str, pools: tuple[Pool, ...], **more: object) -> WorkerInfo:
    return WorkerInfo(name, "h", 1, pools, 0.0, **more)  # type: ignore[arg-type]


def test_what_is_left_of_parts_in_work_is_never_less_than_nothing() -> None:
    both = (Pool.HEAD, Pool.CPU)
    workers = [
        worker("a", both, since=90.0, queue="cpu.normal", cost=20.0),
        worker("b", both, since=0.0, queue="cpu.normal", cost=20.0),
        worker("c", both, since=95.0, queue="head.high", cost=10.0),
        worker("d", both),
    ]
    assert work_left(workers, 100.0, {"cpu": 2.0}) == {Pool.CPU: 30.0, Pool.HEAD: 15.0}


def test_a_worker_counts_in_one_pool_while_it_does_not_drain() -> None:
    workers = [
        worker("a", (Pool.HEAD,)),
        worker("b", (Pool.HEAD, Pool.CPU)),
        worker("c", (Pool.HEAD, Pool.CPU), draining=True),
    ]
    assert [serving(workers, pool) for pool in ("head", "cpu")] == [1, 1]


def test_hosts_that_fill_their_slots_do_not_count_beside_a_pool_of_the_whole_farm() -> None:
    def decision(pool: str, host: str, count: int) -> ScalingDecision:
        return ScalingDecision(0.0, pool, host, "", 0, count, count, "")

    told = of_scaling((
        decision("cpu", "h1", 2), decision("cpu", "h2", 3), decision("cpu", "", 7),
        decision("head", "h1", 1), decision("head", "h2", 1),
    ))  # fmt: skip
    assert told[POOL_DESIRED] == {("cpu",): 7.0, ("head",): 2.0}


@pytest.mark.parametrize(
    ("cores", "memory", "count"),
    [(8, 64 * SLOT_MEMORY, 8), (8, 3 * SLOT_MEMORY + 1, 3), (2, SLOT_MEMORY // 2, 1)],
)
def test_slots_fit_cores_and_memory(cores: int, memory: int, count: int) -> None:
    assert slots(cores, memory) == count
