"""The ``reelfarm`` command. Each command is a few lines over the module that does the work.

The heavy modules (servers, storage, web) are imported by the commands that need them, so that
asking a farm for its videos is quick.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from farm import cli_autoscale, cli_backup, cli_control, cli_dlq, cli_logs, cli_top, describe, watch
from farm.cli_options import Cursor, Json, Limit, Url, Wait, client_of, show_video
from farm.display import Display
from farm.errors import FAILED, INTERRUPTED, FarmError
from farm.settings import load
from jobs.parts import Pool, Priority

_EXITS = "\n\n".join(
    (
        "Exit status:",
        "0    done",
        "1    a video errored, or a check failed",
        "2    the command line or a setting makes no sense",
        "3    no farm answers",
        "4    no such video, dead letter or file",
        "5    the farm refused",
        "6    the farm could not start or go on",
        "130  interrupted",
    )
)

app = typer.Typer(
    help="Run a video farm, and use one.",
    epilog=_EXITS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_dlq.app, name="dlq")

VideoId = Annotated[str, typer.Argument(metavar="ID", help="The id the upload was given.")]


class Status(StrEnum):
    """What ``ls`` can be narrowed to."""

    QUEUED = "queued"
    PROCESSING = "processing"
    READY = "ready"
    ERRORED = "errored"
    CANCELED = "canceled"


def main() -> None:
    """Run the command line; the process ends with its status."""
    try:
        app()
    except FarmError as error:
        Display(as_json=False).complain(str(error))
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to serve at.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve at; 0 for a free one.")] = None,
    slots: Annotated[int | None, typer.Option(help="Encode slots; 0 for one per core.")] = None,
    workers: Annotated[
        bool, typer.Option("--workers/--no-workers", help="Whether to encode on this machine.")
    ] = True,
    tied: Annotated[bool, typer.Option("--tied", hidden=True)] = False,
    as_json: Json = False,
) -> None:
    """Run the whole farm on this machine until Ctrl-C.

    A second Ctrl-C gives back at once what the workers have in work.
    """
    from farm.hosting import run_farm

    settings = load(host=host, port=port, slots=slots)
    run_farm(settings, Display(as_json=as_json), tied=tied, workers=workers)


@app.command()
def worker(
    pool: Annotated[Pool | None, typer.Option(help="Only this pool's slots.")] = None,
    slots: Annotated[
        int | None, typer.Option(help="Slots of the pool; encode slots, 0 for one per core.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run workers for a farm whose S3 and Redis the settings name, or for the one running here."""
    from farm.hosting import run_workers

    heads = slots if pool is Pool.HEAD else None
    gpus = slots if pool is Pool.GPU else None
    run_workers(load(slots=slots, head_slots=heads, gpu_slots=gpus), pool, Display(as_json=as_json))


@app.command()
def demo(
    file: Annotated[Path | None, typer.Argument(help="A film; else one is made.")] = None,
    as_json: Json = False,
) -> None:
    """Start a farm of its own, encode a film, check what came out over HTTP, and stop."""
    from farm.demo import run_demo

    raise typer.Exit(0 if run_demo(load(), file, Display(as_json=as_json)) else FAILED)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check programs, storage, Redis and disk, and say how to mend what does not fit."""
    from farm.doctor import run_doctor

    raise typer.Exit(0 if run_doctor(load(), Display(as_json=as_json)) else FAILED)


@app.command()
def upload(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Films to upload.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they are ready.")] = False,
    profile: Annotated[str | None, typer.Option(help="The profile to encode by.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="How urgent it is.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Upload films. With --wait the status is 1 unless every one becomes ready."""
    display = Display(as_json=as_json)
    with client_of(url) as client:
        videos = [
            watch.upload(client, file, display, profile=profile, priority=priority)
            for file in files
        ]
        if wait:
            videos = watch.encode(client, [video["id"] for video in videos], display)
    for video in videos:
        show_video(display, video, brief=not wait)
    if wait and not watch.outcome(videos):
        raise typer.Exit(FAILED)


@app.command()
def ls(
    status: Annotated[Status | None, typer.Option(help="Only videos in this state.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List videos, newest first."""
    display = Display(as_json=as_json)
    with client_of(url) as client:
        page = client.videos(limit, status, cursor)
    if as_json:
        display.document(page)
        return
    display.table(describe.LIST_COLUMNS, map(describe.list_row, page["videos"]))
    if page.get("next"):
        display.say(f"There are more: --cursor {page['next']}")


@app.command()
def show(video_id: VideoId, url: Url = None, as_json: Json = False) -> None:
    """Show one video."""
    with client_of(url) as client:
        show_video(Display(as_json=as_json), client.video(video_id))


@app.command()
def cancel(video_id: VideoId, url: Url = None, as_json: Json = False) -> None:
    """Stop working on a video; what is published of it stays."""
    display = Display(as_json=as_json)
    with client_of(url) as client:
        video = client.cancel(video_id)
    if as_json:
        display.document(video)
    display.line(f"{video_id} is canceled")


@app.command()
def retry(
    video_id: VideoId,
    wait: Wait = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a video anew that errored or was canceled, keeping the parts that are finished.

    With --wait the status is 1 unless it becomes ready.
    """
    display = Display(as_json=as_json)
    with client_of(url) as client:
        videos = [client.retry(video_id)]
        if wait:
            videos = watch.encode(client, [video_id], display)
    show_video(display, videos[0], brief=not wait)
    if wait and not watch.outcome(videos):
        raise typer.Exit(FAILED)


@app.command()
def delete(video_id: VideoId, url: Url = None, as_json: Json = False) -> None:
    """Delete a video and everything made of it."""
    display = Display(as_json=as_json)
    with client_of(url) as client:
        client.delete(video_id)
    if as_json:
        display.document({"id": video_id, "deleted": True})
    display.line(f"{video_id} is deleted")


@app.command()
def version(as_json: Json = False) -> None:
    """Say which version this is."""
    display = Display(as_json=as_json)
    if as_json:
        display.document({"version": installed_version("reelfarm")})
    display.line(f"reelfarm {installed_version('reelfarm')}")


for group in (cli_top, cli_logs, cli_control, cli_autoscale, cli_backup):
    group.add_to(app)
