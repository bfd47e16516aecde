"""Running a farm, or workers for one, in the foreground: from settings to the last goodbye."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import structlog

from autoscaler.policy import PoolSpec
from farm import connections, logging, running
from farm.children import CPU, GPU, HEAD, end_with_parent
from farm.display import Display
from farm.embedded import EmbeddedError, EmbeddedServers
from farm.embedded.ports import free_ports, is_free
from farm.errors import SettingsError, StartError
from farm.gpus import gpu_slots
from farm.lookout import await_servers
from farm.settings import LOOPBACK, Settings, replaced
from farm.signals import StopSteps
from farm.supervisor import Supervisor
from jobs.parts import Pool
from media.binaries import check, find_tools
from media.boxes import NO_SCRIPT, boxes, check_program
from media.errors import MediaError, ToolMissingError
from storage.errors import StorageError
from transcoder.profile import ProfileError, load_profile

log = structlog.get_logger(__name__)


def run_farm(
    settings: Settings, display: Display, *, tied: bool = False, workers: bool = True
) -> None:
    """Run the whole farm until a signal. Raises :class:`farm.errors.FarmError`.

    ``tied`` ends it also with the process at the other end of its standard input. Without
    ``workers`` this host encodes nothing.
    """
    settings = _startable(settings)
    logging.configure_process(settings, logging.SUPERVISOR)
    _tell_missing_boxes()
    with ExitStack() as stack:
        stop = stack.enter_context(StopSteps.caught())
        if tied:
            end_with_parent()
        servers = connections.servers(settings)
        if servers.servers:
            display.say(f"Starting {' and '.join(each.name for each in servers.servers)} …")
        stack.enter_context(_started(servers))
        settings = connections.joined(settings, servers)
        _make_bucket(settings)
        supervisor = Supervisor(settings, pools(settings) if workers else (), stop, servers)
        stack.callback(supervisor.end)
        supervisor.serve()
        note = running.here(settings.address, connections.as_settings(servers))
        running.announce(settings.data_dir, note)
        stack.callback(running.withdraw, settings.data_dir)
        if not stop.drain:
            _greet(settings, display, workers=workers)
        supervisor.run()
        _say_goodbye(supervisor, display)


def run_workers(settings: Settings, pool: Pool | None, display: Display) -> None:
    """Run workers until a signal, for the farm of the settings or the one running here.

    Raises :class:`farm.errors.FarmError`, also where the farm's servers do not answer for long.
    """
    settings = _joinable(settings)
    logging.configure_process(settings, logging.SUPERVISOR)
    _tell_missing_boxes()
    if pool is Pool.GPU and not settings.gpu_slots:
        settings = replaced(settings, gpu_slots=1)
    specs = tuple(spec for spec in pools(settings) if pool is None or spec.name == pool)
    with ExitStack() as stack:
        stop = stack.enter_context(StopSteps.caught())
        await_servers(settings, lambda: stop.drain)
        supervisor = Supervisor(settings, specs, stop)
        stack.callback(supervisor.end)
        slots = {spec.name: spec.maximum for spec in specs}
        if display.as_json:
            display.document({"slots": slots})
        shown = ", ".join(f"{count} {name}" for name, count in slots.items())
        display.line(
            f"Working for {settings.s3_endpoint or 'AWS'}; slots: {shown}. Ctrl-C ends it."
        )
        supervisor.run()
        _say_goodbye(supervisor, display)


def pools(settings: Settings) -> tuple[PoolSpec, ...]:
    """The pools of one host: head slots stand by, encode slots come and go.

    A slot costs nothing but its memory, so there is one for every part at once. One of a graphics
    processor stands by, to say that it is there. Raises :class:`SettingsError` where its driver
    grants fewer sessions than a part takes.
    """
    heads, slots, rest = settings.head_slots, settings.encode_slots, settings.slot_cooldown
    standing = heads if settings.min_slots else 0
    gpus = gpu_slots(settings, load_profile(settings.profile)) if settings.gpu_slots else 0
    each = (
        PoolSpec(HEAD, standing, heads, rest),
        PoolSpec(CPU, min(settings.min_slots, slots), slots, rest),
        PoolSpec(GPU, min(1, gpus), gpus, rest),
    )
    return each if gpus else each[:2]


def _check_tools(settings: Settings) -> None:
    """Find out now what every worker would find out. Raises :class:`SettingsError`."""
    try:
        load_profile(settings.profile)
        tools = find_tools(settings.ffmpeg, settings.ffprobe)
        check(tools)
    except (ProfileError, ToolMissingError) as error:
        raise SettingsError(str(error)) from error
    for name, program in (("ffmpeg", tools.ffmpeg), ("ffprobe", tools.ffprobe)):
        try:
            check_program(program)
        except MediaError as error:
            told = f"{name} has to be the program itself, and does not run as workers run it"
            raise SettingsError(f"{told}: {error}\n{NO_SCRIPT}") from error


def _tell_missing_boxes() -> None:
    """Once for a host, in its log: nobody calls the doctor before every start."""
    try:
        off = [box.name for box in boxes() if not box.on]
    except MediaError as error:
        log.warning("boxes_unknown", error=str(error))
        return
    if off:
        hint = "a film that takes its decoder over is kept in less: reelfarm doctor says what to do"
        log.warning("boxes_off", boxes=off, hint=hint)


def _startable(settings: Settings) -> Settings:
    """The settings with a port that is free. Raises :class:`farm.errors.FarmError`."""
    if settings.is_exposed:
        raise SettingsError(
            f"The farm would answer anybody who reaches {settings.host}.\n"
            "Set REELFARM_API_TOKEN to a secret of yours, or serve at 127.0.0.1."
        )
    _check_tools(settings)
    found = running.find(settings.data_dir)
    if found is not None:
        raise StartError(
            f"A farm is running on {settings.data_dir} already: {found.url}, process {found.pid}.\n"
            "Stop it, or give this one another REELFARM_DATA_DIR."
        )
    if settings.port == 0:
        return replaced(settings, port=free_ports(1)[0])
    if settings.host in LOOPBACK and not is_free(settings.port):
        raise StartError(
            f"Port {settings.port} is in use by another program.\n"
            "Choose another one: reelfarm up --port 8001, or 0 for any that is free."
        )
    return settings


def _joinable(settings: Settings) -> Settings:
    """Settings that name a storage and a Redis. Raises :class:`SettingsError`."""
    found = running.find(settings.data_dir)
    if found is not None:
        settings = replaced(settings, **found.settings)
    _check_tools(settings)
    if settings.redis_url is None or (settings.s3_endpoint is None and not settings.s3_aws):
        raise SettingsError(
            "Workers need to know the farm's storage and queue, and no farm is running here.\n"
            "Set REELFARM_S3_ENDPOINT (or REELFARM_S3_AWS=true), its keys, and REELFARM_REDIS_URL."
        )
    return settings


@contextmanager
def _started(servers: EmbeddedServers) -> Iterator[None]:
    try:
        servers.start()
    except EmbeddedError as error:
        raise StartError(str(error)) from error
    try:
        yield
    finally:
        servers.stop()


def _make_bucket(settings: Settings) -> None:
    with closing(connections.object_store(settings)) as store:
        try:
            store.ensure_bucket()
        except StorageError as error:
            raise StartError(f"The storage does not answer as it should: {error}") from error


def _greet(settings: Settings, display: Display, *, workers: bool) -> None:
    slots = f"{settings.encode_slots} encode, {settings.head_slots} head"
    if display.as_json:
        display.document({"url": settings.address, "data_dir": str(settings.data_dir)})
        return
    display.line("Reelfarm is up.", "bold green")
    for name, text in (
        ("pages", f"{settings.address}/"),
        ("API", f"{settings.address}/v1/videos, described at {settings.address}/docs"),
        ("storage", f"{settings.s3_endpoint or 'AWS'}, bucket {settings.s3_bucket}"),
        ("data", f"{settings.data_dir}"),
        ("slots", slots if workers else "none here"),
    ):
        display.line(f"  {name:<8} {text}")
    display.line("  Ctrl-C stops it; what is being encoded goes on at the next start.")


def _say_goodbye(supervisor: Supervisor, display: Display) -> None:
    busy = supervisor.busy()
    display.say(
        f"Stopping: {busy} parts come to their end first; Ctrl-C again gives them back at once."
        if busy
        else "Stopping."
    )
