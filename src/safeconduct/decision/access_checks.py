"""Checks of what was granted: project, purpose, the chain of grants, the chain of mandates.

Owns the intersection: every link of a chain must itself admit the question, so that a link wider than its parent gains
nothing. Refuses to infer a grant from anything but a grant.
"""

from __future__ import annotations

from typing import Final

import msgspec
from immutables import Map

from safeconduct.decision import rules
from safeconduct.decision.inquiry import Inquiry
from safeconduct.kernel.ids import GrantId, OrganisationId, ProviderId, VariantId
from safeconduct.kernel.vocabulary import (
    PROHIBITED_PURPOSES,
    Condition,
    Level,
    Purpose,
    SubjectKind,
    Surface,
)
from safeconduct.record.projections import GrantState, ProjectState

MAX_MANDATES: Final = 4
MAX_LINKS: Final = 4

# Members of an enumeration are looked up slowly on Python 3.11; these stand on the hot path.
_C3 = Level.C3
_AGENT = SubjectKind.AGENT
_ENCLAVE = Condition.ENCLAVE


def check_purpose(inquiry: Inquiry) -> None:
    """A purpose is declared and is not one that is never allowed."""
    purpose = inquiry.request.purpose
    if purpose is None:
        inquiry.deny(rules.PURPOSE, "no purpose was declared")
    elif purpose in PROHIBITED_PURPOSES:
        inquiry.deny(rules.PROHIBITED, f"the purpose {purpose.value} is prohibited")


def check_project(inquiry: Inquiry) -> None:
    """Need to know: an approved project of the holder, wherever the variant asks for one, and any project named is real."""
    request = inquiry.request
    if request.gateway_key is not None:
        key = inquiry.state.gateway_keys.get(request.gateway_key)
        if key is not None and key.registered.project not in (None, request.project):
            inquiry.deny(rules.PURPOSE, "the gateway key is bound to another project")
    if request.project is None:
        if inquiry.variant.needs_project or inquiry.level >= _C3:
            inquiry.deny(rules.NEED_TO_KNOW, "no project was named")
        return
    project = inquiry.state.projects.get(request.project)
    if project is None or not _is_member(inquiry, project):
        # One answer for both: who is not a member does not learn that the project exists.
        inquiry.deny(rules.NEED_TO_KNOW, "the project is not an approved project of this subject")
        return
    approved = project.approved
    ended = project.ended_at is not None and inquiry.has_ended(project.ended_at)
    if not inquiry.within(approved.valid_from, approved.valid_until) or ended:
        inquiry.deny(rules.NEED_TO_KNOW, "the project is not running")
    required = inquiry.variant.required_compartments
    for one in required:
        if one not in approved.compartments:
            missing = required.difference(approved.compartments)
            inquiry.deny(rules.NEED_TO_KNOW, f"the project is not approved for {', '.join(sorted(missing))}")
            break
    purpose = request.purpose
    if purpose not in approved.purposes and purpose is not None and purpose not in PROHIBITED_PURPOSES:
        inquiry.deny(rules.PURPOSE, f"the project is not approved for the purpose {purpose.value}")


def _is_member(inquiry: Inquiry, project: ProjectState) -> bool:
    approved, holder = project.approved, inquiry.request.holder
    if approved.organisation is None:
        return approved.owner == holder or (approved.owner is not None and holder in approved.members)
    if approved.organisation != inquiry.holder.enrolled.organisation:
        return False
    members = approved.members
    return not members or holder in members or approved.owner == holder


# How far a chain came, worst first: the best attempt explains a denial.
_BROKEN, _ENDED, _NARROW, _OTHER_PURPOSE = range(4)
_WHY: Final = (
    "no grant from the provider, through the organisation, to this subject or a group of theirs",
    "the grant, or one above it, has ended or has not begun",
    "the grant, or one above it, does not cover this surface or region",
)


class _Chain(msgspec.Struct, frozen=True):
    """A whole chain of grants as one link: from `since` until `until`, what every link of it admits.

    organisation: whom the provider granted to; None when the provider granted to the subject itself.
    """

    provider: ProviderId
    organisation: OrganisationId | None
    since: int
    until: int
    variants: frozenset[VariantId]
    surfaces: frozenset[Surface]
    purposes: frozenset[Purpose]
    grants: tuple[GrantId, ...]
    conditions: tuple[Condition, ...]


Grants = Map[GrantId, GrantState]
MAX_CHAINS: Final = 100_000


class _Resolved:
    """Chains by leaf, and the map they were made from. Maps never change, so identity tells whether they still hold."""

    __slots__ = ("entry",)

    def __init__(self) -> None:
        self.entry: tuple[Grants, dict[GrantId, _Chain | None]] = (Map(), {})


