"""Routes about passkeys: a holder adds one, signs in with one or reports one lost; an operator lists them and reports them lost.

An applicant, who has no passport yet, reaches the same use cases through their case. Holds no rule but whose authenticators
they are.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post
from litestar.params import JSONBody

from safeconduct.app.authenticate_passkey import authenticate_passkey, begin_authentication
from safeconduct.app.ports import Caller
from safeconduct.app.register_authenticator import begin_registration, register_authenticator, report_lost
from safeconduct.kernel.errors import Forbidden
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.vocabulary import PassportStatus, Role
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import ApiNode, Node, PathText, Speaker
from safeconduct.web.api.showing import show


class PasskeyAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """credential: what the browser gave: RegistrationResponseJSON or AuthenticationResponseJSON (WebAuthn 3, 5.1)."""

    credential: dict[str, Any]


class LostAuthenticator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """credential: its id, base64url."""

    credential: str


def _own(caller: Caller, subject: str) -> SubjectId:
    if caller.role is Role.HOLDER and caller.subject != subject:
        raise Forbidden("a holder's own authenticators only", field="subject")
    return SubjectId(subject)


def _session_aal(node: ApiNode, subject: SubjectId) -> int:
    """The weakest of the passports with which the holder may have come: which one it was is not told here."""
    state = node.instance.record.state
    known = state.subjects.get(subject)
    held = [state.passports[name] for name in (known.passports if known is not None else ())]
    return min((each.issued.aal for each in held if each.status is PassportStatus.VALID), default=0)


@get("/subjects/{subject:str}/authenticators", opt=allow(Role.OPERATOR, Role.HOLDER), sync_to_thread=True)
def get_authenticators(node: Node, caller: Speaker, subject: PathText) -> dict[str, Any]:
    """Every authenticator registered for a subject, with the assurance that each one reaches."""
    desk = node.authenticators
    mine = _own(caller, subject)
    return {"subject": mine, "authenticators": [show(desk.show(each)) for each in desk.registered(mine)]}


@post(
    "/subjects/{subject:str}/authenticators/options",
    opt=allow(Role.HOLDER),
    status_code=200,
    sync_to_thread=True,
)
def post_registration_options(node: Node, caller: Speaker, subject: PathText) -> dict[str, Any]:
    """Options for `navigator.credentials.create`; the challenge is good once, for five minutes."""
    return begin_registration(node.authenticators, _own(caller, subject))


@post("/subjects/{subject:str}/authenticators", opt=allow(Role.HOLDER), sync_to_thread=True)
def post_authenticator(
    node: Node, caller: Speaker, subject: PathText, data: JSONBody[PasskeyAnswer]
) -> dict[str, Any]:
    """Register a passkey beside those there, of at most the assurance that the holder's passport has."""
    mine = _own(caller, subject)
    return _shown(
        register_authenticator(
            node.authenticators, mine, data.credential, highest_aal=_session_aal(node, mine)
        )
    )


@post(
    "/subjects/{subject:str}/authentications/options",
    opt=allow(Role.HOLDER),
    status_code=200,
    sync_to_thread=True,
)
def post_authentication_options(node: Node, caller: Speaker, subject: PathText) -> dict[str, Any]:
    """Options for `navigator.credentials.get`; the challenge is good once, for five minutes."""
    return begin_authentication(node.authenticators, _own(caller, subject))


@post(
    "/subjects/{subject:str}/authentications",
    opt=allow(Role.HOLDER),
    status_code=200,
    sync_to_thread=True,
)
def post_authentication(
    node: Node, caller: Speaker, subject: PathText, data: JSONBody[PasskeyAnswer]
) -> dict[str, Any]:
    """Prove with a passkey that the holder is there; says at which assurance."""
    return _shown(authenticate_passkey(node.authenticators, _own(caller, subject), data.credential))


@post(
    "/subjects/{subject:str}/authenticators/lost",
    opt=allow(Role.OPERATOR, Role.HOLDER),
    status_code=200,
    sync_to_thread=True,
)
def post_lost_authenticator(
    node: Node, caller: Speaker, subject: PathText, data: JSONBody[LostAuthenticator]
) -> dict[str, Any]:
    """End a lost authenticator for good and suspend the passports bound to its key."""
    return _shown(report_lost(node.authenticators, _own(caller, subject), data.credential, by=caller.id))


def _shown(value: Any) -> dict[str, Any]:
    shown: dict[str, Any] = show(value)
    return shown


authenticators = (
    get_authenticators,
    post_registration_options,
    post_authenticator,
    post_authentication_options,
    post_authentication,
    post_lost_authenticator,
)
