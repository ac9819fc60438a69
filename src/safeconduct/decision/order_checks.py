"""Checks of what authorities ordered: directives in force, their amendments and rescissions, and licences.

Owns how orders combine: denials add up; a `partially_authorise` adds its exceptions to the directives and variants it names;
a `rescind` ends those it names; neither reaches anything else. Refuses to read silence as consent: an unknown fact leaves
an order applying, and exempts nobody.
"""

from __future__ import annotations

from typing import Final

from immutables import Map

from safeconduct.authorization.predicate import (
    DEFAULT_REGIME,
    FALSE,
    TRUE,
    UNKNOWN,
    OrganisationIn,
    Predicate,
    evaluate,
    leaves,
    nationality_unknown,
)
from safeconduct.decision import rules
from safeconduct.decision.inquiry import Inquiry
from safeconduct.decision.response import Reason
from safeconduct.kernel.ids import OrganisationId, VariantId
from safeconduct.kernel.vocabulary import Code, Condition, DirectiveKind, UsPerson, Visibility
from safeconduct.record.projections import DirectiveState, LicenceState

_LICENCE_REQUIRED = DirectiveKind.LICENCE_REQUIRED
_CODE: Final = {
    DirectiveKind.LICENCE_REQUIRED: Code.LICENCE_MISSING,
    DirectiveKind.SUSPEND: Code.DIRECTIVE,
    DirectiveKind.RESTRICT_TO_LIST: Code.ORG_NOT_LISTED,
}
_DETAIL: Final = {
    Code.LICENCE_MISSING: "a licence is required and none covers this subject",
    Code.DIRECTIVE: "use is suspended by an order",
    Code.ORG_NOT_LISTED: "the order admits listed organisations only, and this one is not among them",
    Code.NATIONALITY_UNDECLARED: "the order turns on nationality, and none was declared or disclosed",
}
_REMEDY: Final = {
    Code.LICENCE_MISSING: "apply to the authority for a licence, or have the organisation put on its annex",
    Code.DIRECTIVE: "wait until the order ends; its authority is named here",
    Code.ORG_NOT_LISTED: "ask the authority to list the organisation by its LEI or register number",
    Code.NATIONALITY_UNDECLARED: "disclose the derived claim `us_person` (and citizenship or `deemed_export`, where asked) from your passport",
}

Annexes = Map[str, frozenset[OrganisationId]]


def is_in_force(inquiry: Inquiry, order: DirectiveState, variant: VariantId) -> bool:
    """Whether an order is in force for a variant now: in its time, and not rescinded for that variant.

    A rescission counts while it is itself in force. Directives name earlier ones only, so this ends.
    """
    imported = order.imported
    if not inquiry.within(imported.effective_from, imported.effective_until):
        return False
    for rescission in order.rescinded_by:
        ending = inquiry.state.directives[rescission]
        named = ending.imported.variants
        if (not named or variant in named) and is_in_force(inquiry, ending, variant):
            return False
    return True


def check_orders(inquiry: Inquiry) -> None:
    """Every restricting order on the variant: who it applies to, whom it exempts, who has a licence."""
    variant = inquiry.request.variant
    names = inquiry.state.orders_on.get(variant)
    if not names:
        return
    directives = inquiry.state.directives
    for name in names:
        order = directives[name]
        if not is_in_force(inquiry, order, variant):
            continue
        inquiry.jurisdictions.append(order.imported.jurisdiction)
        inquiry.working_orders.append(order)
        _check_order(inquiry, order, variant)


def _check_order(inquiry: Inquiry, order: DirectiveState, variant: VariantId) -> None:
    facts, find_list = inquiry.facts, inquiry.members_of
    applies = (
        UNKNOWN if order.applies_to is None else evaluate(order.applies_to, facts, order.annexes, find_list)
    )
    if applies == FALSE:
        inquiry.other_orders.append(order)
        return
    exempt, listing = _exemption(inquiry, order, variant)
    kind = order.imported.kind
    if exempt or (kind is _LICENCE_REQUIRED and _is_licensed(inquiry, order, variant)):
        return
    inquiry.open_orders.append(order)
    code = _CODE[kind]
    _deny(inquiry, order, code)
    undecided = order.applies_to if applies == UNKNOWN else None
    if (undecided is not None and nationality_unknown(undecided, facts)) or any(
        nationality_unknown(one, facts) and evaluate(one, facts, annexes, find_list) == UNKNOWN
        for one, annexes in listing
    ):
        _deny(inquiry, order, Code.NATIONALITY_UNDECLARED)
    if code is not Code.ORG_NOT_LISTED and _is_outside_every_annex(inquiry, listing):
        _deny(inquiry, order, Code.ORG_NOT_LISTED)


