"""``reelfarm backup``, ``restore`` and ``purge``: keeping a farm's memory, and ending it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from farm.cli_options import Json, Url, client_of
from farm.display import Display, bytes_text
from farm.errors import FAILED, SettingsError, UnreachableError
from farm.purge import STATUSES, Choice, chosen, parse_age, purge_videos
from farm.settings import Settings, load

_ENDED: Final = "errored,canceled"


def add_to(app: typer.Typer) -> None:
    """Have the commands in ``app``."""
    for command in (backup, restore, purge):
        app.command()(command)


def backup(
    place: Annotated[Path, typer.Argument(metavar="FILE", help="A .tar.gz to write, or a folder.")],
    as_json: Json = False,
) -> None:
    """Write what the farm remembers (records, plans, the to-do list; no media) into a file.

    It reads the storage itself; the farm may be at work meanwhile.
    """
    from farm.backup import back_up
    from farm.connections import object_store
    from storage.errors import StorageError

    display = Display(as_json=as_json)
    with closing(object_store(_reachable())) as store:
        try:
            path, manifest = back_up(store, place, version("reelfarm"), datetime.now(UTC))
        except StorageError as error:
            raise UnreachableError(f"The backup was not made: {error}") from error
        except OSError as error:
            raise SettingsError(f"{place} cannot be written: {error.strerror}.") from error
    if as_json:
        display.document({"file": str(path), "counts": manifest.counts, "sha256": manifest.sha256})
    counts = ", ".join(f"{count} {kind}" for kind, count in manifest.counts.items())
    display.line(f"{path}: {counts or 'nothing'}; {bytes_text(manifest.bytes)} before compression")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there, too; stop the farm first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put back what is missing of what a backup holds, once its checksums have proved right."""
    from farm.backup import restore as put_back
    from farm.connections import object_store
    from storage.errors import StorageError

    display = Display(as_json=as_json)
    with closing(object_store(_reachable())) as store:
        try:
            done = put_back(store, file, overwrite=overwrite)
        except StorageError as error:
            raise UnreachableError(
                f"The restore was cut off: {error}\nGive the command again: it goes on."
            ) from error
    if as_json:
        display.document({"written": done.written, "present": done.present})
    display.line(f"{done.written} objects written, {done.present} were there already")


def purge(
    older_than: Annotated[str, typer.Option(help="Age of the videos: 30d, 12h, 45m.")],
    status: Annotated[str, typer.Option(help=f"Of {', '.join(STATUSES)}.")] = _ENDED,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Delete videos that have ended and are older than so long, with everything made of them."""
    display = Display(as_json=as_json)
    choice = Choice.parse(status, parse_age(older_than), datetime.now(UTC))
    with client_of(url) as client:
        found = chosen(client, choice)
        size = sum(each.size for each in found)
        told = f"{len(found)} videos, uploaded as {bytes_text(size)}"
        if not dry_run and found and not yes and not typer.confirm(f"Delete {told}?", err=True):
            raise typer.Exit(FAILED)
        deleted = 0 if dry_run else purge_videos(client, found, choice)
    if as_json:
        display.document({"videos": len(found), "bytes": size, "deleted": deleted})
    display.line(f"{told}; {'nothing is' if dry_run else deleted} deleted")


def _reachable() -> Settings:
    """Settings that name a storage: those given, or those of the farm running here."""
    from farm import running
    from farm.settings import replaced

    settings = load()
    found = running.find(settings.data_dir)
    if found is not None:
        settings = replaced(settings, **found.settings)
    if settings.s3_endpoint is None and not settings.s3_aws:
        raise SettingsError(
            "No storage is named, and no farm is running here.\n"
            "Set REELFARM_S3_ENDPOINT (or REELFARM_S3_AWS=true) and its keys, or start the farm."
        )
    return settings
