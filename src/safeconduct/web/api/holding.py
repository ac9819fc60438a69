"""Routes about people and what they hold: evidence, passports, gateway keys, mandates.

Owns what is handed out once (a passport, a key's text) and never again.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import delete, post
from litestar.params import JSONBody

from safeconduct.app.change_passport_status import change_passport_status
from safeconduct.app.import_evidence import import_evidence, load_assessment
from safeconduct.app.issue_passport import issue_passport
from safeconduct.app.register_gateway_key import register_gateway_key
from safeconduct.app.register_mandate import register_mandate
from safeconduct.app.revoke_gateway_key import revoke_gateway_key
from safeconduct.app.revoke_mandate import revoke_mandate
from safeconduct.identity.authenticator import BoundKey
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.ids import PassportId, ProjectId, SubjectId
from safeconduct.kernel.suggest import did_you_mean
from safeconduct.kernel.vocabulary import Level, PassportStatus, Purpose, Role
from safeconduct.passport.gateway_key import MAX_LIFETIME
from safeconduct.web.api.access import allow, present
from safeconduct.web.api.node import Node, PathText, Presentation, Speaker
from safeconduct.web.api.ordering import SignedDocument
from safeconduct.web.api.showing import show

DEFAULT_PASSPORT_LIFE = 90 * 86_400


class IssuePassport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """duration: seconds. key: thumbprint of one of the subject's authenticators, the strongest when left out."""

    subject: str
    duration: int = DEFAULT_PASSPORT_LIFE
    key: str | None = None
    supersedes: str | None = None


class Cause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why, in words; kept in the record."""

    cause: str


class MakeGatewayKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """lifetime: seconds. networks: CIDRs it may come from. level_limit: C1 or C2."""

    lifetime: int = MAX_LIFETIME
    project: str | None = None
    purpose: Purpose | None = None
    networks: tuple[str, ...] = ()
    loopback_only: bool = False
    level_limit: str = "C2"


class RegisterMandate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """principal_jwk: public key of the agent above, when an agent delegates further."""

    mandate: str
    principal_jwk: dict[str, Any] | None = None


@post("/evidence", opt=allow(Role.OPERATOR), sync_to_thread=True)
def post_evidence(node: Node, caller: Speaker, data: JSONBody[SignedDocument]) -> dict[str, Any]:
    """Import signed evidence of a person or organisation; says what was computed and what is missing."""
    imported = import_evidence(node.instance, caller, data.jws)
    shown: dict[str, Any] = show(imported)
    # What the passport will say of the person is between the desk, the issuer and the holder.
    shown.pop("claims", None)
    return shown


def _key(keys: tuple[BoundKey, ...], thumbprint: str | None) -> BoundKey:
    if not keys:
        raise Conflict(
            "the evidence names no authenticator that can hold a passport",
            field="subject",
            remedy="import evidence with an authenticator's public key",
        )
    if thumbprint is None:
        return keys[0]
    for key in keys:
        if key.thumbprint == thumbprint:
            return key
    raise InvalidInput(
        f"not a key of this subject{did_you_mean(thumbprint, [key.thumbprint for key in keys])}",
        field="key",
        remedy="give the thumbprint of one of the authenticators in the evidence",
    )


@post("/passports", opt=allow(Role.OPERATOR), sync_to_thread=True)
def post_passport(node: Node, caller: Speaker, data: JSONBody[IssuePassport]) -> dict[str, Any]:
    """Issue a passport from the subject's computed claims; `sd_jwt` is shown this once."""
    instance = node.instance
    subject = SubjectId(data.subject)
    assessment = load_assessment(instance, subject)
    key = _key(assessment.keys, data.key)
    issued = issue_passport(
        instance,
        caller,
        subject=subject,
        claims=assessment.claims,
        holder_jwk=key.public_jwk,
        aal=key.aal,
        valid_until=int(instance.clock.now()) + data.duration,
        supersedes=PassportId(data.supersedes) if data.supersedes else None,
    )
    return {
        "passport": issued.passport,
        "subject": subject,
        "sd_jwt": issued.sd_jwt,
        "aal": issued.event.aal,
        "valid_from": issued.event.valid_from,
        "valid_until": issued.event.valid_until,
        "development": key.development,
    }


