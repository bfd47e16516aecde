"""The drawing of the states is the table, and the table can be lived with."""

from __future__ import annotations

import re
from pathlib import Path

from jobs.states import TERMINAL, TRANSITIONS, State

DRAWING = Path(__file__).parents[2] / "docs" / "state-machine.md"
_ARROW = re.compile(r"^\s*(\S+) --> ([^\s:]+)", re.MULTILINE)
#: What the drawing calls the state before and after all others.
_OUTSIDE = "[*]"


def drawn() -> list[tuple[str, str]]:
    """The arrows of the drawing, in order."""
    (block,) = re.findall(r"```mermaid\n(.*?)```", DRAWING.read_text(), re.DOTALL)
    return _ARROW.findall(block)


def test_the_drawing_shows_every_transition_of_the_table_and_no_other() -> None:
    arrows = [arrow for arrow in drawn() if _OUTSIDE not in arrow]
    table = {(now, then) for now, targets in TRANSITIONS.items() for then in targets}
    assert len(set(arrows)) == len(arrows)
    assert {(State(now), State(then)) for now, then in arrows} == table


def test_a_video_begins_as_receiving_and_goes_from_receiving_or_deleting_only() -> None:
    assert [then for now, then in drawn() if now == _OUTSIDE] == [State.RECEIVING]
    gone = {now for now, then in drawn() if then == _OUTSIDE}
    assert gone == {State.RECEIVING, State.DELETING}


def test_every_state_has_a_row_and_leads_to_an_end() -> None:
    assert set(TRANSITIONS) == set(State)
    for state in State:
        seen, ahead = set(), {state}
        while ahead:
            seen |= ahead
            ahead = {then for now in ahead for then in TRANSITIONS[now]} - seen
        assert State.DELETING in seen
        assert state in {State.DELETING, *TERMINAL} or seen >= TERMINAL
