"""Asks the policy packs about a question and joins their findings with the core's.

Owns the bridge: facts go in, clauses come back. Deny overrides: what a pack forbids is denied even where the core found
nothing; where both found it, the pack is cited in the core's reason. Refuses to let a pack permit anything.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import msgspec

from safeconduct.authorization.predicate import (
    DEFAULT_REGIME,
    CitizenshipIn,
    DeemedExportTo,
    IsUsPerson,
    LocationIn,
    Predicate,
    leaves,
)
from safeconduct.decision import rules
from safeconduct.decision.holder_checks import session_aal
from safeconduct.decision.inquiry import Inquiry
from safeconduct.decision.model_checks import closed_stage
from safeconduct.decision.order_checks import order_reason, unanswered_orders
from safeconduct.decision.response import Reason
from safeconduct.kernel.ids import DirectiveId
from safeconduct.kernel.vocabulary import Binding, DirectiveKind, Level, UsPerson
from safeconduct.passport.claims import Claims
from safeconduct.policy.selection import EAR_COUNTRY_GROUPS, Selection, selected
from safeconduct.policy.slices import Clause, PolicyFailed, Question, Slice, compile_slices, forbidding
from safeconduct.record.projections import DirectiveState
from safeconduct.record.state import State

_NONE: frozenset[str] = frozenset()
# Facts that few packs read: they are worked out only for those whose text names one.
_FURTHER = (
    "deemed_export_ear",
    "deemed_export_itar",
    "minimum_age",
    "age_over_18",
    "enclave_asked",
    "origin_attested",
    "deployment_attested",
)
# Members of an enumeration are looked up slowly on Python 3.11; these stand on the hot path.
_KEY = Binding.KEY
_C4 = Level.C4
_YES = UsPerson.YES
_LICENCE_REQUIRED = DirectiveKind.LICENCE_REQUIRED


class Plan(msgspec.Struct, frozen=True, eq=False):
    """What is run for one kind of question. packs: `pack@version`; cited: ids of those that read a directive.

    further: whether a pack runs that reads more than what is told of every question.
    """

    packs: tuple[str, ...]
    cited: tuple[str, ...]
    jurisdictions: frozenset[str]
    slices: tuple[Slice, ...]
    further: bool


@functools.lru_cache(maxsize=1024)
def _plan(  # noqa: PLR0917 - a cache's key, in order
    selection: Selection, closed: bool, cited: frozenset[str], age_limit: bool, enclave: bool, grouped: bool
) -> Plan:
    waited_for = {
        "closed_stage": closed,
        "age_limit": age_limit,
        "enclave": enclave,
        "country_groups": grouped,
    }
    running = tuple(
        pack
        for pack in selection.packs
        # A scope that this build does not know is taken for the widest.
        if (pack.pack in cited if pack.scope == "cited_order" else waited_for.get(pack.scope, True))
    )
    return Plan(
        packs=tuple(pack.name for pack in running),
        cited=tuple(pack.pack for pack in running if pack.scope == "cited_order"),
        jurisdictions=frozenset(pack.jurisdiction for pack in running if pack.jurisdiction),
        slices=compile_slices(tuple(pack.source for pack in running)) if running else (),
        further=any(fact in pack.source.policies for pack in running for fact in _FURTHER),
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
    registered = inquiry.deployment.registered if inquiry.deployment is not None else None
    enclave = inquiry.level >= _C4 or (registered is not None and registered.enclave is not None)
    minimum_age = inquiry.variant.registered.minimum_age
    grouped = bool(inquiry.state.country_groups)
    try:
        plan = _plan(selection, closed, cited, minimum_age is not None, enclave, grouped)
    except (PolicyFailed, ValueError) as error:
        inquiry.deny(rules.POLICY_FAILED, f"a policy cannot be run: {type(error).__name__}")
        return
    if not plan.packs:
        return
    inquiry.packs = plan.packs
    inquiry.jurisdictions.extend(plan.jurisdictions)
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
        False,
        tuple([regime for regime, value in claims.us_person if value == _YES]),
    )
    if plan.further:
        question = msgspec.structs.replace(
            question,
            deemed_export_ear=claims.deemed_export_under("ear"),
            deemed_export_itar=claims.deemed_export_under("itar"),
            minimum_age=minimum_age or 0,
            age_over_18=claims.age_over_18 is True,
            enclave_asked=enclave,
            # INVARIANT: no request brings an attestation that this build verified, so none is attested (check_enclave).
            origin_attested=False,
            deployment_attested=False,
        )
    if grouped:
        question = _with_geography(inquiry, question)
    try:
        _ask(inquiry, plan, question, _open_orders(inquiry, plan) if plan.cited else [])
    except (PolicyFailed, ValueError) as error:
        inquiry.deny(rules.POLICY_FAILED, f"a policy could not be evaluated: {type(error).__name__}")


def _with_geography(inquiry: Inquiry, question: Question) -> Question:
    """With location, nationality and seat, as the country groups see them."""
    state, location = inquiry.state, inquiry.request.location or ""
    countries = nationality_of(inquiry.claims)
    # Not disclosing the organisation must not hide where it has its seat.
    name = inquiry.organisation_id or inquiry.holder.enrolled.organisation
    organisation = state.organisations.get(name) if name is not None else None
    return msgspec.structs.replace(
        question,
        location=location,
        location_groups=country_groups_of(state, (location[:2],)),
        nationality_known=countries is not None,
        nationality_groups=country_groups_of(state, countries or ()),
        seat_groups=country_groups_of(state, (organisation.registered.country,))
        if organisation is not None
        else (),
    )


def nationality_of(claims: Claims) -> tuple[str, ...] | None:
    """The countries that count as a person's under the EAR: the derived claim where it was disclosed (15 CFR 734.13(b)), else
    every citizenship disclosed; None when neither was.
    """
    return claims.deemed_export_under("ear") or claims.citizenships


def country_groups_of(state: State, countries: Iterable[str]) -> tuple[str, ...]:
    """The groups that any of these countries (ISO 3166-1 alpha-2) is in, ordered, each once."""
    held = state.country_groups.get(EAR_COUNTRY_GROUPS)
    if held is None:
        return ()
    return tuple(sorted({group for country in countries for group in held.groups.get(country, ())}))


def _ask(inquiry: Inquiry, plan: Plan, question: Question, orders: list[DirectiveState]) -> None:
    """Ask every slice, once for each open order with that order's own facts: what two orders name is never mixed."""
    if not orders:
        for compiled in plan.slices:
            for clause in forbidding(compiled, question):
                _join(inquiry, clause, None)
        return
    for place, order in enumerate(orders):
        regimes, countries = _named(order.applies_to)
        asked = msgspec.structs.replace(
            question, order_open=True, order_regimes=regimes, order_countries=countries
        )
        for compiled in plan.slices:
            for clause in forbidding(compiled, asked):
                if clause.pack in plan.cited:
                    if clause.pack in order.imported.packs:
                        _join(inquiry, clause, order)
                elif place == 0:
                    _join(inquiry, clause, None)


