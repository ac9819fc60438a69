"""Folds events about providers, models, variants and deployments.

Owns what the findings on a variant demand of those who use it. Refuses to check that a stage may follow another: the use
case does, before it commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from safeconduct.kernel.ids import ProviderId
from safeconduct.kernel.vocabulary import Compartment, Level, Stage, Standing
from safeconduct.record.events.registrations import (
    CertificationRecorded,
    DeploymentCredentialReplaced,
    DeploymentRegistered,
    DeploymentRetired,
    FindingRecorded,
    ModelRegistered,
    ProviderRegistered,
    StageChanged,
    StandingChanged,
    VariantRegistered,
)
from safeconduct.record.projections import DeploymentState, VariantState
from safeconduct.registry.finding import demand

if TYPE_CHECKING:
    from safeconduct.record.state import State


def demanded(
    registered: VariantRegistered, findings: Iterable[FindingRecorded]
) -> tuple[Level, frozenset[Compartment], bool]:
    """Level, compartments and whether a project is needed: the registry's rule, on the record's events."""
    asked = demand(findings, registered.level, registered.compartments)
    return asked.level, asked.compartments, asked.needs_project


def _provider(state: State, event: ProviderRegistered) -> dict[str, Any]:
    return {"providers": state.providers.set(event.provider, event)}


def _model(state: State, event: ModelRegistered) -> dict[str, Any]:
    # A model cannot move to another provider: its grants rest on the first.
    return {} if event.model in state.models else {"models": state.models.set(event.model, event)}


def _variant(state: State, event: VariantRegistered) -> dict[str, Any]:
    known = state.variants.get(event.variant)
    if known is not None and known.registered.model != event.model:
        return {}
    model = state.models.get(event.model)
    findings = known.findings if known is not None else ()
    level, compartments, project = demanded(event, findings)
    entry = VariantState(
        registered=event,
        provider=model.provider if model is not None else ProviderId(""),
        findings=findings,
        stage=known.stage if known is not None else Stage.INTERNAL,
        org_list=known.org_list if known is not None else None,
        standing=known.standing if known is not None else Standing.ACTIVE,
        cohort=known.cohort if known is not None else None,
        required_level=level,
        required_compartments=compartments,
        needs_project=project,
        metering=known.metering if known is not None else None,
    )
    changes: dict[str, Any] = {"variants": state.variants.set(event.variant, entry)}
    siblings = state.variants_of.get(event.model, ())
    if event.variant not in siblings:
        changes["variants_of"] = state.variants_of.set(event.model, (*siblings, event.variant))
    return changes


def _finding(state: State, event: FindingRecorded) -> dict[str, Any]:
    known = state.variants.get(event.variant)
    if known is None:
        return {}
    # A later finding of the same scheme on the same domain replaces the earlier one.
    kept = tuple(one for one in known.findings if (one.domain, one.scheme) != (event.domain, event.scheme))
    findings = (*kept, event)
    level, compartments, project = demanded(known.registered, findings)
    entry = msgspec.structs.replace(
        known,
        findings=findings,
        required_level=level,
        required_compartments=compartments,
        needs_project=project,
    )
    return {"variants": state.variants.set(event.variant, entry)}


def _stage(state: State, event: StageChanged) -> dict[str, Any]:
    known = state.variants.get(event.variant)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, stage=event.stage, org_list=event.org_list)
    return {"variants": state.variants.set(event.variant, entry)}


def _standing(state: State, event: StandingChanged) -> dict[str, Any]:
    known = state.variants.get(event.variant)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, standing=event.standing, cohort=event.cohort)
    return {"variants": state.variants.set(event.variant, entry)}


def _deployment(state: State, event: DeploymentRegistered) -> dict[str, Any]:
    known = state.deployments.get(event.deployment)
    if known is not None and known.registered.variant != event.variant:
        return {}
    certifications = known.certifications if known is not None else ()
    entry = DeploymentState(registered=event, certifications=certifications)
    siblings = state.deployments_of.get(event.variant, ())
    return {
        "deployments": state.deployments.set(event.deployment, entry),
        "deployments_of": state.deployments_of.set(
            event.variant, (*(one for one in siblings if one != event.deployment), event.deployment)
        ),
    }


def _retired(state: State, event: DeploymentRetired) -> dict[str, Any]:
    known = state.deployments.get(event.deployment)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, retired_at=event.at)
    return {"deployments": state.deployments.set(event.deployment, entry)}


def _certification(state: State, event: CertificationRecorded) -> dict[str, Any]:
    known = state.deployments.get(event.deployment)
    if known is None:
        return {}
    kept = tuple(
        one for one in known.certifications if (one.scheme, one.level) != (event.scheme, event.level)
    )
    entry = msgspec.structs.replace(known, certifications=(*kept, event))
    return {"deployments": state.deployments.set(event.deployment, entry)}


def _credential_replaced(_state: State, _event: DeploymentCredentialReplaced) -> dict[str, Any]:
    # What is stored is not the state's; the event is what tells every gateway to read it again.
    return {}


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {
    ProviderRegistered: _provider,
    ModelRegistered: _model,
    VariantRegistered: _variant,
    FindingRecorded: _finding,
    StageChanged: _stage,
    StandingChanged: _standing,
    DeploymentRegistered: _deployment,
    DeploymentRetired: _retired,
    CertificationRecorded: _certification,
    DeploymentCredentialReplaced: _credential_replaced,
}
