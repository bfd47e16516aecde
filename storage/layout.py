"""Every object key of the farm, in one place and without effects.

Keys are relative to the configured prefix, which :class:`storage.objects.ObjectStore` adds.
Names from outside (file names, languages, titles) never reach a key.
"""

from __future__ import annotations

DEAD_LETTERS = "dead-letters/"
IDEMPOTENCY = "idempotency/"
INBOX = "inbox/"
INDEX = "index/"
TRASH = "trash/"
TOMBSTONES = "tombstones/"
VIDEOS = "videos/"

#: Ids start with the creation time, so a complement of it lists the newest first.
_TIME_CHARS = 10

#: No part has that many checkpoints; sorts after all of them.
LAST_CHECKPOINT = 99_999

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_COMPLEMENT = str.maketrans(_ALPHABET, _ALPHABET[::-1])


def inbox(video_id: str, generation: int = 1) -> str:
    """The durable to-do entry of a generation that is not yet terminal."""
    return f"{INBOX}{video_id}{f'.{generation}' if generation > 1 else ''}.json"


def inbox_id(key: str) -> str:
    """The video an inbox key stands for."""
    return key.removeprefix(INBOX).partition(".")[0]


def idempotency(digest: str) -> str:
    """Which video an Idempotency-Key stands for; ``digest`` is a hash of the key, in hex."""
    return f"{IDEMPOTENCY}{digest}.json"


def trash(video_id: str) -> str:
    """The durable promise to remove everything of a deleted video."""
    return f"{TRASH}{video_id}.json"


def trash_id(key: str) -> str:
    """The video a trash key stands for."""
    return key.removeprefix(TRASH).removesuffix(".json")


def tombstone(video_id: str, until: int) -> str:
    """An empty object; lists deleted videos by when (Unix seconds) the record may go, too."""
    return f"{TOMBSTONES}{until:012}-{video_id}"


def tombstone_name(key: str) -> tuple[str, int]:
    """The video and the time a tombstone key stands for."""
    until, _, video_id = key.removeprefix(TOMBSTONES).partition("-")
    return video_id, int(until)


def index(video_id: str) -> str:
    """An empty object; terminal videos list newest first by it."""
    reversed_time = video_id[:_TIME_CHARS].translate(_COMPLEMENT)
    return f"{INDEX}{reversed_time}-{video_id}"


def index_id(key: str) -> str:
    """The video an index key stands for."""
    return key.removeprefix(INDEX)[_TIME_CHARS + 1 :]


def dead_letters(video_id: str) -> str:
    """The prefix of a video's dead letters; those of the newest video list first."""
    return f"{DEAD_LETTERS}{index(video_id).removeprefix(INDEX)}-"


def dead_letter(letter_id: str) -> str:
    """Why a part ended its video; the id begins with the video's and a hyphen."""
    video_id, _, rest = letter_id.partition("-")
    return f"{dead_letters(video_id)}{rest}.json"


def dead_letter_id(key: str) -> str:
    """The letter a key stands for."""
    return key.removeprefix(DEAD_LETTERS).removesuffix(".json")[_TIME_CHARS + 1 :]


def video(video_id: str) -> str:
    """The prefix of everything a video owns beside its inbox, index and dead letter entries."""
    return f"{VIDEOS}{video_id}/"


def source(video_id: str) -> str:
    """The bytes, exactly as uploaded."""
    return f"{video(video_id)}source"


def record(video_id: str) -> str:
    """The durable record; replaced by compare-and-swap only."""
    return f"{video(video_id)}video.json"


def plan(video_id: str, generation: int) -> str:
    """The immutable plan of one generation."""
    return f"{video(video_id)}plan/{generation}.json"


def receipts(video_id: str, generation: int, part: str = "") -> str:
    """The prefix of a generation's receipts, or of one part's checkpoints."""
    return f"{video(video_id)}parts/{generation}/{part}"


def receipt(video_id: str, generation: int, part: str, checkpoint: int = 0) -> str:
    """The receipt of a part's checkpoint; a part done in one go has checkpoint 0 only."""
    return f"{receipts(video_id, generation, part)}.{checkpoint:05}.json"


def receipt_name(key: str) -> tuple[str, int]:
    """The part and checkpoint a receipt key stands for."""
    part, checkpoint, _ = key.rsplit("/", 1)[1].split(".")
    return part, int(checkpoint)


def published(video_id: str, generation: int) -> str:
    """How far a generation's playlists go; replaced by compare-and-swap only."""
    return f"{video(video_id)}published/{generation}.json"


def play(video_id: str, path: str = "") -> str:
    """What viewers fetch. Playlists in it name everything by relative URL."""
    return f"{video(video_id)}play/{path}"