_resolved = _Resolved()


def _resolve(grants: Grants, leaf: GrantId) -> _Chain | None:
    """The chain above `leaf` as one link; None when it is broken, or when what it admits is not the same for everybody
    (a link that has ended, regions, an enclave): then `_follow` goes through it for the question at hand.
    """
    links: list[GrantState] = []
    current: GrantId | None = leaf
    while True:
        link = grants.get(current) if current is not None else None
        if link is None or len(links) >= MAX_LINKS:
            return None
        given = link.given
        if link.ended_at is not None or given.regions or _ENCLAVE in given.conditions:
            return None
        links.append(link)
        if given.by_provider is not None:
            break
        current = given.parent
    all_given = [link.given for link in links]
    organisation = None
    if len(links) > 1:
        organisation = all_given[0].by_organisation
        if organisation is None:
            return None
        if any(one.to_organisation != organisation for one in all_given[1:]):
            return None
        if any(one.by_organisation != organisation for one in all_given[:-1]):
            return None
    return _Chain(
        provider=given.by_provider,
        organisation=organisation,
        since=max(one.valid_from for one in all_given),
        until=min(one.valid_until for one in all_given),
        variants=frozenset.intersection(*(frozenset(one.variants) for one in all_given)),
        surfaces=frozenset.intersection(*(frozenset(one.surfaces) for one in all_given)),
        purposes=frozenset.intersection(*(frozenset(one.purposes) for one in all_given)),
        grants=tuple(one.grant for one in all_given),
        conditions=tuple(condition for one in all_given for condition in one.conditions),
    )


def _passes(inquiry: Inquiry, leaf: GrantId, organisation: OrganisationId | None) -> bool:
    """Whether the chain above `leaf`, resolved before, admits the question; notes it then. False decides nothing."""
    grants = inquiry.state.grants
    entry = _resolved.entry
    if entry[0] is not grants or len(entry[1]) > MAX_CHAINS:
        # One assignment: another thread sees the old entry or the new one, never half of it.
        _resolved.entry = entry = (grants, {})
    try:
        chain = entry[1][leaf]
    except KeyError:
        chain = entry[1][leaf] = _resolve(grants, leaf)
    request = inquiry.request
    if (
        chain is None
        or not chain.since <= inquiry.now < chain.until
        or chain.organisation != organisation
        or chain.provider != inquiry.variant.provider
        or request.variant not in chain.variants
        or request.purpose not in chain.purposes
        or request.surface not in chain.surfaces
    ):
        return False
    inquiry.until = min(inquiry.until, chain.until)
    inquiry.grants += chain.grants
    if chain.conditions:
        inquiry.obligations += [condition.value for condition in chain.conditions]
    return True


def check_grant(inquiry: Inquiry) -> None:
    """An unbroken chain: provider to organisation to subject or group, or provider to a subject without organisation."""
    request, index = inquiry.request, inquiry.state.grants_to
    variant = request.variant
    best = _BROKEN
    organisation = inquiry.holder.enrolled.organisation
    for grant in index.get(("subject", request.holder, variant), ()):
        if _passes(inquiry, grant, organisation):
            return
        reached = _follow(inquiry, grant)
        if reached is None:
            return
        best = max(best, reached)
    groups = inquiry.holder.groups
    for membership in sorted(groups) if groups else ():
        if membership[0] != organisation:
            continue
        for grant in index.get(("group", membership, variant), ()):
            if _passes(inquiry, grant, organisation):
                return
            reached = _follow(inquiry, grant)
            if reached is None:
                return
            best = max(best, reached)
    if best == _OTHER_PURPOSE:
        # An undeclared purpose has been said already.
        if request.purpose is not None and request.purpose not in PROHIBITED_PURPOSES:
            inquiry.deny(rules.PURPOSE, f"the grant does not cover the purpose {request.purpose.value}")
    else:
        inquiry.deny(rules.GRANT, _WHY[best])


