"""Use cases of the desk after an approval: suspend, revoke, and ask for a refresh because something happened."""

from __future__ import annotations

import msgspec

from safeconduct.app.kyc_desk import KycDesk, reviewer_of, settle
from safeconduct.app.kyc_files import KycFile, check_version, load, save
from safeconduct.app.ports import Caller
from safeconduct.app.scope import require_role
from safeconduct.identity.kyc_case import check_reviewer, checked_texts
from safeconduct.identity.kyc_ends import refresh_due, revoke, suspend
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.vocabulary import Role

EVENTS = (
    "document_expiry",
    "list_change",
    "ownership_change",
    "authenticator_loss",
    "misuse_signal",
    "lei_lapse",
)


class EndApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """action: `suspend`, `revoke`, or `refresh` (then cause is one of the events). version: as the reviewer saw it."""

    version: int
    action: str
    cause: str


def end_kyc_approval(desk: KycDesk, caller: Caller, case: str, ask: EndApproval) -> KycFile:
    """Analysts suspend and ask for a refresh; adjudicators revoke, too. Nobody with a stake in the case does either.

    Raises Forbidden, InvalidInput, NotFound, Conflict, LogUnavailable.
    """
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, ask.version)
    check_reviewer(file.case, reviewer)
    checked_texts((ask.cause,), "cause")
    if file.case.approval is None:
        raise Conflict(f"nothing stands in a case that is {file.case.state}", field="state")
    now = desk.now()
    if ask.action == "suspend":
        ended = suspend(file.case, by=reviewer.id, cause=ask.cause, at=now)
    elif ask.action == "revoke":
        require_role(caller, Role.ADJUDICATOR)
        ended = revoke(file.case, by=reviewer.id, cause=ask.cause, at=now)
    elif ask.action == "refresh":
        if ask.cause not in EVENTS:
            raise InvalidInput(
                f"{ask.cause[:40]!r} is no event", field="cause", remedy=f"use one of {', '.join(EVENTS)}"
            )
        ended = refresh_due(file.case, cause=ask.cause, at=now, policy=desk.policy)
    else:
        raise InvalidInput(
            f"{ask.action[:40]!r} is no action", field="action", remedy="use suspend, revoke or refresh"
        )
    saved = save(desk.instance, file, case=ended)
    settle(desk, saved)
    return saved
