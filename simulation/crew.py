"""The workers of the pool: asked for, starting, idle, busy, drained and gone. Pure.

Nobody is killed: who is to go and has a part in work finishes it. Those that have none go first.
"""

from __future__ import annotations


class Crew:
    """Workers by number, in the order in which they were asked for. Times are seconds."""

    def __init__(self) -> None:
        #: When each was asked for, and when it was gone.
        self.asked: list[float] = []
        self.gone: list[float | None] = []
        self._starting: dict[int, None] = {}
        self._idle: dict[int, None] = {}
        self._busy: dict[int, None] = {}
        self._drained: set[int] = set()

    @property
    def target(self) -> int:
        """Workers that are to stay."""
        return len(self._starting) + len(self._idle) + len(self._busy)

    @property
    def present(self) -> int:
        """Workers that have started and not gone, as the farm counts them."""
        return len(self._idle) + len(self._busy) + len(self._drained)

    @property
    def busy(self) -> int:
        """Workers with a part in work, those that go afterwards included."""
        return len(self._busy) + len(self._drained)

    @property
    def serving(self) -> int:
        """Workers that take parts."""
        return len(self._idle) + len(self._busy)

    def ask(self, now: float) -> int:
        """A new worker, which is there after its start."""
        worker = len(self.asked)
        self.asked.append(now)
        self.gone.append(None)
        self._starting[worker] = None
        return worker

    def start(self, worker: int) -> bool:
        """Whether it is there now, and was not sent away meanwhile."""
        if worker not in self._starting:
            return False
        del self._starting[worker]
        self._idle[worker] = None
        return True

    def employ(self) -> int | None:
        """The worker that was idle for the shortest time, busy from now on."""
        if not self._idle:
            return None
        worker, _ = self._idle.popitem()
        self._busy[worker] = None
        return worker

    def release(self, worker: int, now: float) -> None:
        """Its part is done."""
        if worker in self._drained:
            self._drained.remove(worker)
            self.gone[worker] = now
        else:
            del self._busy[worker]
            self._idle[worker] = None

    def dismiss(self, count: int, now: float) -> None:
        """Send so many away: who is idle, who has not started yet, and last who is busy."""
        for _ in range(count):
            if self._idle:
                worker = next(iter(self._idle))
                del self._idle[worker]
                self.gone[worker] = now
            elif self._starting:
                worker, _ = self._starting.popitem()
                self.gone[worker] = now
            else:
                worker = next(iter(self._busy))
                del self._busy[worker]
                self._drained.add(worker)

    def worker_seconds(self, end: float) -> float:
        """From asking for each worker until it was gone, or the end."""
        return sum(
            (end if gone is None else gone) - asked
            for asked, gone in zip(self.asked, self.gone, strict=True)
        )
