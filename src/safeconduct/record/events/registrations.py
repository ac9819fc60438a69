"""Events about providers, models, variants, deployments and how far a variant is released."""

from __future__ import annotations

import msgspec

from safeconduct.kernel.ids import DeploymentId, ModelId, OrganisationId, ProviderId, VariantId
from safeconduct.kernel.vocabulary import Compartment, FindingDomain, Level, Severity, Stage, Standing, Wire


class ProviderRegistered(msgspec.Struct, frozen=True, tag="provider_registered", tag_field="type"):
    """A lab or cloud that offers models; `organisation` is its own."""

    provider: ProviderId
    organisation: OrganisationId
    jurisdiction: str


class ModelRegistered(msgspec.Struct, frozen=True, tag="model_registered", tag_field="type"):
    """A model: the weights. What is called is one of its variants."""

    model: ModelId
    provider: ProviderId


class VariantRegistered(msgspec.Struct, frozen=True, tag="variant_registered", tag_field="type"):
    """Weights with their safeguards, under the name that callers use.

    level, compartments: what the provider asks for beyond what the findings demand.
    terms: id of the terms that must be signed, or None. minimum_age: 18 or None.
    """

    variant: VariantId
    model: ModelId
    level: Level
    compartments: tuple[Compartment, ...]
    safeguards: tuple[str, ...] = ()
    terms: str | None = None
    minimum_age: int | None = None


class DeploymentRegistered(msgspec.Struct, frozen=True, tag="deployment_registered", tag_field="type"):
    """Where a variant runs. The upstream's credential is not here: it is kept encrypted, by deployment id.

    kind: `openai | anthropic | openai-compatible | sandbox`. upstream_model: the name the upstream knows it by.
    fallback: a variant to ask when no deployment of this one answers. concurrency: requests under way at once, from each
    gateway process; None leaves it to the gateway.
    """

    deployment: DeploymentId
    variant: VariantId
    kind: str
    base_url: str
    upstream_model: str
    wires: tuple[Wire, ...]
    region: str
    jurisdiction: str
    enclave: str | None = None
    certifications: tuple[str, ...] = ()
    fallback: VariantId | None = None
    concurrency: int | None = None


class DeploymentRetired(msgspec.Struct, frozen=True, tag="deployment_retired", tag_field="type"):
    """A deployment is no longer used."""

    deployment: DeploymentId
    at: int


class DeploymentCredentialReplaced(
    msgspec.Struct, frozen=True, tag="deployment_credential_replaced", tag_field="type"
):
    """A deployment's upstream credential gave way to another. Neither is here: gateways read the new one from the vault."""

    deployment: DeploymentId
    by: str
    at: int


class CertificationRecorded(msgspec.Struct, frozen=True, tag="certification_recorded", tag_field="type"):
    """A certification of a deployment (FedRAMP High, IL5 ...); evidence is a SHA-256 (hex)."""

    deployment: DeploymentId
    scheme: str
    level: str
    valid_from: int
    valid_until: int
    evidence: str


class FindingRecorded(msgspec.Struct, frozen=True, tag="finding_recorded", tag_field="type"):
    """A finding on a variant, raw in the lab's scheme and normalised."""

    variant: VariantId
    domain: FindingDomain
    scheme: str
    raw: str
    normalised: Severity
    cannot_rule_out: bool
    evidence: str


class StageChanged(msgspec.Struct, frozen=True, tag="stage_changed", tag_field="type"):
    """A variant moved to a release stage. `org_list` is the list a closed stage admits."""

    variant: VariantId
    stage: Stage
    org_list: str | None
    by: str
    at: int


class StandingChanged(msgspec.Struct, frozen=True, tag="standing_changed", tag_field="type"):
    """Suspended, restored to a cohort (an OrgList), withdrawn, recalled, retired, or active again."""

    variant: VariantId
    standing: Standing
    cohort: str | None
    cause: str
    by: str
    at: int
