"""Use case: a subject proves with a registered passkey that they are there (WebAuthn 3 section 7.2), at a computed AAL.

Owns that a signature counter which does not advance is an alert and no authentication: two devices may hold the key.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from safeconduct.app.commit import instant
from safeconduct.app.import_evidence import Alert, raise_alert
from safeconduct.app.register_authenticator import (
    AuthenticatorDesk,
    ceremony_context,
    use_challenge,
    user_handle,
)
from safeconduct.identity.webauthn.ceremony import Credential, verify_authentication
from safeconduct.kernel.errors import NotFound, VerificationFailed
from safeconduct.kernel.ids import SubjectId


class Authenticated(msgspec.Struct, frozen=True):
    """A completed authentication. aal: what the authenticator reaches, with the clause. at: seconds."""

    subject: SubjectId
    credential: str
    key: str
    aal: int
    clause: str
    sentence: str
    at: int
    development: bool


def begin_authentication(desk: AuthenticatorDesk, subject: SubjectId) -> dict[str, Any]:
    """What a browser is asked (PublicKeyCredentialRequestOptionsJSON, section 5.1.10). Raises NotFound without a passkey."""
    known = desk.good(subject)
    if not known:
        raise NotFound("the subject has no passkey", field="subject", remedy="register one first")
    challenge, seconds = desk.challenges.give(ceremony_context("get", subject))
    return {
        "challenge": challenge,
        "timeout": seconds * 1000,
        "rpId": desk.relying_party.id,
        "allowCredentials": [{"type": "public-key", "id": each.credential.id} for each in known],
        "userVerification": "required",
    }


def authenticate_passkey(desk: AuthenticatorDesk, subject: SubjectId, response: Any) -> Authenticated:
    """Verify what the browser answered.

    Raises VerificationFailed naming the step (`counter`: an alert was raised too), UnsafeConfiguration.
    """
    now = instant(desk.instance)
    context = ceremony_context("get", subject)
    with desk.lock:
        # Read under the lock: the counter that this assertion is held against is the latest.
        known = {each.credential.id: each for each in desk.good(subject)}

        def credential_of(name: str) -> Credential | None:
            return known[name].credential if name in known else None

        assertion = verify_authentication(
            response,
            relying_party=desk.relying_party,
            challenge=lambda text: desk.challenges.holds(text, context),
            credential_of=credential_of,
            user_handle=user_handle(subject),
        )
        use_challenge(desk, response, context)
        registered = known[assertion.credential]
        if assertion.cloned:
            _alert(desk, registered.credential, subject, assertion.sign_count, now)
            raise VerificationFailed(
                "the authenticator's counter did not advance: another device may hold its key",
                step="counter",
                code="ASSURANCE_LOW",
                field="response.authenticatorData",
                remedy="report the authenticator lost and register another",
            )
        credential = msgspec.structs.replace(
            registered.credential, sign_count=assertion.sign_count, backed_up=assertion.backed_up
        )
        desk.keep(msgspec.structs.replace(registered, credential=credential, used=now))
    key = desk.key_of(credential)
    return Authenticated(
        subject=subject,
        credential=credential.id,
        key=key.thumbprint,
        aal=key.aal,
        clause=key.clause,
        sentence=key.sentence,
        at=now,
        development=key.development,
    )


def _alert(desk: AuthenticatorDesk, credential: Credential, subject: SubjectId, count: int, now: int) -> None:
    digest = hashlib.sha256(credential.id.encode()).hexdigest()
    raise_alert(
        desk.instance,
        Alert(
            subject=subject,
            other=subject,
            text=f"passkey {digest[:16]}: its counter went from {credential.sign_count} to {count}; "
            "its key may have been copied",
            document=digest,
            at=now,
        ),
    )
