"""The OpenAPI description, in the version that the bundled Swagger UI can show.

FastAPI writes OpenAPI 3.1, and Swagger UI 4 knows 3.0 only. What this API uses of 3.1 is ``null``
as a type and ``const``, and both have an older spelling.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

VERSION: Final = "3.0.3"
_NULL: Final = {"type": "null"}


def install(app: FastAPI, *, token: bool) -> None:
    """Have ``/openapi.json`` served so; ``token`` says whether the farm asks for one."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, token)
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]


def as_openapi_30(schema: Any) -> Any:
    """The schema with ``null`` types and constants spelled the way OpenAPI 3.0 does."""
    if isinstance(schema, list):
        return [as_openapi_30(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    older = {key: as_openapi_30(value) for key, value in schema.items()}
    if _NULL in older.get("anyOf", ()):
        options = [option for option in older.pop("anyOf") if option != _NULL]
        older |= {"nullable": True}
        older |= _alone(options[0]) if len(options) == 1 else {"anyOf": options}
    if "const" in older:
        older["enum"] = [older.pop("const")]
    return older


def _alone(option: dict[str, Any]) -> dict[str, Any]:
    return {"allOf": [option]} if "$ref" in option else option


def _described(app: FastAPI, token: bool) -> dict[str, Any]:
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=None,
        description=app.description,
        openapi_version=VERSION,
        routes=app.routes,
    )
    if token:
        bearer = {"token": {"type": "http", "scheme": "bearer"}}
        made.setdefault("components", {})["securitySchemes"] = bearer
        made["security"] = [{"token": []}]
    converted: dict[str, Any] = as_openapi_30(made)
    return converted