@functools.lru_cache(maxsize=4096)
def _named(predicate: Predicate | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Regimes and countries that an order's predicate names: where it speaks of deemed exports, theirs alone.

    The usual regime when it names none.
    """
    found = list(leaves(predicate)) if predicate is not None else []
    deemed = [leaf for leaf in found if isinstance(leaf, DeemedExportTo)]
    if deemed:
        named = {country for leaf in deemed for country in leaf.countries}
        return tuple(sorted({leaf.regime for leaf in deemed})), tuple(sorted(named))
    regimes = {leaf.regime for leaf in found if isinstance(leaf, IsUsPerson)} or {DEFAULT_REGIME}
    countries = {
        country
        for leaf in found
        if isinstance(leaf, (CitizenshipIn, LocationIn))
        for country in leaf.countries
    }
    return tuple(sorted(regimes)), tuple(sorted(countries))


def _open_orders(inquiry: Inquiry, plan: Plan) -> list[DirectiveState]:
    """The licence requirements in force that cite a pack that runs and that nothing answers."""
    return [
        order
        for order in unanswered_orders(inquiry)
        if order.imported.kind is _LICENCE_REQUIRED and not set(plan.cited).isdisjoint(order.imported.packs)
    ]


def _join(inquiry: Inquiry, clause: Clause, order: DirectiveState | None) -> None:
    """Cite the pack in the core's reasons for the same code and order; where there is none, the pack denies by itself."""
    directive = order.imported.directive if order is not None else None
    if _cite(inquiry, clause, directive):
        return
    own = _own_reason(clause)
    if order is not None:
        withheld = order_reason(order, clause.code).withheld
        own = msgspec.structs.replace(own, directive=directive, withheld=withheld)
    inquiry.reasons.append(own)


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
