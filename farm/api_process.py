"""The process that serves the API."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

import redis
import uvicorn
from fastapi import FastAPI

from farm import logging, wiring
from farm.children import API, end_with_parent
from farm.lookout import looked_at
from farm.settings import LOOPBACK, Settings, load
from farm.tracing import tracing
from ingest.app import create_app
from ingest.config import IngestConfig, IngestDeps
from ingest.live import Live
from ingest.measures import Measures
from ingest.server import server_config
from jobs.parts import INSPECT, PartRef, Pool
from jobs.records import VideoRecord
from jobs.tallies import Flusher
from pipeline.advance import Advancer
from pipeline.bench import Bench
from storage import layout
from storage.errors import StorageError
from storage.objects import ObjectStore
from transcoder.cost import LOOK_COST


def main() -> None:
    """Serve at the address of the settings until told to stop, or left alone."""
    settings = load()
    logging.configure_process(settings, API)
    end_with_parent()
    with tracing(settings, API) as tracer:
        own = wiring.queue(settings, tracer=tracer)
        tools = wiring.bench(settings, own)
        measures = _measures(settings, own)
        app = application(settings, own, tools, measures)
        with Flusher(own.flush, before=measures.look):
            uvicorn.Server(server_config(app, settings.host, settings.port)).run()


def application(settings: Settings, own: wiring.Queue, tools: Bench, measures: Measures) -> FastAPI:
    """The application that serves the API."""

    def hand_off(record: VideoRecord) -> None:
        ref = PartRef(record.id, record.generation, INSPECT)
        own.sender.send(
            ref,
            Pool.HEAD,
            record.priority,
            cost=LOOK_COST,
            schema=record.schema_version,
            trace=record.trace,
        )

    def stop(video_id: str) -> None:
        own.board.request_stop(video_id)
        Advancer(tools).advance(video_id)

    def progress(video_id: str) -> Mapping[str, float]:
        found = own.board.progress(video_id)
        return {name.split("/", 1)[1]: done for name, done in found.items()}

    return create_app(
        IngestDeps(
            catalog=tools.catalog,
            store=tools.store,
            config=_config(settings, tools.profile.name),
            hand_off=hand_off,
            progress=progress,
            stop=stop,
            ready=lambda: readiness(tools.store, own.client),
            live=Live(own.client, settings.namespace),
            measures=measures,
            tallies=own.board.tallies,
            attempts=own.board.histories,
            tracer=tools.tracer,
        )
    )


def _measures(settings: Settings, own: wiring.Queue) -> Measures:
    store = looked_at(settings)
    return Measures(
        own.client,
        settings.namespace,
        store,
        lambda: readiness(store, own.client),
        version("reelfarm"),
    )


def _config(settings: Settings, profile: str) -> IngestConfig:
    token, scrape = settings.api_token, settings.metrics_token
    return IngestConfig(
        public_url=settings.public_url,
        api_token=token.get_secret_value() if token else None,
        metrics_token=scrape.get_secret_value() if scrape else None,
        max_upload=settings.max_upload,
        profiles=(profile,),
        loopback=settings.host in LOOPBACK,
    )


def readiness(store: ObjectStore, client: redis.Redis) -> dict[str, str | None]:
    """What is wrong with the storage and with Redis; None for nothing."""
    wrong: dict[str, str | None] = {"storage": None, "redis": None}
    try:
        next(iter(store.list(layout.INBOX, limit=1)), None)
    except StorageError as error:
        wrong["storage"] = str(error)
    try:
        client.ping()
    except redis.RedisError as error:
        wrong["redis"] = str(error)
    return wrong


if __name__ == "__main__":
    main()
