"""What the farm makes of the ways in which servers put it that there is no room."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from ingest.answers import refusal_of
from storage.errors import FullError, UnavailableError, translate


def answered(code: str, status: int) -> ClientError:
    said = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "PutObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "status"),
    [("XMinioStorageFull", 507), ("QuotaExceeded", 403), ("unknown", 507)],
)
def test_no_room_is_an_outage_with_a_name_of_its_own(code: str, status: int) -> None:
    error = translate(answered(code, status), "PutObject", "films", "videos/x/source")
    assert isinstance(error, FullError)
    assert isinstance(error, UnavailableError), "films would not wait for it to be over"
    refused = refusal_of(error)
    assert (refused.kind.status, refused.kind.code) == (507, "storage_full")


def test_a_fault_inside_is_an_outage_of_unknown_cause() -> None:
    error = translate(answered("InternalError", 500), "PutObject", "films", "videos/x/source")
    assert type(error) is UnavailableError
    refused = refusal_of(error)
    assert (refused.kind.status, refused.kind.code) == (503, "storage_unavailable")
