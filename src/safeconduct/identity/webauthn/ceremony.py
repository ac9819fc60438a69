"""The two ceremonies of Web Authentication Level 3, section 7: registering a credential, and an assertion with it.

Owns the order of the checks and the name of each step: structure, client_data, challenge, origin, rp_id, user, attestation,
signature, counter. The challenge is checked by the caller's function, which knows for which ceremony and subject it was given
and whether it was used. Members that a browser adds for convenience (`publicKey`, `transports` ...) prove nothing and are
not read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import msgspec

from safeconduct.identity.authenticator import Authenticator, AuthenticatorKind
from safeconduct.identity.webauthn import cbor
from safeconduct.identity.webauthn.attestation import (
    Attestation,
    AttestationRoot,
    aaguid_text,
    verify_attestation,
    verify_es256_der,
)
from safeconduct.identity.webauthn.authenticator_data import (
    MAX_CREDENTIAL_ID,
    AuthenticatorData,
    read_authenticator_data,
)
from safeconduct.kernel.canonical import b64u, b64u_decode, strict_json
from safeconduct.kernel.errors import InvalidInput, VerificationFailed

DEVELOPMENT_AAGUID = "5afec0de-0000-4000-8000-6b65792066ff"
"""The model number by which the software authenticator for development says that it is a key file."""

MAX_CLIENT_DATA = 4096
_MAX_ATTESTATION = 96 * 1024
_MAX_SIGNATURE = 512
_STEP_CODE = "ASSURANCE_LOW"


class RelyingParty(msgspec.Struct, frozen=True):
    """Who asks. id: a domain. origins: exact origins its pages are served from."""

    id: str
    name: str
    origins: tuple[str, ...]


class Credential(msgspec.Struct, frozen=True):
    """A registered credential. id: base64url. sign_count: of its latest use. root: who vouches for its hardware."""

    id: str
    jwk: dict[str, Any]
    aaguid: str
    sign_count: int
    user_verified: bool
    backup_eligible: bool
    backed_up: bool
    attestation: Attestation

    @property
    def hardware_bound(self) -> bool:
        """A trusted maker vouches for the model, and the key cannot leave it (SP 800-63B-4 3.1.7.2, 2.3.2)."""
        return self.attestation.root is not None and not self.backup_eligible


class Assertion(msgspec.Struct, frozen=True):
    """A verified authentication. cloned: the signature counter did not advance, so two devices may hold the key."""

    credential: str
    sign_count: int
    user_verified: bool
    backed_up: bool
    cloned: bool


def authenticator_of(credential: Credential) -> Authenticator:
    """The credential as the record that assurance is computed from (`identity.authenticator`).

    Phishing-resistant since the verifier's name is signed over (SP 800-63B-4 3.2.5.2).
    """
    if credential.aaguid == DEVELOPMENT_AAGUID:
        kind = AuthenticatorKind.FILE_KEY_DEVELOPMENT
    elif credential.user_verified:
        kind = AuthenticatorKind.MULTI_FACTOR_CRYPTOGRAPHIC
    else:
        kind = AuthenticatorKind.SINGLE_FACTOR_CRYPTOGRAPHIC
    return Authenticator(
        kind=kind,
        phishing_resistant=True,
        hardware_bound=credential.hardware_bound,
        public_jwk=credential.jwk,
    )


def client_challenge(response: Any) -> str:
    """The challenge that a browser's answer is for, as it says. Raises VerificationFailed."""
    challenge: str = _client_data(_inner(response))[1]["challenge"]
    return challenge


def verify_registration(
    response: Any,
    *,
    relying_party: RelyingParty,
    challenge: Callable[[str], bool],
    roots: tuple[AttestationRoot, ...],
    now: int,
    require_user_verification: bool = True,
) -> Credential:
    """Verify a RegistrationResponseJSON (7.1; section 5.1.8 for its form). now: seconds.

    challenge: True when the text was given for exactly this ceremony and subject and has not expired.
    Raises VerificationFailed naming the step.
    """
    inner = _inner(response)
    raw, client = _client_data(inner)
    _check_client(client, "webauthn.create", relying_party, challenge)
    try:
        form, statement, data = _attestation_object(_bytes(inner, "attestationObject", _MAX_ATTESTATION))
    except InvalidInput as error:
        raise _fail("structure", error.message, field=error.field, remedy=error.remedy) from None
    _check_data(data, relying_party, require_user_verification=require_user_verification)
    if data.attested is None:
        raise _fail("structure", "there is no credential in it", field="response.attestationObject")
    credential = b64u(data.attested.credential)
    _check_id(response, credential)
    attested = verify_attestation(form, statement, data, hashlib.sha256(raw).digest(), roots=roots, now=now)
    return Credential(
        id=credential,
        jwk=data.attested.jwk,
        aaguid=aaguid_text(data.attested.aaguid),
        sign_count=data.sign_count,
        user_verified=data.user_verified,
        backup_eligible=data.backup_eligible,
        backed_up=data.backed_up,
        attestation=attested,
    )


