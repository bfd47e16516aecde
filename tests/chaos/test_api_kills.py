"""An API killed in an upload: either nothing was promised, or the promise is kept."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from catalog.videos import Catalog
from farm.client import Video
from farm.errors import FarmError, UnreachableError
from ingest.streams import PART
from media.binaries import Tools
from storage import layout
from storage.documents import load_document
from storage.errors import NotFoundError
from tests.chaos.checks import (
    RECOVERY,
    assert_flawless,
    assert_nothing_left,
    expire_uploads,
)
from tests.chaos.rig import Rig
from tests.chaos.s3_proxy import HALFWAY, UNHEARD, Fault, Request
from tests.e2e.farm_process import eventually
from tests.numbered import Clip

pytestmark = pytest.mark.long

#: Seconds within which the inbox is swept, and the rest of a small film made.
SWEPT = 30.0 + RECOVERY


def killed_in_upload(
    rigged: Rig, file: Path, fault: Fault, operation: str, key: str, after: int = 0
) -> str:
    """Hold that request of an upload, kill the API, and see that the client knows; the id."""
    keys: list[str] = []

    def met(request: Request) -> bool:
        keys.append(request.key)
        return True

    hold = rigged.proxy.failing(fault, operation=operation, key=key, match=met, after=after)
    with ThreadPoolExecutor(1) as pool, hold as rule:
        answer: Future[Video] = pool.submit(rigged.farm.client.upload, file)
        eventually(lambda: rule.done or answer.done(), RECOVERY)
        assert rule.done, f"the upload went past: {answer.result()}"
        if fault is UNHEARD:
            eventually(lambda: _is_written(rigged, keys[0]), RECOVERY)
        api = rigged.api()
        assert api is not None
        os.kill(api.pid, signal.SIGKILL)
        with pytest.raises(UnreachableError):
            answer.result(RECOVERY)
        eventually(lambda: rigged.api() not in (api, None), RECOVERY)
    rigged.until_working()
    return re.split(r"[/.]", keys[0])[1]


def _is_written(rigged: Rig, key: str) -> bool:
    """Whether a held request has had its effect."""
    if key.startswith(layout.INBOX):
        return load_document(rigged.farm.store, key)[0]["state"] == "accepted"
    try:
        return rigged.farm.store.head(key).size > 0
    except NotFoundError:
        return False


@pytest.mark.parametrize(
    ("operation", "key"),
    [("UploadPart", "/source$"), ("CompleteMultipartUpload", "/source$"), ("PutObject", "^inbox/")],
)
def test_what_was_not_acknowledged_is_removed(
    rigged: Rig, tmp_path: Path, operation: str, key: str
) -> None:
    """Cut off in the second part, at the end of the parts, and before the first byte."""
    file = tmp_path / "long.mp4"
    file.write_bytes(os.urandom(PART + PART // 2))
    video_id = killed_in_upload(rigged, file, HALFWAY, operation, key)
    if operation != "PutObject":
        assert list(rigged.farm.store.uploads(layout.video(video_id)))
        assert expire_uploads(rigged.farm) == [video_id]
    with pytest.raises(FarmError):
        rigged.farm.client.video(video_id)
    assert_nothing_left(rigged.farm)
    assert Catalog(rigged.farm.store).entry(video_id) is None


def test_what_was_stored_and_not_accepted_is_removed(rigged: Rig, film: Clip) -> None:
    video_id = killed_in_upload(rigged, film.path, UNHEARD, "PutObject", "/source$")
    assert expire_uploads(rigged.farm) == [video_id]
    assert_nothing_left(rigged.farm)
    assert Catalog(rigged.farm.store).entry(video_id) is None


def test_what_was_accepted_without_an_answer_or_a_message_is_made(
    rigged: Rig, tools: Tools, film: Clip
) -> None:
    video_id = killed_in_upload(rigged, film.path, UNHEARD, "PutObject", "^inbox/", after=1)
    assert_flawless(rigged.farm, tools, film, rigged.ended(video_id, SWEPT))
    assert_nothing_left(rigged.farm)
