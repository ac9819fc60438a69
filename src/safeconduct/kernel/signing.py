"""Signing keys, public keys, key rings, and the wrapper that encrypts data keys.

Algorithms: ES256 (ECDSA P-256 with SHA-256, RFC 7518 3.4; signature is r||s, 64 bytes) for everything in JOSE, Ed25519
(RFC 8032) for the logs' checkpoints. Private keys never appear in a repr, an error or a log line.
Ports: `Signer` and `KeyWrapper`; the file-backed ones live here because they need nothing but bytes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from safeconduct.kernel.canonical import b64u, b64u_decode
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import RandomBytes

ES256 = "ES256"
EDDSA = "EdDSA"

_ECDSA = ec.ECDSA(hashes.SHA256())


class Secret:
    """A text that no repr and no error shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "<Secret>"

    def reveal(self) -> str:
        """The text itself."""
        return self._text


class Signer(Protocol):
    """Signs bytes with a key that may live in a file, a PKCS#11 token or a cloud's KMS."""

    kid: str
    alg: str

    def sign(self, data: bytes) -> bytes:
        """The raw signature: 64 bytes for both algorithms."""
        ...

    def public_jwk(self) -> dict[str, Any]:
        """The public key as a JWK (RFC 7517) with `kid`, `alg`, `use`."""
        ...


class KeyWrapper(Protocol):
    """Encrypts small secrets (data keys) under a root key that is not in the data directory."""

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Encrypt; `context` must be given again to unwrap."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt. Raises InvalidInput when key, context or bytes do not fit."""
        ...


def _jwk_thumbprint_input(jwk: dict[str, Any]) -> dict[str, str]:
    names: tuple[str, ...]
    if jwk.get("kty") == "EC":
        names = ("crv", "kty", "x", "y")
    elif jwk.get("kty") == "OKP":
        names = ("crv", "kty", "x")
    else:
        raise InvalidInput("unsupported key type", field="kty", remedy="use an EC P-256 key")
    if not all(isinstance(jwk.get(name), str) for name in names):
        raise InvalidInput("incomplete public key", field="jwk", remedy=f"give {', '.join(names)}")
    return {name: jwk[name] for name in names}


def thumbprint(jwk: dict[str, Any]) -> str:
    """RFC 7638 SHA-256 thumbprint, base64url."""
    text = json.dumps(_jwk_thumbprint_input(jwk), separators=(",", ":"), sort_keys=True)
    return b64u(hashlib.sha256(text.encode()).digest())


class VerifyingKey:
    """A public key with its algorithm pinned: a verifier never takes the algorithm from the message."""

    __slots__ = ("_key", "alg", "jwk", "kid", "thumbprint")

    def __init__(self, jwk: dict[str, Any], *, kid: str | None = None) -> None:
        """Build from a public JWK. Raises InvalidInput for private, symmetric, RSA, off-curve or incomplete keys."""
        if "d" in jwk or "k" in jwk:
            raise InvalidInput(
                "a private or symmetric key was given", field="jwk", remedy="give the public key"
            )
        members = _jwk_thumbprint_input(jwk)
        self._key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
        if members["kty"] == "EC":
            if members["crv"] != "P-256":
                raise InvalidInput(
                    f"curve {members['crv']!r} is not supported", field="crv", remedy="use P-256"
                )
            x, y = b64u_decode(members["x"], field="x"), b64u_decode(members["y"], field="y")
            if len(x) != 32 or len(y) != 32:
                raise InvalidInput("coordinates must be 32 bytes", field="jwk")
            try:
                self._key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
            except ValueError:
                raise InvalidInput("the point is not on P-256", field="jwk") from None
            self.alg = ES256
        else:
            if members["crv"] != "Ed25519":
                raise InvalidInput(
                    f"curve {members['crv']!r} is not supported", field="crv", remedy="use Ed25519"
                )
            raw = b64u_decode(members["x"], field="x")
            if len(raw) != 32:
                raise InvalidInput("an Ed25519 key is 32 bytes", field="x")
            self._key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
            self.alg = EDDSA
        if jwk.get("alg", self.alg) != self.alg:
            raise InvalidInput("alg does not fit the key", field="alg", remedy=f"use {self.alg}")
        if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
            raise InvalidInput("the key is not for signatures", field="use")
        self.thumbprint = thumbprint(jwk)
        self.kid = kid or str(jwk.get("kid") or self.thumbprint)
        self.jwk: dict[str, Any] = {**members, "kid": self.kid, "alg": self.alg, "use": "sig"}

    def verify(self, signature: bytes, data: bytes) -> bool:
        """True when `signature` (64 raw bytes) over `data` is this key's."""
        if len(signature) != 64:
            return False
        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                self._key.verify(encode_dss_signature(r, s), data, _ECDSA)
            else:
                self._key.verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True

    def raw(self) -> bytes:
        """The 32 raw bytes of an Ed25519 key, or the 65-byte uncompressed point of a P-256 key."""
        if isinstance(self._key, ec.EllipticCurvePublicKey):
            return self._key.public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
        return self._key.public_bytes_raw()


