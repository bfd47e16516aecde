"""Many accepted videos wait, nobody works, and nobody sends anything twice.

What waits is looked at again and again, and every look must cost little and change nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
import redis
from dramatiq import Message

from catalog import listing
from catalog.listing import Listing
from farm.embedded import SeaweedFS
from jobs.demand import demand
from jobs.leases import Lease
from jobs.parts import PartRef, Pool, Priority
from storage import layout
from tests.integration.waiting_room import Room, room

#: Commands of a sweep that do not depend on how many videos wait, and requests.
_SWEEP_COMMANDS = 120
_SWEEP_REQUESTS = 2
#: EXISTS, EVALSHA and what is in the script: TIME, HGETALL, HEXISTS.
_COMMANDS_EACH = 5


@pytest.fixture
def waiting(
    seaweedfs: SeaweedFS, redis_client: redis.Redis, redis_url: str, namespace: str
) -> Iterator[Room]:
    made = room(seaweedfs, redis_url, namespace)
    made.board.plant_sentinel()
    yield made
    made.client.close()
    made.store.delete([info.key for info in made.store.list("")])
    made.store.close()


@pytest.mark.parametrize(
    ("count", "sweeps", "every"),
    [
        (80, 30, 30.0),
        pytest.param(500, 120, 30.0, marks=pytest.mark.long),
        pytest.param(10_000, 30, 120.0, marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
    ],
    ids=["a quarter of an hour", "an hour", "ten thousand for an hour"],
)
def test_waiting_sends_nothing_twice(waiting: Room, count: int, sweeps: int, every: float) -> None:
    """The inbox is read every half minute; of ten thousand every fourth sweep has to do."""
    waiting.accept(count)
    assert waiting.hand_all_off() == count
    waiting.sweep(1)
    commands, requests = waiting.commands(), waiting.store.requests.copy()
    waiting.sweep(sweeps, every)
    assert waiting.reads == 1 + sweeps
    assert_each_has_one_message(waiting, Counter(waiting.videos))
    assert_cost(waiting, sweeps, commands, requests)

    lonely = waiting.videos[count // 2]
    waiting.lose_message(lonely)
    waiting.sweep(10)
    assert_each_has_one_message(waiting, Counter([*waiting.videos, lonely]))

    waiting.client.flushall()
    waiting.sweeper.tick()
    waiting.pass_time(waiting.board.timings.resume_after)
    waiting.sweeper.tick()
    waiting.sweep(10)
    assert waiting.hand_all_off() == 0, "clients repeat their uploads, and nothing comes of it"
    twice = Counter([*waiting.videos, *waiting.videos, lonely])
    assert_each_has_one_message(waiting, twice)


def assert_each_has_one_message(waiting: Room, ever_sent: Counter[str]) -> None:
    assert waiting.messages() == (len(waiting.videos), len(waiting.videos))
    assert waiting.broker.sent == ever_sent


def assert_cost(waiting: Room, sweeps: int, commands: Counter[str], requests: Counter[str]) -> None:
    """Of each of the sweeps."""
    spent = waiting.commands() - commands
    for ageing in ("keys", "pttl", "type", "hset", "pexpire", "zrange"):
        del spent[ageing]
    each = len(waiting.videos)
    each_sweep = (_COMMANDS_EACH + 1) * each + _SWEEP_COMMANDS  # one is the ageing's own read
    most = sweeps * each_sweep
    assert spent.total() <= most, spent
    pages = 1 + each // 1000
    asked = waiting.store.requests - requests
    assert set(asked) == {"ListObjectsV2"}, "no video is read for being on the list"
    assert asked.total() <= sweeps * (_SWEEP_REQUESTS + pages)


@pytest.mark.parametrize("seconds", [300, pytest.param(3600, marks=pytest.mark.long)])
def test_long_parts_send_nothing_twice(waiting: Room, seconds: int) -> None:
    """Every slot is busy, and says every five seconds that it is; others wait behind them."""
    waiting.accept(6)
    waiting.hand_all_off()
    leases = fetched(waiting, 3)
    sent = waiting.broker.sent.copy()
    for step in range(seconds // 5):
        waiting.pass_time(waiting.board.timings.renew_every)
        waiting.broker.beat(time.time())
        assert all(waiting.board.renew(lease) for lease in leases), step
        waiting.sweeper.tick()
    assert waiting.reads >= seconds // 30 - 1
    assert waiting.broker.sent == sent
    found = demand(waiting.client, waiting.namespace).pool(Pool.HEAD)
    assert (found.waiting, found.in_flight) == (3, 3)


def fetched(waiting: Room, slots: int) -> list[Lease]:
    """What so many slots hold: a message each, and the lease of its part."""
    leases = []
    for slot in range(slots):
        [data] = waiting.broker.do_fetch("head.normal", 1)
        ref = PartRef(*Message.decode(data).args)
        leases.append(waiting.board.take(ref, f"slot-{slot}"))
    return leases


def test_a_long_list_does_not_keep_the_sweeper_from_the_leases(waiting: Room) -> None:
    """All that waits is to be sent anew by way of a slow storage; meanwhile a worker dies."""
    dying = PartRef("dying", 1, "v00001")
    crowd = [f"waiting-{number}" for number in range(400)]
    order: list[str] = []

    def advance(video_id: str) -> None:
        order.append(video_id)
        waiting.now += 0.05
        if len(order) == 40:
            waiting.age(waiting.board.timings.lease_ttl + 1)

    waiting.sender.send(dying, Pool.CPU, Priority.NORMAL)
    assert waiting.board.take(dying, "run")
    waiting.candidate("slow", lambda: crowd, advance).tick()
    assert sorted(order) == sorted([*crowd, "dying"])
    assert order.index("dying") < 40 + 100


def test_a_page_reads_what_it_shows_and_no_more(waiting: Room) -> None:
    waiting.accept(30)
    before = waiting.store.requests.copy()
    page = Listing(waiting.catalog, waiting.store).page(None, 10, None)
    assert [each.id for each in page.videos] == sorted(waiting.videos, key=layout.index)[:10]
    assert waiting.store.requests - before == Counter(GetObject=10, ListObjectsV2=2)


def test_pages_are_the_same_however_many_wait(
    waiting: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With spans of three entries, as with ten thousand videos and spans of two hundred."""
    waiting.accept(40)
    expected = sorted(waiting.videos, key=layout.index)
    monkeypatch.setattr(listing, "_SPAN", 3)
    pages, cursor = list[str](), None
    while not pages or cursor:
        page = Listing(waiting.catalog, waiting.store).page(None, 7, cursor)
        pages += [each.id for each in page.videos]
        cursor = page.next
    assert pages == expected