def unanswered_orders(inquiry: Inquiry) -> list[DirectiveState]:
    """Every order in force that neither an exception nor a licence answers for this person, whether or not it concerns
    them: a pack may read more people into an order than its predicate does.
    """
    variant = inquiry.request.variant
    found = list(inquiry.open_orders)
    for order in inquiry.other_orders:
        if _exemption(inquiry, order, variant)[0]:
            continue
        if order.imported.kind is _LICENCE_REQUIRED and _licence_for(inquiry, order, variant) is not None:
            continue
        found.append(order)
    return found


def _exemption(
    inquiry: Inquiry, order: DirectiveState, variant: VariantId
) -> tuple[bool, list[tuple[Predicate, Annexes]]]:
    """Whether an exception of the order as amended definitely holds, and all its exceptions with their annexes."""
    if not order.exceptions and not order.amended_by:
        return False, []
    facts, find_list = inquiry.facts, inquiry.members_of
    exempt = any(
        evaluate(exception, facts, order.annexes, find_list) == TRUE for exception in order.exceptions
    )
    listing: list[tuple[Predicate, Annexes]] = [(one, order.annexes) for one in order.exceptions]
    for name in order.amended_by:
        amendment = inquiry.state.directives[name]
        if variant not in amendment.imported.variants or not is_in_force(inquiry, amendment, variant):
            continue
        inquiry.jurisdictions.append(amendment.imported.jurisdiction)
        listing += [(one, amendment.annexes) for one in amendment.exceptions]
        if exempt or amendment.applies_to is None:
            continue
        # An amendment exempts through its exceptions, and only those whom it speaks of at all.
        if evaluate(amendment.applies_to, facts, amendment.annexes, find_list) == FALSE:
            continue
        exempt = any(
            evaluate(exception, facts, amendment.annexes, find_list) == TRUE
            for exception in amendment.exceptions
        )
    return exempt, listing


def _is_outside_every_annex(inquiry: Inquiry, listing: list[tuple[Predicate, Annexes]]) -> bool:
    """True when exceptions name annexes or lists, and the organisation is in none of them."""
    places = [
        (leaf, annexes)
        for exception, annexes in listing
        for leaf in leaves(exception)
        if isinstance(leaf, OrganisationIn)
    ]
    return bool(places) and all(
        evaluate(leaf, inquiry.facts, annexes, inquiry.members_of) != TRUE for leaf, annexes in places
    )


def order_reason(order: DirectiveState, code: Code) -> Reason:
    """The reason that an order gives."""
    imported = order.imported
    return Reason(
        code=code,
        rule=imported.directive,
        version=str(imported.version),
        source=imported.legal_source,
        detail=_DETAIL[code],
        remedy=_REMEDY[code],
        directive=imported.directive,
        withheld=imported.visibility is not Visibility.PUBLIC,
    )


def _deny(inquiry: Inquiry, order: DirectiveState, code: Code) -> None:
    inquiry.reasons.append(order_reason(order, code))


def _is_licensed(inquiry: Inquiry, order: DirectiveState, variant: VariantId) -> bool:
    licence = _licence_for(inquiry, order, variant)
    if licence is None:
        return False
    inquiry.grants.append(licence.given.licence)
    for condition in licence.given.conditions:
        if condition is Condition.ENCLAVE:
            inquiry.deny(rules.ENCLAVE, "the licence is good inside an attested enclave only")
        inquiry.obligations.append(condition.value)
    return True


def _licence_for(inquiry: Inquiry, order: DirectiveState, variant: VariantId) -> LicenceState | None:
    for name in inquiry.state.licences_for.get(variant, ()):
        licence = inquiry.state.licences[name]
        if _covers(inquiry, licence, order):
            return licence
    return None


def _covers(inquiry: Inquiry, licence: LicenceState, order: DirectiveState) -> bool:
    """A licence answers an order of its own authority and jurisdiction, for those and that which it names."""
    given, request = licence.given, inquiry.request
    if given.authority != order.imported.authority or given.jurisdiction != order.imported.jurisdiction:
        return False
    if given.annex or given.subjects:
        named = inquiry.organisation_id is not None and inquiry.organisation_id in given.annex
        if not named and request.holder not in given.subjects:
            return False
    if given.person_classes and not any(_is_of_class(inquiry, name) for name in given.person_classes):
        return False
    if given.purposes and request.purpose not in given.purposes:
        return False
    if given.regions and (
        inquiry.deployment is None or inquiry.deployment.registered.region not in given.regions
    ):
        return False
    return inquiry.within(given.valid_from, given.valid_until) and not inquiry.has_ended(licence.ended_at)


def _is_of_class(inquiry: Inquiry, name: str) -> bool:
    """Whether the holder definitely belongs to a class of persons; a class unknown to this build contains nobody."""
    if name == "employee_of_provider":
        return inquiry.is_of_provider
    status = inquiry.claims.us_person_for(DEFAULT_REGIME)
    if name == "us_person":
        return status == UsPerson.YES
    return name == "foreign_national" and status == UsPerson.NO
