"""Use cases: rate a case's risk with reasons, and resolve an alert with a rationale."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from safeconduct.app.evidence_index import EvidenceIndex
from safeconduct.app.kyc_desk import KycDesk, reviewer_of
from safeconduct.app.kyc_files import KycFile, check_version, load, mark_of, save
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_case import changed, check_assigned, checked_texts, rate
from safeconduct.kernel.errors import NotFound
from safeconduct.kernel.vocabulary import Risk


def rate_kyc_case(
    desk: KycDesk, caller: Caller, case: str, risk: Risk, reasons: Sequence[str], *, version: int
) -> KycFile:
    """Rate it. Raises Forbidden, InvalidInput, NotFound, Conflict."""
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, version)
    return save(desk.instance, file, case=rate(file.case, reviewer, risk, reasons, at=desk.now()))


def resolve_alert(
    desk: KycDesk, caller: Caller, case: str, alert: str, rationale: str, *, counts: bool, version: int
) -> KycFile:
    """Say what became of an alert. counts: for a document that somebody else showed first, that it is this person's.

    Then it is bound to this person from now on. Raises InvalidInput without a rationale, Forbidden, NotFound, Conflict.
    """
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, version)
    check_assigned(file.case, reviewer)
    checked_texts((rationale,), "rationale")
    found = next((one for one in file.person.open_alerts() if one.id == alert), None)
    if found is None:
        raise NotFound(f"there is no open alert {alert[:60]!r}", field="alert")
    resolved = msgspec.structs.replace(
        found, resolved_by=reviewer.id, rationale=rationale, resolved_at=desk.now(), counts=counts
    )
    document = next((one for one in file.person.documents if one.id == found.about), None)
    also, expect = [], []
    if counts and found.kind == "document" and document is not None:
        write, before = EvidenceIndex(desk.instance).binding(
            file.case.subject, "document", *mark_of(document)
        )
        also, expect = [write], [before]
    person = msgspec.structs.replace(
        file.person,
        alerts=tuple(resolved if one.id == alert else one for one in file.person.alerts),
    )
    return save(desk.instance, file, case=changed(file.case), person=person, also=also, expect=expect)
