"""What a caller is told of a denial, and a denial in lines of text.

Owns the presentation ACCESS_RESTRICTED: reasons that must not be known collapse into one whose bytes are the same whatever
the cause. Refuses to be skipped: whoever answers a caller passes every denial through `told`.
"""

from __future__ import annotations

from typing import Final

from safeconduct.decision.response import Decision, Deny, Permit, Reason
from safeconduct.decision.rules import CORE_VERSION
from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.vocabulary import Code

RESTRICTED: Final = Reason(
    code=Code.ACCESS_RESTRICTED,
    rule="core.restricted",
    version=CORE_VERSION,
    source="Safeconduct rules, section 5",
    detail="access is restricted",
    remedy="write to the operator and give the decision's id",
)


def told(denial: Deny) -> tuple[Reason, ...]:
    """The reasons as told to the caller, most severe first."""
    open_reasons = tuple(one for one in denial.reasons if not one.withheld)
    if len(open_reasons) == len(denial.reasons):
        return open_reasons
    # Reasons of the same order that are not withheld would point at it; none are made, and none are passed on.
    hidden = {one.directive for one in denial.reasons if one.withheld and one.directive is not None}
    return (RESTRICTED, *(one for one in open_reasons if one.directive not in hidden))


def told_codes(decision: Decision) -> tuple[Code, ...]:
    """The codes that the caller is told, each once, in order; none for a permit."""
    if isinstance(decision, Permit):
        return ()
    return tuple(dict.fromkeys(one.code for one in told(decision)))


def lines(reasons: tuple[Reason, ...]) -> list[str]:
    """Reasons as text: code, detail, where it comes from, what to do."""
    written: list[str] = []
    for one in reasons:
        written.append(f"{one.code}: {one.detail}")
        written.append(f"  rule {one.rule} version {one.version}; source: {one.source}")
        written.extend(f"  also: {citation}" for citation in one.citations)
        written.append(f"  remedy: {one.remedy}")
    return written


def describe(decision: Decision) -> list[str]:
    """A whole decision as text, as its caller may see it."""
    when = f"until {format_instant(decision.valid_until)}, at position {decision.position} of the record"
    if isinstance(decision, Permit):
        rests = f" It rests on {', '.join(decision.grants)}." if decision.grants else ""
        owes = f" Obligations: {', '.join(decision.obligations)}." if decision.obligations else ""
        return [f"Allowed {when}.{rests}{owes}"]
    return [f"Denied {when}.", *lines(told(decision))]
