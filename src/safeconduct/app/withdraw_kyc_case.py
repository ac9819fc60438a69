"""Use cases of the applicant at the end of a case: withdraw it, appeal it, report a document lost.

Owns that a withdrawal of the last case erases the person, and says what the law keeps.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.erase_subject import ErasureReceipt, erase_person
from safeconduct.app.kyc_desk import KycDesk, settle
from safeconduct.app.kyc_files import KycFile, cases_of, load, save
from safeconduct.app.own_kyc_case import own_file
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_ends import DOCUMENT_LOST, appeal, suspend, withdraw
from safeconduct.identity.kyc_states import HELD, OPEN
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.vocabulary import CaseState


def withdraw_kyc_case(desk: KycDesk, caller: Caller, case: str) -> tuple[CaseState, ErasureReceipt | None]:
    """Withdraw it, with what was approved in it. Its state, and the receipt when it was the person's last case.

    Raises NotFound, Conflict, LogUnavailable.
    """
    file = own_file(desk, caller, case)
    now = desk.now()
    saved = save(desk.instance, file, case=withdraw(file.case, at=now))
    settle(desk, saved)
    others = [
        other
        for other in cases_of(desk.instance, file.case.subject)
        if other.id != file.case.id and (other.state in OPEN | HELD or other.approval is not None)
    ]
    if others:
        return saved.case.state, None
    return saved.case.state, erase_person(desk, file.case.subject, by="applicant")


def appeal_kyc_case(desk: KycDesk, caller: Caller, case: str, grounds: str) -> KycFile:
    """Appeal to somebody who has not decided on it. Raises NotFound, Conflict, InvalidInput."""
    file = own_file(desk, caller, case)
    saved = save(desk.instance, file, case=appeal(file.case, grounds, at=desk.now(), policy=desk.policy))
    settle(desk, saved)
    return saved


def report_document_lost(desk: KycDesk, caller: Caller, case: str, document: str) -> KycFile:
    """A document is gone: it counts no more, and everything approved on it stops at once. Raises NotFound, Conflict."""
    file = own_file(desk, caller, case)
    held = next((one for one in file.person.documents if one.id == document), None)
    if held is None:
        raise NotFound(f"there is no document {document[:60]!r}", field="document", remedy="show the case")
    if held.lost_at is not None:
        raise Conflict("it is reported lost already", field="document")
    now = desk.now()
    lost = msgspec.structs.replace(held, lost_at=now)
    person = msgspec.structs.replace(
        file.person,
        documents=tuple(lost if one.id == document else one for one in file.person.documents),
    )
    saved = save(desk.instance, file, person=person)
    # All of the person's cases rest on the same documents.
    for other in cases_of(desk.instance, file.case.subject):
        if other.approval is None:
            continue
        each = load(desk.instance, other.id)
        stopped = suspend(each.case, by="event", cause=DOCUMENT_LOST, at=now)
        settle(desk, save(desk.instance, each, case=stopped))
    return load(desk.instance, saved.case.id)
