"""Authenticator data and the credential's public key inside it (WebAuthn 3 section 6.1, 6.5; RFC 9052, RFC 9053).

Owns the byte layout. Refuses keys that are not ES256 on P-256, since only such a key can hold a passport.
"""

from __future__ import annotations

from typing import Any

import msgspec

from safeconduct.identity.webauthn import cbor
from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.signing import VerifyingKey

ES256_COSE = -7
MAX_CREDENTIAL_ID = 1023
MAX_AUTHENTICATOR_DATA = 16 * 1024

USER_PRESENT = 0x01
USER_VERIFIED = 0x04
BACKUP_ELIGIBLE = 0x08
BACKED_UP = 0x10
ATTESTED = 0x40
EXTENSIONS = 0x80
_RESERVED = 0x02 | 0x20


class AttestedCredential(msgspec.Struct, frozen=True):
    """A new credential. aaguid: the authenticator's model, as it says. jwk: the public key."""

    aaguid: bytes
    credential: bytes
    jwk: dict[str, Any]


class AuthenticatorData(msgspec.Struct, frozen=True):
    """What the authenticator signed over, read. raw: as signed."""

    raw: bytes
    rp_id_hash: bytes
    flags: int
    sign_count: int
    attested: AttestedCredential | None

    @property
    def user_present(self) -> bool:
        """UP: somebody touched it."""
        return bool(self.flags & USER_PRESENT)

    @property
    def user_verified(self) -> bool:
        """UV: a PIN or a biometric activated the key: the second factor of SP 800-63B-4 3.1.7."""
        return bool(self.flags & USER_VERIFIED)

    @property
    def backup_eligible(self) -> bool:
        """BE: the key may leave the device it was made on (a synced passkey)."""
        return bool(self.flags & BACKUP_ELIGIBLE)

    @property
    def backed_up(self) -> bool:
        """BS: it has left it."""
        return bool(self.flags & BACKED_UP)


def read_authenticator_data(raw: bytes) -> AuthenticatorData:
    """Read the bytes of WebAuthn 3 section 6.1. Raises InvalidInput."""
    where = "response.authenticatorData"
    if not 37 <= len(raw) <= MAX_AUTHENTICATOR_DATA:
        raise InvalidInput(f"{len(raw)} bytes are no authenticator data", field=where)
    flags = raw[32]
    if flags & _RESERVED:
        raise InvalidInput("a reserved flag is set", field=where)
    if flags & BACKED_UP and not flags & BACKUP_ELIGIBLE:
        # 6.1.3: a credential that may not be backed up cannot have been.
        raise InvalidInput("backed up, though not eligible for it", field=where)
    at = 37
    attested = None
    if flags & ATTESTED:
        attested, at = _attested(raw, at, where)
    if flags & EXTENSIONS:
        extensions, at = cbor.decode_first(raw, what=where, start=at)
        if not isinstance(extensions, dict):
            raise InvalidInput("the extensions are not a map", field=where)
    if at != len(raw):
        raise InvalidInput(f"{len(raw) - at} bytes too many", field=where)
    return AuthenticatorData(
        raw=raw,
        rp_id_hash=raw[:32],
        flags=flags,
        sign_count=int.from_bytes(raw[33:37], "big"),
        attested=attested,
    )


def _attested(raw: bytes, at: int, where: str) -> tuple[AttestedCredential, int]:
    if len(raw) < at + 18:
        raise InvalidInput("the credential is cut off", field=where)
    size = int.from_bytes(raw[at + 16 : at + 18], "big")
    start = at + 18
    # 7.1: an id longer than this is refused, so that nobody fills a store with them.
    if not 1 <= size <= MAX_CREDENTIAL_ID or len(raw) < start + size:
        raise InvalidInput(f"a credential id of {size} bytes", field=where)
    key, end = cbor.decode_first(raw, what=where, start=start + size)
    return (
        AttestedCredential(
            aaguid=raw[at : at + 16], credential=raw[start : start + size], jwk=jwk_of_cose(key, where)
        ),
        end,
    )


def jwk_of_cose(key: Any, where: str) -> dict[str, Any]:
    """The JWK of a COSE_Key (RFC 9053 7.1). Raises InvalidInput unless it is ES256 on P-256."""
    # kty 2 (EC2), alg -7 (ES256), crv 1 (P-256); x, y: 32 bytes. A compressed y is a boolean and is not allowed (6.5.1.1).
    if not isinstance(key, dict) or (key.get(1), key.get(3), key.get(-1)) != (2, ES256_COSE, 1):
        raise InvalidInput(
            "the credential's key is not ES256 on P-256",
            field=where,
            remedy="use an authenticator that makes ES256 keys: passports are bound to P-256",
        )
    x, y = key.get(-2), key.get(-3)
    if not isinstance(x, bytes) or not isinstance(y, bytes):
        raise InvalidInput("a coordinate of the key is missing", field=where)
    if set(key) != {1, 3, -1, -2, -3}:
        raise InvalidInput(
            "the key holds other members", field=where
        )  # 6.5.1: required ones, no optional ones
    jwk = {"kty": "EC", "crv": "P-256", "x": b64u(x), "y": b64u(y)}
    try:
        VerifyingKey(jwk)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=where) from None
    return jwk
