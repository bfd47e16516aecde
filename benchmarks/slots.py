"""``python -m benchmarks.slots``: a process with many worker slots, a thread each, or a sweeper.

Everything but dramatiq's own threads is what a worker process has: its gate, its runner, its
announcement, its lease and heartbeat. A thousand processes of a slot each would not fit a small
machine; a thousand threads that sleep do.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from secrets import token_hex
from typing import Any

from benchmarks.stand_in import StandIn
from catalog.videos import Catalog
from farm import logging, wiring
from farm.connections import s3_config
from farm.settings import Settings, load
from jobs.broker import FarmBroker
from jobs.parts import PartRef, Pool, queue_names
from jobs.workers import WorkerInfo
from pipeline.advance import Advancer
from pipeline.bench import Bench, PlanShelf
from pipeline.doorbell import Doorbell
from pipeline.gate import Gate
from pipeline.keeper import Keeper
from pipeline.presence import Presence
from pipeline.runner import Runner
from pipeline.runs import Handler, Outcome, Run
from pipeline.sweeper import Sweeper
from pipeline.work import Workshop
from storage.client import client
from storage.objects import ObjectStore

_POOLS = (Pool.HEAD, Pool.CPU)
_CONNECTIONS = 4096


class Counts:
    """What one process has done so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.keys = 0
        self.sent = 0
        self.received = 0
        self.parts = 0

    def asked(self, request: Any, event_name: str, **_: Any) -> None:
        """An event of botocore's: a request is about to be sent."""
        with self._lock:
            self.requests[event_name.rpartition(".")[2]] += 1
            self.sent += int(request.headers.get("Content-Length") or 0)

    def answered(self, http_response: Any, parsed: Any, **_: Any) -> None:
        """An event of botocore's: it was answered."""
        with self._lock:
            self.keys += len(parsed.get("Contents", ()))
            self.received += int(http_response.headers.get("content-length") or 0)

    def ended(self) -> None:
        """A part came to its end."""
        with self._lock:
            self.parts += 1

    def document(self) -> dict[str, Any]:
        """All of it, and seconds of processor time."""
        with self._lock:
            return {
                "requests": dict(self.requests),
                "keys": self.keys,
                "sent": self.sent,
                "received": self.received,
                "parts": self.parts,
                "cpu": time.process_time(),
            }


@dataclass(frozen=True, slots=True)
class Crew:
    """What one such process is: ``slots`` of them, or none and a sweeper."""

    slots: int
    #: Parts of a film, and seconds of a part.
    parts: int
    seconds: float

    @property
    def words(self) -> tuple[str, ...]:
        """For the command line."""
        return str(self.slots), str(self.parts), str(self.seconds)

    @classmethod
    def parse(cls, words: Sequence[str]) -> Crew:
        """The inverse."""
        slots, parts, seconds = words
        return cls(int(slots), int(parts), float(seconds))


@dataclass(frozen=True, slots=True)
class Desk:
    """What the slots of a process share."""

    namespace: str
    queue: wiring.Queue
    bench: Bench

    @classmethod
    def of(cls, settings: Settings, counts: Counts, *, maintains: bool) -> Desk:
        """For one process; ``counts`` is told of every request to S3."""
        queue = wiring.queue(settings, maintains=maintains)
        # The slots of a process share its connections; those of a farm have one process each.
        queue.client.connection_pool.max_connections = _CONNECTIONS
        s3 = client(s3_config(settings))
        s3.meta.events.register("before-send.s3", counts.asked)
        s3.meta.events.register("after-call.s3", counts.answered)
        store = ObjectStore(s3, settings.s3_bucket, settings.s3_prefix)
        bench = wiring.bench(settings, queue)
        bench = replace(bench, store=store, catalog=Catalog(store), plans=PlanShelf(store))
        return cls(settings.namespace, queue, bench)


class Slot:
    """One worker, without dramatiq's threads."""

    def __init__(self, desk: Desk, handler: Handler, number: int) -> None:
        board, sender = desk.queue.board, desk.queue.sender
        broker = FarmBroker(desk.queue.client, desk.namespace, board.timings)
        name = f"slot-{os.getpid()}-{number}"
        info = WorkerInfo(name, desk.bench.host, os.getpid(), _POOLS, time.time())
        presence = Presence(board, info, time.time)
        self.keeper = Keeper(board, broker, presence.tell)
        self._runner = Runner(board, sender, self.keeper, presence, handler)
        queues = queue_names(_POOLS)
        self.gate = Gate(broker, queues, fetch_every=board.timings.fetch_every)
        broker.consumers = self.gate.consumer
        self._consumer = broker.consume(queues[0])

    def work(self) -> None:
        """For ever: what dramatiq's consumer and worker thread do with the slot."""
        for message in self._consumer:
            if message is not None:
                video_id, generation, part = message.args
                self._runner(PartRef(video_id, generation, part), message.queue_name)
                self._consumer.ack(message)


def work(desk: Desk, counts: Counts, number: int) -> None:
    """Start all slots, their doorbell, and what keeps their leases."""
    workshop = Workshop(desk.bench, Advancer(desk.bench))

    def handle(run: Run) -> Outcome:
        outcome = workshop(run)
        counts.ended()
        return outcome

    slots = [Slot(desk, handle, order) for order in range(number)]
    threading.stack_size(512 * 1024)
    for slot in slots:
        threading.Thread(target=slot.work, daemon=True).start()
    threading.Thread(target=_keep, args=(desk, slots), daemon=True).start()
    queues = queue_names(_POOLS)

    def ring() -> None:
        for slot in slots:
            slot.gate.ring()

    Doorbell(desk.queue.client, desk.queue.board.keys, queues, ring).start()


def _keep(desk: Desk, slots: list[Slot]) -> None:
    """Each keeper's round, spread over the time between two rounds."""
    every = desk.queue.board.timings.poll_every
    while True:
        began = time.monotonic()
        for number, slot in enumerate(slots):
            slot.keeper.tick()
            time.sleep(max(0.0, began + every * (number + 1) / len(slots) - time.monotonic()))


def sweep(desk: Desk) -> None:
    """Sweep as a supervisor's thread does."""
    catalog, queue = desk.bench.catalog, desk.queue

    def waiting() -> Iterator[str]:
        return chain(catalog.inbox(), catalog.trash())

    advance = Advancer(desk.bench).advance
    sweeper = Sweeper(queue.board, queue.broker, waiting, advance, owner=token_hex(4))
    threading.Thread(target=sweeper.run, args=(threading.Event(),), daemon=True).start()


def main(words: list[str]) -> None:
    """Begin, then tell the counts at each line of standard input, until it ends."""
    settings = load()
    logging.configure("json", "error")
    crew, counts = Crew.parse(words), Counts()
    StandIn(crew.parts, crew.seconds).install()
    desk = Desk.of(settings, counts, maintains=not crew.slots)
    if crew.slots:
        work(desk, counts, crew.slots)
    else:
        sweep(desk)
    _say(counts)
    for _ in sys.stdin:
        _say(counts)


def _say(counts: Counts) -> None:
    sys.stdout.write(json.dumps(counts.document()) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)
