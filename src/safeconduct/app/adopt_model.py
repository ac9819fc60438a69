"""Use case: adopt a model that its provider released to the public elsewhere, so that people here can use it.

The operator is the customer here: it holds the upstream's contract and key. Owns the whole step from nothing to a granted
model, in one commit. Refuses whatever a provider of this instance, or an order, has a say in (RFD 6): nobody admits
themselves to a lab's model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from safeconduct.app.commit import commit_checked, instant, is_production
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.register_deployment import (
    RegisterDeployment,
    check_fallback,
    check_unused,
    described,
    keep_credential,
)
from safeconduct.app.register_model import RegisterModel, VariantOffer, registrations
from safeconduct.app.scope import names_of, require_role
from safeconduct.authorization.project import check_approver, check_purposes
from safeconduct.kernel.canonical import canonical_json
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.ids import (
    DeploymentId,
    DirectiveId,
    GrantId,
    ModelId,
    OrganisationId,
    ProviderId,
    VariantId,
    new_id,
)
from safeconduct.kernel.vocabulary import (
    PROHIBITED_PURPOSES,
    FindingDomain,
    Level,
    Purpose,
    Role,
    Screening,
    Severity,
    Stage,
    Standing,
    Surface,
)
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import GrantGiven
from safeconduct.record.events.registrations import (
    DeploymentRegistered,
    FindingRecorded,
    ProviderRegistered,
    StageChanged,
)
from safeconduct.record.projections import VariantState
from safeconduct.record.state import State
from safeconduct.registry.price import Price
from safeconduct.registry.provider import check_jurisdiction, check_provider
from safeconduct.registry.release import adopted

# The scheme of the finding that marks an adopted variant.
ADOPTED_SCHEME = "adopted"
STATEMENT = "adopted as released by its provider; not assessed here"
TERM = 365 * 86_400
# A customer's contract is for its own use: passing the model on is asked for by name.
ADOPTED_PURPOSES = tuple(sorted(frozenset(Purpose) - PROHIBITED_PURPOSES - {Purpose.RESALE}))


class AdoptModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """variant: the name callers use. organisation: the provider's own, registered; its name when left out.

    level: what it asks of users, C1 when left out; an adopted variant keeps what was declared. model: the weights' name.
    deployment: a free name is chosen when left out. credential: the operator's key at the upstream, kept encrypted.
    grant_to: organisations that get it; left out, every verified one in a development profile. duration: seconds.
    price, max_output_tokens: of a variant that is new here. fallback, concurrency: of the deployment.
    """

    variant: str
    provider: str
    kind: str
    base_url: str
    upstream_model: str
    jurisdiction: str
    region: str = "global"
    level: Level | None = None
    organisation: str | None = None
    model: str | None = None
    deployment: str | None = None
    credential: str = ""
    grant_to: tuple[str, ...] | None = None
    purposes: tuple[Purpose, ...] = ADOPTED_PURPOSES
    duration: int = TERM
    price: Price | None = None
    max_output_tokens: int | None = None
    fallback: str | None = None
    concurrency: int | None = None

    def __repr__(self) -> str:
        return f"<AdoptModel {self.variant} of {self.provider}>"


class AdoptedModel(msgspec.Struct, frozen=True):
    """deployment: where it runs, a new one or the one that stood already. grants: those given now. events: what was written."""

    variant: VariantId
    deployment: DeploymentId
    grants: tuple[GrantGiven, ...]
    events: tuple[Event, ...]


def adopt_model(instance: Instance, caller: Caller, ask: AdoptModel) -> AdoptedModel:
    """By an operator. A variant adopted before gains the deployment, when it is another one, and the grants.

    Raises Forbidden (the provider speaks here itself, the provider's own organisation as grantee), InvalidInput, NotFound,
    Conflict (an order in force, a name in use), UnsafeConfiguration.
    """
    require_role(caller, Role.OPERATOR)
    provider = check_provider(ask.provider)
    jurisdiction = check_jurisdiction(ask.jurisdiction)
    check_purposes(ask.purposes)
    if ask.duration <= 0:
        raise InvalidInput("a duration is positive", field="duration")
    if ask.grant_to is None and is_production(instance):
        raise InvalidInput(
            "say which organisations get it", field="grant_to", remedy="name one or more organisations"
        )
    check_approver(names_of(caller), ask.grant_to or (), what="grant")
    now = instant(instance)
    variant = VariantId(ask.variant)
    name = ask.deployment or _free_name(instance.record.state, variant)
    # Certifications are the provider's to claim: an adopted deployment has none.
    upstream, _ = described(
        instance,
        RegisterDeployment(
            deployment=name,
            variant=variant,
            kind=ask.kind,
            base_url=ask.base_url,
            upstream_model=ask.upstream_model,
            region=ask.region,
            jurisdiction=jurisdiction,
            credential=ask.credential,
            fallback=ask.fallback,
            concurrency=ask.concurrency,
        ),
    )
    grant_ids = _Ids(instance)

    def check(state: State) -> list[Event]:
        stage = adopted(
            provider=provider,
            speaks_here=speaks_here(state, provider),
            orders=_orders_on_it(state, ask, upstream, now),
        )
        events = _provider(state, provider, ask.organisation or provider, jurisdiction)
        known = state.variants.get(variant)
        if known is None:
            events += _as_released(state, provider, ask, upstream, stage, by=caller.id, now=now)
        else:
            _check_adopted(known, provider, ask)
        _check_upstream(state, variant, upstream)
        if _standing_deployment(state, upstream) is None:
            check_unused(state, upstream.deployment)
            check_fallback(state, upstream.fallback, (variant,))
            events.append(upstream)
        own = _own_organisations(state, provider, ask.organisation or provider)
        events += [
            GrantGiven(
                grant=grant_ids.of(organisation),
                by_provider=provider,
                by_organisation=None,
                to_organisation=organisation,
                to_group=None,
                to_subject=None,
                variants=(variant,),
                purposes=tuple(sorted(set(ask.purposes))),
                surfaces=tuple(sorted((Surface.API, Surface.AGENT))),
                regions=(),
                valid_from=now,
                valid_until=now + ask.duration,
                approved_by=(caller.id,),
                requested_by=organisation,
            )
            for organisation in _grantees(state, ask.grant_to, own, variant, now)
        ]
        if not events:
            raise Conflict(
                "it is adopted, deployed and granted already", field="variant", remedy="nothing is left to do"
            )
        return events

    if any(isinstance(event, DeploymentRegistered) for event in check(instance.record.state)):
        keep_credential(instance, upstream.deployment, ask.credential)
    events = commit_checked(instance, check)
    stands = _standing_deployment(instance.record.state, upstream)
    return AdoptedModel(
        variant=variant,
        deployment=stands or upstream.deployment,
        grants=tuple(event for event in events if isinstance(event, GrantGiven)),
        events=events,
    )


class _Ids:
    """One grant id an organisation, the same in every attempt to commit."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._given: dict[str, GrantId] = {}

    def of(self, organisation: str) -> GrantId:
        if organisation not in self._given:
            self._given[organisation] = GrantId(new_id("grant", self._instance.random))
        return self._given[organisation]


def speaks_here(state: State, provider: ProviderId) -> bool:
    """Whether the provider has or ever had a role key: one that was revoked or ran out is still a provider of this instance."""
    role = f"role:{Role.PROVIDER}"
    return any(
        entry.added.provider == provider and role in entry.added.may_sign for entry in state.trust.values()
    )


def is_adopted(known: VariantState) -> bool:
    """Whether the variant came in by adoption."""
    return known.stage is Stage.GENERAL and any(one.scheme == ADOPTED_SCHEME for one in known.findings)


def _free_name(state: State, variant: VariantId) -> str:
    return next(
        name for place in range(1, 100_000) if (name := f"{variant}-{place}") not in state.deployments
    )


def _orders_on_it(
    state: State, ask: AdoptModel, upstream: DeploymentRegistered, now: int
) -> set[DirectiveId]:
    """Orders in force, or to come, on the variant, another variant of its model or the same upstream under another name."""
    known = state.variants.get(upstream.variant)
    model = known.registered.model if known is not None else _model_name(ask)
    named = {upstream.variant, *state.variants_of.get(model, ()), *_same_upstream(state, upstream)}
    return {
        order
        for variant in named
        for order in state.orders_on.get(variant, ())
        if _in_force(state, order, now)
    }


def _in_force(state: State, order: DirectiveId, now: int) -> bool:
    entry = state.directives[order]
    return all(end is None or now < end for end in (entry.rescinded_from, entry.imported.effective_until))


def _model_name(ask: AdoptModel) -> ModelId:
    return ModelId(ask.model or f"{ask.variant}-weights")


def _same_upstream(state: State, upstream: DeploymentRegistered) -> set[VariantId]:
    """Variants that are, or were, served from the same host under the same name."""
    host = urlsplit(upstream.base_url).hostname
    return {
        one.registered.variant
        for one in state.deployments.values()
        if one.registered.upstream_model.casefold() == upstream.upstream_model.casefold()
        and urlsplit(one.registered.base_url).hostname == host
    }


def _check_upstream(state: State, variant: VariantId, upstream: DeploymentRegistered) -> None:
    """Refuse another provider's model under a new name. Raises Forbidden."""
    for other in sorted(_same_upstream(state, upstream) - {variant}):
        owner = state.variants[other].provider
        if speaks_here(state, owner):
            raise Forbidden(
                f"that upstream serves {other!r}, which provider {owner!r} releases here itself",
                field="upstream_model",
                remedy=f"ask whoever holds the role key of provider:{owner} for a grant",
            )


def _provider(state: State, provider: ProviderId, organisation: str, jurisdiction: str) -> list[Event]:
    if provider in state.providers:
        return []
    if organisation not in state.organisations:
        raise NotFound(
            f"there is no organisation {organisation!r}",
            field="organisation",
            remedy="import the evidence of the provider's own organisation first",
        )
    return [
        ProviderRegistered(
            provider=provider, organisation=OrganisationId(organisation), jurisdiction=jurisdiction
        )
    ]


def _as_released(
    state: State,
    provider: ProviderId,
    ask: AdoptModel,
    upstream: DeploymentRegistered,
    stage: Stage,
    *,
    by: str,
    now: int,
) -> list[Event]:
    level = Level.C1 if ask.level is None else ask.level
    offer = VariantOffer(
        variant=ask.variant, level=level, price=ask.price, max_output_tokens=ask.max_output_tokens
    )
    declared = {
        "statement": STATEMENT,
        "provider": provider,
        "variant": ask.variant,
        "level": level.name,
        "kind": upstream.kind,
        "base_url": upstream.base_url,
        "upstream_model": upstream.upstream_model,
    }
    return [
        *registrations(
            state, provider, RegisterModel(model=_model_name(ask), variants=(offer,)), by=by, at=now
        ),
        FindingRecorded(
            variant=upstream.variant,
            domain=FindingDomain.MAN,
            scheme=ADOPTED_SCHEME,
            raw=STATEMENT,
            # The lowest there is: it raises nothing, and a finding can only raise what is declared.
            normalised=Severity.BELOW,
            cannot_rule_out=False,
            evidence=hashlib.sha256(canonical_json(declared)).hexdigest(),
        ),
        StageChanged(variant=upstream.variant, stage=stage, org_list=None, by=by, at=now),
    ]


def _check_adopted(known: VariantState, provider: ProviderId, ask: AdoptModel) -> None:
    if known.provider != provider:
        raise Conflict(
            f"{ask.variant!r} is a model of {known.provider!r}",
            field="variant",
            remedy="choose another name",
        )
    if not is_adopted(known):
        raise Conflict(
            f"{ask.variant!r} is registered and not adopted: its stage is {known.stage.value}",
            field="variant",
            remedy="its provider releases it, or choose another name",
        )
    if known.standing is not Standing.ACTIVE:
        raise Conflict(f"{ask.variant!r} is {known.standing.value}", field="variant")
    if ask.level is not None and ask.level is not known.registered.level:
        raise Conflict(
            f"it was adopted at {known.registered.level.name}",
            field="level",
            remedy="leave it out; a finding raises what it asks for",
        )
    if ask.price is not None or ask.max_output_tokens is not None:
        raise Conflict(
            "it was adopted before", field="price", remedy="change it with: safeconduct model price"
        )
    if ask.model is not None and ask.model != known.registered.model:
        raise Conflict(f"it is a variant of {known.registered.model!r}", field="model")


def _standing_deployment(state: State, upstream: DeploymentRegistered) -> DeploymentId | None:
    """The live deployment of the variant at that very upstream, if there is one."""
    for name in state.deployments_of.get(upstream.variant, ()):
        entry = state.deployments[name]
        same = msgspec.structs.replace(upstream, deployment=name, certifications=())
        if entry.retired_at is None and entry.registered == same:
            return name
    return None


def _own_organisations(state: State, provider: ProviderId, home: str) -> frozenset[str]:
    """The organisations whose people count as the provider's own."""
    registered = state.providers.get(provider)
    return frozenset(
        {home if registered is None else registered.organisation}
        | {name for name, entry in state.organisations.items() if entry.registered.provider == provider}
    )


def _grantees(
    state: State, asked: Iterable[str] | None, own: frozenset[str], variant: VariantId, now: int
) -> list[OrganisationId]:
    """Whom to grant it: those named, or every verified organisation that has no live grant of it yet."""
    if asked is None:
        return [
            name
            for name, entry in sorted(state.organisations.items())
            if name not in own
            and entry.standing is not None
            and not entry.standing.suspended
            and now < entry.standing.verified_until
            and entry.standing.screening is Screening.CLEAR
            and not _has_live_grant(state, name, variant, now)
        ]
    for place, name in enumerate(asked):
        if name not in state.organisations:
            raise NotFound(f"there is no organisation {name[:100]!r}", field=f"grant_to[{place}]")
        if name in own:
            raise Forbidden(
                f"{name!r} is the provider's own organisation, which releases its models itself",
                field=f"grant_to[{place}]",
                remedy="have two officers add a role key of the provider",
            )
    return [OrganisationId(name) for name in dict.fromkeys(asked)]


def _has_live_grant(state: State, organisation: OrganisationId, variant: VariantId, now: int) -> bool:
    return any(
        (entry := state.grants[name]).given.by_provider is not None
        and entry.ended_at is None
        and now < entry.given.valid_until
        for name in state.grants_to.get(("organisation", organisation, variant), ())
    )
