"""Mandates: signed delegations to agents, and how an agent shows that it holds one.

A mandate (`typ=mandate+jwt`) is signed with the human's passport key, or with the key of the agent above. It names the
agent, its key and its scope; its `jti` is its id. To get an access token the agent signs a short presentation
(`typ=mandate-presentation+jwt`) with its own key. Owns both texts and the rules of a chain: scopes only narrow, at most
four links, no subject twice. Refuses to know whether the human may do any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.ids import MandateId, ProjectId, SubjectId, VariantId, check_name
from safeconduct.kernel.jose import sign_jwt, verify_jwt
from safeconduct.kernel.signing import Signer, VerifyingKey
from safeconduct.kernel.vocabulary import Purpose, Surface

MANDATE_TYP = "mandate+jwt"
PRESENTATION_TYP = "mandate-presentation+jwt"
MANDATE_TOKEN_TYPE = "urn:safeconduct:params:oauth:token-type:mandate"  # noqa: S105 - an identifier
MAX_DEPTH = 4
MAX_LIFETIME = 30 * 86_400
PRESENTATION_SECONDS = 120
SIGNING_WINDOW = 300


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an agent may do: variants, purposes and surfaces (never empty), one project or any, [from, until) in seconds."""

    variants: tuple[VariantId, ...]
    purposes: tuple[Purpose, ...]
    surfaces: tuple[Surface, ...]
    valid_from: int
    valid_until: int
    project: ProjectId | None = None


class Mandate(msgspec.Struct, frozen=True):
    """A mandate as signed. principal signs for agent; agent_jwk is the agent's own public key.

    parent: the mandate above, None for the first link. signed_at: seconds. software: SHA-256 (hex) of the agent's type.
    """

    id: MandateId
    principal: SubjectId
    agent: SubjectId
    scope: Scope
    agent_jwk: dict[str, Any]
    signed_at: int
    parent: MandateId | None = None
    software: str | None = None


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    iss: str
    sub: str
    aud: str
    iat: int
    exp: int
    jti: str
    cnf: dict[str, Any]
    scope: Scope
    parent: str | None = None
    software: str | None = None


def sign_mandate(mandate: Mandate, *, audience: str, signer: Signer) -> str:
    """The signed text; `signer` holds the principal's key. audience: the issuer that will register it."""
    key = VerifyingKey(mandate.agent_jwk)
    claims: dict[str, Any] = {
        "iss": mandate.principal,
        "sub": mandate.agent,
        "aud": audience,
        "iat": mandate.signed_at,
        "exp": mandate.scope.valid_until,
        "jti": mandate.id,
        "cnf": {"jwk": {name: key.jwk[name] for name in ("kty", "crv", "x", "y")}},
        "scope": mandate.scope,
    }
    if mandate.parent is not None:
        claims["parent"] = mandate.parent
    if mandate.software is not None:
        claims["software"] = mandate.software
    return sign_jwt(msgspec.to_builtins(claims), typ=MANDATE_TYP, signer=signer)


def _refuse(message: str, *, field: str, remedy: str = "") -> VerificationFailed:
    return VerificationFailed(message, step="claims", code="DELEGATION", field=field, remedy=remedy)


def verify_mandate(text: str, *, signed_with: VerifyingKey, audience: str, now: int) -> Mandate:
    """Verify a mandate against the principal's key and read it. It must have been signed within the last five minutes.

    Raises VerificationFailed; DELEGATION is its code when the text is genuine and its content not admissible.
    """
    claims, _ = verify_jwt(
        text,
        typ=MANDATE_TYP,
        key_for=lambda _kid, _claims: signed_with,
        now=now,
        audience=audience,
        max_lifetime=MAX_LIFETIME,
    )
    try:
        read = msgspec.convert(claims, _Wire)
        check_name(read.jti, "jti")
        check_name(read.sub, "sub")
        jwk = read.cnf.get("jwk")
        if not isinstance(jwk, dict) or len(read.cnf) != 1:
            raise InvalidInput("cnf is not one jwk", field="cnf")  # noqa: TRY301 - one way out for all of them
        key = VerifyingKey(jwk)
    except (msgspec.ValidationError, InvalidInput) as error:
        raise _refuse(f"not a mandate: {error}", field=getattr(error, "field", "")) from None
    if key.alg != "ES256":
        raise _refuse("the agent's key is not P-256", field="cnf.jwk")
    # The principal's key serves people; an agent with the same key could not be told from them.
    if key.thumbprint == signed_with.thumbprint:
        raise _refuse(
            "the agent has its principal's key", field="cnf.jwk", remedy="give the agent a key of its own"
        )
    scope = read.scope
    if not scope.variants or not scope.purposes or not scope.surfaces:
        raise _refuse("variants, purposes and surfaces are never empty", field="scope")
    if scope.valid_until <= scope.valid_from or scope.valid_until != read.exp:
        raise _refuse("valid_from, valid_until and exp contradict each other", field="scope.valid_until")
    if now - read.iat > SIGNING_WINDOW:
        raise _refuse(f"signed more than {SIGNING_WINDOW} s ago", field="iat", remedy="sign it anew")
    return Mandate(
        id=MandateId(read.jti),
        principal=SubjectId(read.iss),
        agent=SubjectId(read.sub),
        scope=scope,
        agent_jwk={name: key.jwk[name] for name in ("kty", "crv", "x", "y")},
        signed_at=read.iat,
        parent=None if read.parent is None else MandateId(read.parent),
        software=read.software,
    )


