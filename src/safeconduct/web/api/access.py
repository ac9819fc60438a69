"""Who may call which operation: one guard for the whole application, fed by what each route declares.

Owns the role side of the authorization matrix. Refuses every route that declares nothing. Object scope (whose grant, whose
variant) stays in the use cases.
"""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection, Request
from litestar.handlers.base import BaseRouteHandler

from safeconduct.app.ports import Caller
from safeconduct.kernel.errors import Forbidden, Unauthenticated
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.node import ApiNode

_ROLES = "roles"
_READS = "reads"
_PRESENTED = "presented"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# A gateway is a machine: it follows the record and fetches what it was enrolled for, and reads nothing else. An analyst works
# on cases, and an applicant on their own.
STAFF: tuple[Role, ...] = tuple(
    role for role in Role if role not in (Role.HOLDER, Role.GATEWAY, Role.ANALYST, Role.APPLICANT)
)
EVERYBODY: tuple[Role, ...] = tuple(Role)

PUBLIC: dict[str, Any] = {_ROLES: None}
"""For `opt=` of a route that anybody may call."""


class RoleNotPermitted(Forbidden):
    """The caller's role may not call this operation at all."""

    problem = "role_not_permitted"


def allow(*roles: Role, reads: bool = False) -> dict[str, Any]:
    """For `opt=` of a route: the roles that may call it.

    reads: a POST that changes nothing (a dry run, a preview), for which a role token is not spent.
    """
    return {_ROLES: frozenset(roles), _READS: reads}


def present() -> dict[str, Any]:
    """For `opt=` of a route for holders whose use case itself verifies the presentation (a nonce serves once)."""
    return {_ROLES: frozenset({Role.HOLDER}), _PRESENTED: True}


def declares_access(handler: BaseRouteHandler) -> bool:
    """True when the route says who may call it."""
    return _ROLES in handler.opt


def roles_of(handler: BaseRouteHandler) -> frozenset[Role] | None:
    """The roles that a route admits; None means everybody, unauthenticated callers included."""
    if _ROLES not in handler.opt:
        return frozenset()
    roles: frozenset[Role] | None = handler.opt[_ROLES]
    return roles


def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Authenticate the caller and let only the declared roles through. Runs before the body is read."""
    roles = roles_of(handler)
    if roles is None:
        return
    node: ApiNode = connection.app.state.node
    method = str(connection.scope.get("method", "GET"))
    changing = method not in _SAFE_METHODS and not handler.opt.get(_READS, False)
    if handler.opt.get(_PRESENTED, False) and not _proves_only(connection):
        scheme, credential = _credential(connection)
        if scheme in _PRESENTING:
            connection.scope["state"]["presentation"] = credential
            return
    caller = authenticate(node, connection, changing=changing, roles=roles)
    connection.scope["state"]["caller"] = caller


_PRESENTING = frozenset({"sd-jwt", "mandate"})


def _proves_only(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """An applicant's call: a proof of a key, and no other credential."""
    headers = connection.headers
    return bool(headers.getall("dpop", [])) and not headers.getall("authorization", [])


def _credential(connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[str, str]:
    """Scheme (lower case) and credential of the one Authorization header. Raises Unauthenticated."""
    values = connection.headers.getall("authorization", [])
    if len(values) != 1:
        raise Unauthenticated(
            "the call carries no credential" if not values else "the call carries several credentials",
            field="authorization",
            remedy="send one Authorization header: Bearer and a role token, or SD-JWT and a presentation; or one DPoP header",
        )
    scheme, _, credential = values[0].partition(" ")
    return scheme.lower(), credential.strip()


def authenticate(
    node: ApiNode, connection: ASGIConnection[Any, Any, Any, Any], *, changing: bool, roles: frozenset[Role]
) -> Caller:
    """The caller behind `Authorization`: a role token as Bearer, or a holder's presentation as SD-JWT; or an applicant, by a
    proof in `DPoP` without any.

    Raises Unauthenticated, or RoleNotPermitted when the role is not among `roles`.
    """
    now = node.instance.clock.now()
    if _proves_only(connection):
        # A wrong role is told before the proof is used up.
        if Role.APPLICANT not in roles:
            raise RoleNotPermitted("applicants may not call this operation", remedy=_remedy(roles))
        return node.applicants.authenticate(
            connection.headers.getall("dpop", []),
            method=str(connection.scope.get("method", "")),
            path=str(connection.scope.get("path", "")),
            now=now,
        )
    scheme, credential = _credential(connection)
    if scheme == "bearer":
        caller = node.roles.authenticate(
            credential, trust=node.instance.record.state.trust, now=now, changing=changing
        )
    elif scheme == "sd-jwt":
        # A wrong role is told before the nonce of the presentation is spent on it.
        if Role.HOLDER not in roles:
            raise RoleNotPermitted("holders may not call this operation", remedy=_remedy(roles))
        verified = node.desk.check(credential, now=int(now))
        caller = Caller(role=Role.HOLDER, party="holder", id=verified.subject, subject=verified.subject)
    else:
        raise Unauthenticated(
            "the scheme of the credential is not known here",
            field="authorization",
            remedy="use Bearer with a role token, or SD-JWT with a presentation",
        )
    if caller.role not in roles:
        raise RoleNotPermitted(
            f"the role {caller.role.value} may not call this operation", remedy=_remedy(roles)
        )
    return caller


def _remedy(roles: frozenset[Role]) -> str:
    return f"ask one of: {', '.join(sorted(roles))}"


def source_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The network address that a call came from; empty when the server does not know it."""
    return connection.client.host if connection.client is not None else ""


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """The caller that the guard let through; the dependency `caller` of the routes."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


def presentation_of(request: Request[Any, Any, Any]) -> str:
    """The presentation that came, not verified yet; the dependency `presentation` of the routes that verify it."""
    presentation: str = request.scope["state"]["presentation"]
    return presentation
