"""A worker as the farm runs it, but for two things: a poisoned part kills it, and it waits less.

Argument: a file. For as long as it is there, chunks of videos named ``poison.mp4`` end the worker
by SIGKILL as soon as they have begun. The settings come from the environment, as ever.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from farm import logging, wiring
from farm.settings import Settings, load
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.parts import Pool
from jobs.send import Sender
from jobs.timings import Timings
from pipeline.runs import Outcome, Run
from pipeline.worker import serve

#: The default but for the lease, so that three crashes are not a minute of waiting.
TIMINGS = Timings(lease_ttl=2.5, renew_every=0.5, sweep_every=0.2, inbox_every=5.0, sweeper_ttl=3.0)

#: What it is in the film that kills.
POISON = "poison.mp4"
PART = "v00001"


def hasty(settings: Settings, *, maintains: bool = False) -> wiring.Queue:
    """What ``wiring.queue`` gives, with these timings."""
    usual = wiring.queue(settings)
    board = Board(usual.client, settings.namespace, TIMINGS)
    broker = FarmBroker(usual.client, settings.namespace, TIMINGS, maintains=maintains)
    return wiring.Queue(usual.client, board, broker, Sender(broker, board))


def main(poison: str) -> int:
    """Work until drained."""
    settings = load()
    logging.configure("json", "info")
    queue = hasty(settings)
    workshop = wiring.workshop(settings, queue)

    def handle(run: Run) -> Outcome:
        name = workshop.bench.catalog.load_any(run.ref.video_id).filename
        first = run.attempts.crashes < 3
        if name == POISON and run.ref.part == PART and first and Path(poison).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return workshop(run)

    return serve(
        queue.broker,
        queue.board,
        (Pool.HEAD, Pool.CPU),
        handle,
        drain_timeout=5.0,
        name=f"worker-{os.getpid()}",
        supervised=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
