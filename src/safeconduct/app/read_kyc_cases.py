"""What is shown of a case, to whom: the applicant sees their own, a reviewer what they are assigned, others a pseudonym and a state.

Owns that nobody sees who somebody is without working on their case, and that the reasons of reviewers are told to the applicant
without the reviewers' names.
"""

from __future__ import annotations

from typing import Any

import msgspec

from safeconduct.app.assess_case import asked_of, basis_of, disputed, screened_person, usable
from safeconduct.app.kyc_desk import REVIEWERS, KycDesk, reviewer_of
from safeconduct.app.kyc_files import (
    RAW,
    KycFile,
    PersonFile,
    all_cases,
    cases_of,
    load,
    load_person,
    mark_of,
)
from safeconduct.app.open_kyc_case import subject_of
from safeconduct.app.own_kyc_case import own_file
from safeconduct.app.ports import Caller
from safeconduct.app.scope import require_role
from safeconduct.app.submit_kyc_case import lacking
from safeconduct.identity.kyc_case import check_assigned, clock, excluded, overdue
from safeconduct.identity.kyc_ends import NOTICES
from safeconduct.identity.kyc_states import EDITABLE, KycCase
from safeconduct.identity.screening.party import open_hits, standing_band, standing_result
from safeconduct.identity.verified_claims import ShownDocument, verified_claims
from safeconduct.kernel.errors import NotFound, SafeconductError
from safeconduct.kernel.vocabulary import CaseState, Role

Shown = dict[str, Any]


def summary(desk: KycDesk, case: KycCase) -> Shown:
    """What anybody at the desk may see: no name, no document."""
    now = desk.now()
    return {
        "case": case.id,
        "subject": case.subject,
        "version": case.version,
        "state": case.state,
        "level": case.level.name,
        "compartments": list(case.compartments),
        "organisation": case.organisation,
        "risk": case.rating.risk if case.rating is not None else None,
        "assigned": list(case.assigned),
        "opened_at": case.opened_at,
        "clock_seconds": clock(case, now),
        "overdue": overdue(case, now, desk.policy),
        "valid_until": case.approval.until if case.approval is not None else None,
    }


def list_kyc_cases(desk: KycDesk, caller: Caller) -> list[Shown]:
    """Every case that was handed in, those that wait longest first. kept_out: why the caller may not work on it."""
    require_role(caller, *REVIEWERS, Role.OPERATOR)
    reviewer = reviewer_of(desk, caller) if caller.role in REVIEWERS else None
    now = desk.now()
    found = [case for case in all_cases(desk.instance) if case.state is not CaseState.DRAFT]
    found.sort(key=lambda case: (-clock(case, now), case.id))
    return [
        {**summary(desk, case), "kept_out": excluded(case, reviewer) if reviewer is not None else ""}
        for case in found
    ]


def show_own_cases(desk: KycDesk, caller: Caller) -> list[Shown]:
    """The applicant's own cases, oldest first."""
    require_role(caller, Role.APPLICANT)
    subject = subject_of(desk, caller)
    return [summary(desk, case) for case in cases_of(desk.instance, subject)] if subject is not None else []


def show_kyc_case(desk: KycDesk, caller: Caller, case: str) -> Shown:
    """The case for whoever asks. Raises NotFound, Forbidden (not assigned, or kept out)."""
    if caller.role in (Role.APPLICANT, Role.HOLDER):
        return for_applicant(desk, own_file(desk, caller, case))
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_assigned(file.case, reviewer)
    return for_reviewer(desk, file)


def _assurance(desk: KycDesk, file: KycFile) -> Shown:
    """What the evidence amounts to now, sentence by sentence; or why that cannot be said."""
    try:
        _, assessment = basis_of(
            desk.instance,
            file,
            asked_of(file.case),
            proofs=desk.proofs(file.case.subject),
            state=desk.instance.record.state,
            now=desk.now(),
        )
    except SafeconductError as error:
        return {"cannot": error.message, "field": error.field, "remedy": error.remedy}
    sentences = tuple(line for line in assessment.met if line.startswith(f"IAL{assessment.ial}:"))
    return {
        "verified_claims": verified_claims(
            tuple(
                ShownDocument(
                    id=one.id,
                    kind=one.kind,
                    country=mark_of(one)[1],
                    number=one.number,
                    expires=one.expires,
                    surname=one.surname,
                    given_names=one.given_names,
                    birth_date=one.birth_date,
                    citizen_of=one.country,
                    validations=one.validations,
                )
                for one in usable(file.person)
                if one.id not in disputed(file.person)
            ),
            desk.proofs(file.case.subject).verifications,
            ial=assessment.ial,
            process=file.case.id,
            sentences=sentences,
            now=desk.now(),
        ),
        "ial": assessment.ial,
        "aal": assessment.aal,
        "fal": assessment.fal,
        "level": assessment.level.name,
        "met": list(assessment.met),
        "missing": list(assessment.missing),
    }


def _documents(person: PersonFile) -> list[Shown]:
    return [
        {
            "document": one.id,
            "kind": one.kind,
            "strength": one.strength,
            "verdict": one.verdict,
            "issuer": one.issuer,
            "expires": one.expires,
            "added_at": one.added_at,
            "lost_at": one.lost_at,
            "specimen": one.specimen,
        }
        for one in person.documents
    ]


