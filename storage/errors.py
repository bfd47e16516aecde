"""What can go wrong with object storage, as one small tree.

::

    StorageError
    ├── NotFoundError        no such object (or multipart upload)
    ├── InvalidRangeError    the range begins behind the object's end
    ├── ChangedError         it is not the object any more that the caller means
    ├── BucketMissingError   the bucket itself is not there: never mistaken for a missing object
    ├── MalformedError       a document that is not the JSON it should be
    ├── DeniedError          credentials or permissions
    └── UnavailableError     transient: unreachable, time-out, 5xx, throttled; try again later
        └── FullError        there is no room, and the storage says so (SeaweedFS says: error 500)
"""

from __future__ import annotations

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError


class StorageError(Exception):
    """A call to object storage failed.

    ``operation``, ``bucket`` and ``key`` name the call, ``code`` is S3's own (or the exception's
    class), ``detail`` what the server or the client library said.
    """

    hint = "See the detail; the request was not repeated."

    def __init__(self, operation: str, bucket: str, key: str, code: str, detail: str) -> None:
        self.operation = operation
        self.bucket = bucket
        self.key = key
        self.code = code
        self.detail = detail
        super().__init__(f"{operation} s3://{bucket}/{key}: {code}: {detail} {self.hint}")

    def __reduce__(self) -> tuple[object, ...]:
        """Exceptions cross process borders by pickle, which would pass the message alone."""
        return type(self), (self.operation, self.bucket, self.key, self.code, self.detail)


class NotFoundError(StorageError):
    """The object, or the multipart upload, does not exist."""

    hint = "It was never written, or it has been deleted."


class InvalidRangeError(StorageError):
    """The range asked for begins behind the object's end."""

    hint = "Ask for a range within the object's size."


class ChangedError(StorageError):
    """The object has another ETag than the one asked for."""

    hint = "It was written anew in the meantime: begin again with what is there now."


class BucketMissingError(StorageError):
    """The bucket does not exist."""

    hint = "Create the bucket, or correct the setting s3_bucket."


class MalformedError(StorageError):
    """A stored document is not a JSON object."""

    hint = "Something else wrote it, or it was damaged: look at the object itself."


class DeniedError(StorageError):
    """The credentials are missing, wrong, or lack the permission."""

    hint = "Check the access key, the secret key and the bucket's policy."


class UnavailableError(StorageError):
    """Transient: the storage cannot be reached, is overloaded, or failed inside."""

    hint = "The client library's retries are used up; try again later."


class FullError(UnavailableError):
    """The storage has no room left, or its quota is used up; reading and deleting go on."""

    hint = "Delete videos, or give the storage more room; then it goes on by itself."


_CODES: dict[str, type[StorageError]] = {
    # AWS knows no such state: MinIO, Ceph's quotas, and the status of RFC 4918.
    "InsufficientStorage": FullError,
    "QuotaExceeded": FullError,
    "XMinioStorageFull": FullError,
    "404": NotFoundError,
    "NoSuchKey": NotFoundError,
    "NoSuchUpload": NotFoundError,
    "NotFound": NotFoundError,
    "NoSuchBucket": BucketMissingError,
    "AccessDenied": DeniedError,
    "InternalError": UnavailableError,
    "ServiceUnavailable": UnavailableError,
    "412": ChangedError,
    "PreconditionFailed": ChangedError,
    "416": InvalidRangeError,
    "InvalidRange": InvalidRangeError,
    "ConditionalRequestConflict": UnavailableError,
    "OperationAborted": UnavailableError,
    "RequestTimeout": UnavailableError,
    "RequestTimeTooSkewed": DeniedError,
    "SlowDown": UnavailableError,
    "SlowDownRead": UnavailableError,
    "SlowDownWrite": UnavailableError,
    "Throttling": UnavailableError,
    "ThrottlingException": UnavailableError,
}

#: TLS that cannot be verified stays wrong however often it is tried.
_PERMANENT = (boto.SSLError, boto.ParamValidationError)
_DENIED = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)
_TRANSIENT = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
)


def translate(error: Exception, operation: str, bucket: str, key: str) -> StorageError:
    """The farm's error for one of botocore's."""
    if isinstance(error, ClientError):
        return _from_answer(error, operation, bucket, key)
    kind: type[StorageError] = StorageError
    if isinstance(error, BotoCoreError) and not isinstance(error, _PERMANENT):
        if isinstance(error, _DENIED):
            kind = DeniedError
        elif isinstance(error, _TRANSIENT):
            kind = UnavailableError
    return kind(operation, bucket, key, type(error).__name__, str(error))


def _from_answer(error: ClientError, operation: str, bucket: str, key: str) -> StorageError:
    code = error_code(error)
    status = http_status(error)
    message = error.response.get("Error", {}).get("Message", "")
    return _kind(code, status)(operation, bucket, key, code, message or f"HTTP {status}.")


def _kind(code: str, status: int) -> type[StorageError]:
    if code in _CODES:
        return _CODES[code]
    if status == 507:
        return FullError
    if status >= 500 or status == 429:
        return UnavailableError
    return DeniedError if status in (401, 403) else StorageError


def refused(code: str, bucket: str, key: str, detail: str) -> StorageError:
    """The error for one key of a batch deletion that S3 refused."""
    return _kind(code, 0)("DeleteObjects", bucket, key, code, detail)


def error_code(error: ClientError) -> str:
    """S3's error code, or the HTTP status as text where the answer had no body."""
    return error.response.get("Error", {}).get("Code", "unknown")


def http_status(error: ClientError) -> int:
    """The HTTP status of the answer; 0 when there is none."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
