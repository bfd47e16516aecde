"""What waits for a worker, and the uploads on their way: the queues and the window of each. Pure.

Parts are sent as the farm's advancer sends them: up to a window of parts of one film on their way,
and more while all films together have fewer than half as many again as there are workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from pipeline.advance import WINDOW
from simulation.films import LOOK
from simulation.uploads import Upload
from transcoder.cost import LOOK_COST

#: The part that an upload begins with: the look at its source.
LOOK_AT: Final = -1

#: An upload by its number, one of its parts by its place in the plan, and when it was sent.
Piece = tuple[int, int, float]


class Shelf:
    """Pieces that wait, heads before others, and plans of which not all has been sent.

    Sums are of predicted core-seconds, as the farm knows no others.
    """

    def __init__(self, uploads: Sequence[Upload]) -> None:
        count = len(uploads)
        self._uploads = uploads
        self._heads: deque[Piece] = deque()
        self._others: deque[Piece] = deque()
        self._sent = [0] * count
        self._done = [LOOK_AT] * count
        #: What waits, what plans hold that was not sent, and parts that are no heads in work.
        self.backlog = 0.0
        self.unsent = 0.0
        self.unsent_parts = 0
        self._at_work = 0
        self.ready: list[float | None] = [None] * count
        self.begun: list[float | None] = [None] * count

    def __len__(self) -> int:
        return len(self._heads) + len(self._others)

    def oldest(self, now: float) -> float:
        """Seconds for which the longest waiting piece has waited."""
        fronts = [queue[0][2] for queue in (self._heads, self._others) if queue]
        return now - min(fronts, default=now)

    def arrive(self, upload: int, now: float) -> None:
        """Ask for the look at an upload."""
        self._heads.append((upload, LOOK_AT, now))
        self.backlog += LOOK_COST

    def take(self, now: float) -> Piece:
        """The piece that is next, in the hands of a worker from now on. There has to be one."""
        if self._heads:
            piece = self._heads.popleft()
        else:
            piece = self._others.popleft()
            self._at_work += 1
        upload, place, _ = piece
        self.backlog -= self.predicted(piece)
        if place == LOOK_AT:
            self.begun[upload] = now
        return piece

    def finish(self, piece: Piece, now: float, workers: int) -> int:
        """Note that it is done and send what is next; how many pieces were sent.

        ``workers`` are as many as the farm believes to have.
        """
        upload, place, _ = piece
        film = self._uploads[upload].film
        self._done[upload] += 1
        if place == LOOK_AT:
            self.unsent += film.work - LOOK
            self.unsent_parts += len(film.costs)
        elif not film.heads[place]:
            self._at_work -= 1
        if self._done[upload] == len(film.costs):
            self.ready[upload] = now
            return 0
        return self._send(upload, now, workers)

    def predicted(self, piece: Piece) -> float:
        """Core-seconds, by the plan; before there is one, what the farm takes the look for."""
        upload, place, _ = piece
        return LOOK_COST if place == LOOK_AT else self._uploads[upload].film.costs[place]

    def spent(self, piece: Piece) -> float:
        """Worker-seconds, as they will turn out."""
        upload, place, _ = piece
        return (
            self._uploads[upload].look if place == LOOK_AT else self._uploads[upload].spent[place]
        )

    def _send(self, upload: int, now: float, workers: int) -> int:
        film, first = self._uploads[upload].film, self._sent[upload]
        moving = first - self._done[upload]
        load = len(self._others) + self._at_work
        room = max(WINDOW - moving, workers * 3 // 2 - max(moving, load), 0)
        end = min(first + room, len(film.costs))
        for place in range(first, end):
            (self._heads if film.heads[place] else self._others).append((upload, place, now))
        cost = sum(film.costs[first:end])
        self.backlog += cost
        self.unsent -= cost
        self.unsent_parts -= end - first
        self._sent[upload] = end
        return end - first
