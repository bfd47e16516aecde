"""Documents from storage as what they stand for; those of newer versions are left alone.

One that needs a schema which this version does not know may mean anything, so it is not read, and
since it is not read, it is never written again either. What such a document says besides what is
known here (:mod:`jobs.schema`) is kept where the document is written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from catalog.errors import NewerSchemaError
from jobs.schema import SCHEMA
from storage.documents import load_document
from storage.objects import ObjectStore

M = TypeVar("M", bound=BaseModel)


def load(store: ObjectStore, key: str, model: type[M]) -> tuple[M, str]:
    """The document and its ETag.

    Raises :class:`storage.errors.NotFoundError`, :class:`storage.errors.MalformedError`,
    :class:`NewerSchemaError`, :class:`pydantic.ValidationError`.
    """
    payload, etag = load_document(store, key)
    return parsed(model, payload, key), etag


def parsed(model: type[M], payload: Mapping[str, Any], key: str, known: int = SCHEMA) -> M:
    """What was stored under ``key``. Raises :class:`NewerSchemaError`."""
    needed = payload.get("schema_version", 1)
    if isinstance(needed, int) and needed > known:
        raise NewerSchemaError(key, payload, needed, known)
    return model.model_validate(payload)
