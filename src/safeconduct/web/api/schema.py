"""The OpenAPI description, completed where the framework leaves holes, so that what it says is what the server does.

Owns one route, and what is added: unknown members are refused, levels go by name too, forms have their fields, and every
way in which an operation can fail has its status, media type and shape. Refuses to serve an interactive viewer, which would
load code from elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

from litestar import Litestar, Request, get

from safeconduct.kernel.vocabulary import Level, Role
from safeconduct.web.api.access import PUBLIC, declares_access, roles_of
from safeconduct.web.problems import PROBLEM_MEDIA_TYPE

_TEXT: Final = {"type": "string"}
# RFC 9457 3.1, and ours (`problems.Problem`).
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer"},
        **dict.fromkeys(("detail", "field", "remedy", "step", "code"), _TEXT),
    },
    "required": ["type", "title", "status"],
    "additionalProperties": False,
}
# RFC 6749 5.2, and ours (`problems.OAuthError`).
_OAUTH_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("error", "error_description", "code", "remedy"), _TEXT),
        "reasons": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["error", "error_description"],
    "additionalProperties": False,
}
_FORMS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    # path -> fields that must be there, fields that may be (RFC 8693 2.1, RFC 8628 3.1 and 3.4)
    "/oauth/token": (
        ("grant_type",),
        (
            "subject_token",
            "subject_token_type",
            "requested_token_type",
            "authorization_details",
            "audience",
            "resource",
            "device_code",
        ),
    ),
    "/oauth/device_authorization": ((), ("authorization_details", "name")),
}
_FAILURES: Final = {
    400: "The input is not valid",
    401: "The caller is not authenticated",
    403: "The caller may not do this",
    404: "There is no such thing",
    409: "The state does not admit this",
    413: "The request is too large",
    415: "The media type is not accepted",
    503: "The log cannot write",
}


def described(application: Litestar) -> dict[str, Any]:
    """OpenAPI 3.1 of every operation, with the roles that may call it under `x-roles`."""
    document: dict[str, Any] = application.openapi_schema.to_schema()
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for schema in schemas.values():
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
    if "Level" in schemas:
        schemas["Level"] = {
            "title": "Level",
            "description": "Clearance level, ordered; by name (how answers show it) or by number.",
            "enum": [*(level.name for level in Level), *(int(level) for level in Level)],
        }
    schemas["Problem"], schemas["OAuthError"] = _PROBLEM, _OAUTH_ERROR
    open_to_somebody = operations(application)
    document["paths"] = {path: item for path, item in document["paths"].items() if path in open_to_somebody}
    for path, methods in open_to_somebody.items():
        for method, roles in methods.items():
            operation = document["paths"][path][method.lower()]
            operation["x-roles"] = ["anybody"] if roles is None else sorted(roles)
            _complete(operation, path, roles)
    return document


def _complete(operation: dict[str, Any], path: str, roles: frozenset[Role] | None) -> None:
    """Add an operation's form and failures."""
    if path in _FORMS:
        required, optional = _FORMS[path]
        operation["requestBody"] = {
            "required": bool(required),
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "properties": dict.fromkeys((*required, *optional), _TEXT),
                        "required": list(required),
                    }
                }
            },
        }
    statuses = {400, 404, 503}
    if roles is not None:
        statuses |= {401, 403}
    if path.startswith("/oauth/"):
        statuses |= {401}
    if path.startswith("/api/webhooks/"):
        statuses |= {409, 413}
    if "requestBody" in operation or roles is not None:
        statuses |= {409, 413, 415}
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    if path.startswith("/oauth/"):
        content["application/json"] = {"schema": {"$ref": "#/components/schemas/OAuthError"}}
    answers = {
        status: answer for status, answer in operation["responses"].items() if str(status).startswith("2")
    }
    for status in sorted(statuses):
        answers[str(status)] = {"description": _FAILURES[status], "content": content}
    operation["responses"] = answers


def operations(application: Litestar) -> dict[str, dict[str, frozenset[Role] | None]]:
    """Every operation in the OpenAPI form of its path -> method -> the roles it admits (None: anybody)."""
    found: dict[str, dict[str, frozenset[Role] | None]] = {}
    for route in application.routes:
        for handler in getattr(route, "route_handlers", ()):
            if not declares_access(handler) or roles_of(handler) == frozenset():
                continue
            for method in handler.http_methods:
                if method in {"OPTIONS", "HEAD"}:
                    continue
                path = route.path_format.replace(":str", "").replace(":int", "")
                found.setdefault(path, {})[method] = roles_of(handler)
    return found


@get("/api/openapi.json", opt=PUBLIC, sync_to_thread=False)
def describe_api(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """OpenAPI 3.1 of every operation, with the roles that may call it."""
    return described(request.app)
