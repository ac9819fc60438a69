"""Use cases: register where a variant runs, with the upstream's credential kept in the vault; retire it."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from safeconduct.app.commit import commit_checked, instant, is_production
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_provider
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound
from safeconduct.kernel.ids import DeploymentId, VariantId, check_name
from safeconduct.kernel.vocabulary import Wire
from safeconduct.record.events import Event
from safeconduct.record.events.registrations import (
    CertificationRecorded,
    DeploymentCredentialReplaced,
    DeploymentRegistered,
    DeploymentRetired,
)
from safeconduct.record.state import State
from safeconduct.registry.deployment import KINDS, check_concurrency, check_deployment
from safeconduct.registry.provider import check_jurisdiction

CREDENTIAL_KIND = "upstream-credential"


class Certified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certification of a deployment; evidence is a SHA-256 (hex)."""

    scheme: str
    level: str
    valid_from: int
    valid_until: int
    evidence: str


class RegisterDeployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """credential: what the upstream asks for; kept encrypted, never echoed. wires: those of the kind when left out.

    fallback: a variant to ask when no deployment answers. concurrency: requests under way at once, from each process.
    """

    deployment: str
    variant: str
    kind: str
    base_url: str
    upstream_model: str
    region: str
    jurisdiction: str
    wires: tuple[Wire, ...] = ()
    enclave: str | None = None
    certifications: tuple[Certified, ...] = ()
    credential: str = ""
    fallback: str | None = None
    concurrency: int | None = None

    def __repr__(self) -> str:
        return f"<RegisterDeployment {self.deployment} of {self.variant}>"


def register_deployment(instance: Instance, caller: Caller, ask: RegisterDeployment) -> DeploymentRegistered:
    """By the variant's provider, or an operator. Raises Forbidden, InvalidInput, NotFound, Conflict,
    UnsafeConfiguration (a sandbox in production).
    """
    event, certified = described(instance, ask)

    def check(state: State) -> list[Event]:
        _require_provider_of(state, caller, event.variant)
        check_unused(state, event.deployment)
        check_fallback(state, event.fallback, (event.variant,))
        return [event, *certified]

    check(instance.record.state)
    keep_credential(instance, event.deployment, ask.credential)
    commit_checked(instance, check)
    return event


def described(
    instance: Instance, ask: RegisterDeployment
) -> tuple[DeploymentRegistered, tuple[CertificationRecorded, ...]]:
    """The events of a deployment, all that needs no state being checked. Raises InvalidInput, UnsafeConfiguration."""
    wires = ask.wires or tuple(sorted(KINDS.get(ask.kind, ())))
    check_deployment(ask.kind, ask.base_url, wires, production=is_production(instance))
    for field in ("upstream_model", "region"):
        if not getattr(ask, field).strip():
            raise InvalidInput("it is empty", field=field)
    check_credential(ask.credential)
    event = DeploymentRegistered(
        deployment=DeploymentId(check_name(ask.deployment, "deployment")),
        variant=VariantId(ask.variant),
        kind=ask.kind,
        base_url=ask.base_url.rstrip("/"),
        upstream_model=ask.upstream_model,
        wires=wires,
        region=ask.region,
        jurisdiction=check_jurisdiction(ask.jurisdiction),
        enclave=ask.enclave,
        certifications=tuple(f"{one.scheme} {one.level}" for one in ask.certifications),
        fallback=VariantId(ask.fallback) if ask.fallback is not None else None,
        concurrency=check_concurrency(ask.concurrency),
    )
    certified = tuple(
        CertificationRecorded(
            deployment=event.deployment,
            scheme=one.scheme,
            level=one.level,
            valid_from=one.valid_from,
            valid_until=one.valid_until,
            evidence=one.evidence,
        )
        for one in ask.certifications
    )
    return event, certified


def check_credential(credential: str) -> None:
    """Refuse what could not stand in a header. Raises InvalidInput."""
    if any(character <= " " or character > "~" for character in credential):
        # It becomes a header of every upstream request: a line break in it would be a header of the attacker's.
        raise InvalidInput(
            "not visible ASCII", field="credential", remedy="give the key as the provider issued it"
        )


def check_unused(state: State, deployment: DeploymentId) -> None:
    """Refuse a deployment's name that is taken: its credential would be replaced. Raises Conflict."""
    if deployment in state.deployments:
        raise Conflict(f"deployment {deployment!r} is registered already", field="deployment")


def check_fallback(state: State, fallback: VariantId | None, variants: Collection[VariantId]) -> None:
    """A fallback is another variant that there is. Raises NotFound, InvalidInput."""
    if fallback is None:
        return
    if fallback not in state.variants:
        raise NotFound(f"there is no variant {fallback[:100]!r}", field="fallback")
    if fallback in variants:
        raise InvalidInput("a variant is no fallback of itself", field="fallback", remedy="name another one")


def keep_credential(instance: Instance, deployment: DeploymentId, credential: str) -> None:
    """Put the upstream's credential into the vault, when there is one.

    Before the commit, so that no gateway ever sees a deployment without its credential.
    """
    if credential:
        instance.vault.put(
            CREDENTIAL_KIND, deployment, f"deployment:{deployment}", credential.encode("ascii")
        )


class ReplaceCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """credential: what the upstream asks for from now on; kept encrypted, never echoed."""

    credential: str

    def __repr__(self) -> str:
        return "<ReplaceCredential>"


def replace_credential(
    instance: Instance, caller: Caller, deployment: str, ask: ReplaceCredential
) -> DeploymentCredentialReplaced:
    """By the variant's provider, or an operator. Requests under way keep the old one; the next ones carry the new one.

    Raises Forbidden, InvalidInput, NotFound, Conflict (a retired deployment).
    """
    check_credential(ask.credential)
    if not ask.credential:
        raise InvalidInput("it is empty", field="credential", remedy="retire the deployment to end its use")
    event = DeploymentCredentialReplaced(
        deployment=DeploymentId(deployment), by=caller.id, at=instant(instance)
    )

    def check(state: State) -> list[Event]:
        known = state.deployments.get(event.deployment)
        if known is None:
            raise NotFound(f"there is no deployment {deployment!r}", field="deployment")
        _require_provider_of(state, caller, known.registered.variant)
        if known.retired_at is not None:
            raise Conflict(f"deployment {deployment!r} is retired", field="deployment")
        return [event]

    check(instance.record.state)
    # Before the commit, which is what makes gateways read it. Until then they use the old one from memory.
    keep_credential(instance, event.deployment, ask.credential)
    commit_checked(instance, check)
    return event


def retire_deployment(instance: Instance, caller: Caller, deployment: str) -> DeploymentRetired:
    """By the variant's provider, or an operator; its credential is destroyed. Raises Forbidden, NotFound, Conflict."""
    event = DeploymentRetired(deployment=DeploymentId(deployment), at=instant(instance))

    def check(state: State) -> list[Event]:
        known = state.deployments.get(event.deployment)
        if known is None:
            raise NotFound(f"there is no deployment {deployment!r}", field="deployment")
        _require_provider_of(state, caller, known.registered.variant)
        if known.retired_at is not None:
            raise Conflict(f"deployment {deployment!r} is retired already", field="deployment")
        return [event]

    commit_checked(instance, check)
    instance.vault.delete(CREDENTIAL_KIND, event.deployment)
    return event


def _require_provider_of(state: State, caller: Caller, variant: VariantId) -> None:
    known = state.variants.get(variant)
    if known is None:
        raise NotFound(f"there is no variant {variant!r}", field="variant", remedy="register its model first")
    require_provider(caller, known.provider, operators=True)
