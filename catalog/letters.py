"""Dead letters in storage: one document for each part that ended its video.

A letter is written before its video becomes ``errored``, and goes when the video is retried,
deleted, or ends in any other way after all. So whoever sees an errored video finds its letter. A
storage that takes videos and refuses letters is no outage: then videos end without.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from catalog.documents import load
from catalog.errors import NewerSchemaError, UnknownLetterError
from jobs.letters import DeadLetter
from storage import layout
from storage.documents import CONTENT_TYPE
from storage.errors import MalformedError, NotFoundError, StorageError, UnavailableError
from storage.objects import ObjectStore

_LOG = structlog.get_logger(__name__)

#: Letters read at once for a page.
_READERS = 8


@dataclass(frozen=True, slots=True)
class LetterPage:
    """Some letters, and the cursor of the page after them; None on the last."""

    letters: tuple[DeadLetter, ...]
    next: str | None


class DeadLetters:
    """The dead letters of a farm. Every call blocks; all may be used from many threads.

    Each raises :class:`storage.errors.StorageError` while the storage does not answer.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, letter: DeadLetter) -> None:
        """Write a letter in place of the one that the part may have of an end that was cut off."""
        body = letter.model_dump_json().encode()
        self._store.put(layout.dead_letter(letter.id), body, content_type=CONTENT_TYPE)

    def load(self, letter_id: str) -> DeadLetter:
        """One letter. Raises :class:`UnknownLetterError`."""
        found = self._load(letter_id)
        if found is None:
            raise UnknownLetterError(letter_id)
        return found

    def page(self, limit: int, cursor: str | None = None) -> LetterPage:
        """At most ``limit`` letters after the one with the id ``cursor``; newest video first.

        One that cannot be read is left out, and logged.
        """
        after = None if cursor is None else layout.dead_letter(cursor)
        infos = self._store.list(layout.DEAD_LETTERS, after=after, limit=limit)
        seen = [layout.dead_letter_id(info.key) for info in infos]
        with ThreadPoolExecutor(_READERS) as pool:
            loaded = [letter for letter in pool.map(self.legible, seen) if letter is not None]
        return LetterPage(tuple(loaded), seen[-1] if len(seen) == limit else None)

    def remove(self, letter_id: str) -> None:
        """Remove one letter; fine if it is gone already."""
        self._store.delete([layout.dead_letter(letter_id)])

    def remove_all(self, video_id: str) -> None:
        """Remove every letter of a video."""
        self._store.delete([layout.dead_letter(each) for each in self.of(video_id)])

    def retire(self, video_id: str, through: int, *, keep: str | None = None) -> None:
        """Remove a video's letters of generations ``through`` one, but for ``keep``.

        Where the storage refuses that for good, they stay, which is logged.
        """
        try:
            known = self.of(video_id)
            gone = [each for each in known if each != keep and _generation(each) <= through]
            self._store.delete([layout.dead_letter(each) for each in gone])
        except UnavailableError:
            raise
        except StorageError as error:
            _LOG.error("dead_letters_not_removed", video_id=video_id, error=str(error))

    def of(self, video_id: str) -> list[str]:
        """The ids of a video's letters."""
        infos = self._store.list(layout.dead_letters(video_id))
        return [layout.dead_letter_id(info.key) for info in infos]

    def legible(self, letter_id: str) -> DeadLetter | None:
        """One letter, or None where it is gone or cannot be read, which is logged."""
        try:
            return self._load(letter_id)
        except (MalformedError, NewerSchemaError, ValidationError) as error:
            key = layout.dead_letter(letter_id)
            _LOG.error("dead_letter_unreadable", key=key, error=str(error))
            return None

    def _load(self, letter_id: str) -> DeadLetter | None:
        try:
            return load(self._store, layout.dead_letter(letter_id), DeadLetter)[0]
        except NotFoundError:
            return None


def _generation(letter_id: str) -> int:
    return int(letter_id.split("-", 2)[1])