def check_narrows(scope: Scope, above: Scope) -> None:
    """A scope is at most the one above. Raises VerificationFailed (DELEGATION) naming the first member that widens."""
    for name in ("variants", "purposes", "surfaces"):
        wider = set(getattr(scope, name)) - set(getattr(above, name))
        if wider:
            raise _refuse(
                f"{', '.join(sorted(wider))}: not delegated to the one who delegates",
                field=f"scope.{name}",
                remedy="ask for a part of what is held above",
            )
    if above.project is not None and scope.project != above.project:
        raise _refuse(f"the mandate above is for project {above.project} only", field="scope.project")
    if scope.valid_from < above.valid_from or scope.valid_until > above.valid_until:
        raise _refuse("outlives, or begins before, the mandate above", field="scope.valid_until")


def check_chain(agent: SubjectId, above: Sequence[SubjectId]) -> None:
    """`above`: human first, then the agents down to the one that delegates. Raises VerificationFailed (DELEGATION)."""
    if len(above) > MAX_DEPTH:
        raise _refuse(f"a chain has at most {MAX_DEPTH} links", field="parent")
    if agent in above or len(set(above)) != len(above):
        raise _refuse("the agent stands above itself", field="sub")


class MandatePresented(msgspec.Struct, frozen=True):
    """What a verified presentation says: the mandate, when it was signed, the nonce it used."""

    mandate: MandateId
    agent: SubjectId
    signed_at: int
    nonce: str


def present_mandate(
    mandate: MandateId, *, agent: SubjectId, signer: Signer, audience: str, nonce: str, now: int, jti: str
) -> str:
    """A presentation signed with the agent's key. audience: the issuer; jti: random text; now: seconds."""
    claims = {
        "iss": agent,
        "aud": audience,
        "nonce": nonce,
        "iat": now,
        "exp": now + PRESENTATION_SECONDS,
        "jti": jti,
        "mandate": mandate,
    }
    return sign_jwt(claims, typ=PRESENTATION_TYP, signer=signer)


def verify_mandate_presentation(
    text: str, *, agent_key: VerifyingKey, audience: str, nonce: Callable[[str], bool], now: float
) -> MandatePresented:
    """Verify a presentation against the agent's key. Raises VerificationFailed (step `key_binding` for nonce and content)."""
    claims, _ = verify_jwt(
        text,
        typ=PRESENTATION_TYP,
        key_for=lambda _kid, _claims: agent_key,
        now=now,
        max_lifetime=PRESENTATION_SECONDS,
    )
    # One string, as with a passport's key binding: a list would serve at several verifiers.
    if claims.get("aud") != audience:
        raise VerificationFailed("meant for another audience", step="key_binding", field="aud")
    for name in ("iss", "jti", "mandate", "nonce"):
        if not isinstance(claims.get(name), str) or not 0 < len(claims[name]) <= 200:
            raise VerificationFailed(f"{name} is missing", step="key_binding", field=name)
    if not nonce(claims["nonce"]):
        raise VerificationFailed(
            "the nonce is not ours, or was used",
            step="key_binding",
            field="nonce",
            remedy="fetch a new nonce",
        )
    return MandatePresented(
        mandate=MandateId(claims["mandate"]),
        agent=SubjectId(claims["iss"]),
        signed_at=claims["iat"],
        nonce=claims["nonce"],
    )
