"""A worker process for the tests: real in all but its handler, which does as the part is named.

Arguments: Redis' URL, namespace, pools, drain time-out, "supervised" or "alone", event file,
timings as JSON. Events are lines ``what part pid time reason`` in the file, so that they outlive
Redis. ``long…`` parts run until the file beside the events named ``go`` is there, or canceled.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.parts import Pool
from jobs.timings import Timings
from pipeline.worker import Done, Drained, Outcome, Run, serve


def main(
    url: str, namespace: str, pools: str, drain: str, mode: str, file: str, timings: str
) -> int:
    events = Path(file)
    go = events.with_name("go")
    client = connect_redis(url)
    settings = Timings(**json.loads(timings))

    def tell(what: str, part: str, reason: str = "-") -> None:
        with events.open("a") as log:
            log.write(f"{what} {part} {os.getpid()} {time.time()} {reason}\n")

    def handle(run: Run) -> Outcome:
        part = run.ref.part
        tell("start", part)
        if part.startswith("failing") and run.attempts.starts == 1:
            raise ValueError("as the test wants it")
        run.kind, run.cost, run.speed = "video 720p,360p", 12.5, 1.5
        run.report(1.0)
        if part.startswith("deaf"):
            time.sleep(60)
        while part.startswith("long") and not go.exists():
            if run.cancel.wait(0.01):
                tell("cancel", part, run.reason or "-")
                return Drained() if run.reason == "drain" else Done()
        tell("end", part)
        return Done()

    return serve(
        FarmBroker(client, namespace, settings),
        Board(client, namespace, settings),
        tuple(Pool(pool) for pool in pools.split(",")),
        handle,
        drain_timeout=float(drain),
        name=f"worker-{os.getpid()}",
        supervised=mode == "supervised",
        on_ready=lambda: tell("ready", "-"),
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
