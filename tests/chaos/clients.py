"""Clients as they should be: they insist, and they send nothing twice under two names."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Final

import httpx

from farm.client import Video
from farm.errors import FarmError, NotFoundError
from tests.chaos.rig import Rig
from tests.numbered import Clip

#: Seconds for one upload to be acknowledged: the entry of one that broke off keeps its key for 300.
ACKNOWLEDGED: Final = 420.0
#: Seconds for a film to end once nothing is broken any more.
ENDED: Final = 300.0
#: Times an operator retries a film whose parts the soak itself has killed too often.
RETRIES: Final = 3


@dataclass(slots=True)
class Film:
    """One client's film, and what became of it."""

    clip: Clip
    key: str
    wish: str
    #: How much of the soak is over when it is uploaded, from 0 to 1.
    place: float
    video_id: str = ""
    tries: int = 0
    #: Codes of the errors that it was retried after.
    errors: list[str] = field(default_factory=list)
    #: Why it is not as it should be; empty for a good end.
    verdict: str = ""
    story: str = ""


@dataclass(frozen=True, slots=True)
class Clients:
    """Each calls :meth:`live` in a thread of its own."""

    rig: Rig
    #: How much of the soak is over, from 0 to 1.
    progress: Callable[[], float]
    #: Set once nothing is broken any more.
    healed: Event

    def live(self, film: Film) -> None:
        """A film's life, as its client sees it; never raises."""
        try:
            self._await_turn(film)
            film.video_id = self._upload(film)
            if film.wish:
                time.sleep(random.Random(film.key).uniform(0.0, 8.0))
                self._wish(film)
            if film.wish != "delete":
                self._see_through(film)
        except AssertionError as error:
            film.verdict, film.story = film.verdict or "stuck", str(error)[-3000:]
        except Exception as error:  # noqa: BLE001 - one film must not end the soak
            film.verdict, film.story = film.verdict or "stuck", repr(error)

    def _await_turn(self, film: Film) -> None:
        """Films come one after the other for as long as faults do."""
        while self.progress() < film.place:
            time.sleep(0.2)

    def _upload(self, film: Film) -> str:
        """The id that was acknowledged, after as many tries as it takes."""
        give_up = time.monotonic() + ACKNOWLEDGED
        headers = {"idempotency-key": film.key, "content-type": "application/octet-stream"}
        url = f"{self.rig.farm.client.url}/v1/videos"
        body, said = film.clip.path.read_bytes(), ""
        while time.monotonic() < give_up:
            film.tries += 1
            with suppress(httpx.TransportError):
                answer = httpx.post(url, content=body, headers=headers, timeout=60, trust_env=False)
                if answer.status_code == httpx.codes.ACCEPTED:
                    return str(answer.json()["id"])
                said = answer.text
                patient = answer.status_code in (409, 429) or answer.status_code >= 500
                assert patient, f"an upload was refused: {answer.status_code} {answer.text}"
            time.sleep(1.0)
        raise AssertionError(f"never acknowledged within {ACKNOWLEDGED:.0f} s; last said: {said}")

    def _wish(self, film: Film) -> None:
        """Cancel and retry it, or delete it; a film that was ready first stays as it is."""
        client = self.rig.farm.client
        if film.wish == "delete":
            self._insist(lambda: client.delete(film.video_id))
            return
        if self._insist(lambda: client.cancel(film.video_id)):
            self._insist(lambda: client.retry(film.video_id))

    def _insist(self, wish: Callable[[], object]) -> bool:
        """Have it answered; whether it was done. An answer may be lost after the deed."""
        give_up = time.monotonic() + ACKNOWLEDGED
        while time.monotonic() < give_up:
            try:
                wish()
            except NotFoundError:
                return True
            except FarmError as error:
                if getattr(error, "code", "") == "wrong_state":
                    return True
                time.sleep(0.5)
            else:
                return True
        raise AssertionError("a wish was not granted")

    def _see_through(self, film: Film) -> None:
        """Wait for the film's end; retry it where the soak killed its parts too often."""
        for _ in range(RETRIES + 1):
            video = self._ended(film)
            if video["status"] == "ready":
                return
            if video["status"] == "errored":
                film.errors.append(video["error"]["code"])
                film.story += f"{video['error']}\n"
            self._insist(lambda: self.rig.farm.client.retry(film.video_id))

    def _ended(self, film: Film) -> Video:
        """The film once nothing more happens to it. The clock runs from the last fault on."""
        give_up = time.monotonic() + ENDED
        while time.monotonic() < give_up:
            if not self.healed.is_set():
                give_up = time.monotonic() + ENDED
            with suppress(FarmError):
                video = self.rig.farm.client.video(film.video_id)
                if video["status"] in ("ready", "errored", "canceled"):
                    return video
            time.sleep(0.5)
        raise AssertionError(f"no end; the log:\n{self.rig.farm.last_words(film.video_id)}")