class FileSigner:
    """A private key held in this process, read from or written to PKCS#8 PEM."""

    __slots__ = ("_key", "_public", "alg", "kid")

    def __init__(
        self, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, *, kid: str | None = None
    ) -> None:
        self._key = key
        self._public = VerifyingKey(_public_jwk(key), kid=kid)
        self.alg = self._public.alg
        self.kid = self._public.kid

    def __repr__(self) -> str:
        return f"<FileSigner {self.alg} {self.kid}>"

    @classmethod
    def generate(cls, alg: str = ES256, *, kid: str | None = None) -> FileSigner:
        """A new random key."""
        if alg == ES256:
            return cls(ec.generate_private_key(ec.SECP256R1()), kid=kid)
        if alg == EDDSA:
            return cls(ed25519.Ed25519PrivateKey.generate(), kid=kid)
        raise InvalidInput(f"unknown algorithm {alg!r}", field="alg", remedy="use ES256 or EdDSA")

    @classmethod
    def from_pem(cls, pem: bytes, *, kid: str | None = None) -> FileSigner:
        """Read an unencrypted PKCS#8 PEM key. Raises InvalidInput when it is not a P-256 or Ed25519 private key."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            raise InvalidInput("not an unencrypted PEM private key", field="key") from None
        if isinstance(key, ed25519.Ed25519PrivateKey) or (
            isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            return cls(key, kid=kid)
        raise InvalidInput("the key is neither P-256 nor Ed25519", field="key")

    def to_pem(self) -> bytes:
        """Unencrypted PKCS#8 PEM; the caller writes it with mode 0600."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, data: bytes) -> bytes:
        """The raw 64-byte signature."""
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self._key.sign(data, _ECDSA))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self._key.sign(data)

    def public_jwk(self) -> dict[str, Any]:
        """Public JWK with kid, alg, use."""
        return dict(self._public.jwk)

    def verifying_key(self) -> VerifyingKey:
        """The public half."""
        return self._public


def _public_jwk(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> dict[str, Any]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        numbers = key.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": b64u(numbers.x.to_bytes(32, "big")),
            "y": b64u(numbers.y.to_bytes(32, "big")),
        }
    return {"kty": "OKP", "crv": "Ed25519", "x": b64u(key.public_key().public_bytes_raw())}


class KeyRing:
    """Public keys by kid. One kid names one key: a second key under the same kid is refused."""

    __slots__ = ("_keys",)

    def __init__(self, keys: list[VerifyingKey] | None = None) -> None:
        self._keys: dict[str, VerifyingKey] = {}
        for key in keys or []:
            self.add(key)

    def add(self, key: VerifyingKey) -> None:
        """Add a key. Raises InvalidInput when the kid already names another key."""
        known = self._keys.get(key.kid)
        if known is not None and known.thumbprint != key.thumbprint:
            raise InvalidInput(
                f"kid {key.kid!r} names two keys", field="kid", remedy="give each key its own kid"
            )
        self._keys[key.kid] = key

    def get(self, kid: str) -> VerifyingKey | None:
        """The key of that kid, or None."""
        return self._keys.get(kid)

    def jwks(self) -> dict[str, Any]:
        """RFC 7517 5 JWK Set, ordered by kid."""
        return {"keys": [self._keys[kid].jwk for kid in sorted(self._keys)]}

    @classmethod
    def from_jwks(cls, document: Any) -> KeyRing:
        """Read a JWK Set, refusing a duplicate kid. Raises InvalidInput."""
        keys = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
            raise InvalidInput("not a JWK Set", field="keys", remedy='give {"keys":[...]}')
        seen: set[str] = set()
        ring = cls()
        for jwk in keys:
            key = VerifyingKey(jwk)
            if key.kid in seen:
                raise InvalidInput(f"kid {key.kid!r} stands twice", field="kid")
            seen.add(key.kid)
            ring.add(key)
        return ring


class FileKeyWrapper:
    """AES-256-GCM under a 32-byte root key kept in a file outside the data directory.

    Wrapped form: 12-byte random nonce, ciphertext, 16-byte tag; `context` is the additional data.
    """

    __slots__ = ("_aead",)

    def __init__(self, root_key: bytes) -> None:
        if len(root_key) != 32:
            raise InvalidInput("a root key is 32 bytes", field="root_key")
        self._aead = AESGCM(root_key)

    def __repr__(self) -> str:
        return "<FileKeyWrapper>"

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Encrypt `secret`."""
        return seal(self._aead, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt. Raises InvalidInput."""
        return unseal(self._aead, wrapped, context)


def seal(aead: AESGCM, plaintext: bytes, context: bytes, random: RandomBytes = secrets.token_bytes) -> bytes:
    """Nonce || AES-GCM ciphertext and tag, with `context` as additional data."""
    nonce = random(12)
    return nonce + aead.encrypt(nonce, plaintext, context)


def unseal(aead: AESGCM, sealed: bytes, context: bytes) -> bytes:
    """Inverse of `seal`. Raises InvalidInput when key, context or bytes do not fit."""
    try:
        return aead.decrypt(sealed[:12], sealed[12:], context)
    except (InvalidTag, ValueError):
        raise InvalidInput("cannot decrypt: wrong key, wrong context or altered bytes") from None
