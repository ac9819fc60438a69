"""Use cases: screen a case's person against lists, and clear a possible match with a rationale.

Owns that an error of the provider is never a clear result: the case stays where it was.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.assess_case import usable
from safeconduct.app.kyc_desk import KycDesk, reviewer_of, settle
from safeconduct.app.kyc_files import Cleared, KycFile, PersonFile, check_version, load, save
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_case import begin_screening, changed, check_assigned, checked_texts, screened
from safeconduct.identity.screening.port import ScreenedPerson
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.vocabulary import CaseState, Screening


def screened_person(person: PersonFile) -> ScreenedPerson:
    """Who is searched for: every name stated or written on a document."""
    stated = person.application
    documents = usable(person)
    names = [stated.legal_name, *stated.other_names] if stated is not None else []
    names += [f"{one.given_names} {one.surname}".strip() for one in documents if one.surname]
    born = next((one.birth_date for one in documents if one.birth_date), None)
    return ScreenedPerson(
        names=tuple(dict.fromkeys(name for name in names if name)),
        birth_date=born or (stated.birth_date if stated is not None else None),
        countries=tuple(
            sorted(
                {one.country for one in documents if one.country is not None}
                | set((stated.citizenships if stated is not None else None) or ())
            )
        ),
        documents=tuple((one.issuer, one.number) for one in documents if one.number),
    )


def screen_kyc_case(desk: KycDesk, caller: Caller, case: str, *, version: int) -> KycFile:
    """Screen and put it before the reviewers. Raises Forbidden, NotFound, Conflict, UnsafeConfiguration, what the provider raises."""
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, version)
    screener = desk.screening()
    now = desk.now()
    under_way = begin_screening(file.case, reviewer, at=now)
    result = screener.screen(screened_person(file.person), now=now)
    saved = save(
        desk.instance,
        file,
        case=screened(under_way, by=reviewer.id, at=now),
        person=msgspec.structs.replace(
            file.person, screening=result, screening_note=screener.name, cleared=None
        ),
    )
    settle(desk, saved)
    return saved


def clear_possible_match(
    desk: KycDesk, caller: Caller, case: str, rationale: str, *, version: int
) -> KycFile:
    """Say why the person is not who the list means. Raises InvalidInput without a rationale, Forbidden, Conflict."""
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, version)
    check_assigned(file.case, reviewer)
    screening = file.person.screening
    if file.case.state is not CaseState.REVIEW or screening is None:
        raise Conflict("there is no screening to look at", field="state", remedy="screen the case first")
    if screening.result is not Screening.POSSIBLE:
        raise Conflict(
            f"the result is {screening.result}", field="screening", remedy="only a possible match is cleared"
        )
    checked_texts((rationale,), "rationale")
    cleared = Cleared(by=reviewer.id, rationale=rationale, at=desk.now(), screened_at=screening.at)
    return save(
        desk.instance,
        file,
        case=changed(file.case),
        person=msgspec.structs.replace(file.person, cleared=cleared),
    )
