"""A worker process of the latency benchmark: real in all but its handler, which says when it began.

Arguments: Redis' URL, namespace, name. It writes ``part seconds-since-1970`` lines to its standard
output. A part called ``burn`` keeps a core busy until it is canceled.
"""

from __future__ import annotations

import sys
import time

from farm import logging
from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.parts import Pool
from pipeline.worker import Done, Outcome, Run, serve


def main(url: str, namespace: str, name: str) -> int:
    """Serve until the signal."""

    def handle(run: Run) -> Outcome:
        say(run.ref.part)
        while run.ref.part == "burn" and not run.cancel.is_set():
            pass
        return Done()

    logging.configure("json", "warning")
    client = connect_redis(url)
    return serve(
        FarmBroker(client, namespace),
        Board(client, namespace),
        (Pool.HEAD, Pool.CPU),
        handle,
        drain_timeout=0.0,
        name=name,
        supervised=True,
        on_ready=lambda: say("ready"),
    )


def say(what: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{what} {time.time()!r}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
