"""Use case: a reviewer asks the applicant for something; the desk's clock stops until they answer."""

from __future__ import annotations

from collections.abc import Sequence

from safeconduct.app.kyc_desk import KycDesk, reviewer_of, settle
from safeconduct.app.kyc_files import KycFile, check_version, load, save
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_case import request_information


def request_kyc_information(
    desk: KycDesk, caller: Caller, case: str, asks: Sequence[str], *, version: int
) -> KycFile:
    """Ask. version: of the case as the reviewer saw it. Raises Forbidden, InvalidInput, NotFound, Conflict."""
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, version)
    saved = save(
        desk.instance,
        file,
        case=request_information(file.case, reviewer, asks, at=desk.now(), policy=desk.policy),
    )
    settle(desk, saved)
    return saved