def for_applicant(desk: KycDesk, file: KycFile) -> Shown:
    """State, notice, what is lacking, what their evidence amounts to. Never who decided, nor what was found on lists."""
    case, person = file.case, file.person
    notice = NOTICES.get(case.state)
    ended = [vote for vote in case.votes if vote.round == case.round]
    asked = case.requests[-1] if case.state is CaseState.INFORMATION_REQUESTED else None
    return {
        **{
            name: value
            for name, value in summary(desk, case).items()
            if name not in ("risk", "assigned", "version")
        },
        "notice": notice,
        "reasons": [reason for vote in ended for reason in vote.reasons]
        if case.state in (CaseState.REJECTED, CaseState.RETURNED_WITHOUT_ACTION)
        else [],
        "conditions": list(case.approval.conditions) if case.approval is not None else [],
        "limited_by": _told_limit(case.approval.limited_by) if case.approval is not None else None,
        "asked": list(asked.asks) if asked is not None else [],
        "answer_by": asked.due if asked is not None else None,
        "appeal": case.appeal,
        "lacking": list(lacking(desk, case, person, desk.now())) if case.state in EDITABLE else [],
        "application": person.application,
        "documents": _documents(person),
        "assurance": _assurance(desk, _without_findings(file)),
    }


def _without_findings(file: KycFile) -> KycFile:
    """The file as if no list had named anybody: what was found there must not show in what their evidence amounts to."""
    screening = file.person.screening
    if screening is None:
        return file
    bare = msgspec.structs.replace(screening, hits=(), reasons=())
    return msgspec.structs.replace(file, person=msgspec.structs.replace(file.person, screening=bare))


def _told_limit(limited_by: str) -> str:
    """What an approval ends with, as its holder is told: a finding on a list or an owner is nobody's business but the desk's."""
    return "policy" if limited_by in ("list_change", "ownership_change") else limited_by


def for_reviewer(desk: KycDesk, file: KycFile) -> Shown:
    """Everything the desk holds but raw files."""
    case, person = file.case, file.person
    return {
        **summary(desk, case),
        "requester": case.requester,
        "application": person.application,
        "documents": [
            {
                **shown,
                "number": one.number,
                "name": f"{one.given_names} {one.surname}".strip(),
                "birth_date": one.birth_date,
                "country": one.country,
            }
            for shown, one in zip(_documents(person), person.documents, strict=True)
        ],
        "verifications": list(desk.proofs(case.subject).verifications),
        **matches_of(file),
        "affiliations": list(person.attested),
        "alerts": list(person.alerts),
        "rating": case.rating,
        "votes": list(case.votes),
        "requests": list(case.requests),
        "appeal": case.appeal,
        "approval": case.approval,
        "history": list(case.history),
        "assurance": _assurance(desk, file),
    }


def matches_of(file: KycFile) -> Shown:
    """What screening found: what is left of it, hits that are open with their explanation, and who cleared which and why."""
    person = file.person
    screening = person.screening
    if screening is None:
        return {"screening": None, "open_hits": [], "cleared": []}
    return {
        "screening": {
            "result": standing_result(screening, person.cleared).result,
            "found": screening.result().result,
            "reasons": list(screening.reasons),
            "lists": list(screening.lists),
            "scorer": screening.scorer,
            "weights": screening.weights,
            "at": screening.at,
            "by": person.screening_note,
            "list_change": screening.list_change,
            "same_data": screening.party_sha256 == screened_person(person).digest(),
        },
        "open_hits": list(open_hits(screening, person.cleared)),
        "cleared": list(person.cleared),
    }


def show_kyc_matches(desk: KycDesk, caller: Caller, case: str) -> Shown:
    """What screening found of a case's person, for a reviewer on the case. Raises Forbidden, NotFound."""
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_assigned(file.case, reviewer)
    return {"case": case, "version": file.case.version, "state": file.case.state, **matches_of(file)}


def list_open_matches(desk: KycDesk, caller: Caller) -> list[Shown]:
    """Cases whose person has an open hit, by pseudonym: those that a list's change brought and that stand come first."""
    reviewer = reviewer_of(desk, caller)
    found: list[Shown] = []
    people: dict[str, PersonFile] = {}
    for case in all_cases(desk.instance):
        if case.state is not CaseState.REVIEW and case.approval is None:
            continue
        try:
            person = people.get(case.subject) or load_person(desk.instance, case.subject)[0]
        except NotFound:
            continue
        people[case.subject] = person
        if person.screening is None:
            continue
        still = open_hits(person.screening, person.cleared)
        if still:
            found.append(
                {
                    **summary(desk, case),
                    "band": standing_band(person.screening, person.cleared),
                    "hits": len(still),
                    "list_change": person.screening.list_change,
                    "screened_at": person.screening.at,
                    "kept_out": excluded(case, reviewer),
                }
            )
    found.sort(
        key=lambda one: (not one["list_change"], one["band"] != "block", one["screened_at"], one["case"])
    )
    return found


def raw_document(desk: KycDesk, caller: Caller, case: str, document: str) -> tuple[str, bytes]:
    """The file as it was handed in, for a reviewer on the case. Raises Forbidden, NotFound."""
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_assigned(file.case, reviewer)
    held = next((one for one in file.person.documents if one.id == document), None)
    data = desk.instance.vault.get(RAW, f"{file.case.subject}:{document}") if held is not None else None
    if held is None or data is None:
        raise NotFound(f"there is no document {document[:60]!r}", field="document")
    return held.kind, data
