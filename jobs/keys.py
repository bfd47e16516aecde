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
    def control(self) -> str:
        """Hash of what the operator wants; see :mod:`jobs.control`."""
        return f"{self.board}:control"

    @property
    def unsent(self) -> str:
        """Hash: long video to what of its plan is not sent yet, ``*pool`` to the sum of all."""
        return f"{self.board}:unsent"

    @property
    def unsent_until(self) -> str:
        """Sorted set: long video to the millisecond up to which what it said is believed."""
        return f"{self.board}:unsent_until"

    @property
    def pace(self) -> str:
        """Hash: class of workers to the predicted and the spent seconds of its last parts."""
        return f"{self.board}:pace"

    @property
    def scaling(self) -> str:
        """Hash: target, pool and host to the last decision."""
        return f"{self.board}:scaling"

    @property
    def decisions(self) -> str:
        """List: the last decisions that changed something, newest first."""
        return f"{self.board}:decisions"

    @property
    def autoscaler(self) -> str:
        """Who scales the pools of the whole farm."""
        return f"{self.board}:autoscaler"

    @property
    def tallies(self) -> str:
        """Hash: name of a count, its labels and bound to its value; see :mod:`jobs.tallies`."""
        return f"{self.board}:tallies"

    def tallied(self, process: str) -> str:
        """The number of the last batch of counts of a process."""
        return f"{self.board}:tallied:{process}"

    @property
    def devices(self) -> str:
        """Hash: host, device and encoder to what a worker said of them; see :mod:`jobs.devices`."""
        return f"{self.board}:devices"

    def device_failures(self, name: str) -> str:
        """Sorted set: failures of one device to the second of each."""
        return f"{self.board}:device_failures:{name}"

    def device_open(self, name: str) -> str:
        """There while a device's circuit is open or half-open: since when, until when, why."""
        return f"{self.board}:device_open:{name}"

    def device_trial(self, name: str) -> str:
        """There while one worker tries a device again."""
        return f"{self.board}:device_trial:{name}"

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
