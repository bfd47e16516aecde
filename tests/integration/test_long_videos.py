"""What a part costs does not grow with the video, and a video gets the parts there is use for.

The plans are long, and most of their parts done; what is left is run by hand. Counted are requests,
keys in listings and commands, never seconds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import pytest
import redis

from benchmarks.stand_in import RUNG, film, receipt
from catalog.videos import Catalog
from farm.embedded import SeaweedFS
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.demand import demand
from jobs.ids import new_video_id
from jobs.leases import Lease
from jobs.parts import PartRef, Pool, Priority, queue_name
from jobs.records import VideoRecord
from jobs.send import Sender
from jobs.states import State
from jobs.timings import Timings
from jobs.workers import WorkerInfo, announce
from media.binaries import find_tools
from pipeline.advance import WINDOW, Advancer
from pipeline.bench import Bench, PlanShelf
from pipeline.publish import Publisher, Standing
from pipeline.published import LaneMark, Published
from pipeline.source import SourceReader
from storage import layout
from storage.documents import create_document
from storage.objects import ObjectStore
from tests.integration.waiting_room import CountingStore
from transcoder.hls import growing_playlist, playlist_path
from transcoder.plan import Part, Plan
from transcoder.planner import PlanLimits
from transcoder.profile import load_profile

QUEUE = queue_name(Pool.CPU, Priority.NORMAL)

#: Without a rest, and without a look that is due to time alone.
BUSY = Timings(advance_every=0.0, cursor_ttl=3600.0, count_every=3600.0)


class Shop:
    """One long video, its first ``done`` parts published, and no worker."""

    def __init__(
        self,
        store: CountingStore,
        live: redis.Redis,
        timings: Timings,
        plan: Plan,
        done: int,
        namespace: str,
    ) -> None:
        self.plan = plan
        self.store = store
        self.live = live
        self.board = Board(live, namespace, timings)
        sender = Sender(FarmBroker(live, namespace, timings), self.board)
        self.bench = Bench(
            store=store, catalog=Catalog(store), board=self.board, sender=sender,
            tools=find_tools(), profile=load_profile(None), limits=PlanLimits(), host="h",
            sources=SourceReader(store), plans=PlanShelf(store),
        )  # fmt: skip
        self.advancer = Advancer(self.bench)
        self.id = new_video_id()
        self._accept()
        self._publish(done)
        self.bench.plans.load(self.id, 1)

    def _accept(self) -> None:
        catalog, now = self.bench.catalog, datetime.now(UTC)
        catalog.receive(self.id, 60)
        catalog.accept(VideoRecord(id=self.id, state=State.QUEUED, size=1, created_at=now))
        update = {"state": State.PROCESSING, "playable": True}
        catalog.update(self.id, lambda record: record.model_copy(update=update))
        create_document(self.store, layout.plan(self.id, 1), self.plan.model_dump(mode="json"))

    def _publish(self, done: int) -> None:
        """As if parts had been done; of their receipts nothing is asked again before the end."""
        if not done:
            return
        [track] = receipt(self.plan.parts[0], 0).tracks
        path = playlist_path(1, RUNG)
        self.store.put(layout.play(self.id, path), growing_playlist(path, track, 6).encode())
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        mark = LaneMark(parts=done, at=long_ago, codecs={RUNG: track.codec})
        document = Published(marks=(mark,), named=(RUNG,)).model_dump(mode="json")
        create_document(self.store, layout.published(self.id, 1), document)

    def advance(self, run: str | None = None) -> None:
        self.advancer.advance(self.id, run)

    def ref(self, number: int) -> PartRef:
        return PartRef(self.id, 1, self.plan.parts[number].id)

    def take(self, number: int) -> Lease:
        lease = self.board.take(self.ref(number), f"run-{number}")
        assert lease is not None, number
        self.live.lpop(self.board.keys.queue(QUEUE))
        return lease

    def employ(self, workers: int) -> None:
        """Have so many more of them; the seconds for which a count is believed are over."""
        namespace, now = self.board.keys.namespace, time.time()
        for number in range(workers):
            worker = WorkerInfo(f"w{number}", "h", number, (Pool.CPU,), now)
            announce(self.live, namespace, worker, ttl=15, now=now)
        long_gone = WorkerInfo("gone", "h", 7, (Pool.CPU,), now)
        announce(self.live, namespace, long_gone, ttl=15, now=now - 3600)
        self.board._count_at = 0.0

    def forget_look(self) -> None:
        """The time of a rest is over."""
        self.live.delete(self.board.keys.advance(self.id))

    def due(self) -> float:
        """Seconds until the video is looked at though nobody comes by."""
        due = self.live.zscore(self.board.keys.wakes, self.id)
        assert due is not None
        return due / 1000 - time.time()

    def end(self, lease: Lease) -> None:
        """The part is done, as its worker ends it: the receipt, a look, the lease."""
        part = lease.ref.part
        self.commit(part)
        self.advance(lease.owner)
        self.board.release(lease, "done")

    def commit(self, part: str) -> None:
        made = receipt(self.plan.part(part), self.plan.places[part]).model_dump(mode="json")
        assert create_document(self.store, layout.receipt(self.id, 1, part), made).won

    def moving(self) -> list[int]:
        names = self.board.parts_in_flight(self.id)
        return sorted(self.plan.places[name.partition("/")[2]] for name in names)

    def commands(self) -> Counter[str]:
        stats: Any = self.live.info("commandstats")
        return Counter({name: stat["calls"] for name, stat in stats.items()})


@pytest.fixture
def opened(seaweedfs: SeaweedFS, redis_client: redis.Redis) -> Iterator[Any]:
    store = CountingStore.on(seaweedfs, f"test-{token_hex(6)}/")

    def open_shop(
        parts: int, done: int, timings: Timings = BUSY, target: int = 6, beside: Shop | None = None
    ) -> Shop:
        plan = film(parts).model_copy(update={"target_duration": target})
        namespace = beside.board.keys.namespace if beside else f"test-{token_hex(4)}"
        return Shop(store, redis_client, timings, plan, done, namespace)

    yield open_shop
    store.delete([info.key for info in store.list("")])
    store.close()


def test_a_part_costs_the_same_early_and_late_in_a_long_video(opened: Any) -> None:
    """Quick looks list nothing, read what is new, and ask for the one receipt that is missing."""
    early, late = (cost_of_parts(opened(20_000, done, target=0)) for done in (100, 19_000))
    assert late == early
    requests, commands = late
    # The record, the mark, the new receipt, the missing one and the playlist; the receipt, the
    # playlist and the mark.
    assert requests == Counter(GetObject=10 * 5, PutObject=10 * 3)
    assert commands <= 10 * 45


def cost_of_parts(shop: Shop) -> tuple[Counter[str], int]:
    """Requests and commands of ten parts in a row, each published, after a thorough look."""
    shop.advance()
    first, *leases = [shop.take(number) for number in shop.moving()]
    shop.end(first)  # by now Redis knows all scripts
    shop.store.requests.clear()
    before = shop.commands()
    for lease in leases[:10]:
        shop.end(lease)
    spent = shop.commands() - before
    del spent["cmdstat_info"]
    return shop.store.requests.copy(), spent.total()


def test_the_window_follows_the_workers(opened: Any) -> None:
    shop = opened(400, 10)
    shop.advance()
    assert len(shop.moving()) == WINDOW

    shop.employ(100)
    shop.advance()
    assert shop.moving() == list(range(10, 160))


def test_many_long_videos_share_one_window(opened: Any) -> None:
    """A clip waits behind half a part for each worker, and a few of each long film."""
    first = opened(400, 10)
    first.employ(100)
    first.advance()
    leases = [first.take(number) for number in first.moving()[:100]]
    second = opened(400, 10, beside=first)
    second.employ(100)
    for _ in ("thorough", "quick"):
        second.advance()
        assert len(second.moving()) == WINDOW

    for lease in leases[:30]:
        first.commit(lease.ref.part)
        first.board.release(lease, "done")
    for number in second.moving():
        second.take(number)
    second.advance()
    assert len(second.moving()) == WINDOW + 14, "with the 136 of both, that is 150"


def test_many_parts_are_sent_a_few_at_a_time(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right to advance would lapse meanwhile."""
    sent, send_all = list[int](), Advancer._send_all

    def counted(advancer: Advancer, record: VideoRecord, plan: Plan, parts: Sequence[Part]) -> None:
        sent.append(len(parts))
        send_all(advancer, record, plan, parts)

    monkeypatch.setattr(Advancer, "_send_all", counted)
    shop = opened(400, 10)
    shop.employ(100)
    shop.advance()
    assert sent == [64, 64, 22]
    assert shop.moving() == list(range(10, 160))


