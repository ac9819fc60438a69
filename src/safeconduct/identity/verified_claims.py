"""What a desk verified, in the words of OpenID Identity Assurance (`verified_claims`, schema of OpenID IDA 1.0).

Owns the form: trust framework, assurance process, evidence, check details. Holds the person's data, so it goes to the person and to
whoever works on the case, and into no record and no passport.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from safeconduct.identity.evidence import (
    Outcome,
    Validation,
    ValidationMethod,
    Verification,
    VerificationMethod,
)
from safeconduct.kernel.clock import format_instant

TRUST_FRAMEWORK: Final = "nist_800_63A"
# OpenID IDA, predefined values of `check_method`.
_VALIDATED: Final = {
    ValidationMethod.CRYPTOGRAPHIC: "vcrypt",
    ValidationMethod.DIGITAL_FEATURES: "vdig",
    ValidationMethod.AUTOMATED_SCAN: "vdig",
    ValidationMethod.VISUAL_INSPECTION: "vri",
    ValidationMethod.TACTILE_INSPECTION: "vpip",
}
_VERIFIED: Final = {
    VerificationMethod.FACIAL_AUTOMATED: "bvr",
    VerificationMethod.BIOMETRIC: "bvr",
    VerificationMethod.FACIAL_VISUAL: "pvr",
    VerificationMethod.DEVICE_PORTRAIT: "bvp",
    VerificationMethod.FEDERATION_AAL2: "auth",
    VerificationMethod.FEDERATION_AAL3: "auth",
    VerificationMethod.CODE_DIGITAL: "token",
    VerificationMethod.CODE_POSTAL: "token",
    VerificationMethod.MICRO_TRANSACTION: "token",
}
_TYPES: Final = {
    "passport": "passport",
    "passport_page": "passport",
    "identity_card": "idcard",
    "driving_licence": "driving_permit",
    "residence_permit": "residence_permit",
}


class ShownDocument(msgspec.Struct, frozen=True):
    """A document as evidence. country: of its issuer. expires: seconds. surname ...: as written on it."""

    id: str
    kind: str
    country: str
    number: str
    expires: int | None
    surname: str
    given_names: str
    birth_date: str
    citizen_of: str | None
    validations: tuple[Validation, ...]


def verified_claims(
    documents: tuple[ShownDocument, ...],
    verifications: tuple[Verification, ...],
    *,
    ial: int,
    process: str,
    sentences: tuple[str, ...],
    now: int,
) -> dict[str, Any] | None:
    """`verified_claims` of the documents that passed every check; None when there is none, or no IAL is reached.

    process: id of the case. sentences: of SP 800-63A-4 that are met. now: seconds.
    """
    good = [
        document
        for document in documents
        if document.validations
        and all(check.outcome is Outcome.PASS for check in document.validations)
        and (document.expires is None or now < document.expires)
    ]
    if not good or ial == 0:
        return None
    best = next((one for one in good if _cryptographic(one)), good[0])
    claims: dict[str, Any] = {"family_name": best.surname, "given_name": best.given_names}
    if "-" in best.birth_date and "--" not in best.birth_date:
        claims["birthdate"] = best.birth_date
    nationalities = sorted({one.citizen_of for one in good if one.citizen_of is not None})
    if nationalities:
        claims["nationalities"] = nationalities
    return {
        "verification": {
            "trust_framework": TRUST_FRAMEWORK,
            "assurance_level": f"ial{ial}",
            "assurance_process": {
                "policy": "SP 800-63A-4",
                "assurance_details": [
                    {"assurance_type": "met", "assurance_classification": text} for text in sentences
                ],
            },
            "time": format_instant(now),
            "verification_process": process,
            "evidence": [_evidence(document, verifications) for document in good],
        },
        "claims": claims,
    }


def _cryptographic(document: ShownDocument) -> bool:
    return any(check.method is ValidationMethod.CRYPTOGRAPHIC for check in document.validations)


def _evidence(document: ShownDocument, verifications: tuple[Verification, ...]) -> dict[str, Any]:
    checks = [
        {"check_method": _VALIDATED[check.method], "time": format_instant(check.at)}
        for check in document.validations
    ]
    checks += [
        {"check_method": _VERIFIED[check.method], "time": format_instant(check.at)}
        for check in verifications
        if check.evidence == document.id and check.outcome is Outcome.PASS
    ]
    details: dict[str, Any] = {
        "type": _TYPES.get(document.kind, document.kind),
        "document_number": document.number,
        "issuer": {"country_code": document.country},
    }
    if document.expires is not None:
        details["date_of_expiry"] = format_instant(document.expires - 1)[:10]
    return {"type": "document", "check_details": checks, "document_details": details}