def verify_authentication(
    response: Any,
    *,
    relying_party: RelyingParty,
    challenge: Callable[[str], bool],
    credential_of: Callable[[str], Credential | None],
    user_handle: str,
    require_user_verification: bool = True,
) -> Assertion:
    """Verify an AuthenticationResponseJSON (7.2). A counter that did not advance is told in the result, not refused here.

    credential_of: the subject's own credential of that id, or None. user_handle: base64url, given at registration.
    Raises VerificationFailed naming the step.
    """
    inner = _inner(response)
    # 7.2 step 5-6: the credential is one of this subject's.
    name = response.get("id")
    credential = credential_of(name) if isinstance(name, str) else None
    if credential is None:
        raise _fail("credential", "not a credential of this subject", field="id", remedy="register it first")
    _check_id(response, credential.id)
    handle = inner.get("userHandle")
    if handle is not None and handle != user_handle:
        raise _fail("credential", "the credential was made for somebody else", field="response.userHandle")
    raw, client = _client_data(inner)
    _check_client(client, "webauthn.get", relying_party, challenge)
    signed = _bytes(inner, "authenticatorData", 16 * 1024)
    try:
        data = read_authenticator_data(signed)
    except InvalidInput as error:
        raise _fail("structure", error.message, field=error.field) from None
    _check_data(data, relying_party, require_user_verification=require_user_verification)
    # 7.2: eligibility never changes over a credential's life.
    if data.backup_eligible != credential.backup_eligible:
        raise _fail("user", "the credential's eligibility for backup changed")
    signature = _bytes(inner, "signature", _MAX_SIGNATURE)
    if not verify_es256_der(credential.jwk, signature, signed + hashlib.sha256(raw).digest()):
        raise _fail("signature", "the signature does not verify", field="response.signature")
    counted = data.sign_count != 0 or credential.sign_count != 0
    return Assertion(
        credential=credential.id,
        sign_count=data.sign_count,
        user_verified=data.user_verified,
        backed_up=data.backed_up,
        cloned=counted and data.sign_count <= credential.sign_count,
    )


def _fail(step: str, message: str, *, field: str = "", remedy: str = "") -> VerificationFailed:
    return VerificationFailed(message, step=step, code=_STEP_CODE, field=field, remedy=remedy)


def _inner(response: Any) -> dict[str, Any]:
    if not isinstance(response, dict) or response.get("type") != "public-key":
        raise _fail("structure", "not a public-key credential", field="type")
    inner = response.get("response")
    if not isinstance(inner, dict):
        raise _fail("structure", "is missing", field="response")
    return inner


def _bytes(inner: dict[str, Any], name: str, most: int) -> bytes:
    text = inner.get(name)
    where = f"response.{name}"
    if not isinstance(text, str):
        raise _fail("structure", "is missing", field=where)
    if len(text) > most * 4 // 3 + 4:
        raise _fail("structure", f"is larger than {most} bytes", field=where)
    try:
        return b64u_decode(text, field=where)
    except InvalidInput as error:
        raise _fail("structure", error.message, field=where) from None


def _attestation_object(raw: bytes) -> tuple[str, Any, AuthenticatorData]:
    """Format, statement and authenticator data (6.5.4). Raises InvalidInput."""
    where = "response.attestationObject"
    read = cbor.decode(raw, what=where)
    if (
        not isinstance(read, dict)
        or not isinstance(read.get("fmt"), str)
        or not isinstance(read.get("authData"), bytes)
        or "attStmt" not in read
    ):
        raise InvalidInput("not an attestation object", field=where)
    return read["fmt"], read["attStmt"], read_authenticator_data(read["authData"])


def _client_data(inner: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    raw = _bytes(inner, "clientDataJSON", MAX_CLIENT_DATA)
    where = "response.clientDataJSON"
    try:
        read = strict_json(raw, what="the client data")
    except InvalidInput as error:
        raise _fail("client_data", error.message, field=where) from None
    if not isinstance(read, dict) or not all(
        isinstance(read.get(name), str) for name in ("type", "challenge", "origin")
    ):
        raise _fail("client_data", "lacks type, challenge or origin", field=where)
    return raw, read


def _check_client(
    client: dict[str, Any], type: str, relying_party: RelyingParty, challenge: Callable[[str], bool]
) -> None:
    if client["type"] != type:
        raise _fail("client_data", f"is not of the ceremony {type}", field="response.clientDataJSON.type")
    if not challenge(client["challenge"]):
        raise _fail(
            "challenge",
            "the challenge was not given for this, was used, or has expired",
            field="response.clientDataJSON.challenge",
            remedy="begin again",
        )
    if client["origin"] not in relying_party.origins:
        raise _fail("origin", "made at another origin", field="response.clientDataJSON.origin")
    # A page inside another site's frame could be clicked through.
    if client.get("crossOrigin", False) is not False or "topOrigin" in client:
        raise _fail("origin", "made inside another site's page", field="response.clientDataJSON.crossOrigin")


def _check_data(
    data: AuthenticatorData, relying_party: RelyingParty, *, require_user_verification: bool
) -> None:
    expected = hashlib.sha256(relying_party.id.encode()).digest()
    if not hmac.compare_digest(data.rp_id_hash, expected):
        raise _fail("rp_id", "made for another relying party", field="response.authenticatorData")
    if not data.user_present:
        raise _fail("user", "nobody was present", field="response.authenticatorData")
    if require_user_verification and not data.user_verified:
        raise _fail(
            "user",
            "the authenticator did not verify its user",
            field="response.authenticatorData",
            remedy="set a PIN or a fingerprint on it: one factor reaches AAL1 only",
        )


def _check_id(response: dict[str, Any], credential: str) -> None:
    for name in ("id", "rawId"):
        given = response.get(name)
        if not isinstance(given, str) or len(given) > 2 * MAX_CREDENTIAL_ID or given != credential:
            raise _fail("credential", "is not the id of the credential", field=name)
