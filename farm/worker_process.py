"""The process that is one slot: ``python -m farm.worker_process POOL…``."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing

from farm import logging, wiring
from farm.settings import load
from jobs.parts import Pool
from pipeline.worker import serve


def main(names: list[str]) -> int:
    """Work on parts of the pools until drained; the exit code."""
    settings = load()
    logging.configure(settings.log_format, settings.log_level)
    pools = tuple(Pool(name) for name in names)
    queue = wiring.queue(settings)
    workshop = wiring.workshop(settings, queue)
    with closing(workshop.bench.sources):
        return serve(
            queue.broker,
            queue.board,
            pools,
            workshop,
            drain_timeout=settings.drain_timeout,
            name=f"{socket.gethostname()}-{os.getpid()}",
            supervised=True,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
