"""Use case: register a passkey (WebAuthn 3 section 7.1) for a subject, list what is registered, and end a lost one.

Owns the ceremonies' challenges (good once, for one ceremony of one subject, five minutes), that a credential and a key belong to
one subject only, and what is kept of them in the vault, under the subject's data key. Who may ask is the caller's matter: an
applicant through their case, a holder with their passport. Nothing here is granted: an assessment reads what is registered.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any
from urllib.parse import urlsplit

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.evidence_index import EvidenceIndex
from safeconduct.app.nonces import Nonces
from safeconduct.app.ports import Instance
from safeconduct.identity.authenticator import Authenticator, BoundKey, bound_key
from safeconduct.identity.webauthn.attestation import AttestationRoot
from safeconduct.identity.webauthn.authenticator_data import ES256_COSE
from safeconduct.identity.webauthn.ceremony import (
    Credential,
    RelyingParty,
    authenticator_of,
    client_challenge,
    verify_registration,
)
from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, VerificationFailed
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.vocabulary import PassportStatus
from safeconduct.record.events import Event
from safeconduct.record.events.holders import PassportStatusChanged
from safeconduct.record.state import State

CEREMONY_SECONDS = 300
MAX_CREDENTIALS = 10
_KIND = "authenticator"
# WebAuthn 3 section 5.4.3: a user handle is 1 to 64 bytes.
_MAX_SUBJECT = 64


class Registered(msgspec.Struct, frozen=True):
    """A credential as it lies in the vault. ended: when it was reported lost, None while it is good. Instants: seconds."""

    subject: SubjectId
    credential: Credential
    registered: int
    used: int | None = None
    ended: int | None = None


class AuthenticatorShown(msgspec.Struct, frozen=True):
    """What may be told about a registered authenticator. key: RFC 7638 thumbprint. attested_by: the root that vouches."""

    credential: str
    key: str
    kind: str
    aal: int
    clause: str
    sentence: str
    hardware_bound: bool
    synced: bool
    attestation: str
    attested_by: str | None
    aaguid: str
    registered: int
    used: int | None
    ended: int | None
    development: bool


class AuthenticatorDesk:
    """The passkeys of one process's instance. Thread-safe; make one per process, since challenges live in its memory."""

    def __init__(
        self, instance: Instance, relying_party: RelyingParty, roots: tuple[AttestationRoot, ...] = ()
    ) -> None:
        self.instance = instance
        self.relying_party = relying_party
        self.roots = roots
        self.challenges = Nonces(instance.clock, instance.random, lifetime=CEREMONY_SECONDS)
        # One at a time: two at once could both find a credential unused, or write an older counter over a newer one.
        self.lock = threading.RLock()

    # -- the store ---------------------------------------------------------------------------------------------

    def registered(self, subject: SubjectId) -> list[Registered]:
        """Everything ever registered for a subject and not erased, oldest first."""
        vault = self.instance.vault
        found = [vault.get(_KIND, name) for name in vault.names(_KIND) if name.startswith(f"{subject}/")]
        read = [msgspec.json.decode(each, type=Registered) for each in found if each is not None]
        return sorted(read, key=lambda each: (each.registered, each.credential.id))

    def good(self, subject: SubjectId) -> list[Registered]:
        """Those not reported lost."""
        return [each for each in self.registered(subject) if each.ended is None]

    def authenticators(self, subject: SubjectId) -> tuple[Authenticator, ...]:
        """The good ones as the records that `identity.assurance` and `bound_key` compute from."""
        return tuple(authenticator_of(each.credential) for each in self.good(subject))

    def keep(self, registered: Registered) -> None:
        """Store or replace it, durable on return."""
        digest = hashlib.sha256(registered.credential.id.encode()).hexdigest()[:32]
        self.instance.vault.put(
            _KIND,
            f"{registered.subject}/{digest}",
            registered.subject,
            msgspec.json.encode(registered),
        )

    def key_of(self, credential: Credential) -> BoundKey:
        """The key with the AAL it reaches. Raises UnsafeConfiguration for a development key file outside development."""
        key = bound_key(authenticator_of(credential), profile=self.instance.profile, field="authenticator")
        assert key is not None  # every kind that a credential can be signs
        return key

    def show(self, registered: Registered) -> AuthenticatorShown:
        """What may be told about it."""
        credential = registered.credential
        key = self.key_of(credential)
        return AuthenticatorShown(
            credential=credential.id,
            key=key.thumbprint,
            kind=key.kind.value,
            aal=key.aal,
            clause=key.clause,
            sentence=key.sentence,
            hardware_bound=credential.hardware_bound,
            synced=credential.backup_eligible,
            attestation=f"{credential.attestation.format} ({credential.attestation.type.value})",
            attested_by=credential.attestation.root,
            aaguid=credential.aaguid,
            registered=registered.registered,
            used=registered.used,
            ended=registered.ended,
            development=key.development,
        )


def relying_party_of(issuer: str) -> RelyingParty:
    """The relying party of an instance: its own pages at its issuer's address, and nobody else's."""
    parts = urlsplit(issuer)
    return RelyingParty(
        id=parts.hostname or "", name="Safeconduct", origins=(f"{parts.scheme}://{parts.netloc}",)
    )