@post(
    "/passports/{passport:str}/suspend",
    opt=allow(Role.OPERATOR, Role.ADJUDICATOR),
    sync_to_thread=True,
)
def suspend_passport(
    node: Node, caller: Speaker, passport: PathText, data: JSONBody[Cause]
) -> dict[str, Any]:
    """Suspend a passport."""
    status = PassportStatus.SUSPENDED
    return _shown(change_passport_status(node.instance, caller, passport, status, cause=data.cause))


@post("/passports/{passport:str}/reinstate", opt=allow(Role.ADJUDICATOR), sync_to_thread=True)
def reinstate_passport(
    node: Node, caller: Speaker, passport: PathText, data: JSONBody[Cause]
) -> dict[str, Any]:
    """Lift a suspension."""
    status = PassportStatus.VALID
    return _shown(change_passport_status(node.instance, caller, passport, status, cause=data.cause))


@post(
    "/passports/{passport:str}/revoke",
    opt=allow(Role.OPERATOR, Role.ADJUDICATOR, Role.HOLDER),
    sync_to_thread=True,
)
def revoke_passport(node: Node, caller: Speaker, passport: PathText, data: JSONBody[Cause]) -> dict[str, Any]:
    """Revoke a passport for good; a holder may revoke their own."""
    status = PassportStatus.INVALID
    return _shown(change_passport_status(node.instance, caller, passport, status, cause=data.cause))


@post("/gateway-keys", opt=present(), sync_to_thread=True)
def post_gateway_key(
    node: Node, presentation: Presentation, data: JSONBody[MakeGatewayKey]
) -> dict[str, Any]:
    """Make a gateway key for the holder who presents a passport; `text` is shown this once."""
    if data.level_limit not in Level.__members__:
        raise InvalidInput("not a level", field="level_limit", remedy="use C1 or C2")
    made = register_gateway_key(
        node.desk,
        presentation,
        lifetime=data.lifetime,
        project=ProjectId(data.project) if data.project else None,
        purpose=data.purpose,
        networks=data.networks,
        loopback_only=data.loopback_only,
        level_limit=Level[data.level_limit],
    )
    return {
        "key": made.key,
        "text": made.text,
        "subject": made.event.subject,
        "valid_until": made.event.valid_until,
        "level_limit": made.event.level_limit.name,
        "networks": list(made.event.networks),
        "loopback_only": made.event.loopback_only,
    }


@delete(
    "/gateway-keys/{key:str}",
    opt=allow(Role.HOLDER, Role.OPERATOR, Role.ADJUDICATOR),
    status_code=200,
    sync_to_thread=True,
)
def delete_gateway_key(node: Node, caller: Speaker, key: PathText) -> dict[str, Any]:
    """End a gateway key; a holder ends their own."""
    return _shown(revoke_gateway_key(node.instance, caller, key))


@post("/mandates", opt=present(), sync_to_thread=True)
def post_mandate(node: Node, presentation: Presentation, data: JSONBody[RegisterMandate]) -> dict[str, Any]:
    """Register a delegation to an agent by whoever presents the passport (or the mandate above)."""
    return _shown(
        register_mandate(
            node.desk, mandate=data.mandate, presentation=presentation, principal_jwk=data.principal_jwk
        )
    )


@delete(
    "/mandates/{mandate:str}",
    opt=allow(Role.HOLDER, Role.OPERATOR, Role.ADJUDICATOR),
    status_code=200,
    sync_to_thread=True,
)
def delete_mandate(node: Node, caller: Speaker, mandate: PathText) -> dict[str, Any]:
    """End a mandate and all below it."""
    return _shown(revoke_mandate(node.instance, caller, mandate))


def _shown(event: Any) -> dict[str, Any]:
    shown: dict[str, Any] = show(event)
    return shown


holding = (
    post_evidence,
    post_passport,
    suspend_passport,
    reinstate_passport,
    revoke_passport,
    post_gateway_key,
    delete_gateway_key,
    post_mandate,
    delete_mandate,
)
