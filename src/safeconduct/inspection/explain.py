"""A recorded decision in lines of text: who asked for what, what was answered, and the way from rule to signed document.

Owns the wording for those who may read the sealed part. Refuses to show withheld reasons unless told to.
"""

from __future__ import annotations

from safeconduct.authorization.trust import flag
from safeconduct.decision.entry import DecisionRecord
from safeconduct.decision.explanation import describe, lines
from safeconduct.decision.response import Deny
from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.ids import DirectiveId
from safeconduct.record.state import State


def explain(record: DecisionRecord, state: State | None = None, *, withheld: bool = False) -> list[str]:
    """Lines without line breaks, the outcome first.

    state: when given, orders are traced to their signed document and its key. withheld: show every reason as it was found,
    not as it was told; for auditors only.
    """
    request = record.request
    who = f"{request.kind} {request.subject}"
    if request.subject != request.holder:
        who += f" for {request.holder} under {', '.join(request.mandates) or 'no mandate'}"
    told = [
        f"Decision {record.decision} at {format_instant(record.now)} by {record.node}",
        *describe(record.outcome),
        f"Asked by {who}, organisation {request.organisation or request.claims.organisation or 'none'}",
        f"Asked for {record.asked} (variant {request.variant}, deployment {request.deployment or 'any'})",
        f"Purpose {request.purpose or 'none'}, project {request.project or 'none'}, surface {request.surface}",
        f"Credential {record.credential}, bound by {request.binding}",
        f"Authenticated at AAL{request.aal} since {format_instant(request.authenticated_at)}",
        f"Route {record.route}",
    ]
    if withheld and isinstance(record.outcome, Deny) and any(one.withheld for one in record.outcome.reasons):
        told += ["All reasons, withheld ones included:", *lines(record.outcome.reasons)]
    if record.outcome.packs:
        told.append(f"Packs {', '.join(record.outcome.packs)}")
    if record.outcome.jurisdictions:
        told.append(f"Jurisdictions {', '.join(record.outcome.jurisdictions)}")
    if state is not None and isinstance(record.outcome, Deny):
        for name in dict.fromkeys(
            one.directive
            for one in record.outcome.reasons
            if one.directive is not None and (withheld or not one.withheld)
        ):
            told += trace(state, name)
    return told


def trace(state: State, directive: DirectiveId) -> list[str]:
    """From a directive's id to the document that was signed: source, digests, both time axes, key and its flag."""
    entry = state.directives.get(directive)
    if entry is None:
        return [f"Order {directive} is not in this state"]
    order = entry.imported
    until = f" until {format_instant(order.effective_until)}" if order.effective_until is not None else ""
    told = [
        f"Order {directive}: {order.title}",
        f"  source: {order.legal_source}",
        f"  in force from {format_instant(order.effective_from)}{until}",
        f"  known since {format_instant(order.recorded_at)}",
        f"  document SHA-256 {order.document}, signed with {order.signed_with}",
        *(f"  annex {annex.name}: SHA-256 {annex.sha256}" for annex in order.annexes),
    ]
    flagged = flag(order.signed_with, order.recorded_at, state.trust)
    if flagged:
        told.append(f"  flagged: {flagged}")
    return told
