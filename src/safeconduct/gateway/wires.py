"""How denials, refusals, mid-stream errors and model lists look in each vendor's wire format (formats.md 7).

Owns statuses and bodies. Refuses to choose what is told: reasons come here as the caller may know them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from safeconduct.decision.response import Reason
from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.vocabulary import Code, Wire

_encode = msgspec.json.Encoder().encode

_STATUS = {
    Code.PASSPORT_INVALID: 401,
    Code.BINDING_MISSING: 401,
    Code.MODEL_UNKNOWN: 404,
    Code.ROUTE_UNKNOWN: 404,
    Code.QUOTA: 429,
    Code.STATE_STALE: 503,
    Code.AUDIT_UNAVAILABLE: 503,
}

_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    504: "server_error",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}

PHRASES = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


def status_of(code: Code) -> int:
    """The HTTP status of a denial whose first code this is; never 409, which the vendor clients retry."""
    return _STATUS.get(code, 403)


def message_of(reasons: Sequence[Reason]) -> str:
    """One sentence with every code, for people who see nothing but the message."""
    codes = ", ".join(dict.fromkeys(reason.code.value for reason in reasons))
    first = reasons[0]
    remedy = f" Remedy: {first.remedy}" if first.remedy else ""
    return f"Access denied ({codes}): {first.detail}{'' if first.detail.endswith('.') else '.'}{remedy}"


def _told(reason: Reason) -> dict[str, Any]:
    told: dict[str, Any] = {
        "code": reason.code.value,
        "detail": reason.detail,
        "remedy": reason.remedy,
        "rule": reason.rule,
        "version": reason.version,
        "source": reason.source,
    }
    if reason.directive is not None:
        told["directive"] = reason.directive
    if reason.citations:
        told["citations"] = list(reason.citations)
    return told


def denial_members(reasons: Sequence[Reason], request_id: str, remedy_base: str | None) -> dict[str, Any]:
    """The members that a denial adds to the vendor's own error shape."""
    members: dict[str, Any] = {
        "reasons": [_told(reason) for reason in reasons],
        "remedy": reasons[0].remedy,
        "decision": request_id,
    }
    if remedy_base is not None:
        members["remedy_url"] = f"{remedy_base}#{reasons[0].code.value}"
    return members


def error_body(
    wire: Wire,
    status: int,
    code: str,
    message: str,
    *,
    request_id: str,
    param: str | None = None,
    extra: dict[str, Any] | None = None,
) -> bytes:
    """An error in the caller's wire format. code: a denial code or a word of ours."""
    if wire is Wire.ANTHROPIC:
        details: dict[str, Any] = {"error_code": code}
        if param:
            details["field"] = param
        if extra:
            details.update(extra)
        return _encode(
            {
                "type": "error",
                "error": {
                    "type": _ANTHROPIC_TYPES.get(status, "invalid_request_error"),
                    "message": message,
                    "details": details,
                },
                "request_id": request_id,
            }
        )
    error: dict[str, Any] = {
        "message": message,
        "type": _OPENAI_TYPES.get(status, "invalid_request_error"),
        "param": param or None,
        "code": code,
    }
    if extra:
        error.update(extra)
    return _encode({"error": error})


def stream_error(
    wire: Wire, code: str, message: str, *, request_id: str, extra: dict[str, Any] | None = None
) -> bytes:
    """The event that ends a stream midway; both vendor clients raise it. No final event may follow."""
    body = error_body(wire, 403, code, message, request_id=request_id, extra=extra)
    if wire is Wire.ANTHROPIC:
        return b"event: error\ndata: " + body + b"\n\n"
    return b"data: " + body + b"\n\n"


def response_stream_error(
    code: str, message: str, *, request_id: str, extra: dict[str, Any] | None = None
) -> bytes:
    """The event for a `/v1/responses` stream. The client only yields it, so the connection must end without a final event."""
    event: dict[str, Any] = {
        "type": "error",
        "code": code,
        "message": message,
        "param": None,
        "request_id": request_id,
    }
    if extra:
        event.update(extra)
    return b"event: error\ndata: " + _encode(event) + b"\n\n"


def request_id_line(wire: Wire, request_id: str) -> bytes:
    """The header line under which each vendor's client looks for the request's id."""
    name = b"request-id: " if wire is Wire.ANTHROPIC else b"x-request-id: "
    return name + request_id.encode("ascii") + b"\r\n"


def models_body(wire: Wire, models: Sequence[tuple[str, str]], created: int) -> bytes:
    """The list of models. models: pairs (name, provider), ordered. created: seconds; both shapes need a date."""
    if wire is Wire.ANTHROPIC:
        data = [_anthropic_model(name, created) for name, _ in models]
        return _encode(
            {
                "data": data,
                "has_more": False,
                "first_id": data[0]["id"] if data else None,
                "last_id": data[-1]["id"] if data else None,
            }
        )
    return _encode({"object": "list", "data": [_openai_model(*model, created) for model in models]})


def model_body(wire: Wire, name: str, provider: str, created: int) -> bytes:
    """One model."""
    if wire is Wire.ANTHROPIC:
        return _encode(_anthropic_model(name, created))
    return _encode(_openai_model(name, provider, created))


def _anthropic_model(name: str, created: int) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": format_instant(created)}


def _openai_model(name: str, provider: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": provider}
