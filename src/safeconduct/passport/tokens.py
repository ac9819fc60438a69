"""Access tokens: what a gateway reads on each request (RFC 9068 JWT, `typ=at+jwt`, ES256, at most five minutes).

Owns their claims and their strict reading into a `Principal`. Refuses tokens that are not bound to a key: every token we
issue carries `cnf.jkt` (RFC 9449 6.1) or `cnf.x5t#S256` (RFC 8705 3.1), never both. A token says who and what was disclosed; whether that is enough is decided elsewhere.

For an agent the human is `sub` and the agents are the `act` chain, the asking one outermost (RFC 8693 4.1).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.ids import MandateId, PassportId, ProjectId, RandomBytes, SubjectId, VariantId
from safeconduct.kernel.jose import sign_jwt, verify_jwt
from safeconduct.kernel.signing import Signer, VerifyingKey
from safeconduct.kernel.vocabulary import Binding, Purpose, SubjectKind
from safeconduct.passport.facts import from_facts, to_facts
from safeconduct.passport.principal import Principal

ACCESS_TOKEN_TYP = "at+jwt"  # noqa: S105 - a media type
ACCESS_TYPE = "safeconduct_model_access"
MAX_SECONDS = 300
MAX_TOKEN_BYTES = 16 * 1024


class AccessAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `authorization_details` object of our type (RFC 9396 2). No models means every model the holder may use."""

    type: str
    models: tuple[VariantId, ...] = ()
    purpose: Purpose | None = None
    project: ProjectId | None = None


