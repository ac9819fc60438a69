"""A change of the trust list: a document that two different officers sign (`trust-change+jws`, domain.md 4).

Form: RFC 7515 7.2.1 general JSON serialisation, `{payload, signatures: [{protected, signature}, ...]}`, every protected
header with `typ`, `alg`, `kid`. Refuses one signature, two of the same key, and keys that are not the instance's officers'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from safeconduct.authorization.document import Members
from safeconduct.authorization.trust import MAY_SIGN
from safeconduct.kernel.canonical import b64u, b64u_decode, canonical_json, sha256_hex, strict_json
from safeconduct.kernel.errors import Forbidden, InvalidInput, VerificationFailed
from safeconduct.kernel.ids import ProviderId, check_name
from safeconduct.kernel.jose import check_header, check_times
from safeconduct.kernel.signing import Signer, VerifyingKey
from safeconduct.kernel.suggest import did_you_mean

TYP = "trust-change+jws"
MAX_BYTES = 48_000
MAX_LIFETIME = 7 * 86_400


class KeyAddition(msgspec.Struct, frozen=True):
    """A key to add with its scope. variants are model or variant names as written."""

    kid: str
    jwk: dict[str, Any]
    party: str
    may_sign: tuple[str, ...]
    jurisdiction: str | None
    variants: tuple[str, ...]
    provider: ProviderId | None
    organisation: str | None
    valid_from: int
    valid_until: int
    development: bool


class KeyRevocation(msgspec.Struct, frozen=True):
    """A key to revoke from an instant on, which may lie in the past."""

    kid: str
    from_: int
    cause: str
    successor: str | None


class TrustChange(msgspec.Struct, frozen=True):
    """A verified change. officers: thumbprints of the keys that signed it; sha256: of the document, in hex.

    successors: public keys of those who are the two officers from now on; empty when they stay.
    """

    add: tuple[KeyAddition, ...]
    revoke: tuple[KeyRevocation, ...]
    officers: tuple[str, ...]
    sha256: str
    successors: tuple[dict[str, Any], ...] = ()


def sign_trust_change(claims: Mapping[str, Any], signers: Sequence[Signer]) -> bytes:
    """The document, signed by each signer. Officers in two places sign apart and put their `signatures` together.

    claims: `origin` (of the instance's record), `iat`, `exp` (at most 7 days later), `add`, `revoke`, and `officers`, two public
    JWKs, when the officers themselves change: then the present two and each new one sign.
    """
    payload = b64u(canonical_json(dict(claims)))
    signatures = []
    for signer in signers:
        protected = b64u(canonical_json({"typ": TYP, "alg": signer.alg, "kid": signer.kid}))
        signature = b64u(signer.sign(f"{protected}.{payload}".encode("ascii")))
        signatures.append({"protected": protected, "signature": signature})
    return canonical_json({"payload": payload, "signatures": signatures})


def read_trust_change(
    document: bytes, *, officers: Sequence[Mapping[str, Any]], origin: str, now: int
) -> TrustChange:
    """Verify and read a change. officers: their public JWKs; origin: of this instance's record.

    Raises VerificationFailed (structure, header, signature, times), Forbidden (not two different officers, another
    instance), InvalidInput.
    """
    if len(document) > MAX_BYTES:
        raise InvalidInput(f"longer than {MAX_BYTES} bytes", field="document", remedy="split the change")
    outer = Members(strict_json(document, what="trust change"))
    payload, signatures = outer.take("payload"), outer.items("signatures", limit=8)
    outer.finish()
    if not isinstance(payload, str):
        raise InvalidInput("not base64url text", field="payload")
    claims = strict_json(b64u_decode(payload, field="payload"), what="payload")
    if not isinstance(claims, dict):
        raise InvalidInput("not a JSON object", field="payload")
    present = [VerifyingKey(dict(jwk)) for jwk in officers]
    successors = _successors(claims.get("officers"))
    # A present officer's kid always means the present officer.
    rings = {key.kid: key for key in (*successors, *present)}
    signed = [_officer_of(value, place, payload, rings) for place, value in enumerate(signatures)]
    # By thumbprint: one key under two kids is still one officer.
    in_office = {key.thumbprint for key in present}
    everybody = dict.fromkeys(key.thumbprint for key in signed)
    thumbprints = tuple(one for one in everybody if one in in_office)
    if len(thumbprints) < 2:
        raise Forbidden(
            "the trust list changes only with the signatures of two different officers",
            field="signatures",
            remedy="let the second officer sign the same payload",
        )
    if any(key.thumbprint not in everybody for key in successors):
        # Otherwise one mistyped key would leave the trust list without anybody who can change it.
        raise Forbidden(
            "each new officer signs too",
            field="officers",
            remedy="let them sign the same payload with the new key",
        )
    check_times(claims, now=now, max_lifetime=MAX_LIFETIME)
    members = Members(claims)
    members.instant("iat")
    members.instant("exp")
    if members.text("origin") != origin:
        raise Forbidden(
            "the change is signed for another instance", field="origin", remedy=f"sign it for {origin}"
        )
    add = tuple(_addition(value, f"add[{place}]") for place, value in enumerate(members.items("add")))
    revoke = tuple(
        _revocation(value, f"revoke[{place}]") for place, value in enumerate(members.items("revoke"))
    )
    members.items("officers")
    members.finish()
    if not add and not revoke and not successors:
        raise InvalidInput("it changes nothing", field="add")
    return TrustChange(add, revoke, thumbprints, sha256_hex(document), tuple(key.jwk for key in successors))


def _successors(value: Any) -> tuple[VerifyingKey, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(one, dict) for one in value):
        raise InvalidInput(
            "not two public keys", field="officers", remedy="name both officers, also one who stays"
        )
    keys = []
    for place, jwk in enumerate(value):
        try:
            key = VerifyingKey({name: jwk.get(name) for name in ("kty", "crv", "x", "y")})
        except InvalidInput as error:
            raise InvalidInput(error.message, field=f"officers[{place}]", remedy=error.remedy) from None
        if key.alg != "ES256":
            raise InvalidInput("officers sign with P-256 keys", field=f"officers[{place}]")
        keys.append(key)
    if keys[0].thumbprint == keys[1].thumbprint:
        raise InvalidInput(
            "both officers have the same key", field="officers[1]", remedy="give two people a key each"
        )
    return tuple(keys)


def _officer_of(value: Any, place: int, payload: str, officers: Mapping[str, VerifyingKey]) -> VerifyingKey:
    members = Members(value, f"signatures[{place}].")
    protected, signature = members.take("protected"), members.take("signature")
    members.finish()
    if not isinstance(protected, str) or not isinstance(signature, str):
        raise InvalidInput("not base64url text", field=f"signatures[{place}]")
    header = strict_json(b64u_decode(protected, field=members.path("protected")), what="header")
    if not isinstance(header, dict):
        raise InvalidInput("not a JSON object", field=members.path("protected"))
    check_header(header, typ=TYP)
    key = officers.get(header["kid"])
    if key is None:
        raise Forbidden(
            f"{header['kid'][:80]!r} is not an officer's key of this instance",
            field=members.path("protected.kid"),
            remedy="sign with the keys that were named when the instance was initialised",
        )
    raw = b64u_decode(signature, field=members.path("signature"))
    if not key.verify(raw, f"{protected}.{payload}".encode("utf-8", "surrogatepass")):
        raise VerificationFailed(
            "the signature does not verify", step="signature", field=members.path("signature")
        )
    return key


def _addition(value: Any, where: str) -> KeyAddition:
    members = Members(value, f"{where}.")
    jwk = members.take("jwk")
    if not isinstance(jwk, dict):
        raise InvalidInput("not a JWK", field=members.path("jwk"))
    kid = members.text_or("kid", "", limit=100)
    try:
        key = VerifyingKey(jwk, kid=kid or None)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=members.path("jwk"), remedy=error.remedy) from None
    if key.alg != "ES256":
        raise InvalidInput("documents are signed with ES256", field=members.path("jwk"), remedy="use P-256")
    may_sign = members.texts("may_sign", needed=True)
    for place, kind in enumerate(may_sign):
        if kind not in MAY_SIGN:
            raise InvalidInput(
                f"{kind[:60]!r} is nothing that can be signed{did_you_mean(kind, MAY_SIGN)}",
                field=f"{members.path('may_sign')}[{place}]",
            )
    provider = members.text_or("provider", "", limit=96)
    addition = KeyAddition(
        kid=key.kid,
        jwk=key.jwk,
        party=check_name(members.text("party", limit=96), members.path("party")),
        may_sign=may_sign,
        jurisdiction=members.text_or("jurisdiction", "", limit=20) or None,
        variants=members.texts("variants"),
        provider=ProviderId(provider) if provider else None,
        organisation=members.text_or("organisation", "", limit=96) or None,
        valid_from=members.instant("valid_from"),
        valid_until=members.instant("valid_until"),
        development=members.flag("development"),
    )
    members.finish()
    if addition.valid_until <= addition.valid_from:
        raise InvalidInput("it ends before it begins", field=members.path("valid_until"))
    return addition


def _revocation(value: Any, where: str) -> KeyRevocation:
    members = Members(value, f"{where}.")
    revocation = KeyRevocation(
        kid=members.text("kid", limit=100),
        from_=members.instant("from"),
        cause=members.text("cause", limit=300),
        successor=members.text_or("successor", "", limit=96) or None,
    )
    members.finish()
    return revocation
