"""Use case: an organisation says that an applicant belongs to it, and who there asked. It sees the case's id and nothing else."""

from __future__ import annotations

import msgspec

from safeconduct.app.kyc_desk import KycDesk
from safeconduct.app.kyc_files import Attested, KycFile, load, save
from safeconduct.app.ports import Caller
from safeconduct.app.scope import require_role
from safeconduct.identity.kyc_case import changed
from safeconduct.identity.kyc_states import EDITABLE
from safeconduct.kernel.errors import Conflict, Forbidden, NotFound
from safeconduct.kernel.vocabulary import Affiliation, CaseState, Role


def attest_affiliation(desk: KycDesk, caller: Caller, case: str) -> KycFile:
    """Attest it for the case's organisation, once. Raises Forbidden, NotFound (also for another organisation's case), Conflict."""
    require_role(caller, Role.ORGANISATION)
    file = load(desk.instance, case)
    if caller.organisation is None or file.case.organisation != caller.organisation:
        raise NotFound(f"there is no case {case[:60]!r}", field="case", remedy="ask the applicant for its id")
    if caller.id in file.case.applicant:
        raise Forbidden("nobody attests for themselves", field="organisation")
    if file.case.state not in EDITABLE | {CaseState.SUBMITTED}:
        raise Conflict(f"a case that is {file.case.state} takes no attestation", field="state")
    now = desk.now()
    attested = Attested(caller.organisation, Affiliation.ORG_ATTESTED, caller.id, caller.id, now)
    kept = tuple(one for one in file.person.attested if one.organisation != caller.organisation)
    return save(
        desk.instance,
        file,
        case=changed(file.case, requester=caller.id),
        person=msgspec.structs.replace(file.person, attested=(*kept, attested)),
    )
