"""Use case: charge a permitted request to its quotas before anything is sent, and record what comes of it.

Refuses to act on a permit that has gone stale while a ledger on another machine was asked.
"""

from __future__ import annotations

from collections.abc import Callable

from safeconduct.app.enforce_request import GatewayNode
from safeconduct.app.verdict import Verdict
from safeconduct.decision.explanation import told
from safeconduct.decision.response import Deny, Permit
from safeconduct.gateway.quota_ledger import Held
from safeconduct.gateway.quotas import exceeded, header_lines, retry_after_line, unavailable
from safeconduct.kernel.vocabulary import Wire


def reserve_use(
    node: GatewayNode, verdict: Verdict, wire: Wire, done: Callable[[Verdict | Exception], None]
) -> None:
    """Charge an unrecorded verdict, record what comes of it and hand it to `done`, perhaps at once.

    `done` gets the verdict, permitted and recorded, or another that denies, or what went wrong (LogUnavailable).
    """
    assert verdict.bill is not None

    def answered(held: Held | None) -> None:
        final: Verdict | Exception
        try:
            final = _reserved(node, verdict, held, wire)
        except Exception as error:  # noqa: BLE001 - whoever waits must learn of it
            release_use(node, verdict)
            final = error
        done(final)

    node.quotas.reserve(verdict.bill, answered)


def _reserved(node: GatewayNode, verdict: Verdict, held: Held | None, wire: Wire) -> Verdict:
    bill, outcome = verdict.bill, verdict.outcome
    assert bill is not None
    assert isinstance(outcome, Permit)
    now = node.quotas.now()
    seconds = int(node.clock.now())
    if held is None or not held.admitted:
        if held is None:
            reason, lines = unavailable(), retry_after_line((), now)
        else:
            reason = exceeded(bill, held, now)
            lines = header_lines(bill, held, wire, now) + retry_after_line(bill.quotas, now)
        return node.refuse(
            verdict.principal,
            verdict.request,
            outcome,
            reason,
            route=verdict.route,
            asked=verdict.asked,
            deployment=verdict.deployment,
            now=seconds,
            lines=lines,
        )
    stale = node.stale(verdict.request.variant)
    if stale is not None:
        release_use(node, verdict)
        return node.refuse(
            verdict.principal,
            verdict.request,
            outcome,
            stale,
            route=verdict.route,
            asked=verdict.asked,
            deployment=verdict.deployment,
            now=seconds,
        )
    if node.state.position != outcome.position:
        # A ledger far away takes its time, and the state has moved on: nothing has watched over this request so far.
        verdict.outcome = node.decide_on(verdict.request, node.state, seconds)
        verdict.prepared = None
    if isinstance(verdict.outcome, Deny):
        release_use(node, verdict)
        verdict.reasons = told(verdict.outcome)
    else:
        verdict.lines = header_lines(bill, held, wire, now)
    return node.record(verdict, seconds)


def release_use(node: GatewayNode, verdict: Verdict) -> None:
    """Nothing will be sent on this verdict: give back what was charged."""
    if verdict.bill is not None:
        node.quotas.settle(verdict.bill, sent=False)
