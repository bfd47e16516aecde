"""What a process wrote before it ended is delivered, whenever the end is noticed."""

from __future__ import annotations

import os
import select
import threading

import pytest

from media import pipes
from media.pipes import Reader


def test_what_is_written_between_a_look_and_the_end_is_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[bytes] = []
    reader = Reader("output", taken.append, threading.Event())
    writer = os.dup(reader.write_fd)
    looks = 0

    class Poll:
        """The real one, but that the last words and the end come right after a vain look."""

        def __init__(self) -> None:
            self._poll = select.poll()
            self.register = self._poll.register

        def poll(self, timeout: int) -> list[tuple[int, int]]:
            nonlocal looks
            looks += 1
            if looks > 1:
                return self._poll.poll(timeout)
            os.write(writer, b"last words")
            reader.hang_up()
            return []

    class Select:
        POLLIN = select.POLLIN
        poll = Poll

    monkeypatch.setattr(pipes, "select", Select)
    reader.start()
    while reader.running:
        pass
    os.close(writer)
    reader.close()
    assert taken == [b"last words"]
