"""A farm as its users see it: the HTTP contract, from the other side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import httpx

from farm.errors import FarmError, NotFoundError, RefusedError, UnreachableError
from farm.settings import LOOPBACK

#: A video as ``GET /v1/videos/{id}`` gives it.
Video = dict[str, Any]

#: Bytes read from the file at once.
_BLOCK: Final = 256 * 1024
#: Seconds to connect, and to wait for any single answer.
_TIMEOUTS: Final = httpx.Timeout(60.0, connect=5.0)


class Client:
    """Calls one farm. Each method raises the errors of :mod:`farm.errors`."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=_TIMEOUTS, trust_env=not _is_local(self.url)
        )

    def upload(
        self,
        file: Path,
        *,
        profile: str | None = None,
        priority: str | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Video:
        """Send ``file``; ``progress`` is told how many bytes have gone. The accepted video."""
        options = {"filename": file.name, "profile": profile, "priority": priority}
        parameters = _given(options)
        headers = {
            "content-length": str(size_of(file)),
            "content-type": "application/octet-stream",
        }
        body = _blocks(file, progress)
        return self._json("POST", "/v1/videos", params=parameters, headers=headers, content=body)

    def video(self, video_id: str) -> Video:
        """One video."""
        return self._json("GET", f"/v1/videos/{video_id}")

    def story(self, video_id: str) -> Video:
        """What is recorded of how a video came about."""
        return self._json("GET", f"/v1/farm/videos/{quote(video_id, safe='')}")

    def videos(self, limit: int, status: str | None = None, cursor: str | None = None) -> Video:
        """A page of videos, newest first, as the API gives it."""
        options = {"limit": limit, "status": status, "cursor": cursor}
        return self._json("GET", "/v1/videos", params=_given(options))

    def cancel(self, video_id: str) -> Video:
        """End a video that is waiting or being worked on."""
        return self._json("POST", f"/v1/videos/{video_id}/cancel")

    def retry(self, video_id: str) -> Video:
        """Have a video made anew that errored or was canceled."""
        return self._json("POST", f"/v1/videos/{video_id}/retry")

    def delete(self, video_id: str) -> None:
        """Delete a video."""
        self._send("DELETE", f"/v1/videos/{video_id}")

    def dead_letters(self, limit: int, cursor: str | None = None) -> Video:
        """A page of dead letters as the API gives it."""
        parameters = _given({"limit": limit, "cursor": cursor})
        return self._json("GET", "/v1/farm/dead-letters", params=parameters)

    def dead_letter(self, letter_id: str) -> Video:
        """One dead letter."""
        return self._json("GET", f"/v1/farm/dead-letters/{letter_id}")

    def retry_dead_letter(self, letter_id: str) -> Video:
        """Have the video of a dead letter made anew; the video."""
        return self._json("POST", f"/v1/farm/dead-letters/{letter_id}/retry")

    def farm(self, workers: int = 200) -> Video:
        """Queues, pools, decisions, failures, and at most so many workers."""
        return self._json("GET", "/v1/farm", params={"workers": workers})

    def pause(self, pool: str | None = None) -> Video:
        """Have a pool, or all, begin nothing new; what the operator has said that holds."""
        return self._json("POST", "/v1/farm/pause", params=_given({"pool": pool}))

    def resume(self, pool: str | None = None) -> Video:
        """Let a pool, or all, go on."""
        return self._json("POST", "/v1/farm/resume", params=_given({"pool": pool}))

    def scale(self, pool: str, count: int | None) -> Video:
        """Have so many workers of a pool; None leaves it to the policy."""
        return self._json("POST", f"/v1/farm/pools/{_segment(pool)}", json={"count": count})

    def drain(self, host: str) -> Video:
        """Have the workers of a host finish and go."""
        return self._json("POST", f"/v1/farm/hosts/{_segment(host)}/drain")

    def undrain(self, host: str) -> Video:
        """Let a host have workers again."""
        return self._json("POST", f"/v1/farm/hosts/{_segment(host)}/resume")

    def fetch(self, url: str) -> httpx.Response:
        """Any path of the farm, or absolute URL, as it is answered."""
        return self._send("GET", url)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _json(self, method: str, path: str, **options: Any) -> Video:
        answer = self._send(method, path, **options)
        try:
            found: Video = answer.json()
        except ValueError as error:
            raise UnreachableError(
                f"{self.url} answered with something that is no JSON; is it a farm?"
            ) from error
        return found

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.InvalidURL as error:
            raise UnreachableError(f"{self.url} is no address: {error}") from error
        except httpx.TransportError as error:
            raise UnreachableError(_unreachable(self.url, error)) from error
        if answer.is_error:
            raise _refusal(answer)
        return answer


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _segment(name: str) -> str:
    """A name as one segment of a path, whatever it holds."""
    return quote(name, safe="")


def _is_local(url: str) -> bool:
    """Whether no proxy of the environment could reach it."""
    return urlsplit(url).hostname in LOOPBACK


def size_of(file: Path) -> int:
    """Bytes of a file that can be uploaded. Raises :class:`NotFoundError`."""
    try:
        with file.open("rb"):
            return file.stat().st_size
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}.") from error


def _blocks(file: Path, progress: Callable[[int], None]) -> Iterator[bytes]:
    sent = 0
    with file.open("rb") as source:
        while block := source.read(_BLOCK):
            yield block
            sent += len(block)
            progress(sent)


def _unreachable(url: str, error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return (
            f"No farm answers at {url} ({error}).\n"
            "Start one with `reelfarm up`, or say where it is with --url or REELFARM_URL."
        )
    said = str(error) or type(error).__name__
    return f"The connection to {url} broke: {said}.\nLook at the farm's log, then try again."


def _refusal(answer: httpx.Response) -> FarmError:
    """The error of a problem document (RFC 9457), or of whatever else was answered."""
    try:
        problem = dict(answer.json())
    except (ValueError, TypeError):
        problem = {}
    code = str(problem.get("code", f"http_{answer.status_code}"))
    said = [problem.get("title") or answer.reason_phrase, problem.get("detail")]
    hint = problem.get("hint")
    message = f"{': '.join(filter(None, said))} ({code})" + (f"\n{hint}" if hint else "")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return NotFoundError(message)
    return RefusedError(message, code)
