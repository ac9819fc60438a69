"""A software authenticator for development and tests: WebAuthn's two ceremonies with a key file.

It attests as what it is: no maker vouches for it, and its model number (`DEVELOPMENT_AAGUID`) says that it is a key file, which
a production profile refuses. It answers what an origin asks without looking at a page, so it proves nothing about phishing.
Its key is a `FileSigner`, so that the same key can hold the passport.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from safeconduct.identity.webauthn import cbor
from safeconduct.identity.webauthn.authenticator_data import (
    ATTESTED,
    ES256_COSE,
    USER_PRESENT,
    USER_VERIFIED,
)
from safeconduct.identity.webauthn.ceremony import DEVELOPMENT_AAGUID
from safeconduct.kernel.canonical import b64u, b64u_decode, canonical_json
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import FileSigner


class DevelopmentAuthenticator:
    """One credential on a key file. origin: of the page it pretends to be asked by."""

    def __init__(self, signer: FileSigner, *, origin: str, random: RandomBytes = secrets.token_bytes) -> None:
        self.signer = signer
        self.origin = origin
        self.credential = b64u(random(32))
        self.sign_count = 0
        self.user_handle: str | None = None

    def __repr__(self) -> str:
        return f"<DevelopmentAuthenticator {self.signer.kid}>"

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer creation options with a RegistrationResponseJSON. Raises InvalidInput when ES256 is not asked for."""
        if not any(each.get("alg") == ES256_COSE for each in options["pubKeyCredParams"]):
            raise InvalidInput("ES256 is not among the algorithms asked for", field="pubKeyCredParams")
        if any(each["id"] == self.credential for each in options.get("excludeCredentials", ())):
            raise InvalidInput("registered already", field="excludeCredentials")
        self.user_handle = options["user"]["id"]
        client_data = self._client_data("webauthn.create", options["challenge"])
        data = self._data(options["rp"]["id"], ATTESTED) + self._attested()
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
        return self._response(
            {"clientDataJSON": b64u(client_data), "attestationObject": b64u(attestation), "transports": []}
        )

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer request options with an AuthenticationResponseJSON."""
        self.sign_count += 1
        client_data = self._client_data("webauthn.get", options["challenge"])
        data = self._data(options["rpId"], 0)
        raw = self.signer.sign(data + hashlib.sha256(client_data).digest())
        # WebAuthn 3 section 6.5.5: ES256 is an ASN.1 DER signature here, not r||s.
        signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        return self._response(
            {
                "clientDataJSON": b64u(client_data),
                "authenticatorData": b64u(data),
                "signature": b64u(signature),
                "userHandle": self.user_handle,
            }
        )

    def _client_data(self, ceremony: str, challenge: str) -> bytes:
        return canonical_json(
            {"type": ceremony, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        )

    def _data(self, rp_id: str, flags: int) -> bytes:
        return (
            hashlib.sha256(rp_id.encode()).digest()
            + bytes([USER_PRESENT | USER_VERIFIED | flags])
            + self.sign_count.to_bytes(4, "big")
        )

    def _attested(self) -> bytes:
        jwk = self.signer.public_jwk()
        raw = b64u_decode(self.credential)
        key = {1: 2, 3: ES256_COSE, -1: 1, -2: b64u_decode(jwk["x"]), -3: b64u_decode(jwk["y"])}
        return (
            bytes.fromhex(DEVELOPMENT_AAGUID.replace("-", ""))
            + len(raw).to_bytes(2, "big")
            + raw
            + cbor.encode(key)
        )

    def _response(self, inner: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self.credential,
            "rawId": self.credential,
            "type": "public-key",
            "response": inner,
            "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
        }
