"""Use case: give a grant, one link of the chain from a provider to a person."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.reach import models_of
from safeconduct.app.register_deployment import check_fallback
from safeconduct.app.scope import names_of, require_organisation, require_provider
from safeconduct.authorization.grant import check_parties, check_within, wider_than
from safeconduct.authorization.project import check_approver, check_purposes
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.ids import (
    GrantId,
    OrganisationId,
    ProviderId,
    SubjectId,
    VariantId,
    check_name,
    new_id,
)
from safeconduct.kernel.vocabulary import Condition, Purpose, Role, SubjectKind, Surface
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import GrantGiven
from safeconduct.record.state import State
from safeconduct.registry.model import variants_named


class GiveGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grantor is the caller's own provider or organisation; naming another one is refused.

    variants: model or variant names. duration: seconds from the approval, which is now; an organisation may leave it out
    for as long as the parent lasts. parent: may be left out when one live grant covers it. requested_by: who asked; the
    grantee when left out. fallback: a variant to ask when none of these answers, which the user must be granted as well.
    """

    variants: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    duration: int | None = None
    surfaces: tuple[Surface, ...] = (Surface.API, Surface.AGENT)
    regions: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    by_provider: str | None = None
    by_organisation: str | None = None
    to_organisation: str | None = None
    to_group: str | None = None
    to_subject: str | None = None
    parent: str | None = None
    requested_by: str = ""
    fallback: str | None = None


def give_grant(instance: Instance, caller: Caller, ask: GiveGrant) -> GrantGiven:
    """By the provider for its own variants, or by an organisation under a provider's grant to it.

    Raises Forbidden (another's grant, one's own request), InvalidInput, NotFound, Conflict (wider than its parent).
    """
    by_provider, by_organisation = ask.by_provider, ask.by_organisation
    if by_provider is None and by_organisation is None:
        if caller.role is Role.PROVIDER:
            by_provider = caller.provider
        elif caller.role is Role.ORGANISATION:
            by_organisation = caller.organisation
    check_parties(
        by_provider=by_provider,
        by_organisation=by_organisation,
        to_organisation=ask.to_organisation,
        to_group=ask.to_group,
        to_subject=ask.to_subject,
    )
    # Not even an operator: a provider's grant comes from the provider, an organisation's from the organisation.
    if by_provider is not None:
        require_provider(caller, ProviderId(by_provider))
    else:
        require_organisation(caller, OrganisationId(by_organisation or ""))
    check_purposes(ask.purposes)
    if not ask.variants:
        raise InvalidInput("it names no variant", field="variants")
    if not ask.surfaces:
        raise InvalidInput("it names no surface", field="surfaces")
    if ask.to_group is not None:
        check_name(ask.to_group, "to_group")
    if ask.duration is not None and ask.duration <= 0:
        raise InvalidInput("a duration is positive", field="duration")
    if by_provider is not None and ask.duration is None:
        raise InvalidInput("say how long it lasts", field="duration", remedy="give seconds from now")
    if by_provider is not None and ask.parent is not None:
        raise InvalidInput("a provider's grant is the first of its chain", field="parent")
    requested_by = ask.requested_by or ask.to_subject or ask.to_group or ask.to_organisation or ""
    check_approver(names_of(caller), (requested_by, ask.to_subject or ""), what="grant")
    now = instant(instance)
    event = GrantGiven(
        grant=GrantId(new_id("grant", instance.random)),
        by_provider=ProviderId(by_provider) if by_provider is not None else None,
        by_organisation=OrganisationId(by_organisation) if by_organisation is not None else None,
        to_organisation=OrganisationId(ask.to_organisation) if ask.to_organisation is not None else None,
        to_group=ask.to_group,
        to_subject=SubjectId(ask.to_subject) if ask.to_subject is not None else None,
        variants=(),
        purposes=tuple(sorted(set(ask.purposes))),
        surfaces=tuple(sorted(set(ask.surfaces))),
        regions=tuple(sorted(set(ask.regions))),
        valid_from=now,
        valid_until=now + ask.duration if ask.duration is not None else 0,
        approved_by=(caller.id,),
        requested_by=requested_by,
        parent=GrantId(ask.parent) if ask.parent is not None else None,
        conditions=tuple(sorted(set(ask.conditions))),
        fallback=VariantId(ask.fallback) if ask.fallback is not None else None,
    )
    given: list[GrantGiven] = []

    def check(state: State) -> list[Event]:
        grant = msgspec.structs.replace(event, variants=variants_named(ask.variants, models_of(state)))
        _check_grantee(state, grant)
        check_fallback(state, grant.fallback, grant.variants)
        grant = (
            _under_parent(state, grant, now, open_ended=ask.duration is None)
            if grant.by_organisation is not None
            else _by_provider(state, grant)
        )
        given[:] = [grant]
        return [grant]

    commit_checked(instance, check)
    return given[0]


