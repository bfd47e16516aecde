"""The one actor: every message, on whichever queue, points to a part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dramatiq import Actor, Message
from dramatiq.middleware import CurrentMessage

from jobs.broker import ACTOR, FarmBroker
from jobs.parts import PartRef, Pool, queue_names
from jobs.send import TRACEPARENT


def declare_actors(
    broker: FarmBroker, run: Callable[[PartRef, str, str | None], None]
) -> Actor[[str, int, str], None]:
    """Have ``run`` called for each message: the part, the queue it came from, its traceparent.

    Dramatiq dispatches by the actor's name and takes the queue from the message, so one actor
    serves all queues; ``queue_name`` here is a formality.
    """

    def run_part(video_id: str, generation: int, part: str) -> None:
        message: Message[Any] | None = CurrentMessage.get_current_message()
        assert message is not None
        ref = PartRef(video_id, generation, part)
        run(ref, message.queue_name, message.options.get(TRACEPARENT))

    default = queue_names(tuple(Pool))[0]
    broker.actors.pop(ACTOR, None)
    return Actor(
        run_part, broker=broker, actor_name=ACTOR, queue_name=default, priority=0, options={}
    )
