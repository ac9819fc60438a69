"""Azure Key Vault: `azurekms:https://<vault>.vault.azure.net/keys/<name>/<version>`. OAuth client credentials, REST 7.4.

Signatures come as r || s already (RFC 7518). There is no Ed25519. The service wraps with RSA-OAEP-256, which knows no context, so a
secret is sealed with AES-256-GCM under a fresh key, the context as additional data, and that key is what the service wraps.
Wrapped form: two bytes length, the wrapped key, the sealed secret.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from safeconduct.custody.cloud import AccessTokens, KeyService, check_endpoint, needed, token_in
from safeconduct.custody.signature import RemoteSigner
from safeconduct.kernel.canonical import b64u, b64u_decode, canonical_json
from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.signing import ES256, KeyWrapper, Signer, VerifyingKey, seal, unseal

_API = "?api-version=7.4"
_PATH = re.compile(r"/keys/[A-Za-z0-9-]{1,127}/[0-9a-f]{32}")
_HOSTS = (".vault.azure.net", ".vault.usgovcloudapi.net", ".vault.azure.cn", ".managedhsm.azure.net")
_LOGIN = "https://login.microsoftonline.com"


class AzureKeys:
    """Keys of Azure Key Vault. credentials: `tenant`, `client_id`, `client_secret`, `authority`?, `scope`?."""

    def __init__(self, credentials: Mapping[str, Any]) -> None:
        self._tenant = needed(credentials, "tenant", "azure")
        self._form = {
            "grant_type": "client_credentials",
            "client_id": needed(credentials, "client_id", "azure"),
            "client_secret": needed(credentials, "client_secret", "azure"),
            "scope": str(credentials.get("scope", "https://vault.azure.net/.default")),
        }
        if not re.fullmatch(r"[A-Za-z0-9.-]{1,100}", self._tenant):
            raise InvalidInput("not a tenant's id", field="azure.tenant")
        self._authority = check_endpoint(str(credentials.get("authority", _LOGIN)), "azure.authority")
        self._service = KeyService("Azure Key Vault")
        self._tokens = AccessTokens(self._fetch)

    def _fetch(self) -> tuple[str, float]:
        answer = self._service.call(
            "POST",
            f"{self._authority}/{self._tenant}/oauth2/v2.0/token",
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode(self._form).encode(),
            what="azurekms token",
        )
        return token_in(answer, "Azure")

    def call(self, key: str, operation: str, members: Mapping[str, Any] | None) -> dict[str, Any]:
        """One operation on the key (None: read it). Raises UnsafeConfiguration."""
        headers = {"authorization": f"Bearer {self._tokens.get()}", "content-type": "application/json"}
        return self._service.call(
            "GET" if members is None else "POST",
            f"{key}{operation}{_API}",
            headers=headers,
            body=b"" if members is None else canonical_json(dict(members)),
            what=f"azurekms {operation or 'key'}",
            unwrapping=operation == "/unwrapkey",
        )

    def signer(self, reference: str, alg: str) -> Signer:
        """See `KeyCustody.signer`."""
        if alg != ES256:
            raise InvalidInput(
                "Azure Key Vault has no Ed25519 keys",
                field="azurekms",
                remedy="keep the logs' keys elsewhere",
            )
        key = _key(reference)
        found = self.call(key, "", None).get("key")
        if not isinstance(found, dict) or found.get("crv") != "P-256":
            raise InvalidInput("the key is not on P-256", field="azurekms", remedy="make an EC key on P-256")
        return _AzureSigner(
            self, key, VerifyingKey({"kty": "EC", "crv": "P-256", "x": found.get("x"), "y": found.get("y")})
        )

    def wrapper(self, reference: str) -> KeyWrapper:
        """See `KeyCustody.wrapper`."""
        return _AzureWrapper(self, _key(reference))


def _key(reference: str) -> str:
    url = reference.removeprefix("azurekms:")
    remedy = "azurekms:https://VAULT.vault.azure.net/keys/NAME/VERSION"
    parts = urlsplit(check_endpoint(url, "azurekms"))
    # The access token goes there: to a vault, or to a simulated one on this machine.
    if not _PATH.fullmatch(parts.path) or not (
        (parts.hostname or "").endswith(_HOSTS) or parts.scheme == "http"
    ):
        raise InvalidInput("not the identifier of a key's version", field="azurekms", remedy=remedy)
    return url


def _value(answer: Mapping[str, Any]) -> bytes:
    value = answer.get("value")
    if not isinstance(value, str):
        raise UnsafeConfiguration("Azure Key Vault gave no value", field="azurekms")
    return b64u_decode(value.rstrip("="))


class _AzureSigner(RemoteSigner):
    def __init__(self, service: AzureKeys, key: str, public: VerifyingKey) -> None:
        super().__init__(public)
        self._service = service
        self._key = key

    def _sign(self, data: bytes) -> bytes:
        digest = b64u(hashlib.sha256(data).digest())
        return _value(self._service.call(self._key, "/sign", {"alg": "ES256", "value": digest}))


class _AzureWrapper:
    def __init__(self, service: AzureKeys, key: str) -> None:
        self._service = service
        self._key = key

    def __repr__(self) -> str:
        return "<AzureWrapper>"

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        inner = secrets.token_bytes(32)
        answer = self._service.call(self._key, "/wrapkey", {"alg": "RSA-OAEP-256", "value": b64u(inner)})
        wrapped = _value(answer)
        return len(wrapped).to_bytes(2, "big") + wrapped + seal(AESGCM(inner), secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        length = int.from_bytes(wrapped[:2], "big")
        inner, sealed = wrapped[2 : 2 + length], wrapped[2 + length :]
        if len(inner) != length or length < 128:
            raise InvalidInput("cannot decrypt: wrong key, wrong context or altered bytes")
        answer = self._service.call(self._key, "/unwrapkey", {"alg": "RSA-OAEP-256", "value": b64u(inner)})
        key = _value(answer)
        if len(key) != 32:
            raise InvalidInput("cannot decrypt: wrong key, wrong context or altered bytes")
        return unseal(AESGCM(key), sealed, context)
