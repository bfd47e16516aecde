"""``reelfarm autoscale``: workers for the whole farm, by the policy and a target of your choice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import redis
import structlog
import typer

from farm import running
from farm.cli_options import Json
from farm.display import Display
from farm.errors import SettingsError, UnreachableError
from farm.settings import Settings, load, replaced

if TYPE_CHECKING:
    from autoscaler.scaler import ScaledPool

_LOG = structlog.get_logger(__name__)

#: Seconds between two looks at whether to stop.
_GLANCE: Final = 0.2


def add_to(app: typer.Typer) -> None:
    """Have the command in ``app``."""
    app.command()(autoscale)


def autoscale(
    once: Annotated[bool, typer.Option("--once", help="One decision, then end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be decided; tell nobody. Once.")
    ] = False,
    target: Annotated[
        str | None, typer.Option(help="report, command or cloudwatch; else as the settings say.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Scale the pools of the whole farm until Ctrl-C. Of several of these, one leads."""
    from farm import logging

    settings = _reachable(load(autoscale_target=target))
    logging.configure_process(settings, "autoscaler")
    display = Display(as_json=as_json)
    if once or dry_run:
        _decide(settings, display, dry_run=dry_run)
    else:
        _run(settings, display)


def _reachable(settings: Settings) -> Settings:
    """Settings that name a Redis, which is all that is needed. Raises :class:`SettingsError`."""
    found = running.find(settings.data_dir)
    if found is not None:
        settings = replaced(settings, **found.settings)
    if settings.redis_url is None:
        raise SettingsError("No farm is running here: set REELFARM_REDIS_URL to the farm's.")
    return settings


def _decide(settings: Settings, display: Display, *, dry_run: bool) -> None:
    from farm.autoscale import autoscaler

    try:
        with autoscaler(settings) as candidate:
            scaled = candidate.preview() if dry_run else candidate.step()
    except redis.RedisError as error:
        raise UnreachableError(f"Redis does not answer: {error}") from error
    _show(display, scaled)


def _run(settings: Settings, display: Display) -> None:
    from farm.autoscale import autoscaler
    from farm.signals import StopSteps

    reachable = True
    with StopSteps.caught() as stop, autoscaler(settings) as candidate:
        while not stop.drain:
            began = time.monotonic()
            try:
                scaled = candidate.step()
            except redis.RedisError as error:
                if reachable:
                    _LOG.warning("redis_unreachable", error=str(error))
                reachable = False
            else:
                reachable = True
                if scaled is not None and any(p.decision.count != p.before for p in scaled):
                    _show(display, scaled)
            while not stop.drain and time.monotonic() - began < settings.autoscale_every:
                time.sleep(_GLANCE)


def _show(display: Display, scaled: tuple[ScaledPool, ...] | None) -> None:
    from farm.autoscale import told

    documents = told(scaled or ())
    if display.as_json:
        display.document({"leads": scaled is not None, "pools": documents})
    if scaled is None:
        display.line("Another autoscaler leads.")
    for each in documents:
        display.line(f"{each['pool']}: {each['before']} -> {each['count']}, {each['reason']}")
