"""Use case: the applicant states who they are and what for. A statement: what counts of it is worked out from documents."""

from __future__ import annotations

import datetime as dt

import msgspec

from safeconduct.app.kyc_desk import KycDesk
from safeconduct.app.kyc_files import CaseAlert, HeldDocument, KycFile, PersonFile, save
from safeconduct.app.own_kyc_case import own_file
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_application import Application, check_application
from safeconduct.identity.kyc_case import changed, check_editable
from safeconduct.identity.kyc_names import same_name
from safeconduct.kernel.ids import SubjectId, new_id


def state_kyc_application(desk: KycDesk, caller: Caller, case: str, stated: Application) -> KycFile:
    """Replace the statement. Raises InvalidInput naming the field, NotFound, Conflict."""
    file = own_file(desk, caller, case)
    check_editable(file.case)
    now = desk.now()
    today = dt.datetime.fromtimestamp(now, tz=dt.UTC).date()
    application = check_application(stated, today=today)
    person = msgspec.structs.replace(file.person, application=application, terms_at=now)
    before = file.person.application
    if before is not None and not same_name(before.legal_name, application.legal_name):
        person = with_alert(
            desk, person, "two_names", "the same person states another name than before", now=now
        )
    person = name_alerts(desk, person, person.documents, now=now)
    return save(desk.instance, file, case=changed(file.case), person=person)


def name_alerts(
    desk: KycDesk, person: PersonFile, documents: tuple[HeldDocument, ...], *, now: int
) -> PersonFile:
    """The file with an alert for each document whose name is not the one stated, unless there is one already."""
    if person.application is None:
        return person
    for document in documents:
        named = f"{document.given_names} {document.surname}".strip()
        if named and not any(
            same_name(stated, named)
            for stated in (person.application.legal_name, *person.application.other_names)
        ):
            person = with_alert(
                desk,
                person,
                "name_differs",
                "a document's name is not the one that is stated",
                about=document.id,
                now=now,
            )
    return person


def with_alert(
    desk: KycDesk,
    person: PersonFile,
    kind: str,
    text: str,
    *,
    now: int,
    about: str = "",
    other: SubjectId | None = None,
) -> PersonFile:
    """The file with one more alert; one of the same kind about the same thing is not repeated while it is open."""
    if any(
        alert.kind == kind and alert.about == about and alert.resolved_at is None for alert in person.alerts
    ):
        return person
    alert = CaseAlert(
        id=new_id("alt", desk.instance.random), kind=kind, text=text, at=now, about=about, other=other
    )
    return msgspec.structs.replace(person, alerts=(*person.alerts, alert))
