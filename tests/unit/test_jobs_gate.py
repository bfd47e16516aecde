"""In which order a slot looks at its queues, and how keys are named."""

from __future__ import annotations

from collections import Counter

from jobs.keys import Keys, hash_tagged
from jobs.parts import Pool, queue_names
from pipeline.gate import AGEING, serving_order

QUEUES = queue_names((Pool.HEAD, Pool.CPU))


def test_most_fetches_look_from_the_highest_queue() -> None:
    for turn in range(AGEING - 1):
        assert serving_order(QUEUES, turn) == QUEUES


def test_every_eighth_fetch_looks_from_below() -> None:
    assert serving_order(QUEUES, AGEING - 1) == QUEUES[::-1]
    assert serving_order(QUEUES, AGEING) == QUEUES


def test_every_queue_comes_first_in_turn_so_that_none_starves() -> None:
    turns = range(AGEING * len(QUEUES))
    firsts = Counter(serving_order(QUEUES, turn)[0] for turn in turns)
    assert set(firsts) == set(QUEUES)
    assert firsts[QUEUES[0]] == len(turns) - len(QUEUES) + 1


def test_every_order_looks_at_every_queue_once() -> None:
    for turn in range(AGEING * len(QUEUES)):
        assert sorted(serving_order(QUEUES, turn)) == sorted(QUEUES)


def test_one_queue_is_always_looked_at() -> None:
    assert {serving_order(("only",), turn) for turn in range(20)} == {("only",)}


def test_keys_share_one_hash_tag_with_or_without_braces_in_the_name() -> None:
    assert hash_tagged("farm") == hash_tagged("{farm}") == "{farm}"
    assert Keys("farm").parts("v") == Keys("{farm}").parts("v") == "{farm}:board:parts:v"
    assert Keys("farm").messages("cpu.low") == "{farm}:cpu.low.msgs"
