"""Enclave attestations: a trusted authority says that a TLS key lives inside an enclave (`enclave_attestation+jwt`).

Claims `iss iat exp aud enclave role cnf{x5t#S256} nonce`. role `origin`: where the caller is; `deployment`: where the model runs.
Owns that an attestation is about one key, made for this gateway and this nonce, and at most 24 hours old. Refuses everything
else that looks like one: a header, a network, or a credential of the same tenant says nothing about the key that is used.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from safeconduct.authorization.document import Members
from safeconduct.authorization.trust import TrustList, check_may_sign, verify_document
from safeconduct.kernel.canonical import b64u_decode
from safeconduct.kernel.errors import Forbidden, InvalidInput, VerificationFailed
from safeconduct.kernel.ids import check_name
from safeconduct.kernel.jose import check_times, sign_jwt
from safeconduct.kernel.signing import Signer

TYP = "enclave_attestation+jwt"
LONGEST_LIFE = 24 * 3600
_MIN_NONCE, _MAX_NONCE = 16, 200


class EnclaveRole(enum.StrEnum):
    """What the attested key stands for."""

    ORIGIN = "origin"
    DEPLOYMENT = "deployment"


class EnclaveAttestation(msgspec.Struct, frozen=True):
    """A verified attestation. certificate: SHA-256 of the TLS certificate, base64url (RFC 8705 3.1). until: seconds."""

    authority: str
    enclave: str
    role: EnclaveRole
    certificate: str
    until: int
    jurisdiction: str | None = None

    def covers(self, certificate: str | None, *, role: EnclaveRole, enclave: str | None, now: int) -> bool:
        """True when it is about this very key, in this role, for this enclave (None: any), and has not ended."""
        return (
            certificate is not None
            and self.role is role
            and (enclave is None or enclave == self.enclave)
            and now < self.until
            and hmac.compare_digest(certificate.encode(), self.certificate.encode())
        )


def sign_enclave_attestation(claims: Mapping[str, Any], signer: Signer) -> str:
    """Sign at the authority's desk, having read it first. Raises InvalidInput."""
    _read(dict(claims))
    return sign_jwt(dict(claims), typ=TYP, signer=signer)


def verify_enclave_attestation(
    text: str, *, trust: TrustList, audience: str, nonce: str, now: int, production: bool
) -> EnclaveAttestation:
    """Verify one. audience: this gateway's identifier; nonce: the one that it gave for this attestation.

    Raises VerificationFailed (structure, header, signature, times, claims), Forbidden (a key that may not attest enclaves),
    UnsafeConfiguration (a development key in production), InvalidInput naming the member.
    """
    signed = verify_document(text, typ=TYP, trust=trust, now=now, production=production)
    check_may_sign(signed.scope, "enclave_attestation", field="kid")
    check_times(signed.claims, now=now, max_lifetime=LONGEST_LIFE)
    limited = (signed.scope.provider, getattr(signed.scope, "organisation", None))
    if signed.scope.variants or limited != (None, None):
        # A limit that has no meaning here refuses: ignoring it would widen the key.
        raise Forbidden(
            "the key is limited to variants, a provider or an organisation, which enclaves do not have",
            field="kid",
        )
    attestation, aud, given = _read(signed.claims)
    if aud != audience:
        raise VerificationFailed("meant for another audience", step="claims", field="aud")
    if not hmac.compare_digest(given.encode(), nonce.encode()):
        raise VerificationFailed("not made for this nonce", step="claims", field="nonce")
    return msgspec.structs.replace(attestation, jurisdiction=signed.scope.jurisdiction)


def _read(claims: Mapping[str, Any]) -> tuple[EnclaveAttestation, str, str]:
    """The attestation, its audience and its nonce."""
    members = Members(claims)
    authority = members.text("iss", limit=100)
    members.number("iat")
    until = members.number("exp")
    audience = members.text("aud", limit=300)
    enclave = check_name(members.text("enclave", limit=96), "enclave")
    role = members.text("role", limit=20)
    nonce = members.text("nonce", limit=_MAX_NONCE)
    confirmation = members.take("cnf")
    members.finish()
    if role not in set(EnclaveRole):
        raise InvalidInput(
            f"{role!r} is no role of an enclave", field="role", remedy="use origin or deployment"
        )
    if len(nonce) < _MIN_NONCE:
        raise InvalidInput(f"a nonce has at least {_MIN_NONCE} characters", field="nonce")
    certificate = confirmation.get("x5t#S256") if isinstance(confirmation, dict) else None
    if not isinstance(certificate, str) or set(confirmation) != {"x5t#S256"}:
        raise InvalidInput(
            "the TLS key is not named",
            field="cnf",
            remedy='give {"x5t#S256": ...} (RFC 8705 3.1) and nothing else',
        )
    if len(b64u_decode(certificate, field="cnf.x5t#S256")) != 32:
        raise InvalidInput("not a SHA-256", field="cnf.x5t#S256")
    attestation = EnclaveAttestation(
        authority=authority, enclave=enclave, role=EnclaveRole(role), certificate=certificate, until=until
    )
    return attestation, audience, nonce
