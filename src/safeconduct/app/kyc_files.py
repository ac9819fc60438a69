"""The KYC store: one file per person, one per case, and the raw documents, all under the person's data key in the vault.

Owns that a step is written whole or not at all (`Vault.exchange`), and that of two who change the same case at once one wins and the
other is told. What the law keeps beyond an erasure lies apart, under a key of its own (`kept:<subject>`), and ends by the clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from safeconduct.app.ports import Instance, StoredDocument
from safeconduct.identity.documents.nationality_codes import nationality_code
from safeconduct.identity.evidence import Strength, Validation
from safeconduct.identity.evidence_import import normal_number
from safeconduct.identity.kyc_application import Application
from safeconduct.identity.kyc_states import KycCase
from safeconduct.identity.screening.party import ClearedPair, PartyScreening
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.ids import OrganisationId, SubjectId
from safeconduct.kernel.vocabulary import Affiliation

CASES = "kyc-case"
PEOPLE = "kyc-person"
RAW = "kyc-raw"
KEPT = "kyc-kept"
OF_SUBJECT = "kyc-cases-of"
MAX_DOCUMENTS = 12
MAX_BYTES = 8 << 20
"""Of one person's documents together: whoever has shown nothing yet must not fill the disk."""
MAX_CASES = 16


class HeldDocument(msgspec.Struct, frozen=True):
    """A document as checked. kind: `passport` (a chip), `zone` (its text only), `image`.

    issuer, number: what makes it the same document anywhere. expires: seconds, None when it does not. lost_at: reported lost.
    verdict: what the check came to, in a sentence. size: bytes. country: of citizenship as far as the document shows one.
    """

    id: str
    kind: str
    sha256: str
    added_at: int
    strength: Strength
    verdict: str
    issuer: str = ""
    number: str = ""
    expires: int | None = None
    surname: str = ""
    given_names: str = ""
    country: str | None = None
    refugee: bool = False
    birth_date: str = ""
    personal_number: str = ""
    authority: str = ""
    specimen: bool = False
    lost_at: int | None = None
    size: int = 0
    validations: tuple[Validation, ...] = ()


def mark_of(document: HeldDocument) -> tuple[str, str, str]:
    """What makes it the same document anywhere: kind, issuer, number. A passport's chip, zone and page are one document."""
    kind = "passport" if document.kind in ("passport", "zone", "passport_page") else document.kind
    issuer = nationality_code(document.issuer).country if len(document.issuer) != 2 else document.issuer
    return kind, issuer or document.issuer, normal_number(document.number)


class Attested(msgspec.Struct, frozen=True):
    """An organisation said that the person belongs to it. by: its key; requester: who asked there."""

    organisation: OrganisationId
    how: Affiliation
    by: str
    requester: str
    at: int


class CaseAlert(msgspec.Struct, frozen=True):
    """Something a reviewer has to look at before anything is approved. kind: `document`, `two_names`, `name_differs`.

    about: the document or name concerned; other: another subject's pseudonym. resolved_*: by whom, why, when.
    counts: for a document: resolved in this person's favour.
    """

    id: str
    kind: str
    text: str
    at: int
    about: str = ""
    other: SubjectId | None = None
    resolved_by: str = ""
    rationale: str = ""
    resolved_at: int | None = None
    counts: bool = False


class PersonFile(msgspec.Struct, frozen=True):
    """Everything the desk holds of one person; raw documents beside it. salt: hex, goes into every commitment.

    jwk: the key by which the person opened their file. Evidence is the person's, not a case's: unexpired, it serves the next.
    """

    subject: SubjectId
    salt: str
    jwk: dict[str, Any]
    opened_at: int
    version: int = 1
    application: Application | None = None
    documents: tuple[HeldDocument, ...] = ()
    terms_at: int = 0
    screening: PartyScreening | None = None
    screening_note: str = ""
    cleared: tuple[ClearedPair, ...] = ()
    attested: tuple[Attested, ...] = ()
    alerts: tuple[CaseAlert, ...] = ()

    def open_alerts(self) -> tuple[CaseAlert, ...]:
        """Those nobody has resolved."""
        return tuple(alert for alert in self.alerts if alert.resolved_at is None)


class KycFile(msgspec.Struct, frozen=True):
    """A case with its person, as read; write both back with `save`."""

    case: KycCase
    person: PersonFile
    case_bytes: bytes | None
    person_bytes: bytes | None


_encode = msgspec.json.Encoder(order="sorted").encode