@pytest.mark.parametrize("ended", [10, 40])
def test_a_video_rests_unless_its_workers_ran_dry(opened: Any, ended: int) -> None:
    shop = opened(400, 10, Timings(advance_every=60.0))
    shop.employ(40)
    shop.advance()
    for lease in [shop.take(number) for number in shop.moving()[:ended]]:
        shop.commit(lease.ref.part)
        shop.board.release(lease, "done")
    shop.forget_look()
    shop.advance()
    assert len(shop.moving()) == 60
    rests = shop.live.exists(shop.board.keys.advance(shop.id))
    assert bool(rests) is (ended == 10)


def test_parts_are_sent_in_order_and_each_once(opened: Any) -> None:
    shop = opened(200, 10)
    shop.advance()
    sent = shop.moving()
    for number in range(10, 60):
        shop.end(shop.take(number))
        sent += [new for new in shop.moving() if new not in sent]
    assert sent == list(range(10, max(sent) + 1))
    assert len(shop.moving()) == WINDOW


def test_a_part_whose_worker_died_is_sent_again_though_the_cursor_is_past_it(opened: Any) -> None:
    shop = opened(200, 10, Timings(advance_every=0.0, cursor_ttl=3600.0, lease_ttl=0.01))
    shop.advance()
    shop.take(12)
    time.sleep(0.05)
    assert shop.board.expired() == [shop.ref(12)]
    assert 12 not in shop.moving()
    shop.advance()
    assert 12 in shop.moving()


