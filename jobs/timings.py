"""How long everything that waits, waits. In seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """The defaults suit a farm; tests shorten them."""

    #: A lease lapses this long after its last renewal.
    lease_ttl: float = 20.0
    renew_every: float = 5.0
    #: Between two looks of a worker at whether its part is still wanted.
    poll_every: float = 1.0
    #: A broker that said nothing for so long is dead; its messages return to their queues.
    heartbeat_timeout: float = 15.0
    #: A sent part without a message is lost once its mark is so old.
    sent_grace: float = 30.0

    sweep_every: float = 1.0
    inbox_every: float = 30.0
    #: Between two looks for durable documents whose time is over.
    housekeep_every: float = 600.0
    #: A sweeper that said nothing for so long is replaced.
    sweeper_ttl: float = 8.0
    #: From the loss of the sentinel to the inbox: running parts renew their leases meanwhile.
    resume_after: float = 2.0

    #: An advancer that died holds its video up for so long.
    advance_ttl: float = 15.0
    #: Between two looks at one video of which many parts are on their way.
    advance_every: float = 1.0
    #: For so long it is believed that the parts up to the cursor are on their way or done.
    cursor_ttl: float = 10.0
    #: For so long it is believed what a video said of its parts that are not sent yet.
    unsent_ttl: float = 600.0
    #: Between two counts of the workers.
    count_every: float = 5.0
    #: Between two looks of an idle slot at its queues, should the doorbell fail.
    fetch_every: float = 1.0
    #: A worker that said nothing for so long is not listed.
    worker_ttl: float = 15.0
    #: A canceled part has so long to come to its end.
    cancel_grace: float = 15.0
    #: First and longest pause after an error that nobody foresaw.
    retry_first: float = 1.0
    retry_longest: float = 30.0

    #: Live records of a video that nobody finished or touched go after so long.
    forgotten_after: float = 7 * 86400.0
    progress_ttl: float = 3600.0