def load(instance: Instance, case: str) -> KycFile:
    """A case and its person. Raises NotFound; the same for a case whose person was erased."""
    case_bytes = instance.vault.get(CASES, case)
    if case_bytes is None:
        raise NotFound(
            f"there is no case {case[:60]!r}",
            field="case",
            remedy="check its id; an erased one is gone for good",
        )
    held = msgspec.json.decode(case_bytes, type=KycCase)
    person_bytes = instance.vault.get(PEOPLE, held.subject)
    if person_bytes is None:
        raise NotFound(f"there is no case {case[:60]!r}", field="case")
    return KycFile(held, msgspec.json.decode(person_bytes, type=PersonFile), case_bytes, person_bytes)


def load_person(instance: Instance, subject: str) -> tuple[PersonFile, bytes]:
    """A person's file. Raises NotFound."""
    data = instance.vault.get(PEOPLE, subject)
    if data is None:
        raise NotFound(f"there is no file of {subject[:60]!r}", field="subject")
    return msgspec.json.decode(data, type=PersonFile), data


def cases_of(instance: Instance, subject: SubjectId) -> list[KycCase]:
    """The person's cases, oldest first."""
    data = instance.vault.get(OF_SUBJECT, subject)
    names: list[str] = msgspec.json.decode(data, type=list[str]) if data is not None else []
    found = [instance.vault.get(CASES, name) for name in names]
    return [msgspec.json.decode(one, type=KycCase) for one in found if one is not None]


def all_cases(instance: Instance) -> list[KycCase]:
    """Every case that can be read, in the order of their ids."""
    found = [instance.vault.get(CASES, name) for name in instance.vault.names(CASES)]
    return [msgspec.json.decode(one, type=KycCase) for one in found if one is not None]


def check_version(case: KycCase, version: int) -> None:
    """The caller decides on what they saw. Raises Conflict when the case has changed since."""
    if case.version != version:
        raise Conflict(
            f"the case is at version {case.version}, and you looked at {version}",
            field="version",
            remedy="look at it again, then repeat",
        )


def save(
    instance: Instance,
    before: KycFile,
    *,
    case: KycCase | None = None,
    person: PersonFile | None = None,
    also: Sequence[StoredDocument] = (),
    expect: Sequence[tuple[tuple[str, str], bytes | None]] = (),
) -> KycFile:
    """Write what changed of a case and its person in one transaction. Raises Conflict when either changed since it was read.

    also: further documents of the same step. expect: what has to be there still for them.
    """
    case, person = case or before.case, person or before.person
    if person is not before.person:
        person = msgspec.structs.replace(person, version=before.person.version + 1)
    case_bytes, person_bytes = _encode(case), _encode(person)
    writes = [*also]
    if case_bytes != before.case_bytes:
        writes.append(StoredDocument(CASES, case.id, case.subject, case_bytes))
    if person_bytes != before.person_bytes:
        writes.append(StoredDocument(PEOPLE, person.subject, person.subject, person_bytes))
    instance.vault.exchange(
        writes,
        expect={
            (CASES, case.id): before.case_bytes,
            (PEOPLE, person.subject): before.person_bytes,
            **dict(expect),
        },
    )
    return KycFile(case, person, case_bytes, person_bytes)


def begin(
    instance: Instance,
    case: KycCase,
    person: PersonFile,
    *,
    person_bytes: bytes | None,
    also: Sequence[StoredDocument] = (),
    expect: Sequence[tuple[tuple[str, str], bytes | None]] = (),
) -> KycFile:
    """Write a new case, and the person's file when it is their first. Raises Conflict."""
    known = instance.vault.get(OF_SUBJECT, person.subject)
    names: list[str] = msgspec.json.decode(known, type=list[str]) if known is not None else []
    if len(names) >= MAX_CASES:
        raise Conflict(f"there are {MAX_CASES} cases already", field="case", remedy="use one of them")
    case_bytes, new_person = _encode(case), _encode(person)
    instance.vault.exchange(
        [
            *also,
            StoredDocument(OF_SUBJECT, person.subject, person.subject, _encode([*names, case.id])),
            StoredDocument(PEOPLE, person.subject, person.subject, new_person),
            StoredDocument(CASES, case.id, person.subject, case_bytes),
        ],
        expect={
            (OF_SUBJECT, person.subject): known,
            (PEOPLE, person.subject): person_bytes,
            (CASES, case.id): None,
            **dict(expect),
        },
    )
    return KycFile(case, person, case_bytes, new_person)


def commitment(case: KycCase, person: PersonFile) -> str:
    """SHA-256(salt || the case and the person's file), hex: binds without telling."""
    return hashlib.sha256(bytes.fromhex(person.salt) + _encode(case) + _encode(person)).hexdigest()


def kept_subject(subject: SubjectId) -> str:
    """The name of the data key under which lies what the law keeps of a person."""
    return f"kept:{subject}"
