"""Keys, passports, presentations and tokens for tests: deterministic keys and salts, so that a text is always the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.support.canaries import signed

from safeconduct.kernel.canonical import b64u, canonical_json
from safeconduct.kernel.ids import OrganisationId, PassportId, SubjectId
from safeconduct.kernel.signing import FileSigner, VerifyingKey
from safeconduct.kernel.vocabulary import Affiliation, Compartment, Level, PassportStatus, Sector, UsPerson
from safeconduct.passport.claims import Claims
from safeconduct.passport.issuance import issue, present
from safeconduct.passport.verification import VerifiedPassport, verify_passport

ISSUER = "https://issuer.example"
GATEWAY = "https://gateway.example"
NOW = 1_780_000_000
NONCE = "nonce-of-the-vectors"
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class NamedSigner(FileSigner):
    """A P-256 key derived from a name, with deterministic signatures (RFC 6979)."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        number = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") % (_P256_ORDER - 1) + 1
        super().__init__(ec.derive_private_key(number, ec.SECP256R1()))

    def sign(self, data: bytes) -> bytes:
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(self._key.sign(data, algorithm))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        signed(data, signature)
        return signature


class CountedBytes:
    """`random` for tests: SHA-256 of a counter; different each call, the same each run."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, length: int) -> bytes:
        out = b""
        while len(out) < length:
            self._count += 1
            out += hashlib.sha256(f"{self._seed}/{self._count}".encode()).digest()
        return out[:length]


ISSUER_KEY = NamedSigner("issuer")
HOLDER_KEY = NamedSigner("holder")
OTHER_KEY = NamedSigner("other")

CLAIMS = Claims(
    ial=2,
    fal=2,
    affiliation=Affiliation.REGISTRY,
    evidence_expires=NOW + 86_400 * 300,
    citizenships=("FR",),
    residencies=("FR",),
    us_person=(("ear", UsPerson.NO), ("itar", UsPerson.NO)),
    organisation=OrganisationId("org_sample"),
    role="engineer",
    sector=Sector.ENERGY,
    level=Level.C3,
    compartments=(Compartment.CYB, Compartment.BIO),
    caveats=("NO_ZDR",),
    age_over_18=True,
)


def make_passport(claims: Claims = CLAIMS, *, holder: FileSigner = HOLDER_KEY, seed: str = "passport") -> str:
    return issue(
        claims,
        passport=PassportId("psp_sample"),
        subject=SubjectId("sub_sample"),
        holder_jwk=holder.public_jwk(),
        issuer=ISSUER,
        status_uri=f"{ISSUER}/status/0",
        status_index=7,
        signer=ISSUER_KEY,
        valid_from=NOW - 3600,
        valid_until=NOW + 86_400,
        random=CountedBytes(seed),
    )


def make_presentation(
    disclose: Collection[str] | None = None,
    *,
    passport: str | None = None,
    audience: str = ISSUER,
    nonce: str = NONCE,
    now: int = NOW,
    holder: FileSigner = HOLDER_KEY,
) -> str:
    return present(passport or make_passport(), disclose, holder, audience=audience, nonce=nonce, now=now)


def sign_raw(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, signer: FileSigner) -> str:
    """A compact JWS with exactly this header and payload, whatever they say."""
    head = header if isinstance(header, bytes) else canonical_json(header)
    body = payload if isinstance(payload, bytes) else canonical_json(payload)
    signing_input = f"{b64u(head)}.{b64u(body)}"
    return f"{signing_input}.{b64u(signer.sign(signing_input.encode()))}"


def issuer_key(kid: str) -> VerifyingKey | None:
    return ISSUER_KEY.verifying_key() if kid == ISSUER_KEY.kid else None


def verify(presentation: str, **changes: Any) -> VerifiedPassport:
    """Verify as the issuer's desk does, at NOW, for the nonce NONCE."""
    given: dict[str, Any] = {
        "issuer": ISSUER,
        "issuer_key": issuer_key,
        "audience": ISSUER,
        "nonce": NONCE,
        "status": lambda _passport, _uri, _index: PassportStatus.VALID,
        "now": NOW,
        **changes,
    }
    return verify_passport(presentation, **given)