class StatusIndexes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries of the status list that this token falls with: the passport's and every mandate's above."""

    passport: int
    mandates: tuple[int, ...] = ()


class AccessToken(msgspec.Struct, frozen=True):
    """A verified token. jti names it.

    jkt: RFC 7638 thumbprint of the key that must prove possession, or None. x5t: SHA-256 thumbprint of the client certificate
    that it must come with, or None. Exactly one of the two is there.
    """

    principal: Principal
    jkt: str | None
    jti: str
    status: StatusIndexes
    x5t: str | None = None


class _Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sub: str
    act: _Act | None = None


class _Cnf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    jkt: str | None = None
    x5t: str | None = msgspec.field(name="x5t#S256", default=None)


class _TokenClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    iss: str
    sub: str
    aud: str
    client_id: str
    iat: int
    exp: int
    jti: str
    auth_time: int
    aal: int
    kind: SubjectKind
    passport: str
    facts: dict[str, Any]
    authorization_details: tuple[AccessAsked, ...]
    cnf: _Cnf
    status_indexes: StatusIndexes
    act: _Act | None = None
    mandates: tuple[str, ...] = ()


def read_access_asked(value: Any) -> AccessAsked:
    """The one `authorization_details` entry that we accept, or the defaults for None.

    Raises InvalidInput for another type, an unknown member or more than one entry.
    """
    if value is None:
        return AccessAsked(type=ACCESS_TYPE)
    try:
        entries = msgspec.convert(value, tuple[AccessAsked, ...])
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"not as expected: {error}",
            field="authorization_details",
            remedy=f'give [{{"type":"{ACCESS_TYPE}","models":[...],"purpose":"...","project":"..."}}]',
        ) from None
    if len(entries) != 1 or entries[0].type != ACCESS_TYPE:
        raise InvalidInput(
            f"exactly one entry of type {ACCESS_TYPE} is accepted", field="authorization_details"
        )
    if len(entries[0].models) > 100:
        raise InvalidInput("more than 100 models", field="authorization_details[0].models")
    return entries[0]


def issue_access_token(
    principal: Principal,
    *,
    jkt: str | None = None,
    x5t: str | None = None,
    actors: tuple[SubjectId, ...],
    status: StatusIndexes,
    issuer: str,
    audience: str,
    signer: Signer,
    now: int,
    random: RandomBytes,
) -> str:
    """Sign a token for `principal`, valid from `now` to `principal.expires`.

    jkt, x5t: what it is bound to, one of the two: a key's thumbprint, or a client certificate's.
    actors: agents from the first below the human to the asking one; empty for a human.
    Raises InvalidInput when it would live longer than five minutes, or not at all, or is bound to nothing or to two things.
    """
    if (jkt is None) == (x5t is None):
        raise InvalidInput("a token is bound to one key or one certificate", field="cnf")
    if not 0 < principal.expires - now <= MAX_SECONDS:
        raise InvalidInput(f"an access token lives 1 to {MAX_SECONDS} s", field="expires")
    asked: dict[str, Any] = {"type": ACCESS_TYPE, "models": list(principal.variants)}
    if principal.purpose is not None:
        asked["purpose"] = str(principal.purpose)
    if principal.project is not None:
        asked["project"] = principal.project
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": principal.holder,
        "aud": audience,
        "client_id": principal.subject,
        "iat": now,
        "exp": principal.expires,
        "jti": b64u(random(16)),
        "auth_time": principal.authenticated_at,
        "aal": principal.aal,
        "kind": str(principal.kind),
        "passport": principal.passport,
        "facts": to_facts(principal.claims),
        "authorization_details": [asked],
        "cnf": {"jkt": jkt} if jkt is not None else {"x5t#S256": x5t},
        "status_indexes": {"passport": status.passport, "mandates": list(status.mandates)},
    }
    if actors:
        act: dict[str, Any] = {"sub": actors[0]}
        for actor in actors[1:]:
            act = {"sub": actor, "act": act}
        claims["act"] = act
        claims["mandates"] = list(principal.mandates)
    return sign_jwt(claims, typ=ACCESS_TOKEN_TYP, signer=signer)


def verify_access_token(
    text: str,
    *,
    issuer: str,
    issuer_key: Callable[[str], VerifyingKey | None],
    audience: str,
    now: float,
) -> AccessToken:
    """Verify a token and read it. The caller still has to check the proof of possession against `jkt` or `x5t`.

    Raises VerificationFailed (code PASSPORT_INVALID) whose step is structure, header, signature, times or claims.
    """
    if len(text) > MAX_TOKEN_BYTES:
        raise VerificationFailed(f"longer than {MAX_TOKEN_BYTES} bytes", step="structure")
    found, _ = verify_jwt(
        text,
        typ=ACCESS_TOKEN_TYP,
        key_for=lambda kid, _: issuer_key(kid),
        now=now,
        audience=audience,
        issuer=issuer,
        max_lifetime=MAX_SECONDS,
    )
    try:
        read = msgspec.convert(found, _TokenClaims)
        asked = _check_consistent(read)
        claims = from_facts(read.facts)
    except (msgspec.ValidationError, InvalidInput) as error:
        raise VerificationFailed(f"not as we issue them: {error}", step="claims") from None
    subject = read.act.sub if read.act is not None else read.sub
    return AccessToken(
        principal=Principal(
            subject=SubjectId(subject),
            holder=SubjectId(read.sub),
            kind=read.kind,
            passport=PassportId(read.passport),
            claims=claims,
            aal=read.aal,
            authenticated_at=read.auth_time,
            binding=Binding.DPOP if read.cnf.jkt is not None else Binding.MTLS,
            expires=read.exp,
            credential=hashlib.sha256(read.jti.encode()).hexdigest()[:32],
            organisation=claims.organisation,
            mandates=tuple(MandateId(each) for each in read.mandates),
            project=asked.project,
            purpose=asked.purpose,
            variants=asked.models,
        ),
        jkt=read.cnf.jkt,
        x5t=read.cnf.x5t,
        jti=read.jti,
        status=read.status_indexes,
    )


def _check_consistent(read: _TokenClaims) -> AccessAsked:
    asked = read.authorization_details[0] if len(read.authorization_details) == 1 else None
    if asked is None or asked.type != ACCESS_TYPE:
        raise InvalidInput(f"not one entry of type {ACCESS_TYPE}", field="authorization_details")
    is_agent = read.kind is SubjectKind.AGENT
    if is_agent != (read.act is not None) or is_agent != bool(read.mandates):
        raise InvalidInput("kind, act and mandates contradict each other", field="act")
    if read.aal not in (1, 2, 3):
        raise InvalidInput("aal is not 1, 2 or 3", field="aal")
    if len(read.status_indexes.mandates) != len(read.mandates):
        raise InvalidInput("a mandate has no status index", field="status_indexes")
    if (read.cnf.jkt is None) == (read.cnf.x5t is None):
        raise InvalidInput("not bound to one key or one certificate", field="cnf")
    return asked


class VerifiedTokens:
    """Tokens verified before, by SHA-256 of the whole text (a prefix would let another token in).

    An entry counts only at the revocation epoch it was verified at and before the token's expiry, so a revocation or a
    withdrawn signing key is never outlived. Bounded; the oldest entry goes first. Not thread-safe: one per worker.
    """

    def __init__(self, limit: int = 65_536) -> None:
        self._limit = limit
        self._kept: OrderedDict[bytes, tuple[int, AccessToken]] = OrderedDict()

    def get(self, text: bytes, *, epoch: int, now: float) -> AccessToken | None:
        """The token when it was verified at this epoch and has not expired."""
        found = self._kept.get(hashlib.sha256(text).digest())
        if found is None or found[0] != epoch or now >= found[1].principal.expires:
            return None
        return found[1]

    def put(self, text: bytes, token: AccessToken, *, epoch: int) -> None:
        """Keep a token that was just verified."""
        self._kept[hashlib.sha256(text).digest()] = (epoch, token)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
