"""Signatures of foreign key services in the form that JOSE wants, and public keys out of what they hand out.

Refuses every algorithm but ES256 and Ed25519, and a signature that does not verify under the key it is said to be of: a service
that signs with another version of the key must not go unnoticed.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import InvalidInput, KeyUnavailable
from safeconduct.kernel.signing import EDDSA, ES256, VerifyingKey


def raw_from_der(der: bytes) -> bytes:
    """R || s, 64 bytes (RFC 7518 3.4), out of a DER ECDSA-Sig-Value. Raises InvalidInput when it is not one of P-256."""
    try:
        r, s = decode_dss_signature(der)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    except (ValueError, OverflowError):
        raise InvalidInput("the key service gave no P-256 signature", field="signature") from None


def public_key_of(key: object, alg: str) -> VerifyingKey:
    """A public key as ours. Raises InvalidInput when it does not sign with `alg`."""
    jwk: dict[str, Any]
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        numbers = key.public_numbers()
        jwk = {
            "kty": "EC",
            "crv": "P-256",
            "x": b64u(numbers.x.to_bytes(32, "big")),
            "y": b64u(numbers.y.to_bytes(32, "big")),
        }
    elif isinstance(key, ed25519.Ed25519PublicKey):
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64u(key.public_bytes_raw())}
    else:
        raise InvalidInput(
            "the key is neither P-256 nor Ed25519", field="key", remedy="make a key on the curve P-256"
        )
    found = VerifyingKey(jwk)
    if found.alg != alg:
        raise InvalidInput(
            f"the key signs with {found.alg} and this place needs {alg}",
            field="key",
            remedy="logs sign with Ed25519, everything else with P-256",
        )
    return found


def public_key_from_der(der: bytes, alg: str) -> VerifyingKey:
    """A SubjectPublicKeyInfo (RFC 5280 4.1.2.7) as ours. Raises InvalidInput."""
    try:
        key = serialization.load_der_public_key(der)
    except ValueError:
        raise InvalidInput("the key service gave no public key", field="key") from None
    return public_key_of(key, alg)


class RemoteSigner:
    """What signers elsewhere share: the public half, and that each signature is checked before it is used."""

    def __init__(self, public: VerifyingKey) -> None:
        self._public = public
        self.kid = public.kid
        self.alg = public.alg

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.alg} {self.kid}>"

    def public_jwk(self) -> dict[str, Any]:
        """Public JWK with kid, alg, use."""
        return dict(self._public.jwk)

    def sign(self, data: bytes) -> bytes:
        """The raw 64-byte signature. Raises KeyUnavailable when the service does not sign, or not with this key."""
        assert self.alg in (ES256, EDDSA)
        signature = self._sign(data)
        if not self._public.verify(signature, data):
            raise KeyUnavailable(
                "the key service's signature does not verify",
                field=self.kid,
                remedy="was the key replaced there? rotate to the new one with safeconduct key rotate",
            )
        return signature

    def _sign(self, data: bytes) -> bytes:
        raise NotImplementedError