def _check_grantee(state: State, grant: GrantGiven) -> None:
    if grant.to_organisation is not None and grant.to_organisation not in state.organisations:
        raise NotFound(f"there is no organisation {grant.to_organisation!r}", field="to_organisation")
    if grant.to_subject is None:
        return
    subject = state.subjects.get(grant.to_subject)
    if subject is None:
        raise NotFound(f"there is no subject {grant.to_subject!r}", field="to_subject")
    if subject.enrolled.kind is SubjectKind.AGENT:
        raise Conflict(
            f"{grant.to_subject!r} is an agent", field="to_subject", remedy="a mandate is an agent's grant"
        )
    belongs_to = subject.enrolled.organisation
    if grant.by_organisation is not None and belongs_to != grant.by_organisation:
        raise Forbidden(
            f"{grant.to_subject!r} does not belong to {grant.by_organisation!r}", field="to_subject"
        )
    if grant.by_provider is not None and belongs_to is not None:
        raise Conflict(
            f"{grant.to_subject!r} belongs to {belongs_to!r}",
            field="to_subject",
            remedy="grant to the organisation; it grants to its people",
        )


def _by_provider(state: State, grant: GrantGiven) -> GrantGiven:
    for variant in grant.variants:
        if state.variants[variant].provider != grant.by_provider:
            raise Forbidden(f"variant {variant!r} is another provider's", field="variants")
    return grant


def _under_parent(state: State, grant: GrantGiven, now: int, *, open_ended: bool) -> GrantGiven:
    """The grant with its parent found and its term cut to the parent's when it has none of its own."""
    if grant.parent is not None:
        known = state.grants.get(grant.parent)
        if known is None or known.given.to_organisation != grant.by_organisation:
            raise NotFound(f"there is no grant {grant.parent!r} to {grant.by_organisation!r}", field="parent")
        if known.ended_at is not None or now >= known.given.valid_until:
            raise Conflict(f"grant {grant.parent!r} has ended", field="parent")
        grant = _fit(grant, known.given, open_ended=open_ended)
        check_within(grant, known.given, grant.parent or "")
        return grant
    live = [
        entry.given
        for name in sorted(
            {
                name
                for variant in grant.variants
                for name in state.grants_to.get(("organisation", grant.by_organisation, variant), ())
            }
        )
        if (entry := state.grants[name]).ended_at is None and now < entry.given.valid_until
    ]
    if not live:
        raise Conflict(
            f"{grant.by_organisation!r} holds no grant of these variants",
            field="variants",
            remedy="ask the provider for one first",
        )
    for parent in live:
        fitted = _fit(grant, parent, open_ended=open_ended)
        if not wider_than(fitted, parent):
            return fitted
    nearest = min(
        live, key=lambda parent: len(wider_than(_fit(grant, parent, open_ended=open_ended), parent))
    )
    check_within(_fit(grant, nearest, open_ended=open_ended), nearest, nearest.grant)
    raise AssertionError("a grant that is not wider was taken above")


def _fit(grant: GrantGiven, parent: GrantGiven, *, open_ended: bool) -> GrantGiven:
    """Under that parent: what the asker left open is the parent's."""
    return msgspec.structs.replace(
        grant,
        parent=parent.grant,
        valid_until=parent.valid_until if open_ended else grant.valid_until,
        regions=grant.regions or parent.regions,
        conditions=tuple(sorted({*grant.conditions, *parent.conditions})),
    )
