"""What becomes of films on graphics processors: where their parts wait, and how they fall back."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from jobs.broker import FarmBroker
from jobs.devices import Circuit, DeviceInfo
from jobs.ids import new_video_id
from jobs.leases import Attempts
from jobs.letters import DeadLetter
from jobs.parts import PartRef, Pool, Priority
from jobs.records import Problem, VideoRecord
from jobs.send import Sender
from jobs.states import IllegalTransitionError, State
from media.errors import (
    Evidence,
    FfmpegFailedError,
    NotStartedError,
    SourceUnreadableError,
    StalledError,
)
from pipeline.advance import Advancer
from pipeline.devices import falls_back
from pipeline.errors import TransientError
from pipeline.fail import fall_back
from pipeline.gpu import FELL_BACK, Fleet
from pipeline.inherit import reusable
from pipeline.runs import Done, Retry, Run
from pipeline.sweeper import Sweeper
from pipeline.work import Workshop
from storage import layout
from storage.documents import create_document
from tests.integration.runtime_farm import eventually
from tests.integration.test_publish import Farm, farm, plan
from transcoder.encoders import H264
from transcoder.plan import PICTURES, Plan
from transcoder.segments import Receipt

__all__ = ["farm", "plan"]

FAMILY = "nvenc"


def on_device(plan: Plan) -> Plan:
    assert plan.video is not None
    heads = {"v00000", "a0-head"}
    parts = tuple(part.model_copy(update={"head": part.id in heads}) for part in plan.parts)
    video = plan.video.model_copy(update={"encoder": FAMILY})
    return plan.model_copy(update={"video": video, "parts": parts})


@pytest.fixture
def shop(farm: Farm) -> Farm:
    """A farm that prescribes a family, with a film of it in work and a device that is there."""
    farm.plan = on_device(farm.plan)
    key = layout.plan(farm.id, 1)
    create_document(farm.bench.store, key, farm.plan.model_dump(mode="json"))
    fleet = Fleet(farm.bench.board, FAMILY, every=0.0)
    farm.bench = replace(farm.bench, fleet=fleet)
    circuit(farm).announce(time.time())
    return farm


def circuit(farm: Farm) -> Circuit:
    board = farm.bench.board
    return Circuit(board.client, board.keys.namespace, DeviceInfo("h", "0", FAMILY, (H264,)))


def waiting(farm: Farm) -> dict[str, int]:
    board = farm.bench.board
    names = ("gpu.high", "gpu.normal", "cpu.normal", "head.normal")
    return {name: board.client.llen(board.keys.queue(name)) for name in names}


def test_pictures_wait_for_the_device_and_sound_does_not(shop: Farm) -> None:
    Advancer(shop.bench).advance(shop.id)
    # The head; the other rungs' and the chunks; the sound and the stills; the sound's head.
    assert waiting(shop) == {"gpu.high": 1, "gpu.normal": 4, "cpu.normal": 2, "head.normal": 1}


def test_a_film_whose_device_is_out_of_use_is_made_in_software(shop: Farm) -> None:
    advancer = Advancer(shop.bench)
    advancer.advance(shop.id)
    circuit(shop).open(time.time(), "device lost")
    advancer.advance(shop.id)
    record = shop.bench.catalog.load(shop.id)
    assert (record.state, record.generation) == (State.QUEUED, 2)
    assert [event.name for event in record.events][-1] == FELL_BACK
    assert "2/inspect" in shop.bench.board.parts_in_flight(shop.id)


def test_nothing_waits_for_a_device_that_nobody_is_to_use(shop: Farm) -> None:
    """Its workers may never come back, and what waits would be told of for ever."""
    advancer, board = Advancer(shop.bench), shop.bench.board
    advancer.advance(shop.id)
    # Of another video, and one that a worker has fetched.
    broker = FarmBroker(board.client, board.keys.namespace)
    Sender(broker, board).send(PartRef(new_video_id(), 1, "v00002"), Pool.GPU, Priority.NORMAL)
    broker.do_fetch("gpu.high", 1)
    circuit(shop).open(time.time(), "device lost")
    advancer.advance(shop.id)
    assert waiting(shop) == {"gpu.high": 0, "gpu.normal": 1, "cpu.normal": 0, "head.normal": 1}
    assert board.client.hlen(board.keys.messages("gpu.normal")) == 1
    assert board.parts_in_flight(shop.id) == {"1/v00000", "2/inspect"}


def test_a_film_that_lacks_only_its_sound_is_left_alone(shop: Farm) -> None:
    for part in shop.plan.parts:
        if part.id.startswith("v"):
            shop.receive(part.id)
    circuit(shop).open(time.time(), "device lost")
    Advancer(shop.bench).advance(shop.id)
    assert shop.bench.catalog.load(shop.id).generation == 1


def test_parts_that_fail_together_have_it_fall_back_once(shop: Farm) -> None:
    for _ in range(3):
        fall_back(shop.bench, shop.id, 1, "no session")
    record = shop.bench.catalog.load(shop.id)
    assert (record.state, record.generation) == (State.QUEUED, 2)
    assert [event.id for event in record.events if event.name == FELL_BACK] == [
        f"{shop.id}:2:{FELL_BACK}"
    ]
    # It is on the to-do list for as long as it is in work, and nobody may retry it meanwhile.
    assert list(shop.bench.catalog.inbox()) == [shop.id]
    with pytest.raises(IllegalTransitionError):
        shop.bench.catalog.retry(shop.id)
    shop.bench.catalog.update(shop.id, _over)
    shop.bench.catalog.settle(shop.id, 2)
    assert list(shop.bench.catalog.inbox()) == []


def _over(record: VideoRecord) -> VideoRecord:
    return record.model_copy(update={"state": State.ERRORED})


@pytest.mark.parametrize("state", [State.READY, State.ERRORED, State.CANCELED])
def test_a_film_that_is_over_does_not_fall_back(shop: Farm, state: State) -> None:
    shop.bench.catalog.update(shop.id, lambda r: r.model_copy(update={"state": state}))
    fall_back(shop.bench, shop.id, 1, "late")
    record = shop.bench.catalog.load(shop.id)
    assert (record.state, record.generation) == (state, 1)


def test_pieces_that_do_not_fit_are_no_reason_to_end_a_film_on_a_device(shop: Farm) -> None:
    problem = Problem(code="mixed_encoders", message="They do not fit.", hint="Look.")
    letter = DeadLetter(
        id="l", video_id=shop.id, generation=1, part="publish", problem=problem,
        created_at=datetime.now(UTC),
    )  # fmt: skip
    Advancer(shop.bench)._give_up(letter, None)
    record = shop.bench.catalog.load(shop.id)
    assert (record.state, record.generation, record.error) == (State.QUEUED, 2, None)


def test_sound_and_stills_are_kept_and_no_picture(farm: Farm) -> None:
    before = on_device(farm.plan)
    after = before.model_copy(update={"video": farm.plan.video})
    receipts = [
        Receipt(part=part.id, run="r", host="h", objects=("poster.jpg",)) for part in before.parts
    ]
    kept = {receipt.part for receipt in reusable(receipts, before, after)}
    assert kept == {"a0-head", "a0-rest", PICTURES}


def test_an_upload_may_fall_back_before_it_is_described(shop: Farm) -> None:
    """Its head is sent with the plan, and may have failed by the time the record is written."""
    catalog, video_id = shop.bench.catalog, new_video_id()
    catalog.receive(video_id, 60)
    catalog.accept(VideoRecord(id=video_id, state=State.QUEUED, size=1, created_at=shop.now))
    fall_back(shop.bench, video_id, 1, "no session")
    assert catalog.load(video_id).generation == 2


def test_the_sweeper_finds_those_that_wait_for_a_device_in_vain(shop: Farm) -> None:
    """Their parts are on their way, so that nothing else would look at them."""
    bench = shop.bench
    assert bench.fleet is not None
    Advancer(bench).advance(shop.id)
    board = bench.board
    broker = FarmBroker(board.client, board.keys.namespace, maintains=True)
    sweeper = Sweeper(
        board, broker, bench.catalog.inbox, Advancer(bench).advance, owner="s",
        strands=bench.fleet.is_stranding,
    )  # fmt: skip
    board.plant_sentinel()
    sweeper.tick()
    assert bench.catalog.load(shop.id).generation == 1
    circuit(shop).open(time.time(), "device lost")
    sweeper._inbox_at = 0.0
    sweeper.tick()
    eventually(lambda: bench.catalog.load(shop.id).generation == 2)


def test_a_worker_without_the_device_leaves_the_part_to_others(shop: Farm) -> None:
    run = Run(PartRef(shop.id, 1, "v00002"), "run", Attempts(starts=1))
    outcome = Workshop(shop.bench, Advancer(shop.bench))(run)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.counted) == ("no_such_device", False)


def test_a_part_that_kills_its_workers_on_a_device_does_not_end_the_film(shop: Farm) -> None:
    run = Run(PartRef(shop.id, 1, "v00002"), "run", Attempts(starts=4, crashes=3))
    assert isinstance(Workshop(shop.bench, Advancer(shop.bench))(run), Done)
    record = shop.bench.catalog.load(shop.id)
    assert (record.state, record.generation, record.error) == (State.QUEUED, 2, None)


def test_only_what_software_could_mend_falls_back(shop: Farm) -> None:
    def because(part: str, cause: Exception | None) -> bool:
        error = TransientError(Problem(code="c", message="m", hint="h"))
        error.__cause__ = cause
        return falls_back(shop.bench, PartRef(shop.id, 1, part), error)

    evidence = Evidence(())
    assert because("v00002", FfmpegFailedError("x", evidence))
    assert because("v00002", StalledError("x", evidence))
    assert because("v00002", None)
    assert not because("v00002", SourceUnreadableError("x", evidence))
    assert not because("v00002", NotStartedError("x", evidence))
    assert not because("a0-rest", FfmpegFailedError("x", evidence))
    assert not because("inspect", FfmpegFailedError("x", evidence))
