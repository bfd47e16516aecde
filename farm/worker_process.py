"""The process that is one slot: ``python -m farm.worker_process POOL…``."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack, closing

from farm import logging, wiring
from farm.gpus import on_device, own_gpu
from farm.settings import load
from farm.tracing import tracing
from jobs.parts import Pool
from jobs.workers import worker_name
from pipeline.worker import serve


def main(names: list[str]) -> int:
    """Work on parts of the pools until drained; the exit code."""
    settings = load()
    logging.configure_process(settings, "worker")
    pools = tuple(Pool(name) for name in names)
    with ExitStack() as stack:
        tracer = stack.enter_context(tracing(settings, "worker"))
        queue = wiring.queue(settings, tracer=tracer)
        workshop = wiring.workshop(settings, queue)
        gpu = None
        if Pool.GPU in pools:
            gpu = own_gpu(settings, queue, workshop.bench.tools)
            workshop = on_device(workshop, gpu)
        stack.enter_context(closing(workshop.bench.sources))
        return serve(
            queue.broker,
            queue.board,
            pools,
            workshop,
            drain_timeout=settings.drain_timeout,
            name=worker_name(socket.gethostname(), os.getpid()),
            supervised=True,
            admits=gpu.admits if gpu else lambda: True,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
