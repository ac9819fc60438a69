"""`decide(request, state, now) -> Permit | Deny`: the whole of authorization, as a pure function.

Owns the order of evaluation: what ends it stands alone, then every check runs and every reason is given, most severe first.
Refuses I/O, clocks and frameworks. An error anywhere denies: there is no path from an exception to a permit.
The checks that orders have a say in come last, so that a preview runs the others once for both of its states (`Opened`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Final

from safeconduct.decision import rules
from safeconduct.decision.access_checks import check_delegation, check_grant, check_project, check_purpose
from safeconduct.decision.holder_checks import (
    check_affiliation,
    check_age,
    check_assurance,
    check_clearance,
    check_evidence,
    check_organisation,
    check_ownership,
    check_passport_status,
    check_screening,
    check_terms,
)
from safeconduct.decision.inquiry import Inquiry
from safeconduct.decision.model_checks import (
    check_certification,
    check_enclave,
    check_stage,
    invalid_credential,
    missing_binding,
    unknown_model,
)
from safeconduct.decision.order_checks import check_orders
from safeconduct.decision.pack_checks import check_packs
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision, Deny, Permit, Reason
from safeconduct.decision.rules import NEVER, NOT_YET_EMITTED, TERMINAL_RULES, reason
from safeconduct.kernel.vocabulary import CODE_ORDER, Code, Standing
from safeconduct.record.state import State

__all__ = ["CHECKS", "NEVER", "NOT_YET_EMITTED", "Opened", "decide", "differ_in_orders_only", "terminal"]

CHECKS: Final[tuple[Callable[[Inquiry], None], ...]] = (
    check_passport_status,
    check_assurance,
    check_affiliation,
    check_evidence,
    check_screening,
    check_ownership,
    check_organisation,
    check_clearance,
    check_terms,
    check_age,
    check_purpose,
    check_project,
    check_grant,
    check_delegation,
    check_stage,
    check_enclave,
    check_certification,
    check_orders,
    # Last: the packs are told what the checks above found of the orders.
    check_packs,
)

# The checks from here on read orders; those before read none, and no field of the state but these tells of orders.
_OF_ORDERS: Final = CHECKS.index(check_orders)
_SHARED: Final = operator.attrgetter(
    *(set(State.__struct_fields__) - {"position", "directives", "orders_on", "awaiting"})
)
_RETIRED = Standing.RETIRED


def decide(request: DecisionRequest, state: State, now: int) -> Decision:
    """Decide one question against the state at one moment (`now`, seconds since the epoch). Never raises."""
    try:
        inquiry = _begun(request, state, now)
        return inquiry if isinstance(inquiry, Deny) else _concluded(inquiry, CHECKS)
    except Exception as error:  # noqa: BLE001 - an error anywhere denies
        return _failed(state, now, error)


def _begun(request: DecisionRequest, state: State, now: int) -> Inquiry | Deny:
    """The inquiry to be checked, or the denial that stands alone."""
    variant = state.variants.get(request.variant)
    if variant is None or variant.standing is _RETIRED:
        return terminal(Code.MODEL_UNKNOWN, state, now, detail="there is no such model")
    holder = state.subjects.get(request.holder)
    passport = state.passports.get(request.passport)
    if holder is None or passport is None:
        return _unknown_passport(request, state, now)
    inquiry = Inquiry(request, state, now, variant, holder, passport)
    if why := unknown_model(request, inquiry.deployment, inquiry.has_ended):
        return terminal(Code.MODEL_UNKNOWN, state, now, detail=why, until=inquiry.until)
    if why := invalid_credential(inquiry):
        return terminal(Code.PASSPORT_INVALID, state, now, detail=why, until=inquiry.until)
    if why := missing_binding(inquiry):
        return terminal(Code.BINDING_MISSING, state, now, detail=why, until=inquiry.until)
    return inquiry


def _failed_check(inquiry: Inquiry, check: Callable[[Inquiry], None], error: Exception) -> None:
    inquiry.deny(rules.CHECK_FAILED, f"{check.__name__} failed: {type(error).__name__}")
    inquiry.turns_at(inquiry.now + 1)


def _concluded(inquiry: Inquiry, checks: Iterable[Callable[[Inquiry], None]]) -> Decision:
    """The answer, once these last checks have been run."""
    for check in checks:
        try:
            check(inquiry)
        except Exception as error:  # noqa: BLE001 - the other checks still run; this one denies
            _failed_check(inquiry, check, error)
    found = inquiry.jurisdictions
    if inquiry.deployment is not None:
        found.append(inquiry.deployment.registered.jurisdiction)
    jurisdictions = tuple(sorted(set(found))) if len(found) > 1 else tuple(found)
    if inquiry.reasons:
        return Deny(
            reasons=_ordered(inquiry.reasons),
            valid_until=inquiry.until,
            position=inquiry.state.position,
            packs=inquiry.packs,
            jurisdictions=jurisdictions,
        )
    # In the order of their declaration: naming each costs on the hot path.
    return Permit(
        inquiry.until,
        inquiry.state.position,
        tuple(sorted(set(inquiry.obligations))) if inquiry.obligations else (),
        tuple(inquiry.grants),
        inquiry.packs,
        jurisdictions,
    )


def differ_in_orders_only(one: State, other: State) -> bool:
    """Whether two states share everything (the very maps, not equal ones) but directives and where they stand."""
    return all(map(operator.is_, _SHARED(one), _SHARED(other)))


class Opened:
    """A question with every check run in which orders have no say: answered under several states at the price of one and
    a bit. For previews; never on the path of a request.
    """

    __slots__ = ("_inquiry", "_now", "_request")

    def __init__(self, request: DecisionRequest, state: State, now: int) -> None:
        self._request = request
        self._now = now
        self._inquiry: Inquiry | None = None
        try:
            begun = _begun(request, state, now)
            if isinstance(begun, Inquiry):
                for check in CHECKS[:_OF_ORDERS]:
                    try:
                        check(begun)
                    except Exception as error:  # noqa: BLE001 - as in `_concluded`
                        _failed_check(begun, check, error)
                self._inquiry = begun
        except Exception:  # noqa: BLE001 - then `decide` gives the denial, under each state
            self._inquiry = None

    def under(self, state: State) -> Decision:
        """As `decide` under this state. INVARIANT: it and the one opened under differ in orders only. Never raises."""
        opened = self._inquiry
        if opened is None:
            return decide(self._request, state, self._now)
        try:
            return _concluded(opened.continued(state), CHECKS[_OF_ORDERS:])
        except Exception as error:  # noqa: BLE001 - an error anywhere denies
            return _failed(state, self._now, error)


def _unknown_passport(request: DecisionRequest, state: State, now: int) -> Deny:
    """PASSPORT_INVALID, unless the deployment is unknown too: that stands before it in the list of codes."""
    until = NEVER

    def has_ended(at: int | None) -> bool:
        nonlocal until
        if at is not None and now < at:
            until = at
        return at is not None and now >= at

    deployment = state.deployments.get(request.deployment) if request.deployment is not None else None
    if why := unknown_model(request, deployment, has_ended):
        return terminal(Code.MODEL_UNKNOWN, state, now, detail=why)
    detail = "the passport is not in the record"
    return terminal(Code.PASSPORT_INVALID, state, now, detail=detail, until=until)


def _ordered(reasons: list[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda one: (CODE_ORDER[one.code], one.rule, one.detail)))


def _failed(state: State, now: int, error: Exception) -> Deny:
    # What failed may be the state itself, so nothing of it is needed here but its position.
    return Deny(
        reasons=(reason(rules.CHECK_FAILED, f"the decision failed: {type(error).__name__}"),),
        valid_until=now + 1,
        position=getattr(state, "position", 0),
    )


def terminal(code: Code, state: State, now: int, detail: str = "", *, until: int = NEVER) -> Deny:
    """A denial that stands alone: ROUTE_UNKNOWN, MODEL_UNKNOWN, AUDIT_UNAVAILABLE, STATE_STALE, PASSPORT_INVALID or
    BINDING_MISSING. Raises KeyError for another code.

    until: when the clock alone may change it; the two that a moment may mend (AUDIT_UNAVAILABLE, STATE_STALE) hold for
    one second at most.
    """
    rule = TERMINAL_RULES[code]
    if code in {Code.AUDIT_UNAVAILABLE, Code.STATE_STALE}:
        until = min(until, now + 1)
    return Deny(reasons=(reason(rule, detail or rule.remedy),), valid_until=until, position=state.position)
