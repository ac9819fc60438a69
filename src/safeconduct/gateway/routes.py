"""Which routes are served, and in which wire format a caller wants to be answered.

A path is matched byte for byte: nothing is decoded, normalised or matched by prefix, so no sibling route slips through
(`/v1//messages`, `/v1/messages/`, `/V1/messages`, an absolute-form target). Whatever is not in the table is ROUTE_UNKNOWN.
"""

from __future__ import annotations

import enum
import re
from urllib.parse import parse_qsl, urlencode

import msgspec

from safeconduct.gateway.http_messages import Head, Refusal
from safeconduct.kernel.vocabulary import Wire


class Route(enum.Enum):
    """A route of the data plane."""

    # Members are singletons; the hash of `enum` is a call of Python on every look-up.
    __hash__ = object.__hash__

    CHAT = "POST /v1/chat/completions"
    COMPLETIONS = "POST /v1/completions"
    EMBEDDINGS = "POST /v1/embeddings"
    MODERATIONS = "POST /v1/moderations"
    RESPONSES = "POST /v1/responses"
    RESPONSE = "GET /v1/responses/{id}"
    RESPONSE_DELETE = "DELETE /v1/responses/{id}"
    RESPONSE_CANCEL = "POST /v1/responses/{id}/cancel"
    MESSAGES = "POST /v1/messages"
    COUNT_TOKENS = "POST /v1/messages/count_tokens"
    MODELS = "GET /v1/models"
    MODEL = "GET /v1/models/{id}"
    HEALTH = "GET /healthz"
    READY = "GET /readyz"
    ROOT = "HEAD /"


class Inference(msgspec.Struct, frozen=True):
    """A route whose body names a model.

    path: where it is upstream, below the deployment's prefix. names_user: the vendor's API takes a name of the end user
    there, `names_safety_id` also as `safety_identifier`. usage_event: a stream tells its usage only when `stream_options`
    asks for it.
    """

    wire: Wire
    path: bytes
    names_user: bool = True
    names_safety_id: bool = False
    usage_event: bool = False


INFERENCE = {
    Route.CHAT: Inference(Wire.OPENAI, b"/chat/completions", names_safety_id=True, usage_event=True),
    Route.COMPLETIONS: Inference(Wire.OPENAI, b"/completions", usage_event=True),
    Route.EMBEDDINGS: Inference(Wire.OPENAI, b"/embeddings"),
    Route.MODERATIONS: Inference(Wire.OPENAI, b"/moderations", names_user=False),
    Route.RESPONSES: Inference(Wire.OPENAI, b"/responses", names_safety_id=True),
    Route.MESSAGES: Inference(Wire.ANTHROPIC, b"/messages"),
    Route.COUNT_TOKENS: Inference(Wire.ANTHROPIC, b"/messages/count_tokens", names_user=False),
}

STORED = frozenset({Route.RESPONSE, Route.RESPONSE_DELETE, Route.RESPONSE_CANCEL})
"""Routes about an answer that a provider keeps."""

_PATHS = {tuple(route.value.encode().split(b" ")): route for route in INFERENCE}

_TABLE = {
    **_PATHS,
    (b"GET", b"/v1/models"): Route.MODELS,
    (b"GET", b"/healthz"): Route.HEALTH,
    (b"HEAD", b"/healthz"): Route.HEALTH,
    (b"GET", b"/readyz"): Route.READY,
    (b"HEAD", b"/readyz"): Route.READY,
    (b"HEAD", b"/"): Route.ROOT,
}

_OPENAI_PATHS = (b"/v1/chat/", b"/v1/completions", b"/v1/embeddings", b"/v1/moderations", b"/v1/responses")
_MODEL_PREFIX = b"/v1/models/"
# The same alphabet as kernel.ids.check_name; a percent sign or a slash never names a model.
_MODEL_NAME = re.compile(rb"[a-z0-9](?:[a-z0-9._:-]{0,94}[a-z0-9])?")