def test_a_part_that_vanished_is_found_once_the_cursor_is_not_believed(opened: Any) -> None:
    """As one that was given back by a worker that then died, or lost with Redis' last second."""
    shop = opened(200, 10, Timings(advance_every=0.0, cursor_ttl=0.2))
    shop.advance()
    shop.live.hdel(shop.board.keys.parts(shop.id), f"1/{shop.ref(12).part}")
    time.sleep(0.25)
    shop.end(shop.take(10))
    assert 12 in shop.moving()


def test_what_is_lost_during_a_thorough_look_is_not_behind_the_cursor(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = opened(200, 10, Timings(advance_every=0.0, cursor_ttl=3600.0, lease_ttl=0.01))
    shop.advance()
    shop.take(12)
    time.sleep(0.05)
    publish = Publisher.publish

    def meanwhile(publisher: Publisher) -> Standing:
        assert shop.board.expired() == [shop.ref(12)]
        return publish(publisher)

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish", meanwhile)
        shop.live.delete(shop.board.keys.cursor(shop.id))
        shop.advance()
    assert 12 not in shop.moving()
    shop.advance()
    assert 12 in shop.moving()


def test_a_message_that_is_taken_back_is_not_behind_the_cursor(opened: Any) -> None:
    shop = opened(200, 10)
    shop.advance()
    shop.board.mark_sent(shop.ref(100), QUEUE, "message")
    shop.board.unmark(shop.ref(100), "another")
    assert shop.board.cursor(shop.id, 1, QUEUE) is not None
    shop.board.unmark(shop.ref(100), "message")
    assert shop.board.cursor(shop.id, 1, QUEUE) is None


@pytest.mark.parametrize("look", ["thorough", "quick"])
def test_a_busy_video_is_looked_at_once_the_cursor_is_gone(opened: Any, look: str) -> None:
    """Though the next of its parts may end in an hour."""
    shop = opened(400, 10, Timings(advance_every=0.0, cursor_ttl=20.0))
    shop.advance()
    if look == "quick":
        shop.live.delete(shop.board.keys.wakes)
        shop.advance()
    assert shop.due() <= 20


def test_with_redis_emptied_nothing_is_left_out(opened: Any) -> None:
    shop = opened(200, 10)
    shop.advance()
    for number in (11, 13, 14):
        shop.end(shop.take(number))
    shop.live.flushall()
    shop.advance()
    done = {11, 13, 14}
    assert shop.moving() == [n for n in range(10, 10 + WINDOW + 3) if n not in done]


def test_a_busy_video_is_not_looked_at_for_each_part(opened: Any) -> None:
    """Word that is left while it rests is served by the sweeper, should nobody else come."""
    shop = opened(400, 10, Timings(advance_every=60.0))
    shop.advance()
    leases = [shop.take(number) for number in shop.moving()]
    shop.store.requests.clear()
    for lease in leases:
        shop.end(lease)
    assert set(shop.store.requests) == {"PutObject"}, "receipts, and no look"
    assert shop.due() <= 60


def test_the_end_of_a_long_video_waits_for_nothing(opened: Any) -> None:
    """From the first part to ready, though looks at a busy video are an hour apart."""
    shop = opened(70, 0, Timings(advance_every=3600.0))
    shop.advance()
    for number in range(70):
        if number not in shop.moving():
            shop.forget_look()
            shop.advance()
        shop.end(shop.take(number))
    assert shop.bench.catalog.load(shop.id).state is State.READY
    store: ObjectStore = shop.store
    assert store.get(layout.play(shop.id, f"1/{RUNG}.m3u8")).body.count(b".m4s") == 70


@pytest.mark.parametrize("parts", [WINDOW + 4, 400])
def test_what_a_film_has_not_sent_yet_is_told_to_the_autoscaler(opened: Any, parts: int) -> None:
    shop = opened(parts, 2)
    for ended in (0, 1):
        for number in range(2, 2 + ended):
            shop.end(shop.take(number))
        shop.advance()
        unsent = shop.plan.parts[max(shop.moving()) + 1 :]
        [hint] = demand(shop.live, shop.board.keys.namespace).plans.values()
        assert hint.parts == len(unsent) == parts - 2 - WINDOW - ended
        assert hint.cost == pytest.approx(sum(part.cost for part in unsent))
    shop.board.forget(shop.id)
    assert demand(shop.live, shop.board.keys.namespace).plans == {}


def test_a_clip_that_fits_into_the_window_tells_nothing(opened: Any) -> None:
    shop = opened(WINDOW, 2)
    shop.advance()
    assert not shop.live.exists(shop.board.keys.unsent)
