"""Google Cloud KMS: `gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K[/cryptoKeyVersions/V]`. OAuth by service account (RFC 7523).

Signing names a version of the key, wrapping the key itself. Every value that travels carries its CRC32C, and the answer says whether
the service received ours unharmed. The context is the additional authenticated data of the encryption.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from safeconduct.custody.cloud import AccessTokens, KeyService, check_endpoint, needed, token_in
from safeconduct.custody.signature import RemoteSigner, public_key_of, raw_from_der
from safeconduct.kernel.canonical import b64u, canonical_json
from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.signing import ES256, KeyWrapper, Signer, VerifyingKey

_BASE = "https://cloudkms.googleapis.com"
_TOKEN = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_SCOPE = "https://www.googleapis.com/auth/cloudkms"
_PART = "[A-Za-z0-9_.:-]{1,100}"
_KEY = rf"projects/{_PART}/locations/{_PART}/keyRings/{_PART}/cryptoKeys/{_PART}"
_CRYPTO_KEY = re.compile(_KEY)
_VERSION = re.compile(rf"{_KEY}/cryptoKeyVersions/\d{{1,9}}")
_ALGORITHMS = {"EC_SIGN_P256_SHA256": "ES256", "EC_SIGN_ED25519": "EdDSA"}


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_CRC = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli, RFC 3720 appendix B.4)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def _damaged(what: str) -> UnsafeConfiguration:
    return UnsafeConfiguration(
        f"Google Cloud KMS: {what} was damaged on its way", field="gcpkms", remedy="try again"
    )


def _bytes(answer: Mapping[str, Any], name: str) -> bytes:
    try:
        value = base64.b64decode(answer[name], validate=True)
        expected = int(answer[f"{name}Crc32c"])
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise UnsafeConfiguration(f"Google Cloud KMS gave no {name}", field="gcpkms") from None
    if crc32c(value) != expected:
        raise _damaged(name)
    return value


class GoogleKeys:
    """Keys of Google Cloud KMS. credentials: a service account's key file as it is given out (`client_email`, `private_key`), `endpoint`?."""

    def __init__(self, credentials: Mapping[str, Any], *, now: Callable[[], float] = time.time) -> None:
        self._email = needed(credentials, "client_email", "gcp")
        try:
            key = serialization.load_pem_private_key(
                needed(credentials, "private_key", "gcp").encode(), password=None
            )
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise UnsafeConfiguration("gcp.private_key is not an RSA key", field="kms_credentials")
        self._key = key
        self._token_uri = check_endpoint(str(credentials.get("token_uri", _TOKEN)), "gcp.token_uri")
        self._base = check_endpoint(str(credentials.get("endpoint", _BASE)), "gcp.endpoint")
        self._now = now
        self._service = KeyService("Google Cloud KMS")
        self._tokens = AccessTokens(self._fetch)

    def _fetch(self) -> tuple[str, float]:
        now = int(self._now())
        claims = {"iss": self._email, "scope": _SCOPE, "aud": self._token_uri, "iat": now, "exp": now + 600}
        text = f"{b64u(canonical_json({'alg': 'RS256', 'typ': 'JWT'}))}.{b64u(canonical_json(claims))}"
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": f"{text}.{b64u(signature)}",
        }
        answer = self._service.call(
            "POST",
            self._token_uri,
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            what="gcpkms token",
        )
        return token_in(answer, "Google")

    def call(self, name: str, operation: str, members: Mapping[str, Any] | None) -> dict[str, Any]:
        """One operation (None: read). Raises UnsafeConfiguration."""
        headers = {"authorization": f"Bearer {self._tokens.get()}", "content-type": "application/json"}
        return self._service.call(
            "GET" if members is None else "POST",
            f"{self._base}/v1/{name}{operation}",
            headers=headers,
            body=b"" if members is None else canonical_json(dict(members)),
            what=f"gcpkms {operation}",
            unwrapping=operation == ":decrypt",
        )

    def signer(self, reference: str, alg: str) -> Signer:
        """See `KeyCustody.signer`."""
        name = reference.removeprefix("gcpkms:")
        if not _VERSION.fullmatch(name):
            raise InvalidInput(
                "not the name of a key's version",
                field="gcpkms",
                remedy="gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/V",
            )
        answer = self.call(name, "/publicKey", None)
        if _ALGORITHMS.get(str(answer.get("algorithm"))) != alg:
            raise InvalidInput(
                f"the key's algorithm is {str(answer.get('algorithm'))[:60]!r} and this place needs {alg}",
                field="gcpkms",
                remedy="EC_SIGN_P256_SHA256, for logs EC_SIGN_ED25519",
            )
        try:
            key = serialization.load_pem_public_key(str(answer.get("pem")).encode())
        except ValueError:
            raise UnsafeConfiguration("Google Cloud KMS gave no public key", field="gcpkms") from None
        return _GoogleSigner(self, name, public_key_of(key, alg))

    def wrapper(self, reference: str) -> KeyWrapper:
        """See `KeyCustody.wrapper`."""
        name = reference.removeprefix("gcpkms:")
        if not _CRYPTO_KEY.fullmatch(name):
            raise InvalidInput(
                "not the name of a key",
                field="gcpkms",
                remedy="gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K",
            )
        return _GoogleWrapper(self, name)


class _GoogleSigner(RemoteSigner):
    def __init__(self, service: GoogleKeys, name: str, public: VerifyingKey) -> None:
        super().__init__(public)
        self._service = service
        self._name = name

    def _sign(self, data: bytes) -> bytes:
        digested = self.alg == ES256
        message = hashlib.sha256(data).digest() if digested else data
        encoded, crc = base64.b64encode(message).decode(), str(crc32c(message))
        members: dict[str, Any] = (
            {"digest": {"sha256": encoded}, "digestCrc32c": crc}
            if digested
            else {"data": encoded, "dataCrc32c": crc}
        )
        answer = self._service.call(self._name, ":asymmetricSign", members)
        if answer.get("verifiedDigestCrc32c" if digested else "verifiedDataCrc32c") is not True:
            raise _damaged("what is to be signed")
        signature = _bytes(answer, "signature")
        return raw_from_der(signature) if digested else signature


class _GoogleWrapper:
    def __init__(self, service: GoogleKeys, name: str) -> None:
        self._service = service
        self._name = name

    def __repr__(self) -> str:
        return "<GoogleWrapper>"

    @staticmethod
    def _members(name: str, value: bytes, context: bytes) -> dict[str, str]:
        aad = "additionalAuthenticatedData"
        return {
            name: base64.b64encode(value).decode(),
            f"{name}Crc32c": str(crc32c(value)),
            aad: base64.b64encode(context).decode(),
            f"{aad}Crc32c": str(crc32c(context)),
        }

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        answer = self._service.call(self._name, ":encrypt", self._members("plaintext", secret, context))
        if (
            answer.get("verifiedPlaintextCrc32c") is not True
            or answer.get("verifiedAdditionalAuthenticatedDataCrc32c") is not True
        ):
            raise _damaged("what is to be wrapped")
        return _bytes(answer, "ciphertext")

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        answer = self._service.call(self._name, ":decrypt", self._members("ciphertext", wrapped, context))
        return _bytes(answer, "plaintext")
