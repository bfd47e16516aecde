"""From settings to the objects that do the work. Nothing is sent before they are used."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from secrets import token_hex

import redis

from catalog.videos import Catalog
from farm.connections import object_store, redis_client
from farm.settings import Settings
from jobs import milestones
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.send import Sender
from jobs.tallies import Tallies
from jobs.tracing import OFF, Tracer
from media.binaries import find_tools
from pipeline.advance import Advancer
from pipeline.bench import Bench, PlanShelf
from pipeline.blocks import BlockCache, default_limit
from pipeline.gpu import Fleet
from pipeline.source import SourceReader
from pipeline.sweeper import Sweeper
from pipeline.work import Workshop
from transcoder.planner import PlanLimits
from transcoder.profile import load_profile


@dataclass(frozen=True, slots=True)
class Queue:
    """A process's ways to the live record and the queues."""

    client: redis.Redis
    board: Board
    broker: FarmBroker
    sender: Sender
    tracer: Tracer = OFF

    def flush(self, last: bool = False) -> None:
        """Send what this process counted."""
        self.board.tallies.flush(self.client, self.board.keys.namespace, last=last)


def queue(
    settings: Settings,
    *,
    maintains: bool = False,
    tallies: Tallies | None = None,
    tracer: Tracer = OFF,
) -> Queue:
    """The live record and the queues; one broker of the farm ``maintains``, the sweeper's.

    ``tallies`` are those of the process, where it has some already.
    """
    tallies = tallies or Tallies()
    client = redis_client(settings, tallies)
    board = Board(client, settings.namespace, tallies=tallies)
    broker = FarmBroker(client, settings.namespace, board.timings, maintains=maintains)
    return Queue(client, board, broker, Sender(broker, board, tracer), tracer)


def bench(settings: Settings, queue: Queue) -> Bench:
    """What every step works with. Raises :class:`media.errors.ToolMissingError`."""
    tallies = queue.board.tallies
    store = object_store(settings, tallies)
    return Bench(
        store=store,
        catalog=Catalog(store, on_change=partial(milestones.tally, tallies)),
        board=queue.board,
        sender=queue.sender,
        tools=find_tools(settings.ffmpeg, settings.ffprobe),
        profile=load_profile(settings.profile),
        limits=PlanLimits(settings.max_duration, settings.max_pixels),
        host=socket.gethostname(),
        plans=PlanShelf(store),
        sources=SourceReader(store, _cache(settings)),
        tracer=queue.tracer,
        fleet=Fleet(queue.board, settings.encoder),
    )


def _cache(settings: Settings) -> BlockCache | None:
    # In a folder of its own, whatever else lies where people have room.
    folder = (settings.source_cache_dir or settings.data_dir / "cache") / "blocks"
    limit = settings.source_cache
    limit = default_limit(folder) if limit is None else limit
    return BlockCache(folder, limit) if limit else None


def workshop(settings: Settings, queue: Queue) -> Workshop:
    """The handler of a worker's messages; it looks after the blocks on this host's disk, too."""
    tools = bench(settings, queue)
    tools.sources.watch()
    return Workshop(tools, Advancer(tools))


def sweeper(settings: Settings, tallies: Tallies | None = None, tracer: Tracer = OFF) -> Sweeper:
    """A candidate for sweeping, in a process that counts in these ``tallies``."""
    own = queue(settings, maintains=True, tallies=tallies, tracer=tracer)
    tools = bench(settings, own)

    def waiting() -> Iterator[str]:
        return chain(tools.catalog.inbox(), tools.catalog.trash())

    # Containers may share a host name and process ids.
    owner = f"{tools.host}-{os.getpid()}-{token_hex(4)}"
    return Sweeper(
        own.board,
        own.broker,
        waiting,
        Advancer(tools).advance,
        owner=owner,
        housekeep=tools.catalog.housekeep,
        strands=lambda: tools.fleet is not None and tools.fleet.is_stranding(),
    )
