"""One map from errors to what the wire says: RFC 9457 problem details, and OAuth errors (RFC 6749 5.2) for /oauth.

Owns statuses and shapes. Refuses to say anything that an error does not carry: an unexpected failure is a bare 500.
"""

from __future__ import annotations

import http
import re

import msgspec

from safeconduct.app.authorize_device import DevicePending
from safeconduct.app.check_presentation import CredentialRefused
from safeconduct.decision.response import Reason
from safeconduct.kernel.errors import InvalidInput, KeyUnavailable, SafeconductError, VerificationFailed
from safeconduct.kernel.suggest import did_you_mean
from safeconduct.kernel.vocabulary import Code

PROBLEM_MEDIA_TYPE = "application/problem+json"

STATUS_BY_KIND: dict[str, int] = {
    "invalid_input": 400,
    "verification_failed": 400,
    "unauthenticated": 401,
    "credential_refused": 401,
    "forbidden": 403,
    "unsafe_configuration": 403,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "log_corrupt": 500,
    "error": 500,
    "list_damaged": 500,
    "fetch_failed": 503,
    "log_unavailable": 503,
    "key_unavailable": 503,
}

_TITLES = {
    "invalid_input": "The input is not valid",
    "verification_failed": "A signed document does not verify",
    "unauthenticated": "The caller is not authenticated",
    "credential_refused": "The credential is refused",
    "forbidden": "The caller may not do this",
    "role_not_permitted": "The caller's role may not do this",
    "unsafe_configuration": "The profile refuses this",
    "not_found": "There is no such thing",
    "conflict": "The state does not admit this",
    "too_large": "The request is too large",
    "unsupported_media_type": "The media type is not accepted",
    "method_not_allowed": "The method is not allowed here",
    "log_corrupt": "The log is damaged",
    "list_damaged": "A screening list is damaged",
    "fetch_failed": "A list could not be fetched",
    "log_unavailable": "The log cannot write",
    "key_unavailable": "A key cannot be reached",
    "error": "Something failed inside",
}


_KEY_AWAY = "a key of the instance cannot be reached at present"
_LATER = "try again later; the operator finds the cause in the service log"


class UnsupportedGrantType(InvalidInput):
    """RFC 6749 5.2: the grant type is well-formed and not one of ours."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details. field: the input that is wrong; remedy: what to do; step: of a verification."""

    type: str
    title: str
    status: int
    detail: str = ""
    field: str = ""
    remedy: str = ""
    step: str = ""
    code: str = ""


class OAuthError(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 6749 5.2, with our denial code, every reason told and a remedy."""

    error: str
    error_description: str
    code: str = ""
    reasons: tuple[Reason, ...] = ()
    remedy: str = ""


def problem(
    kind: str, detail: str, *, status: int | None = None, field: str = "", remedy: str = ""
) -> Problem:
    """Problem details of a kind known to the map above."""
    number = status or STATUS_BY_KIND[kind]
    return Problem(
        type=f"urn:safeconduct:problem:{kind}",
        title=_TITLES.get(kind) or http.HTTPStatus(number).phrase,
        status=number,
        detail=detail,
        field=field,
        remedy=remedy,
    )


def problem_of(error: SafeconductError) -> Problem:
    """The problem details that an error of ours stands for."""
    kind = error.kind if error.kind in STATUS_BY_KIND else "error"
    if isinstance(error, KeyUnavailable):
        return problem(kind, _KEY_AWAY, status=STATUS_BY_KIND[kind], remedy=_LATER)
    title_kind = getattr(error, "problem", kind)
    found = problem(
        title_kind, error.message, status=STATUS_BY_KIND[kind], field=error.field, remedy=error.remedy
    )
    if isinstance(error, (VerificationFailed, CredentialRefused)):
        return msgspec.structs.replace(found, step=error.step, code=str(error.code))
    if kind == "log_unavailable":
        return msgspec.structs.replace(found, code=Code.AUDIT_UNAVAILABLE.value)
    return found


def oauth_error_of(error: SafeconductError) -> tuple[int, OAuthError]:
    """Status and body that an error of ours stands for at the token endpoint (RFC 6749 5.2, RFC 9449 5)."""
    if isinstance(error, CredentialRefused):
        return 400, OAuthError(
            error=error.error,
            error_description=_described(error),
            code=error.code.value,
            reasons=error.reasons,
            remedy=error.remedy or error.reasons[0].remedy,
        )
    if isinstance(error, DevicePending):
        return 400, OAuthError(error=error.error, error_description=_described(error))
    status = STATUS_BY_KIND.get(error.kind, 500)
    if status == 503:
        name = "temporarily_unavailable"
    elif status >= 500:
        name = "server_error"
    elif isinstance(error, UnsupportedGrantType):
        name = "unsupported_grant_type"
    elif error.field == "audience":
        name = "invalid_target"
    elif error.field.startswith("authorization_details"):
        name = "invalid_authorization_details"
    else:
        name = "invalid_request"
    if isinstance(error, KeyUnavailable):
        # Where our keys are kept is nobody's business; the service log says it.
        return status, OAuthError(error=name, error_description=_KEY_AWAY, remedy=_LATER)
    code = "AUDIT_UNAVAILABLE" if status == 503 else ""
    return status, OAuthError(error=name, error_description=_described(error), code=code, remedy=error.remedy)


def _described(error: SafeconductError) -> str:
    """RFC 6749 5.2 allows only these characters in a description."""
    text = f"{error.field}: {error.message}" if error.field else error.message
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "'" for char in text)


_PLACE = re.compile(r" - at `(?:key )?\$?\.?(?P<path>[^`]*)`")
_NAMED = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")


def invalid_input_of(error: msgspec.ValidationError, known: tuple[str, ...] = ()) -> InvalidInput:
    """What msgspec found wrong, as an error that names the JSON path. `known`: members to suggest from."""
    text = str(error)
    place = _PLACE.search(text)
    path = place["path"] if place else ""
    message = _PLACE.sub("", text)
    named = _NAMED.search(message)
    remedy = ""
    if named:
        name = named["name"]
        path = f"{path}.{name}" if path else name
        remedy = f"leave it out{did_you_mean(name, known)}" if "unknown" in message else "give it"
    return InvalidInput(message[:1].lower() + message[1:], field=path, remedy=remedy)
