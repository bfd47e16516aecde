"""Every metric of the farm, in one table: what it is called, what it means, what tells it apart.

Counters and histograms are tallied in the processes (:mod:`jobs.tallies`), gauges are looked up
when somebody asks (:mod:`jobs.gauges`). Labels take few values: never the id of a video, nor of a
part, and the name of a host only where there are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Units are base units: seconds, bytes, ratios.

    ``buckets`` are a histogram's upper bounds, ascending, without the last, which is infinite.
    ``quiet`` ones go on while a worker is idle; they alone are no reason to send at once.
    ``values`` of its one label are told from the beginning, as 0: a series that begins with its
    first event has no increase to be seen.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    quiet: bool = False
    values: tuple[str, ...] = ()

    @property
    def zeros(self) -> tuple[tuple[str, ...], ...]:
        """The values of labels that are told before anything happened."""
        return tuple((value,) for value in self.values) if self.labels else ((),)


_REQUEST: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
_COMMAND: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0)
_WORK: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1800.0)
_WAIT: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_PLAYABLE: Final = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_READY: Final = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
_SPEED: Final = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 40.0, 80.0)

# Tallied where it happens

VIDEOS_ACCEPTED: Final = Metric(
    "reelfarm_videos_accepted_total", "counter", "Uploads that were acknowledged."
)
UPLOADED_BYTES: Final = Metric(
    "reelfarm_uploaded_bytes_total", "counter", "Bytes of the uploads that were acknowledged."
)
VIDEOS_ENDED: Final = Metric(
    "reelfarm_videos_ended_total",
    "counter",
    "Videos that came to an end, as ready, errored, canceled or deleting.",
    ("state",),
    values=("ready", "errored", "canceled", "deleting"),
)
TIME_TO_PLAYABLE: Final = Metric(
    "reelfarm_time_to_playable_seconds",
    "histogram",
    "From the acceptance of a video, or of its retry, to its first published segment.",
    buckets=_PLAYABLE,
)
TIME_TO_READY: Final = Metric(
    "reelfarm_time_to_ready_seconds",
    "histogram",
    "From the acceptance of a video, or of its retry, to the end of its work.",
    buckets=_READY,
)
DEAD_LETTERS_WRITTEN: Final = Metric(
    "reelfarm_dead_letters_written_total",
    "counter",
    "Videos that ended because of one of their parts, by the code of the problem.",
    ("code",),
)

QUEUE_WAIT: Final = Metric(
    "reelfarm_queue_wait_seconds",
    "histogram",
    "From the sending of a part to a worker's taking it.",
    ("queue",),
    _WAIT,
)
PART_DURATION: Final = Metric(
    "reelfarm_part_duration_seconds",
    "histogram",
    "How long runs of parts took, by what was made and how they ended.",
    ("kind", "codec", "rung", "outcome"),
    _WORK,
)
ENCODE_SPEED: Final = Metric(
    "reelfarm_encode_speed_ratio",
    "histogram",
    "Seconds of film that one ffmpeg made for each second, by the largest of its rungs.",
    ("codec", "rung"),
    _SPEED,
)
PART_RETRIES: Final = Metric(
    "reelfarm_part_retries_total",
    "counter",
    "Parts to be tried again after an error.",
    ("kind",),
    values=("inspect", "video", "audio", "pictures", "clean", "publish"),
)
LEASE_EXPIRIES: Final = Metric(
    "reelfarm_lease_expiries_total",
    "counter",
    "Parts whose worker said no more: it died, or was cut off for longer than its lease.",
)
MESSAGES_LOST: Final = Metric(
    "reelfarm_messages_lost_total",
    "counter",
    "Parts whose message had vanished from Redis, and that were sent again.",
)
WORKER_SECONDS: Final = Metric(
    "reelfarm_worker_seconds_total",
    "counter",
    "Seconds for which worker processes were there.",
    ("pool",),
    quiet=True,
)
WORKER_BUSY_SECONDS: Final = Metric(
    "reelfarm_worker_busy_seconds_total",
    "counter",
    "Seconds for which worker processes had a part in work.",
    ("pool",),
    quiet=True,
)

HTTP_DURATION: Final = Metric(
    "reelfarm_http_request_duration_seconds",
    "histogram",
    "Requests to the API up to the end of their answers, by route and class of status.",
    ("method", "route", "status"),
    _REQUEST,
)
S3_DURATION: Final = Metric(
    "reelfarm_s3_request_duration_seconds",
    "histogram",
    "From sending a request to the storage to the head of its answer, each try for itself.",
    ("operation",),
    _REQUEST,
)
S3_ERRORS: Final = Metric(
    "reelfarm_s3_errors_total",
    "counter",
    "Requests to the storage that failed. Not there, not changed and a lost race are answers.",
    ("operation", "code"),
)
REDIS_DURATION: Final = Metric(
    "reelfarm_redis_request_duration_seconds",
    "histogram",
    "Round trips to Redis, a pipeline as one.",
    buckets=_COMMAND,
    quiet=True,
)
REDIS_ERRORS: Final = Metric(
    "reelfarm_redis_errors_total", "counter", "Round trips to Redis that failed.", ("error",)
)

# Looked up when asked

UP: Final = Metric(
    "reelfarm_up", "gauge", "1 where Redis answered; else the farm's figures are left out."
)
READY: Final = Metric(
    "reelfarm_ready",
    "gauge",
    "Whether something the API needs was there when last looked at, every 15 s.",
    ("check",),
)
BUILD_INFO: Final = Metric(
    "reelfarm_build_info",
    "gauge",
    "1; the versions of the API that answers.",
    ("version", "python"),
)
QUEUE_DEPTH: Final = Metric(
    "reelfarm_queue_depth", "gauge", "Parts that wait on a queue.", ("queue",)
)
QUEUE_OLDEST: Final = Metric(
    "reelfarm_queue_oldest_age_seconds",
    "gauge",
    "For how long the first part on a queue has waited; 0 for none.",
    ("queue",),
)
PARTS: Final = Metric(
    "reelfarm_parts",
    "gauge",
    "Parts by where they are: waiting, in_flight, retrying after an error, or dead.",
    ("state",),
)
DEAD_LETTERS: Final = Metric(
    "reelfarm_dead_letters",
    "gauge",
    "Dead letters that stand, looked at every 15 s; 1,000 at most.",
)
BACKLOG: Final = Metric(
    "reelfarm_backlog_core_seconds",
    "gauge",
    "Predicted seconds of one core for what waits.",
    ("pool",),
)
BACKLOG_PER_WORKER: Final = Metric(
    "reelfarm_backlog_seconds_per_worker",
    "gauge",
    "The same for each worker of the pool; for one where there is none.",
    ("pool",),
)
POOL_WORKERS: Final = Metric(
    "reelfarm_pool_workers", "gauge", "Workers that announce themselves.", ("pool",)
)
POOL_BUSY: Final = Metric(
    "reelfarm_pool_busy_workers", "gauge", "Workers that have a part in work.", ("pool",)
)
POOL_DRAINING: Final = Metric(
    "reelfarm_pool_draining_workers", "gauge", "Workers that take no more parts.", ("pool",)
)
POOL_DESIRED: Final = Metric(
    "reelfarm_pool_desired_workers",
    "gauge",
    "Workers that the autoscaler wants, over all of its targets.",
    ("pool",),
)
POOL_ACTUAL: Final = Metric(
    "reelfarm_pool_actual_workers",
    "gauge",
    "Workers that the autoscaler's targets had at its last decision.",
    ("pool",),
)
POOL_PAUSED: Final = Metric(
    "reelfarm_pool_paused", "gauge", "1 where an operator has paused the pool.", ("pool",)
)
CIRCUIT_OPEN: Final = Metric(
    "reelfarm_encoder_circuit_open",
    "gauge",
    "1 where an encoder of a device failed so often that it is left alone.",
    ("host", "device", "encoder"),
)

#: All of them, in the order in which they are shown.
METRICS: Final[tuple[Metric, ...]] = (
    *(UP, READY, BUILD_INFO, HTTP_DURATION),
    *(VIDEOS_ACCEPTED, UPLOADED_BYTES, VIDEOS_ENDED, TIME_TO_PLAYABLE, TIME_TO_READY),
    *(QUEUE_DEPTH, QUEUE_OLDEST, QUEUE_WAIT, PARTS, BACKLOG, BACKLOG_PER_WORKER),
    *(PART_DURATION, ENCODE_SPEED, PART_RETRIES, LEASE_EXPIRIES, MESSAGES_LOST),
    *(DEAD_LETTERS, DEAD_LETTERS_WRITTEN),
    *(POOL_WORKERS, POOL_BUSY, POOL_DRAINING, POOL_DESIRED, POOL_ACTUAL, POOL_PAUSED),
    *(WORKER_SECONDS, WORKER_BUSY_SECONDS, CIRCUIT_OPEN),
    *(S3_DURATION, S3_ERRORS, REDIS_DURATION, REDIS_ERRORS),
)

BY_NAME: Final = {metric.name: metric for metric in METRICS}
