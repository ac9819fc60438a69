"""How a KYC case ends and comes back: withdrawal, appeal, refresh, expiry, suspension, revocation, and what is told then.

Pure, like `kyc_case`. Owns that what was approved ends by the clock even while its refresh lies on somebody's desk.
"""

from __future__ import annotations

import msgspec

from safeconduct.identity.kyc_case import changed, checked_texts, moved
from safeconduct.identity.kyc_states import HELD, OPEN, POLICY, Appeal, KycCase, Policy
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.vocabulary import CaseState

DOCUMENT_LOST = "document lost"
"""Cause of a suspension whose evidence is gone: what rested on it does not come back, it is granted anew."""
APPEALABLE = frozenset({CaseState.REJECTED, CaseState.REVOKED})


def withdraw(case: KycCase, *, at: int) -> KycCase:
    """The applicant gives up the case, and what was approved in it."""
    return moved(case, CaseState.WITHDRAWN, at=at, by="applicant", approval=None, refresh_by=None)


def appeal(case: KycCase, grounds: str, *, at: int, policy: Policy = POLICY) -> KycCase:
    """To another reviewer; once per decision, in time. Whoever decided before is kept out. Raises Conflict."""
    if case.state not in APPEALABLE:
        raise Conflict(
            f"a case that is {case.state} is not appealed",
            field="state",
            remedy="a case that was returned without action is completed and handed in again",
        )
    if case.appeal is not None:
        raise Conflict("it was appealed before", field="state", remedy="open a new case with new evidence")
    if at > case.history[-1].at + policy.appeal_within:
        raise Conflict("the time to appeal is over", field="state", remedy="open a new case")
    checked_texts((grounds,), "grounds")
    return moved(
        msgspec.structs.replace(case, clock_ran=0, clock_since=None),
        CaseState.REVIEW,
        at=at,
        by="applicant",
        cause="appeal",
        appeal=Appeal(against=case.state, grounds=grounds, at=at),
        round=case.round + 1,
        assigned=(),
        rating=None,
    )


def refresh_due(case: KycCase, *, cause: str, at: int, policy: Policy = POLICY) -> KycCase:
    """Time, or an event (an expiring document, a list, ownership, an authenticator, a signal, an LEI), asks for a refresh."""
    assert case.approval is not None
    until, limited_by = case.approval.until, case.approval.limited_by
    if cause != "time" and at + policy.event_refresh_within < until:
        until, limited_by = at + policy.event_refresh_within, cause
    return moved(
        case,
        CaseState.REFRESH_DUE,
        at=at,
        by="clock" if cause == "time" else "event",
        cause=cause,
        approval=msgspec.structs.replace(case.approval, until=until, limited_by=limited_by),
        refresh_by=None,
    )


def suspend(case: KycCase, *, by: str, cause: str, at: int) -> KycCase:
    """Stop what was approved until a new review. An open refresh goes back to the applicant."""
    if case.state in OPEN and case.approval is not None:
        return changed(case, approval=None, refresh_by=None)
    return moved(case, CaseState.SUSPENDED, at=at, by=by, cause=cause, approval=None, refresh_by=None)


def revoke(case: KycCase, *, by: str, cause: str, at: int) -> KycCase:
    """End what was approved, with a decision that can be appealed."""
    return moved(
        case,
        CaseState.REVOKED,
        at=at,
        by=by,
        cause=cause,
        approval=None,
        refresh_by=None,
        appeal=None,
        # Who revokes has decided, and does not decide the appeal.
        recused=(*case.recused, by),
    )


def was_suspended(case: KycCase) -> bool:
    """Somebody suspended what was approved, and nothing was approved since."""
    for step in reversed(case.history):
        if step.state in (CaseState.APPROVED, CaseState.APPROVED_CONDITIONAL):
            return False
        if step.state is CaseState.SUSPENDED:
            return step.cause != DOCUMENT_LOST
    return False


