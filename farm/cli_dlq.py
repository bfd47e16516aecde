"""``reelfarm dlq``: the dead letters, what each has to tell, and having their videos retried."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from farm import letters, watch
from farm.cli_options import Cursor, Json, Limit, Url, Wait, client_of, show_video
from farm.display import Display
from farm.errors import FAILED

app = typer.Typer(help="List, show and retry what the farm could not make (dead letters).")

_LIMIT: Final = 20

LetterId = Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id.")]


@app.callback(invoke_without_command=True)
def dlq(
    context: typer.Context,
    limit: Limit = _LIMIT,
    cursor: Cursor = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the dead letters, those of the newest video first."""
    command = context.invoked_subcommand
    if command is not None:
        if cursor is not None or limit != _LIMIT:
            raise typer.BadParameter(f"--limit and --cursor are not for `dlq {command}`.")
        # What is said before the command holds for it, too.
        context.default_map = {command: {"url": url, "as_json": as_json}}
        return
    display = Display(as_json=as_json)
    with client_of(url) as client:
        page = client.dead_letters(limit, cursor)
    if as_json:
        display.document(page)
        return
    found = page["dead_letters"]
    if not found:
        display.say("There are no dead letters.")
        return
    now = time.time()
    display.table(letters.LIST_COLUMNS, (letters.list_row(letter, now) for letter in found))
    if page.get("next"):
        display.say(f"There are more: --cursor {page['next']}")


@app.command()
def show(letter_id: LetterId, url: Url = None, as_json: Json = False) -> None:
    """Show one dead letter with all its evidence."""
    display = Display(as_json=as_json)
    with client_of(url) as client:
        letter = client.dead_letter(letter_id)
    if as_json:
        display.document(letter)
        return
    for name, text in letters.facts(letter):
        display.line(f"{name:<10} {text}")
    if letter["attempts"]:
        display.table(letters.ATTEMPT_COLUMNS, letters.attempt_rows(letter))


@app.command()
def retry(letter_id: LetterId, wait: Wait = False, url: Url = None, as_json: Json = False) -> None:
    """Make the video of a dead letter anew, keeping the parts that are finished.

    With --wait the status is 1 unless it becomes ready.
    """
    display = Display(as_json=as_json)
    with client_of(url) as client:
        videos = [client.retry_dead_letter(letter_id)]
        if wait:
            videos = watch.encode(client, [videos[0]["id"]], display)
    show_video(display, videos[0], brief=not wait)
    if wait and not watch.outcome(videos):
        raise typer.Exit(FAILED)
