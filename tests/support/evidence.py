"""Evidence documents: complete by default, so that a test takes away or changes the one thing it is about."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.support.instances import EmbeddedInstance, operator

from safeconduct.app.import_evidence import EvidenceImported, import_evidence
from safeconduct.identity.evidence_import import sign_evidence_import
from safeconduct.kernel.signing import FileSigner, Signer

LISTS = [{"name": "sample list", "sha256": hashlib.sha256(b"sample list").hexdigest()}]
TERMS = hashlib.sha256(b"sample terms").hexdigest()
PERSON_ORGANISATION = "sample-works"
DAY = 86_400


def lei_of(text: str) -> str:
    """A well-formed LEI made from any text, so that samples never carry a real one."""
    body = hashlib.sha256(text.encode()).hexdigest().upper()[:18]
    number = int("".join(str(int(character, 36)) for character in body + "00"))
    return f"{body}{98 - number % 97:02d}"


def organisation(name: str = PERSON_ORGANISATION, *, at: int, **changed: Any) -> dict[str, Any]:
    """A verified organisation, screened clear."""
    lei = changed.get("lei") or lei_of(name)
    return {
        "organisation": name,
        "legal_name": f"Sample Organisation {name}",
        "country": "FR",
        "sector": "security_vendor",
        "lei": lei,
        "verifications": [{"source": "lei_record", "reference": lei, "outcome": "pass", "at": at - DAY}],
        "screening": {"result": "clear", "lists": LISTS, "at": at - DAY},
        **changed,
    }


def development_key(key: Signer) -> dict[str, Any]:
    """The authenticator record of a key file under a development profile."""
    return {
        "kind": "file_key_development",
        "phishing_resistant": True,
        "hardware_bound": True,
        "public_jwk": key.public_jwk(),
    }


def hardware_key(key: Signer, **changed: Any) -> dict[str, Any]:
    """The authenticator record of a hardware key."""
    return {
        "kind": "multi_factor_cryptographic",
        "phishing_resistant": True,
        "hardware_bound": True,
        "public_jwk": key.public_jwk(),
        "enrolled": "onsite",
        **changed,
    }


def passport_evidence(number: str, *, at: int) -> dict[str, Any]:
    """Members for one chip passport that reaches IAL2: evidence, validations, verifications."""
    return {
        "evidence": [
            {
                "id": "chip",
                "kind": "passport",
                "strength": "SUPERIOR",
                "issuer": "FR",
                "number": number,
                "expires": at + 900 * DAY,
            }
        ],
        "validations": [
            {
                "evidence": "chip",
                "method": "cryptographic",
                "outcome": "pass",
                "at": at - DAY,
                "attributes": "signed",
            }
        ],
        "verifications": [
            {"evidence": "chip", "method": "facial_automated", "outcome": "pass", "at": at - DAY}
        ],
    }


def project(name: str = "sample-project", *, at: int, **changed: Any) -> dict[str, Any]:
    """An approved project for CYB, open to the whole organisation; its dates do not move from one day to the next."""
    start = at - at % (100 * DAY)
    return {
        "project": name,
        "purposes": ["secure_code_review", "vuln_triage"],
        "compartments": ["CYB"],
        "valid_from": start,
        "valid_until": start + 500 * DAY,
        "approved_by": ["approver-1"],
        "requested_by": "requester-1",
        "whole_organisation": True,
        **changed,
    }


def person(reference: str, key: Signer, *, at: int, **changed: Any) -> dict[str, Any]:
    """Somebody whose evidence amounts to C3 with CYB."""
    return {
        "reference": reference,
        "requester": "requester-1",
        "requested": {"level": "C3", "compartments": ["CYB"]},
        "organisation": PERSON_ORGANISATION,
        "affiliation": "org_attested",
        "role": "engineer",
        "citizenships": [{"country": "FR"}],
        "residencies": [{"country": "FR", "status": "permanent"}],
        "us_status": "other",
        "age_over_18": True,
        **passport_evidence(f"number-of-{reference}", at=at),
        "proofing": {"type": "remote_unattended", "at": at - DAY},
        "authenticators": [development_key(key)],
        "screening": {"result": "clear", "lists": LISTS, "at": at - DAY},
        "terms": [{"terms": "sample-terms", "sha256": TERMS, "signed_at": at - DAY}],
        "projects": [project(at=at)],
        "adjudicators": ["adjudicator-1", "adjudicator-2"],
        **changed,
    }


def signed(
    embedded: EmbeddedInstance, content: dict[str, Any], *, by: str = "evidence-desk", **changed: Any
) -> str:
    """The document, signed by a party of the trust list at the instance's present time."""
    given = {
        "party": by,
        "audience": embedded.instance.issuer,
        "jti": "import-1",
        "signer": embedded.key(by),
        "now": embedded.now,
        **changed,
    }
    return sign_evidence_import(content, **given)


def import_organisation(
    embedded: EmbeddedInstance, name: str = PERSON_ORGANISATION, **changed: Any
) -> EvidenceImported:
    """Import an organisation through the use case."""
    content = {"organisation": organisation(name, at=embedded.now, **changed)}
    return import_evidence(embedded.instance, operator(), signed(embedded, content))


def import_person(
    embedded: EmbeddedInstance, reference: str, key: Signer | None = None, /, **changed: Any
) -> EvidenceImported:
    """Import a person through the use case; their organisation must be there."""
    who = {**person(reference, key or FileSigner.generate(), at=embedded.now), **changed}
    content = {"person": who}
    return import_evidence(embedded.instance, operator(), signed(embedded, content))
