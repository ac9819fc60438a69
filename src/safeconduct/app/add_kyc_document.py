"""Use case: the applicant hands in a document. It is examined at once; what is refused leaves nothing behind.

Owns the alert when somebody else showed the same document, or somebody of another name is the same person by it.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from safeconduct.app.evidence_index import EvidenceIndex
from safeconduct.app.kyc_desk import KycDesk
from safeconduct.app.kyc_files import MAX_BYTES, MAX_DOCUMENTS, RAW, HeldDocument, PersonFile, mark_of, save
from safeconduct.app.own_kyc_case import own_file
from safeconduct.app.ports import Caller, StoredDocument
from safeconduct.app.state_kyc_application import name_alerts, with_alert
from safeconduct.identity.evidence import Validation
from safeconduct.identity.evidence_import import normal_number
from safeconduct.identity.kyc_case import changed, check_editable
from safeconduct.identity.kyc_documents import Examined, examine_chip, examine_image, examine_zone
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.ids import SubjectId, new_id

Expected = list[tuple[tuple[str, str], bytes | None]]


class AddKycDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """kind: `chip` (a reader's export, JSON), `zone` (its lines), `image` (JPEG or PNG). content: base64; a zone as text."""

    kind: str
    content: str


def add_kyc_document(desk: KycDesk, caller: Caller, case: str, ask: AddKycDocument) -> HeldDocument:
    """Examine and keep it. Raises InvalidInput, VerificationFailed (the step), Forbidden, NotFound, Conflict."""
    file = own_file(desk, caller, case)
    check_editable(file.case)
    now = desk.now()
    data, found = _examined(desk, ask, now)
    if any(held.sha256 == found.sha256 and held.lost_at is None for held in file.person.documents):
        raise Conflict(
            "this document is in your file already", field="content", remedy="leave it: it is used again"
        )
    if len(file.person.documents) >= MAX_DOCUMENTS:
        raise Conflict(f"there are {MAX_DOCUMENTS} documents already", field="content")
    if sum(one.size for one in file.person.documents) + len(data) > MAX_BYTES:
        raise Conflict(
            f"your documents would take more than {MAX_BYTES} bytes",
            field="content",
            remedy="send smaller files",
        )
    document = msgspec.structs.replace(_held(desk, found, now), size=len(data))
    person = msgspec.structs.replace(file.person, documents=(*file.person.documents, document))
    person, also, expect = shown_before(desk, person, document, now)
    person = name_alerts(desk, person, (document,), now=now)
    raw = StoredDocument(RAW, f"{file.case.subject}:{document.id}", file.case.subject, data)
    save(desk.instance, file, case=changed(file.case), person=person, also=[raw, *also], expect=expect)
    return document


def _examined(desk: KycDesk, ask: AddKycDocument, now: int) -> tuple[bytes, Examined]:
    specimens = not desk.production
    if ask.kind == "zone":
        return ask.content.encode(), examine_zone(ask.content, now=now, specimens=specimens)
    if ask.kind not in ("chip", "image"):
        raise InvalidInput(
            f"{ask.kind[:40]!r} is not a kind of document", field="kind", remedy="use chip, zone or image"
        )
    try:
        data = base64.b64decode(ask.content.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidInput(
            "is not base64", field="content", remedy="send the file in standard base64"
        ) from None
    if ask.kind == "image":
        return data, examine_image(data)
    return data, examine_chip(data, desk.authorities(), now=now, specimens=specimens)


def _held(desk: KycDesk, found: Examined, now: int) -> HeldDocument:
    name = new_id("doc", desk.instance.random)
    checks = (
        (
            Validation(
                evidence=name, method=found.method, outcome=found.outcome, at=now, attributes=found.attributes
            ),
        )
        if found.method is not None
        else ()
    )
    return HeldDocument(
        id=name,
        kind=found.kind,
        sha256=found.sha256,
        added_at=now,
        strength=found.strength,
        verdict=found.verdict,
        issuer=found.issuer,
        number=found.number,
        expires=found.expires,
        surname=found.surname,
        given_names=found.given_names,
        country=found.country,
        refugee=found.refugee,
        birth_date=found.birth_date,
        personal_number=found.personal_number,
        authority=found.authority,
        specimen=found.specimen,
        validations=checks,
    )


def shown_before(
    desk: KycDesk, person: PersonFile, document: HeldDocument, now: int
) -> tuple[PersonFile, list[StoredDocument], Expected]:
    """Alerts, and what binds the document to the person. Who showed it first keeps it until a reviewer says otherwise."""
    index = EvidenceIndex(desk.instance)
    also: list[StoredDocument] = []
    expect: Expected = []
    for what, parts, kind, text in _marks(document):
        write, before = index.binding(person.subject, what, *parts)
        holder = SubjectId(before[1].decode()) if before[1] is not None else None
        expect.append(before)
        if holder is None:
            also.append(write)
        elif holder != person.subject:
            person = with_alert(desk, person, kind, text, about=document.id, other=holder, now=now)
    return person, also, expect


def _marks(document: HeldDocument) -> list[tuple[str, tuple[str, ...], str, str]]:
    if not document.number:
        return []
    found: list[tuple[str, tuple[str, ...], str, str]] = [
        (
            "document",
            mark_of(document),
            "document",
            "somebody else showed this document before; it is not counted",
        )
    ]
    if document.personal_number:
        found.append(
            (
                "personal-number",
                (document.issuer, normal_number(document.personal_number)),
                "two_names",
                "somebody else's document carries the same personal number",
            )
        )
    return found
