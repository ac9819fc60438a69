"""A passport presented to the issuer: verified, held against the state, its nonce used up. Part of several use cases.

Owns the failure as a fact that can be told and recorded (`CredentialRefused`). Looks at passport, binding and status only,
never at orders or grants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from safeconduct.app.instance_keys import InstanceKeyRing
from safeconduct.app.nonces import Nonces
from safeconduct.app.ports import Instance
from safeconduct.app.publish_status_list import place_of
from safeconduct.decision.response import Reason
from safeconduct.kernel.errors import SafeconductError, VerificationFailed
from safeconduct.kernel.ids import PassportId, SubjectId
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import Code, PassportStatus
from safeconduct.passport.dpop import Proof, ProofVerifier
from safeconduct.passport.verification import VerifiedPassport, verify_passport
from safeconduct.record.state import State

_SOURCES = {
    "status": "Token Status List 8.3",
    "replay": "RFC 9449 11.1",
    "proof": "RFC 9449 4.3",
    "mandate": "RFC 8693 4.1",
}
_RULE_VERSION = "1"


class About(TypedDict):
    """Whom a refusal concerns, as far as that was proven."""

    subject: SubjectId
    holder: SubjectId
    passport: PassportId


class CredentialRefused(SafeconductError):
    """A presentation, mandate or proof was refused. At `/oauth/token` this is OAuth `invalid_grant`; it is to be recorded.

    code: the denial code; reasons: what the caller is told. subject, holder, passport: who it was about, as far as that was
    proven (None before a signature verified). error: the OAuth error code.
    """

    kind = "credential_refused"

    def __init__(
        self,
        message: str,
        *,
        code: Code,
        step: str,
        field: str = "",
        remedy: str = "",
        subject: SubjectId | None = None,
        holder: SubjectId | None = None,
        passport: PassportId | None = None,
        error: str = "invalid_grant",
    ) -> None:
        super().__init__(message, field=field, remedy=remedy)
        self.code = code
        self.step = step
        self.subject = subject
        self.holder = holder
        self.passport = passport
        self.error = error
        self.reasons = (
            Reason(
                code=code,
                rule=f"core.credential.{step}",
                version=_RULE_VERSION,
                source=_SOURCES.get(step, "RFC 9901 7"),
                detail=f"{field}: {message}" if field else message,
                remedy=remedy or "get a new credential and try again",
            ),
        )

    @classmethod
    def of(
        cls,
        failure: VerificationFailed,
        *,
        error: str = "invalid_grant",
        subject: SubjectId | None = None,
        holder: SubjectId | None = None,
        passport: PassportId | None = None,
    ) -> CredentialRefused:
        """The refusal that a failed verification amounts to."""
        return cls(
            failure.message,
            code=Code(failure.code),
            step=failure.step,
            field=failure.field,
            remedy=failure.remedy,
            error=error,
            subject=subject,
            holder=holder,
            passport=passport,
        )


def issuer_keys(instance: Instance) -> Callable[[str], VerifyingKey | None]:
    """Pinned keys that passports may be signed with: the present one, and those before it until they are retired."""
    return InstanceKeyRing("issuer", instance.record, instance.keys, instance.clock)


def check_passport_in_force(
    state: State, passport: PassportId, now: int, *, subject: SubjectId, holder: SubjectId
) -> None:
    """Raises CredentialRefused unless the record knows this passport as this holder's, valid now."""
    held = state.passports.get(passport)
    if held is None or held.issued.subject != holder:
        raise CredentialRefused(
            "the record does not know this passport", code=Code.PASSPORT_INVALID, step="status"
        )
    if held.status is not PassportStatus.VALID:
        word = "suspended" if held.status is PassportStatus.SUSPENDED else "revoked"
        raise CredentialRefused(
            f"the passport is {word}",
            code=Code.PASSPORT_REVOKED,
            step="status",
            remedy="ask the issuer for its cause; an appeal goes to another reviewer",
            subject=subject,
            holder=holder,
            passport=passport,
        )
    if not held.issued.valid_from <= now < held.issued.valid_until:
        raise CredentialRefused(
            "the passport is not in its term",
            code=Code.PASSPORT_INVALID,
            step="times",
            subject=subject,
            holder=holder,
            passport=passport,
        )


def check_proof(
    proofs: ProofVerifier,
    dpop: tuple[str, ...],
    *,
    url: str,
    now: int,
    wanted: str = "exactly one DPoP header is needed",
) -> Proof:
    """The one proof of a POST to an OAuth endpoint (RFC 9449 5). wanted: told when there is not exactly one.

    Raises CredentialRefused (invalid_dpop_proof).
    """
    if len(dpop) != 1:
        raise CredentialRefused(
            wanted,
            code=Code.BINDING_MISSING,
            step="proof",
            field="DPoP",
            remedy="sign one proof for this request",
            error="invalid_dpop_proof",
        )
    try:
        return proofs.verify(dpop[0], method="POST", url=url, now=now)
    except VerificationFailed as failure:
        raise CredentialRefused.of(failure, error="invalid_dpop_proof") from None


class PresentationDesk:
    """Verifies passports presented to this issuer. Keeps its issuer's keys; make one per process."""

    def __init__(self, instance: Instance, nonces: Nonces) -> None:
        self.instance = instance
        self.nonces = nonces
        self._issuer_keys = issuer_keys(instance)

    def check(self, presentation: str, *, now: int) -> VerifiedPassport:
        """Verify, use its nonce up, hold it against the state. Raises CredentialRefused."""
        instance = self.instance
        state = instance.record.state
        try:
            verified = verify_passport(
                presentation,
                issuer=instance.issuer,
                issuer_key=self._issuer_keys,
                audience=instance.issuer,
                nonce=self.nonces.use,
                # The status is read from the state below, with the facts a refusal is recorded with.
                status=lambda _passport, _uri, _index: PassportStatus.VALID,
                now=now,
            )
        except VerificationFailed as failure:
            raise CredentialRefused.of(failure) from None
        held = state.passports.get(verified.passport)
        if held is not None and (
            held.issued.key != verified.holder_thumbprint
            or place_of(instance.issuer, held.issued.status_index)
            != (verified.status_uri, verified.status_index)
        ):
            raise CredentialRefused(
                "the passport is not the one in the record", code=Code.PASSPORT_INVALID, step="status"
            )
        check_passport_in_force(
            state, verified.passport, now, subject=verified.subject, holder=verified.subject
        )
        return verified
