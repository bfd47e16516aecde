"""What the API is told and given: its settings, and the ports through which it acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from catalog.videos import Catalog, utc_now
from ingest.live import Live
from ingest.measures import Measure, Unmeasured
from ingest.threads import Threads
from jobs.letters import Attempt
from jobs.records import VideoRecord
from jobs.tallies import Tallies
from jobs.tracing import OFF, Tracer
from storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class IngestConfig:
    """How the API behaves."""

    #: What playback URLs begin with; None for what the request was sent to.
    public_url: str | None = None
    #: Without one, only this machine is served.
    api_token: str | None = field(default=None, repr=False)
    #: A further one, good for the metrics and for nothing else.
    metrics_token: str | None = field(default=None, repr=False)
    #: Bytes of a video.
    max_upload: int = 64 * 1024**3
    #: The first is the one used where a request names none.
    profiles: tuple[str, ...] = ("default",)
    #: Whether the server listens on loopback addresses only; then Host must name one, too.
    loopback: bool = True
    #: Further names to answer under, without ports. Any, where neither this nor ``loopback`` is
    #: set and there is a token.
    allowed_hosts: tuple[str, ...] = ()
    #: Uploads at once; each holds at most four parts in memory.
    max_uploads: int = 64
    #: Seconds without a byte after which an upload is given up.
    stall_timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class IngestDeps:
    """What the API acts through. All callables may block; they are called in threads."""

    catalog: Catalog
    store: ObjectStore
    config: IngestConfig
    #: Wakes the farm for an accepted video. May raise: a 202 does not depend on it.
    hand_off: Callable[[VideoRecord], None]
    #: Fraction done, 0 to 1, of the parts being worked on, by part id. May raise.
    progress: Callable[[str], Mapping[str, float]]
    #: Asks what is running for a deleted or canceled video to stop. May raise.
    stop: Callable[[str], None]
    #: Name of each thing the API needs to what is wrong with it, or None.
    ready: Callable[[], Mapping[str, str | None]]
    #: What Redis knows of the farm; None for an API without one.
    live: Live | None = None
    #: What a scrape tells.
    measures: Measure = field(default_factory=Unmeasured)
    #: Takes how long requests take.
    tallies: Tallies = field(default_factory=Tallies)
    #: The last runs of each part that is not done, by ``generation/part``. May raise.
    attempts: Callable[[str], Mapping[str, tuple[Attempt, ...]]] = lambda video_id: {}  # noqa: ARG005
    #: Takes the spans of requests.
    tracer: Tracer = OFF
    clock: Callable[[], datetime] = utc_now
    threads: Threads = field(default_factory=Threads)