def standing(case: KycCase, now: int) -> bool:
    """Something approved stands now."""
    return case.approval is not None and now < case.approval.until


def by_the_clock(case: KycCase, now: int, policy: Policy = POLICY) -> KycCase:
    """The case as time alone has changed it by `now`; the same object when it has not."""
    if case.approval is not None and now >= case.approval.until:
        if case.state in HELD:
            return moved(
                case,
                CaseState.EXPIRED,
                at=now,
                by="clock",
                cause=case.approval.limited_by,
                approval=None,
                refresh_by=None,
            )
        return changed(case, approval=None, refresh_by=None)
    if (
        case.refresh_by is not None
        and now >= case.refresh_by
        and case.state in HELD - {CaseState.REFRESH_DUE}
    ):
        return refresh_due(case, cause="time", at=now, policy=policy)
    if case.state is CaseState.INFORMATION_REQUESTED and now >= case.requests[-1].due:
        return moved(case, CaseState.RETURNED_WITHOUT_ACTION, at=now, by="clock", cause="no answer in time")
    if case.state is CaseState.DRAFT and now >= case.history[-1].at + policy.draft_life:
        return moved(case, CaseState.WITHDRAWN, at=now, by="clock", cause="never handed in")
    return case


class Notice(msgspec.Struct, frozen=True):
    """What the applicant is told at an end. adverse: whether it is a finding about them."""

    title: str
    text: str
    adverse: bool
    next: str


_NOT_ADVERSE = "This is not a finding about you and is not held against a later request."
NOTICES: dict[CaseState, Notice] = {
    CaseState.APPROVED: Notice(
        "Approved",
        "What you asked for is approved until the day shown. It ends earlier when what it rests on does.",
        False,
        "Collect your passport. You will be asked for a refresh before it ends.",
    ),
    CaseState.APPROVED_CONDITIONAL: Notice(
        "Approved with conditions",
        "Less than you asked for is approved, or under the conditions shown.",
        False,
        "Collect your passport, keep to the conditions; bring what is missing to ask for more.",
    ),
    CaseState.REJECTED: Notice(
        "Refused",
        "What you asked for is refused, for the reasons shown.",
        True,
        "You can appeal within 30 days. Somebody who has not decided on it before looks at it.",
    ),
    CaseState.RETURNED_WITHOUT_ACTION: Notice(
        "Returned without action",
        "Nothing was decided: something needed was not there in time. " + _NOT_ADVERSE,
        False,
        "Complete it and hand it in again, or withdraw it.",
    ),
    CaseState.WITHDRAWN: Notice(
        "Withdrawn",
        "You withdrew it, and what was approved in it has ended. " + _NOT_ADVERSE,
        False,
        "What the law makes us keep is listed in your receipt, with until when. Everything else is deleted.",
    ),
    CaseState.EXPIRED: Notice(
        "Expired",
        "What was approved has ended with what it rested on. " + _NOT_ADVERSE,
        False,
        "Bring what has expired and hand it in again.",
    ),
    CaseState.SUSPENDED: Notice(
        "Suspended",
        "What was approved is stopped until it has been looked at again. Nothing is decided yet.",
        False,
        "Bring what the cause asks for and hand it in again.",
    ),
    CaseState.REVOKED: Notice(
        "Revoked",
        "What was approved has been ended, for the reasons shown.",
        True,
        "You can appeal within 30 days. Somebody who has not decided on it before looks at it.",
    ),
    CaseState.INFORMATION_REQUESTED: Notice(
        "Something is asked of you",
        "We need what is listed. Our clock stands until you answer.",
        False,
        "Answer by the day shown, or it is returned without action.",
    ),
    CaseState.REFRESH_DUE: Notice(
        "A refresh is due",
        "What was approved ends on the day shown unless it is renewed. " + _NOT_ADVERSE,
        False,
        "Evidence that has not expired is used again: bring only what is missing, and hand it in.",
    ),
}
