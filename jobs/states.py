"""The states of a video and the legal ways between them; drawn in docs/state-machine.md."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a video stands. ``playable`` is a fact beside the state, not one of them."""

    RECEIVING = "receiving"
    QUEUED = "queued"
    PROCESSING = "processing"
    READY = "ready"
    ERRORED = "errored"
    CANCELED = "canceled"
    DELETING = "deleting"


#: Reached only by an explicit request once left.
TERMINAL: Final = frozenset({State.READY, State.ERRORED, State.CANCELED})

#: From which somebody may ask for a new generation; the farm itself begins one in ``processing``.
RETRYABLE: Final = frozenset({State.ERRORED, State.CANCELED})

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.RECEIVING: frozenset({State.QUEUED}),
    State.QUEUED: frozenset({State.PROCESSING, State.ERRORED, State.CANCELED, State.DELETING}),
    State.PROCESSING: frozenset(
        {State.READY, State.QUEUED, State.ERRORED, State.CANCELED, State.DELETING}
    ),
    State.READY: frozenset({State.DELETING}),
    State.ERRORED: frozenset({State.QUEUED, State.DELETING}),
    State.CANCELED: frozenset({State.QUEUED, State.DELETING}),
    State.DELETING: frozenset(),
}


class IllegalTransitionError(Exception):
    """The video is in a state from which the requested one cannot be reached."""

    def __init__(self, video_id: str, current: State, wanted: State) -> None:
        super().__init__(f"video {video_id} is {current}; it cannot become {wanted}")
        self.video_id = video_id
        self.current = current
        self.wanted = wanted


def check_transition(video_id: str, current: State, wanted: State) -> None:
    """Raise :class:`IllegalTransitionError` unless ``current -> wanted`` is in the table."""
    if wanted not in TRANSITIONS[current]:
        raise IllegalTransitionError(video_id, current, wanted)
