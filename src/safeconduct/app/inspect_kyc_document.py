"""Use case: a reviewer looks at a picture of a document and says what it is and what stands on it.

Owns that the strength follows from the kind of document, not from the reviewer, and that an inspection is visual: it confirms no
attribute with anybody, so by itself it reaches no IAL (SP 800-63A-4 4.1.5). A residence permit is what shows a resident's status.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import msgspec

from safeconduct.app.add_kyc_document import shown_before
from safeconduct.app.kyc_desk import KycDesk, reviewer_of
from safeconduct.app.kyc_files import HeldDocument, check_version, load, save
from safeconduct.app.ports import Caller
from safeconduct.app.state_kyc_application import name_alerts
from safeconduct.identity.documents.nationality_codes import ALPHA_2
from safeconduct.identity.evidence import Outcome, Strength, Validation, ValidationMethod
from safeconduct.identity.kyc_application import MAX_NAME, birth_date, plain_text
from safeconduct.identity.kyc_case import changed, check_assigned
from safeconduct.kernel.clock import parse_instant
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound

RESIDENCE_PERMIT: Final = "residence_permit"
# SP 800-63A-4 2.4.1.2, 2.4.1.3 and appendix: what a document of each kind is at most without cryptography.
KINDS: Final[dict[str, Strength]] = {
    "passport_page": Strength.STRONG,
    "identity_card": Strength.STRONG,
    "driving_licence": Strength.STRONG,
    RESIDENCE_PERMIT: Strength.STRONG,
    "student_card": Strength.FAIR,
    "bank_statement": Strength.FAIR,
}
_PERMANENT: Final = 10 * 366 * 86_400


class InspectDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """version: of the case as the reviewer saw it. kind: one of `KINDS`. country: of the issuer, ISO 3166-1 alpha-2.

    genuine: whether it looks genuine. expires: ISO 8601 date, None when it has none.
    """

    version: int
    document: str
    kind: str
    genuine: bool
    country: str
    number: str
    surname: str
    given_names: str
    birth_date: str | None = None
    expires: str | None = None


def inspect_kyc_document(desk: KycDesk, caller: Caller, case: str, ask: InspectDocument) -> HeldDocument:
    """Record the inspection, once. Raises InvalidInput naming the field, Forbidden, NotFound, Conflict."""
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, ask.version)
    check_assigned(file.case, reviewer)
    held = next((one for one in file.person.documents if one.id == ask.document), None)
    if held is None:
        raise NotFound(f"there is no document {ask.document[:60]!r}", field="document")
    if held.kind != "image":
        raise Conflict(
            "only pictures are inspected: a chip was checked already",
            field="document",
            remedy="see its verdict",
        )
    now = desk.now()
    inspected = _inspected(held, ask, reviewer.id, now)
    person = msgspec.structs.replace(
        file.person,
        documents=tuple(inspected if one.id == held.id else one for one in file.person.documents),
    )
    person, also, expect = shown_before(desk, person, inspected, now)
    person = name_alerts(desk, person, (inspected,), now=now)
    save(desk.instance, file, case=changed(file.case), person=person, also=also, expect=expect)
    return inspected


def _inspected(held: HeldDocument, ask: InspectDocument, by: str, now: int) -> HeldDocument:
    if ask.kind not in KINDS:
        raise InvalidInput(
            f"{ask.kind[:40]!r} is not a kind of document",
            field="kind",
            remedy=f"use one of {', '.join(KINDS)}",
        )
    if ask.country not in ALPHA_2:
        raise InvalidInput("not a country's code", field="country", remedy="use ISO 3166-1 alpha-2, e.g. FR")
    today = dt.datetime.fromtimestamp(now, tz=dt.UTC).date()
    if ask.birth_date is not None:
        birth_date(ask.birth_date, today=today)
    expires = None
    if ask.expires is not None:
        try:
            expires = parse_instant(ask.expires) + 86_400 if len(ask.expires) == 10 else None
        except ValueError:
            expires = None
        if expires is None or not 0 < expires < now + 5 * _PERMANENT:
            raise InvalidInput(
                f"{ask.expires[:20]!r} is not a date it can end on",
                field="expires",
                remedy="write it as 2031-02-28",
            )
    return msgspec.structs.replace(
        held,
        kind=ask.kind,
        strength=KINDS[ask.kind],
        verdict=f"inspected by {by}: " + ("looks genuine" if ask.genuine else "does not look genuine"),
        issuer=ask.country,
        number=plain_text(ask.number, "number", 60),
        surname=plain_text(ask.surname, "surname", MAX_NAME),
        given_names=plain_text(ask.given_names, "given_names", MAX_NAME),
        birth_date=ask.birth_date or "",
        expires=expires,
        validations=(
            Validation(
                evidence=held.id,
                method=ValidationMethod.VISUAL_INSPECTION,
                outcome=Outcome.PASS if ask.genuine else Outcome.FAIL,
                at=now,
            ),
        ),
    )
