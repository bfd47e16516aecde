"""Documents: as many writers as there are, one of them wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.documents import create_document, load_document, replace_document
from storage.errors import MalformedError, NotFoundError
from storage.objects import ObjectStore


def test_a_document_comes_back_as_it_went(object_store: ObjectStore) -> None:
    payload = {"title": "Ünïcode 🎬", "parts": [1, 2.5, None], "nested": {"a": True}}
    created = create_document(object_store, "doc.json", payload)
    assert (created.won, created.document) == (True, payload)
    assert load_document(object_store, "doc.json") == (payload, created.etag)
    assert object_store.head("doc.json").content_type == "application/json"


def test_the_second_creator_gets_the_first_ones_document(object_store: ObjectStore) -> None:
    first = create_document(object_store, "doc.json", {"run": "first"})
    second = create_document(object_store, "doc.json", {"run": "second"})
    assert (second.won, second.document, second.etag) == (False, {"run": "first"}, first.etag)


def test_equal_payloads_still_have_one_winner(object_store: ObjectStore) -> None:
    results = [create_document(object_store, "doc.json", {"same": 1}).won for _ in range(2)]
    assert results == [True, False]


def test_replacing_with_an_old_etag_conflicts(object_store: ObjectStore) -> None:
    old = create_document(object_store, "doc.json", {"n": 1}).etag
    new = replace_document(object_store, "doc.json", {"n": 2}, old)
    assert new is not None
    assert replace_document(object_store, "doc.json", {"n": 3}, old) is None
    assert load_document(object_store, "doc.json") == ({"n": 2}, new)
    object_store.delete(["doc.json"])
    assert replace_document(object_store, "doc.json", {"n": 3}, new) is None


def test_twenty_racing_creators_and_replacers(object_store: ObjectStore) -> None:
    with ThreadPoolExecutor(20) as pool:
        created = list(
            pool.map(lambda n: create_document(object_store, "doc.json", {"n": n}), range(20))
        )
        [winner] = [n for n, result in enumerate(created) if result.won]
        assert {result.document["n"] for result in created} == {winner}
        [etag] = {result.etag for result in created}
        replaced = list(
            pool.map(
                lambda n: replace_document(object_store, "doc.json", {"n": n}, etag), range(20, 40)
            )
        )
    [(winner, etag)] = [(n, e) for n, e in enumerate(replaced, 20) if e is not None]
    assert load_document(object_store, "doc.json") == ({"n": winner}, etag)


def test_counting_up_from_twenty_threads_loses_no_count(object_store: ObjectStore) -> None:
    create_document(object_store, "count.json", {"n": 0})

    def count() -> None:
        while True:
            document, etag = load_document(object_store, "count.json")
            if replace_document(object_store, "count.json", {"n": document["n"] + 1}, etag):
                return

    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(count) for _ in range(20)]:
            done.result()
    assert load_document(object_store, "count.json")[0] == {"n": 20}


def test_what_is_not_a_document_is_named(object_store: ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        load_document(object_store, "doc.json")
    for body in (b"", b"{", b"[1]", b"\xff", b"7"):
        object_store.put("doc.json", body)
        with pytest.raises(MalformedError, match=r"doc\.json"):
            load_document(object_store, "doc.json")
