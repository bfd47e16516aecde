"""A worker of a farm whose videos are made on the stand-in; see :mod:`tests.standin`.

Arguments: the device, a folder, pools. In the folder, ``faults.json`` says what the device is like
in each run of a part: a list by attempt, the last of which stands; ``*`` is for parts that are not
named. ``health`` is what it is like in a trial, and otherwise. Both are optional.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from farm import logging, wiring
from farm.gpus import on_device
from farm.settings import load
from jobs.devices import BreakerRules, Circuit, DeviceInfo
from jobs.parts import Pool
from media.encoders import Tried, try_encoder
from pipeline.gpu import Fleet, Gpu
from pipeline.runs import Outcome, Run
from pipeline.work import Workshop
from pipeline.worker import serve
from tests.e2e.poisoned_worker import hasty
from tests.standin import NAME, WORKS, condition, register
from transcoder.encoders import H264, trials

RULES = BreakerRules(failures=3, window=60, first_pause=1.0, longest_pause=2.0, trial=20.0)


def main(device: str, folder: str, *names: str) -> int:
    """Work until drained."""
    file, place, pools = Path(device), Path(folder), tuple(Pool(name) for name in names)
    register(file)
    logging.configure("json", "info")
    settings = load()
    queue = hasty(settings)
    workshop = wiring.workshop(settings, queue)
    bench = replace(workshop.bench, fleet=Fleet(queue.board, NAME, every=0.2))
    workshop = replace(workshop, bench=bench, advancer=replace(workshop.advancer, bench=bench))
    gpu = None
    if Pool.GPU in pools:
        info = DeviceInfo(socket.gethostname(), device, NAME, codecs=(H264,))
        circuit = Circuit(queue.client, settings.namespace, info, RULES)
        (trial,) = trials(NAME)

        def tried() -> Tried:
            condition(file, health(place))
            return try_encoder(bench.tools, trial)

        gpu = Gpu(circuit, trial.device, tried, every=0.2)
        workshop = on_device(workshop, gpu)
    return serve(
        queue.broker,
        queue.board,
        pools,
        partial(handle, workshop, file, place) if gpu else workshop,
        drain_timeout=5.0,
        name=f"{'-'.join(names)}-{os.getpid()}",
        supervised=True,
        admits=gpu.admits if gpu else lambda: True,
    )


def handle(workshop: Workshop, device: Path, folder: Path, run: Run) -> Outcome:
    """One part, on a device that is as the faults say."""
    plan = json.loads((folder / "faults.json").read_text() or "{}")
    states = plan.get(run.ref.part, plan.get("*", [health(folder)]))
    condition(device, states[min(run.attempts.errors, len(states) - 1)])
    try:
        return workshop(run)
    finally:
        condition(device, health(folder))


def health(folder: Path) -> str:
    """What the device is like when nothing in particular is to go wrong."""
    file = folder / "health"
    return file.read_text() if file.exists() else WORKS


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
