"""Use cases: set a quota, end one.

Owns who may limit whom: a provider its own models, an organisation its own people and projects, an operator everything here;
whoever gave a grant or licence what is used under it. Refuses to let anybody loosen another's quota: it has one owner.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.adopt_model import is_adopted, speaks_here
from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.authorization.quota import check_per, check_terms
from safeconduct.authorization.trust import may_act_for
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.ids import (
    GrantId,
    LicenceId,
    OrganisationId,
    ProjectId,
    QuotaId,
    SubjectId,
    VariantId,
    check_name,
    new_id,
)
from safeconduct.kernel.vocabulary import QuotaPer, QuotaUnit, QuotaWindow, Role
from safeconduct.record.events import Event
from safeconduct.record.events.quotas import QuotaEnded, QuotaSet
from safeconduct.record.state import State


class SetQuota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """limit: requests, tokens, or micro-units of the currency. seconds: the window's length.

    quota: its name; one is made when left out, an existing one of the caller's is replaced and keeps its counters as long as
    unit, window and what it is about stay the same.
    authorization: id of the grant or licence it belongs to. per: what gets a counter of its own.
    """

    unit: QuotaUnit
    limit: int
    seconds: int
    window: QuotaWindow = QuotaWindow.FIXED
    quota: str | None = None
    currency: str | None = None
    subject: str | None = None
    project: str | None = None
    organisation: str | None = None
    variant: str | None = None
    authorization: str | None = None
    per: tuple[QuotaPer, ...] = ()


_ROLES = (Role.OPERATOR, Role.PROVIDER, Role.ORGANISATION, Role.AUTHORITY)


def set_quota(instance: Instance, caller: Caller, ask: SetQuota) -> QuotaSet:
    """Raises Forbidden (another's people, models, grants or quota), InvalidInput, NotFound."""
    require_role(caller, *_ROLES)
    event = QuotaSet(
        quota=QuotaId(
            new_id("quota", instance.random) if ask.quota is None else check_name(ask.quota, "quota")
        ),
        party=caller.party,
        unit=ask.unit,
        limit=ask.limit,
        window=ask.window,
        seconds=ask.seconds,
        by=caller.id,
        at=instant(instance),
        currency=ask.currency,
        subject=SubjectId(ask.subject) if ask.subject is not None else None,
        project=ProjectId(ask.project) if ask.project is not None else None,
        organisation=OrganisationId(ask.organisation) if ask.organisation is not None else None,
        variant=VariantId(ask.variant) if ask.variant is not None else None,
        authorization=ask.authorization,
    )
    check_terms(event)
    event = msgspec.structs.replace(event, per=check_per(ask.per, event))

    def check(state: State) -> list[Event]:
        known = state.quotas.get(event.quota)
        if known is not None:
            _require_owner(caller, known)
        _check_names(state, event)
        _check_scope(state, caller, event)
        return [event]

    commit_checked(instance, check)
    return event


def end_quota(instance: Instance, caller: Caller, quota: str) -> QuotaEnded:
    """By whoever set it. Raises Forbidden, NotFound."""
    require_role(caller, *_ROLES)
    event = QuotaEnded(quota=QuotaId(quota), by=caller.id, at=instant(instance))

    def check(state: State) -> list[Event]:
        known = state.quotas.get(event.quota)
        if known is None or not may_see(state, caller, known):
            raise NotFound(f"there is no quota {quota[:100]!r}", field="quota")
        _require_owner(caller, known)
        return [event]

    commit_checked(instance, check)
    return event


def may_see(state: State, caller: Caller, quota: QuotaSet) -> bool:
    """Whether a caller is shown a quota: overseers all, others what they set and what limits their own."""
    if caller.role in (Role.OPERATOR, Role.AUDITOR, Role.ADJUDICATOR) or quota.party == caller.party:
        return True
    if caller.role is not Role.ORGANISATION:
        return False
    if quota.organisation == caller.organisation:
        return True
    grant = state.grants.get(GrantId(quota.authorization)) if quota.authorization is not None else None
    return grant is not None and grant.given.to_organisation == caller.organisation


def _require_owner(caller: Caller, quota: QuotaSet) -> None:
    if caller.party != quota.party:
        raise Forbidden(
            f"the quota {quota.quota!r} is {quota.party}'s",
            field="quota",
            remedy=f"ask {quota.party}, or set a tighter one under another name: a request must fit both",
        )


def _check_names(state: State, quota: QuotaSet) -> None:
    for field, value, known in (
        ("subject", quota.subject, state.subjects),
        ("project", quota.project, state.projects),
        ("organisation", quota.organisation, state.organisations),
        ("variant", quota.variant, state.variants),
    ):
        if value is not None and value not in known:
            raise NotFound(f"there is no {field} {value[:100]!r}", field=field)
    if quota.unit is QuotaUnit.MONEY and quota.variant is not None:
        metering = state.variants[quota.variant].metering
        price = metering.price if metering is not None else None
        if price is None:
            raise Conflict(
                f"{quota.variant!r} has no price, so nothing could be charged",
                field="variant",
                remedy="set its price first: safeconduct model price",
            )
        if price.currency != quota.currency:
            raise InvalidInput(f"its price is in {price.currency}", field="currency")


def _check_scope(state: State, caller: Caller, quota: QuotaSet) -> None:
    if quota.authorization is not None:
        _check_authorization(state, caller, quota.authorization)
        return
    if caller.role is Role.OPERATOR:
        return
    if caller.role is Role.PROVIDER:
        if quota.variant is None or state.variants[quota.variant].provider != caller.provider:
            raise Forbidden(
                "a provider limits the use of its own variants",
                field="variant",
                remedy="name one of yours, or a grant you gave",
            )
        return
    if caller.role is Role.ORGANISATION:
        if quota.organisation != caller.organisation:
            raise Forbidden(
                "an organisation limits its own people and projects",
                field="organisation",
                remedy=f"name {caller.organisation}, or a grant you gave",
            )
        return
    raise Forbidden(
        "an authority limits what is used under its licences", field="authorization", remedy="name a licence"
    )


def _check_authorization(state: State, caller: Caller, name: str) -> None:
    """Whoever gave it, and an operator for a provider that does not speak here. Raises Forbidden, NotFound."""
    grant = state.grants.get(GrantId(name))
    licence = state.licences.get(LicenceId(name))
    if grant is not None:
        given = grant.given
        if given.by_provider is not None:
            passed_on = not speaks_here(state, given.by_provider) and all(
                is_adopted(state.variants[variant]) for variant in given.variants
            )
            permitted = (caller.role is Role.PROVIDER and caller.provider == given.by_provider) or (
                passed_on and caller.role is Role.OPERATOR
            )
        else:
            permitted = caller.role is Role.ORGANISATION and caller.organisation == given.by_organisation
    elif licence is not None:
        permitted = caller.role is Role.AUTHORITY and may_act_for(
            caller.party, licence.given.authority, state.trust
        )
    else:
        raise NotFound(f"there is no grant or licence {name[:100]!r}", field="authorization")
    if not permitted:
        raise Forbidden(
            f"{name!r} is another's: its quota is set by whoever gave it",
            field="authorization",
            remedy="leave it out to limit your own, or ask whoever gave it",
        )
