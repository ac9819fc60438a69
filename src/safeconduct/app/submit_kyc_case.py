"""Use case: hand a case in, answer an information request, or hand in a refresh. From here on it is in the record.

Owns that nothing is handed in without what the desk needs to begin; everything that lacks is told at once.
"""

from __future__ import annotations

from safeconduct.app.assess_case import usable
from safeconduct.app.kyc_desk import KycDesk, settle
from safeconduct.app.kyc_files import KycFile, PersonFile, save
from safeconduct.app.own_kyc_case import own_file
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_case import submit
from safeconduct.identity.kyc_states import KycCase
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.vocabulary import Level


def lacking(desk: KycDesk, case: KycCase, person: PersonFile, now: int) -> tuple[str, ...]:
    """What has to be there before the desk can begin, in words. Empty: it can be handed in."""
    missing = []
    stated = person.application
    if stated is None:
        missing.append("the application: name, e-mail, purpose")
    elif not stated.terms:
        missing.append("terms agreed to")
    if case.level >= Level.C2 and stated is not None and not stated.address:
        missing.append("an address")
    if not any(one.expires is None or one.expires > now for one in usable(person)):
        missing.append("a document that has not expired")
    if not desk.proofs(case.subject).authenticators:
        missing.append("an authenticator")
    if case.level >= Level.C2 and not any(one.organisation == case.organisation for one in person.attested):
        missing.append("the organisation's word that you belong to it")
    return tuple(missing)


def submit_kyc_case(desk: KycDesk, caller: Caller, case: str) -> KycFile:
    """Hand it in. Raises Conflict that lists what is missing, NotFound, LogUnavailable."""
    file = own_file(desk, caller, case)
    now = desk.now()
    missing = lacking(desk, file.case, file.person, now)
    if missing:
        raise Conflict(
            f"the case lacks {'; '.join(missing)}",
            field="case",
            remedy="add what is missing, then hand it in",
        )
    saved = save(desk.instance, file, case=submit(file.case, at=now))
    settle(desk, saved)
    return saved