_RESPONSES_PREFIX = b"/v1/responses/"
_CANCEL = b"/cancel"
_RESPONSE_ID = re.compile(rb"[A-Za-z0-9_-]{1,200}")
_RESPONSE_QUERY = frozenset({"stream", "starting_after", "include", "include[]", "include_obfuscation"})


def route_of(head: Head) -> Route | None:
    """The route of a request, or None when it is not served."""
    path = head.path
    route = _TABLE.get((head.method, path))
    if route is not None:
        return route
    if path.startswith(_RESPONSES_PREFIX):
        return _stored_route(head.method, path[len(_RESPONSES_PREFIX) :])
    if head.method != b"GET" or not path.startswith(_MODEL_PREFIX):
        return None
    return Route.MODEL if _MODEL_NAME.fullmatch(path[len(_MODEL_PREFIX) :]) else None


def _stored_route(method: bytes, rest: bytes) -> Route | None:
    # Whatever stands for an id is taken: one that cannot be an id is answered like one that is somebody else's.
    if method == b"POST" and rest.endswith(_CANCEL) and b"/" not in rest[: -len(_CANCEL)]:
        return Route.RESPONSE_CANCEL
    if b"/" in rest or not rest:
        return None
    return {b"GET": Route.RESPONSE, b"DELETE": Route.RESPONSE_DELETE}.get(method)


def response_in_path(head: Head) -> str | None:
    """The answer's id in `/v1/responses/{id}[/cancel]`; None when what stands there cannot be one."""
    rest = head.path[len(_RESPONSES_PREFIX) :]
    if head.method == b"POST":
        rest = rest.removesuffix(_CANCEL)
    return rest.decode("ascii") if _RESPONSE_ID.fullmatch(rest) else None


def stored_target(head: Head, route: Route, response: str) -> bytes:
    """Path and query upstream of a request about a stored answer. Raises Refusal when the query asks for anything else."""
    path = b"/responses/" + response.encode("ascii")
    if route is Route.RESPONSE_CANCEL:
        path += _CANCEL
    pairs = _query_of(head)
    unknown = sorted({name for name, _ in pairs} - _RESPONSE_QUERY)
    if unknown or (pairs and route is not Route.RESPONSE):
        raise Refusal(
            400,
            "query",
            f"{(unknown or ['query'])[0][:80]!r} is not known here",
            field="query",
            remedy="leave it out",
        )
    return path + (b"?" + urlencode(pairs).encode("ascii") if pairs else b"")


def model_in_path(head: Head) -> str:
    """The model's name in `GET /v1/models/{id}`."""
    return head.path[len(_MODEL_PREFIX) :].decode("ascii")


def wire_of(head: Head) -> Wire:
    """Which vendor's client speaks: what the path says, else `anthropic-version` or `x-api-key`, else OpenAI."""
    path = head.path
    if path.startswith(_OPENAI_PATHS):
        return Wire.OPENAI
    if path == b"/v1/messages" or path.startswith(b"/v1/messages/") or path == b"/v1/complete":
        return Wire.ANTHROPIC
    if b"anthropic-version" in head.headers or b"x-api-key" in head.headers:
        return Wire.ANTHROPIC
    return Wire.OPENAI


def _query_of(head: Head) -> list[tuple[str, str]]:
    if not head.query:
        return []
    try:
        return parse_qsl(
            head.query.decode("ascii"), keep_blank_values=True, max_num_fields=32, errors="strict"
        )
    except (ValueError, UnicodeDecodeError):
        raise Refusal(
            400, "query", "the query cannot be read", field="query", remedy="leave it out"
        ) from None


def models_in_query(head: Head) -> tuple[str, ...]:
    """Every value of a query member called `model`, in any case. Raises Refusal when the query cannot be read."""
    if not head.query:
        return ()
    return tuple(value for name, value in _query_of(head) if name.casefold() == "model")


def upstream_query(head: Head, wire: Wire) -> bytes:
    """The query sent upstream: `beta=true` on the Anthropic wire when the client sent just that, otherwise nothing."""
    return b"?beta=true" if wire is Wire.ANTHROPIC and head.query == b"beta=true" else b""
