"""The control plane's ASGI application: routes, guard, limits, error form, security headers.

Owns what holds for every route. Refuses cross-origin use (no CORS header is ever sent), bodies beyond the limit and routes
without a declared access rule.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

from litestar import Litestar, Request, Response, Router
from litestar.datastructures import State as ApplicationState
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Message, Scope

from safeconduct import __version__
from safeconduct.kernel.errors import SafeconductError
from safeconduct.web.api.access import allow, caller_of, declares_access, guard, presentation_of, source_of
from safeconduct.web.api.applying import applying
from safeconduct.web.api.authenticators import authenticators
from safeconduct.web.api.casework import casework
from safeconduct.web.api.countries import countries
from safeconduct.web.api.deciding import deciding
from safeconduct.web.api.devices import devices
from safeconduct.web.api.following import following
from safeconduct.web.api.health import health
from safeconduct.web.api.holding import holding
from safeconduct.web.api.keeping import keeping
from safeconduct.web.api.metrics import metrics
from safeconduct.web.api.node import ApiNode
from safeconduct.web.api.ordering import ordering
from safeconduct.web.api.organisations import organisations
from safeconduct.web.api.ownership import ownership
from safeconduct.web.api.quotas import quotas
from safeconduct.web.api.readings import readings
from safeconduct.web.api.registering import registering
from safeconduct.web.api.schema import describe_api
from safeconduct.web.api.screening import screening
from safeconduct.web.api.strict_request import StrictRequest
from safeconduct.web.api.webhooks import webhooks
from safeconduct.web.log_files import log_files
from safeconduct.web.oauth.endpoints import oauth, public
from safeconduct.web.page.decisions import decisions_page
from safeconduct.web.page.device import device_page
from safeconduct.web.problems import PROBLEM_MEDIA_TYPE, Problem, problem, problem_of

MAX_BODY_BYTES = 4 << 20

_log = logging.getLogger("safeconduct.web.api")

_KIND_BY_STATUS = {
    400: "invalid_input",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_DEFAULT_CSP = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def problem_response(found: Problem) -> Response[Problem]:
    """The answer that carries problem details."""
    headers = {"cache-control": "no-store"}
    if found.status == 401:
        headers["www-authenticate"] = 'Bearer realm="safeconduct"'
    return Response(found, status_code=found.status, media_type=PROBLEM_MEDIA_TYPE, headers=headers)


def _on_our_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    assert isinstance(error, SafeconductError)
    found = problem_of(error)
    if found.status >= 500:
        _log.error("%s: %s", error.kind, error.message)
    answer = problem_response(found)
    if found.status == 401:
        node: ApiNode = request.app.state.node
        source = source_of(request)
        node.ledger.failed_authentication(source, found.code or error.kind, int(node.instance.clock.now()))
        if node.ledger.fails_too_often(source):
            answer.headers["connection"] = "close"
    return answer


def _on_http_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    assert isinstance(error, HTTPException)
    status = error.status_code
    if status >= 500:
        return _on_unexpected(request, error)
    kind = _KIND_BY_STATUS.get(status, "invalid_input")
    detail, field, remedy = str(error.detail), "", ""
    if isinstance(error, ValidationException) and isinstance(error.extra, list) and error.extra:
        first = error.extra[0]
        detail, field = str(first.get("message", "")), str(first.get("key", ""))
    if status == 404:
        detail, remedy = "there is no such address", "see /api/openapi.json"
    elif status == 413:
        detail, field = f"the body is larger than {MAX_BODY_BYTES} bytes", "body"
        remedy = "send less at once"
    elif status == 405:
        detail, remedy = "the method is not allowed at this address", "see /api/openapi.json"
    return problem_response(problem(kind, detail, status=status, field=field, remedy=remedy))


def _on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    # The exception's text may hold what a caller sent, so only its type and places are logged.
    places = "".join(traceback.format_tb(error.__traceback__))
    _log.error("unexpected %s at %s %s\n%s", type(error).__name__, request.method, request.url.path, places)
    return problem_response(
        problem("error", "an unexpected failure; nothing is known to have changed", remedy="see the logs")
    )


async def _add_security_headers(message: Message, scope: Scope) -> None:
    if message["type"] != "http.response.start":
        return
    headers = [(name.lower(), value) for name, value in message["headers"]]
    names = {name for name, _ in headers}
    headers.extend(pair for pair in SECURITY_HEADERS if pair[0] not in names)
    if b"content-security-policy" not in names:
        headers.append((b"content-security-policy", _DEFAULT_CSP))
    if b"cache-control" not in names and str(scope.get("path", "")).startswith(("/api", "/oauth")):
        headers.append((b"cache-control", b"no-store"))
    message["headers"] = headers


def create_application(node: ApiNode) -> Litestar:
    """The application for one node. Raises RuntimeError when a route declares no access rule."""

    def provide_node() -> ApiNode:
        return node

    application = Litestar(
        route_handlers=[
            health,
            Router(
                path="/api",
                route_handlers=[
                    *readings,
                    *registering,
                    *ordering,
                    *holding,
                    *authenticators,
                    *webhooks,
                    *applying,
                    *casework,
                    *organisations,
                    *devices,
                    *deciding,
                    *keeping,
                    *quotas,
                    *screening,
                    *ownership,
                    *countries,
                    *following,
                    metrics,
                ],
            ),
            describe_api,
            oauth,
            *public,
            log_files,
            decisions_page,
            device_page,
        ],
        guards=[guard],
        dependencies={
            "node": Provide(provide_node, sync_to_thread=False),
            "caller": Provide(caller_of, sync_to_thread=False),
            "presentation": Provide(presentation_of, sync_to_thread=False),
        },
        exception_handlers={
            SafeconductError: _on_our_error,
            HTTPException: _on_http_error,
            Exception: _on_unexpected,
        },
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY_BYTES,
        before_send=[_add_security_headers],
        state=ApplicationState({"node": node}),
        # The framework's own pages about the schema are open to nobody; ours is /api/openapi.json.
        openapi_config=OpenAPIConfig(
            title="Safeconduct",
            version=__version__,
            render_plugins=[JsonRenderPlugin()],
            openapi_router=Router(path="/api/schema", route_handlers=[], opt=allow()),
        ),
        logging_config=None,
        debug=False,
    )
    for route in application.routes:
        for handler in getattr(route, "route_handlers", ()):
            # The framework adds an OPTIONS handler to each route; without a rule the guard refuses it, as it should.
            if set(handler.http_methods) != {"OPTIONS"} and not declares_access(handler):
                raise RuntimeError(f"{route.path} declares no access rule")
    return application