def _follow(inquiry: Inquiry, leaf: GrantId) -> int | None:
    """None when the chain above `leaf` is whole and admits the question (and is then noted), else how far it came."""
    find, organisation = inquiry.state.grants.get, inquiry.holder.enrolled.organisation
    request, now = inquiry.request, inquiry.now
    variant, surface, purpose = request.variant, request.surface, request.purpose
    reached = _OTHER_PURPOSE
    admitted = True
    links: list[GrantState] = []
    current: GrantId | None = leaf
    while True:
        grant = find(current) if current is not None else None
        if grant is None or len(links) >= MAX_LINKS:
            return _BROKEN
        given = grant.given
        if links and given.to_organisation != organisation:
            # Above the leaf every link is to the organisation that granted further.
            return _BROKEN
        links.append(grant)
        if (
            grant.ended_at is None
            and given.valid_from <= now < given.valid_until
            and not given.regions
            and variant in given.variants
            and surface in given.surfaces
            and purpose in given.purposes
        ):
            # The usual case, without a call; `_admits` says the same.
            inquiry.until = min(inquiry.until, given.valid_until)
        elif (fit := _admits(inquiry, grant)) is not None:
            admitted = False
            reached = min(reached, fit)
        if given.by_provider is not None:
            if given.by_provider != inquiry.variant.provider:
                return _BROKEN
            if organisation is not None and len(links) == 1:
                # A provider reaches the members of an organisation only through it.
                return _BROKEN
            break
        if given.by_organisation is None or given.by_organisation != organisation:
            return _BROKEN
        current = given.parent
    if not admitted:
        return reached
    for grant in links:
        given = grant.given
        inquiry.grants.append(given.grant)
        for condition in given.conditions:
            if condition is _ENCLAVE:
                inquiry.deny(rules.ENCLAVE, "the grant is good inside an attested enclave only")
            inquiry.obligations.append(condition.value)
    return None


def _admits(inquiry: Inquiry, grant: GrantState) -> int | None:
    """None when this link admits the question, else why not."""
    given, request = grant.given, inquiry.request
    if grant.ended_at is not None and inquiry.has_ended(grant.ended_at):
        return _ENDED
    if not inquiry.within(given.valid_from, given.valid_until):
        return _ENDED
    if request.variant not in given.variants or request.surface not in given.surfaces:
        return _NARROW
    if given.regions and not _region_fits(inquiry, given.regions):
        return _NARROW
    return None if request.purpose in given.purposes else _OTHER_PURPOSE


def _region_fits(inquiry: Inquiry, regions: tuple[str, ...]) -> bool:
    if inquiry.deployment is not None:
        return inquiry.deployment.registered.region in regions
    # A dry run that names no deployment asks whether any would do.
    state = inquiry.state
    return any(
        state.deployments[deployment].registered.region in regions
        for deployment in state.deployments_of.get(inquiry.request.variant, ())
        if not inquiry.has_ended(state.deployments[deployment].retired_at)
    )


def check_delegation(inquiry: Inquiry) -> None:
    """The chain of mandates: registered, not revoked, in time, each within the one above, from the holder to who asks."""
    request = inquiry.request
    if not request.mandates:
        if request.kind is _AGENT or request.subject != request.holder:
            inquiry.deny(rules.DELEGATION, "no mandate ties this subject to a human")
        return
    if request.kind is not SubjectKind.AGENT:
        inquiry.deny(rules.DELEGATION, "only an agent acts under a mandate")
    if len(request.mandates) > MAX_MANDATES:
        inquiry.deny(
            rules.DELEGATION, f"the chain has {len(request.mandates)} links, {MAX_MANDATES} are allowed"
        )
        return
    agent = inquiry.state.subjects.get(request.subject)
    if agent is None or agent.enrolled.kind is not SubjectKind.AGENT:
        inquiry.deny(rules.DELEGATION, "the agent is not enrolled")
    elif agent.enrolled.accountable not in (None, request.holder):
        inquiry.deny(rules.DELEGATION, "another human is accountable for the agent")
    above = None
    principal = request.holder
    seen = {request.holder}
    for position, mandate in enumerate(request.mandates, start=1):
        held = inquiry.state.mandates.get(mandate)
        if held is None:
            inquiry.deny(rules.DELEGATION, f"mandate {position} of the chain is not registered")
            return
        link = held.registered
        if (
            link.principal != principal
            or link.parent != above
            or link.human != request.holder
            or link.passport != request.passport
            or link.depth != position
            or link.agent in seen
        ):
            inquiry.deny(rules.DELEGATION, f"mandate {position} does not continue the chain")
            return
        if held.revoked_at is not None:
            inquiry.deny(rules.DELEGATION, f"mandate {position} is revoked")
        if not inquiry.within(link.valid_from, link.valid_until):
            inquiry.deny(rules.DELEGATION, f"mandate {position} has expired or is not valid yet")
        if request.variant not in link.variants:
            inquiry.deny(rules.DELEGATION, f"mandate {position} does not cover the variant")
        if request.purpose not in link.purposes:
            inquiry.deny(rules.DELEGATION, f"mandate {position} does not cover the purpose")
        if request.surface not in link.surfaces:
            inquiry.deny(rules.DELEGATION, f"mandate {position} does not cover the surface")
        if link.project is not None and link.project != request.project:
            inquiry.deny(rules.DELEGATION, f"mandate {position} is for another project")
        principal, above = link.agent, mandate
        seen.add(link.agent)
    if principal != request.subject:
        inquiry.deny(rules.DELEGATION, "the last mandate is for another agent")
