"""Use case: screen a case's person against lists.

Owns that an error of the provider is never a clear result: the case stays where it was. What reviewers cleared before goes on counting
for pairs of which neither side has changed.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.assess_case import screened_person
from safeconduct.app.kyc_desk import KycDesk, record_screening, reviewer_of, settle
from safeconduct.app.kyc_files import KycFile, check_version, load, save
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_case import begin_screening, screened
from safeconduct.identity.kyc_ends import standing
from safeconduct.kernel.errors import Conflict


def screen_kyc_case(desk: KycDesk, caller: Caller, case: str, *, version: int) -> KycFile:
    """Screen and put it before the reviewers; what is reviewed or stands is screened again where it is.

    Raises Forbidden, NotFound, Conflict, UnsafeConfiguration, what the provider raises.
    """
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, version)
    screener = desk.screening()
    now = desk.now()
    under_way = begin_screening(file.case, reviewer, at=now)
    result = screener.screen(screened_person(file.person), now=now)
    if result.reasons and not result.hits and standing(file.case, now):
        # Nothing was found, and nothing could be ruled out: that neither takes away what stands nor renews it.
        raise Conflict(
            f"nobody can be cleared now: {result.reasons[0]}",
            field="screening",
            remedy="have the operator import current lists, then screen again",
        )
    saved = save(
        desk.instance,
        file,
        case=screened(under_way, by=reviewer.id, at=now),
        person=msgspec.structs.replace(file.person, screening=result, screening_note=screener.name),
    )
    settle(desk, saved)
    record_screening(desk, saved.person)
    return saved
