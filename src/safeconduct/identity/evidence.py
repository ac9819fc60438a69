"""Identity evidence and what a desk did with it: validations, verifications, the proofing session.

Values only; `assurance` says what they amount to. Words and strengths follow SP 800-63A-4 2.4 and 2.5.
All instants are whole seconds since the epoch.
"""

from __future__ import annotations

import enum

import msgspec


class Strength(enum.StrEnum):
    """How strong a piece of evidence is (SP 800-63A-4 2.4.1)."""

    FAIR = "FAIR"
    STRONG = "STRONG"
    SUPERIOR = "SUPERIOR"


STRENGTH_ORDER: dict[Strength, int] = {strength: order for order, strength in enumerate(Strength)}


class ValidationMethod(enum.StrEnum):
    """How evidence was found genuine (SP 800-63A-4 4.1.4, 4.2.4, 4.3.4)."""

    DIGITAL_FEATURES = "digital_features"
    AUTOMATED_SCAN = "automated_scan"
    VISUAL_INSPECTION = "visual_inspection"
    TACTILE_INSPECTION = "tactile_inspection"
    CRYPTOGRAPHIC = "cryptographic"


class AttributeSource(enum.StrEnum):
    """What the core attributes on the evidence were compared with (SP 800-63A-4 4.1.5, 4.2.5, 4.3.5)."""

    NONE = "none"
    CREDIBLE = "credible"
    AUTHORITATIVE = "authoritative"
    SIGNED = "signed"


class VerificationMethod(enum.StrEnum):
    """How the applicant was shown to own the evidence (SP 800-63A-4 4.1.6, 4.2.6, 4.3.6)."""

    CODE_DIGITAL = "code_digital"
    CODE_POSTAL = "code_postal"
    MICRO_TRANSACTION = "micro_transaction"
    FEDERATION_AAL2 = "federation_aal2"
    FEDERATION_AAL3 = "federation_aal3"
    FACIAL_VISUAL = "facial_visual"
    FACIAL_AUTOMATED = "facial_automated"
    BIOMETRIC = "biometric"
    DEVICE_PORTRAIT = "device_portrait"


class ProofingType(enum.StrEnum):
    """Where the session took place and whether an agent attended it (SP 800-63A-4 2.1.3)."""

    REMOTE_UNATTENDED = "remote_unattended"
    REMOTE_ATTENDED = "remote_attended"
    ONSITE_UNATTENDED = "onsite_unattended"
    ONSITE_ATTENDED = "onsite_attended"


class Outcome(enum.StrEnum):
    """What a validation or verification came to."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One piece of evidence as collected.

    id: names it within its import. kind: passport, driving_licence, bank_account ...
    issuer, number: what makes it the same document wherever it turns up; both stay in the vault.
    expires: None when it does not expire.
    """

    id: str
    kind: str
    strength: Strength
    issuer: str
    number: str
    expires: int | None = None


class Validation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One check that evidence is genuine, and what its core attributes were compared with."""

    evidence: str
    method: ValidationMethod
    outcome: Outcome
    at: int
    attributes: AttributeSource = AttributeSource.NONE


class Verification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One check that the applicant owns the evidence."""

    evidence: str
    method: VerificationMethod
    outcome: Outcome
    at: int


class Proofing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The session. biometric_sample: collected and retained (SP 800-63A-4 4.3.3)."""

    type: ProofingType
    at: int
    biometric_sample: bool = False
