"""The last dead letters while the storage hangs."""

from __future__ import annotations

from threading import Event, Thread

from catalog.letters import LetterPage
from ingest.failures import RecentFailures


def test_who_looks_while_the_storage_hangs_is_not_held_up() -> None:
    begun, done = Event(), Event()

    def page(limit: int) -> LetterPage:
        begun.set()
        assert done.wait(30)
        return LetterPage((), None)

    failures = RecentFailures(page)
    first = Thread(target=failures, daemon=True)
    first.start()
    assert begun.wait(10)
    assert failures() is None
    done.set()
    first.join(10)
    assert failures() == ()
