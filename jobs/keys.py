"""Every Redis key and channel of the farm. One hash tag, so that a cluster keeps them together.

The scripts touch several keys at once, which a cluster allows only within one hash slot; the
braces make the namespace alone decide the slot.
"""

from __future__ import annotations

from dataclasses import dataclass


def hash_tagged(namespace: str) -> str:
    """``namespace`` in the braces that make it the hash tag, unless it has some already."""
    return namespace if "{" in namespace else f"{{{namespace}}}"


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names below a namespace, with or without its braces."""

    namespace: str

    @property
    def broker(self) -> str:
        """What dramatiq's own keys begin with."""
        return hash_tagged(self.namespace)

    @property
    def board(self) -> str:
        """What the live record's keys begin with; no queue may be named ``board``."""
        return f"{self.broker}:board"

    def parts(self, video_id: str) -> str:
        """Hash: ``generation/part`` to its entry, for every part that is on its way."""
        return f"{self.board}:parts:{video_id}"

    def attempts(self, video_id: str) -> str:
        """Hash: ``generation/part/counter`` to a count, ``generation/part/runs`` to a history."""
        return f"{self.board}:attempts:{video_id}"

    def progress(self, video_id: str) -> str:
        """Hash: ``generation/part`` to the units that are done."""
        return f"{self.board}:progress:{video_id}"

    def advance(self, video_id: str) -> str:
        """Hash with a time to live: who advances the video, and whether to look again.

        Or, after a look at a busy video, that it is not looked at again for a moment.
        """
        return f"{self.board}:advance:{video_id}"

    def cursor(self, video_id: str) -> str:
        """For a few seconds: up to where in its plan the parts of a long video have been sent."""
        return f"{self.board}:cursor:{video_id}"

    @property
    def leases(self) -> str:
        """Sorted set: part to the millisecond at which its lease lapses."""
        return f"{self.board}:leases"

    @property
    def retries(self) -> str:
        """Sorted set: part to the millisecond at which it is to be tried again."""
        return f"{self.board}:retries"

    @property
    def wakes(self) -> str:
        """Sorted set: video to the millisecond at which it is to be advanced."""
        return f"{self.board}:wakes"

    @property
    def sentinel(self) -> str:
        """There unless Redis was emptied."""
        return f"{self.board}:sentinel"

    @property
    def sweeper(self) -> str:
        """Who sweeps."""
        return f"{self.board}:sweeper"

    @property
    def workers(self) -> str:
        """Sorted set: worker to the millisecond of its last word."""
        return f"{self.board}:workers"

    def worker(self, name: str) -> str:
        """What one worker says of itself."""
        return f"{self.board}:worker:{name}"

    @property
    def doorbell(self) -> str:
        """Channel: names of queues that something was put on."""
        return f"{self.board}:doorbell"

    @property
    def heartbeats(self) -> str:
        """Dramatiq's sorted set: broker to the millisecond of its last command."""
        return f"{self.broker}:__heartbeats__"

    def queue(self, name: str) -> str:
        """Dramatiq's list of waiting message ids."""
        return f"{self.broker}:{name}"

    def messages(self, queue: str) -> str:
        """Dramatiq's hash of messages that wait or are worked on."""
        return f"{self.broker}:{queue}.msgs"

    def dead(self, queue: str) -> str:
        """Dramatiq's sorted set of dead-lettered message ids."""
        return f"{self.broker}:{queue}.XQ"

    def fetched(self, broker_id: str, queue: str) -> str:
        """Dramatiq's set of messages one broker fetched and has not acknowledged."""
        return f"{self.broker}:__acks__.{broker_id}.{queue}"
