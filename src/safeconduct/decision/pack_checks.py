"""Asks the policy packs about a question and joins their findings with the core's.

Owns the bridge: facts go in, clauses come back. Deny overrides: what a pack forbids is denied even where the core found
nothing; where both found it, the pack is cited in the core's reason. Refuses to let a pack permit anything.
"""

from __future__ import annotations

import functools

import msgspec

from safeconduct.decision import rules
from safeconduct.decision.holder_checks import session_aal
from safeconduct.decision.inquiry import Inquiry
from safeconduct.decision.model_checks import closed_stage
from safeconduct.decision.order_checks import order_reason, unanswered_orders
from safeconduct.decision.response import Reason
from safeconduct.kernel.ids import DirectiveId
from safeconduct.kernel.vocabulary import Binding, Code, DirectiveKind, UsPerson
from safeconduct.policy.selection import Selection, selected
from safeconduct.policy.slices import Clause, PolicyFailed, Question, Slice, compile_slices, forbidding
from safeconduct.record.projections import DirectiveState

_NONE: frozenset[str] = frozenset()
# Members of an enumeration are looked up slowly on Python 3.11; these stand on the hot path.
_KEY = Binding.KEY
_YES = UsPerson.YES
_LICENCE_REQUIRED = DirectiveKind.LICENCE_REQUIRED


class Plan(msgspec.Struct, frozen=True, eq=False):
    """What is run for one kind of question. packs: `pack@version`; cited: ids of those that read a directive."""

    packs: tuple[str, ...]
    cited: tuple[str, ...]
    jurisdictions: frozenset[str]
    slices: tuple[Slice, ...]


@functools.lru_cache(maxsize=1024)
def _plan(selection: Selection, closed: bool, cited: frozenset[str]) -> Plan:
    running = tuple(
        pack
        for pack in selection.packs
        # A scope that this build does not know is taken for the widest.
        if pack.scope not in {"closed_stage", "cited_order"}
        or (pack.scope == "closed_stage" and closed)
        or (pack.scope == "cited_order" and pack.pack in cited)
    )
    return Plan(
        packs=tuple(pack.name for pack in running),
        cited=tuple(pack.pack for pack in running if pack.scope == "cited_order"),
        jurisdictions=frozenset(pack.jurisdiction for pack in running if pack.jurisdiction),
        slices=compile_slices(tuple(pack.source for pack in running)) if running else (),
    )


def check_packs(inquiry: Inquiry) -> None:
    """Run the active packs that concern this question, in one slice."""
    packs = inquiry.state.packs
    if not packs:
        return
    selection = selected(packs, inquiry.now)
    if selection.until is not None:
        inquiry.turns_at(selection.until)
    closed, listed = closed_stage(inquiry)
    orders = inquiry.working_orders
    cited = _NONE
    if len(orders) == 1:
        cited = frozenset(orders[0].imported.packs)
    elif orders:
        cited = frozenset([name for order in orders for name in order.imported.packs])
    try:
        plan = _plan(selection, closed, cited)
    except (PolicyFailed, ValueError) as error:
        inquiry.deny(rules.POLICY_FAILED, f"a policy cannot be run: {type(error).__name__}")
        return
    if not plan.packs:
        return
    inquiry.packs = plan.packs
    inquiry.jurisdictions.extend(plan.jurisdictions)
    open_orders = _open_orders(inquiry, plan) if plan.cited else {}
    claims = inquiry.claims
    compartments = inquiry.variant.required_compartments
    # In the order of their declaration: naming each costs on the hot path.
    question = Question(
        int(inquiry.level),
        tuple(sorted(compartments)) if len(compartments) > 1 else tuple(compartments),
        claims.ial or 0,
        session_aal(inquiry)[0],
        inquiry.request.binding is not _KEY,
        closed,
        listed,
        bool(open_orders),
        tuple([regime for regime, value in claims.us_person if value == _YES]),
    )
    try:
        for compiled in plan.slices:
            for clause in forbidding(compiled, question):
                _join(inquiry, clause, open_orders.get(clause.pack, []))
    except (PolicyFailed, ValueError) as error:
        inquiry.deny(rules.POLICY_FAILED, f"a policy could not be evaluated: {type(error).__name__}")


def _open_orders(inquiry: Inquiry, plan: Plan) -> dict[str, list[DirectiveState]]:
    """By pack, the licence requirements in force that cite it and that nothing answers."""
    found: dict[str, list[DirectiveState]] = {}
    unanswered = unanswered_orders(inquiry)
    for pack in plan.cited:
        for order in unanswered:
            if order.imported.kind is _LICENCE_REQUIRED and pack in order.imported.packs:
                found.setdefault(pack, []).append(order)
    return found


def _join(inquiry: Inquiry, clause: Clause, orders: list[DirectiveState]) -> None:
    """Cite the pack in the core's reasons for the same code and order; where there is none, the pack denies by itself."""
    for order in orders:
        if not _cite(inquiry, clause, order.imported.directive):
            withheld = order_reason(order, Code.LICENCE_MISSING).withheld
            inquiry.reasons.append(
                msgspec.structs.replace(
                    _own_reason(clause), directive=order.imported.directive, withheld=withheld
                )
            )
    if not orders and not _cite(inquiry, clause, None):
        inquiry.reasons.append(_own_reason(clause))


def _cite(inquiry: Inquiry, clause: Clause, directive: DirectiveId | None) -> bool:
    found = False
    for position, one in enumerate(inquiry.reasons):
        if one.code is clause.code and one.directive == directive:
            if clause.citation not in one.citations:
                inquiry.reasons[position] = msgspec.structs.replace(
                    one, citations=(*one.citations, clause.citation)
                )
            found = True
    return found


def _own_reason(clause: Clause) -> Reason:
    return Reason(
        code=clause.code,
        rule=clause.id,
        version=clause.version,
        source=clause.source,
        detail=clause.detail,
        remedy=clause.remedy,
    )