def begin_registration(desk: AuthenticatorDesk, subject: SubjectId) -> dict[str, Any]:
    """What a browser is asked (PublicKeyCredentialCreationOptionsJSON, section 5.1.9). Names the subject by pseudonym only.

    Raises Conflict when the subject has too many authenticators.
    """
    known = desk.good(subject)
    _check_room(known)
    challenge, seconds = desk.challenges.give(ceremony_context("create", subject))
    return {
        "rp": {"id": desk.relying_party.id, "name": desk.relying_party.name},
        "user": {"id": user_handle(subject), "name": subject, "displayName": subject},
        "challenge": challenge,
        "pubKeyCredParams": [{"type": "public-key", "alg": ES256_COSE}],
        "timeout": seconds * 1000,
        "excludeCredentials": [{"type": "public-key", "id": each.credential.id} for each in known],
        "authenticatorSelection": {"residentKey": "preferred", "userVerification": "required"},
        # Without the maker's statement nothing shows that a key is bound to hardware.
        "attestation": "direct",
    }


def register_authenticator(
    desk: AuthenticatorDesk, subject: SubjectId, response: Any, *, highest_aal: int | None = None
) -> AuthenticatorShown:
    """Verify what the browser answered and keep the credential.

    highest_aal: of the session that adds it: a weaker session must not mint a stronger authenticator
    (SP 800-63B-4 4.1.2.1). None for the first one, at proofing.
    Raises VerificationFailed naming the step, Forbidden, Conflict (the credential or key is registered already),
    UnsafeConfiguration (a development key file under a production profile).
    """
    now = instant(desk.instance)
    context = ceremony_context("create", subject)
    verified = verify_registration(
        response,
        relying_party=desk.relying_party,
        challenge=lambda text: desk.challenges.holds(text, context),
        roots=desk.roots,
        now=now,
    )
    key = desk.key_of(verified)
    if highest_aal is not None and key.aal > highest_aal:
        raise Forbidden(
            f"an authenticator of AAL{key.aal} is not added by a session of AAL{highest_aal}",
            field="authenticator",
            remedy="have it registered when your identity is proofed, or sign in with a stronger one",
        )
    with desk.lock:
        _check_room(desk.good(subject))
        index = EvidenceIndex(desk.instance)
        # 7.1: a credential id stands for one account; a key that is somebody's already could hold two passports.
        if index.holder("credential", verified.id) is not None:
            raise Conflict("the credential is registered already", field="id", remedy="sign in with it")
        if index.holder("authenticator", key.thumbprint) not in (None, subject):
            raise Conflict("the key is another subject's", field="response.attestationObject")
        if any(
            desk.key_of(each.credential).thumbprint == key.thumbprint for each in desk.registered(subject)
        ):
            # Under a new id too: a key that was reported lost does not come back.
            raise Conflict("the key was registered before", field="response.attestationObject")
        # Last of all, so that a failure above leaves the challenge to a second try of the same person.
        use_challenge(desk, response, context)
        registered = Registered(subject=subject, credential=verified, registered=now)
        desk.keep(registered)
        index.bind(subject, "credential", verified.id)
        index.bind(subject, "authenticator", key.thumbprint)
    return desk.show(registered)


def report_lost(
    desk: AuthenticatorDesk, subject: SubjectId, credential: str, *, by: str
) -> AuthenticatorShown:
    """End a lost authenticator for good and suspend the passports bound to its key. Raises NotFound, LogUnavailable.

    by: id of who reports it. Repeating it changes nothing more.
    """
    now = instant(desk.instance)
    with desk.lock:
        found = next((each for each in desk.registered(subject) if each.credential.id == credential), None)
        if found is None:
            raise NotFound(
                "the subject has no such authenticator", field="credential", remedy="list them first"
            )
        key = desk.key_of(found.credential).thumbprint

        def check(state: State) -> list[Event]:
            known = state.subjects.get(subject)
            return [
                PassportStatusChanged(
                    passport=name,
                    status=PassportStatus.SUSPENDED,
                    cause="its authenticator was reported lost",
                    by=by,
                    at=now,
                )
                for name in (known.passports if known is not None else ())
                if state.passports[name].issued.key == key
                and state.passports[name].status is PassportStatus.VALID
            ]

        # The record first: a lost key must stop working whatever becomes of the rest.
        if check(desk.instance.record.state):
            commit_checked(desk.instance, check)
        if found.ended is None:
            found = msgspec.structs.replace(found, ended=now)
            desk.keep(found)
    return desk.show(found)


def use_challenge(desk: AuthenticatorDesk, response: Any, context: str) -> None:
    """Use up the challenge of a response that verified. Raises VerificationFailed when it was used before."""
    text = client_challenge(response)
    if not desk.challenges.use(text, context):
        raise VerificationFailed(
            "the challenge was used already",
            step="challenge",
            code="ASSURANCE_LOW",
            field="response.clientDataJSON.challenge",
            remedy="begin again",
        )


def user_handle(subject: SubjectId) -> str:
    """The WebAuthn user handle: the pseudonym, never personal data (section 14.6.1). Raises InvalidInput."""
    raw = subject.encode()
    if not 1 <= len(raw) <= _MAX_SUBJECT:
        raise InvalidInput("a subject's id is 1 to 64 bytes", field="subject")
    return b64u(raw)


def ceremony_context(ceremony: str, subject: SubjectId) -> str:
    """What a challenge is bound to. ceremony: `create` or `get`."""
    return f"{ceremony}\x00{subject}"


def _check_room(known: list[Registered]) -> None:
    if len(known) >= MAX_CREDENTIALS:
        raise Conflict(
            f"the subject has {MAX_CREDENTIALS} authenticators",
            field="subject",
            remedy="report one lost that is no longer used",
        )
