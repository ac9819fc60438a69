"""State = fold of the record: what is authorised at a position of the record, immutable and indexed.

Owns the folding of events into maps by id, and the indexes that keep a decision flat from ten grants to a million. A
`State` never changes: `apply` returns another that shares nearly everything with it. Refuses to judge: an event that names
what the state does not know changes nothing, since use cases check before they commit and a fold must never stop.
Time is not here; whether something is in force is asked later, with a `now`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from immutables import Map

from safeconduct.kernel.ids import (
    CaseId,
    DeploymentId,
    DirectiveId,
    GrantId,
    KeyId,
    LicenceId,
    MandateId,
    ModelId,
    OrganisationId,
    PassportId,
    ProjectId,
    ProviderId,
    QuotaId,
    SubjectId,
    VariantId,
)
from safeconduct.record.events import Event
from safeconduct.record.events.cases import SubjectErased
from safeconduct.record.events.geography import CountryGroupsImported
from safeconduct.record.events.holders import MisuseSignalReceived
from safeconduct.record.events.ownership import OwnershipImported
from safeconduct.record.events.quotas import QuotaSet
from safeconduct.record.events.registrations import ModelRegistered, ProviderRegistered
from safeconduct.record.events.screening import ScreeningListPutInForce
from safeconduct.record.events.trust import InstanceInitialised
from safeconduct.record.fold import changes_of
from safeconduct.record.projections import (
    CaseRecorded,
    DeploymentState,
    DirectiveState,
    GatewayKeyState,
    GrantState,
    InstanceKey,
    LicenceState,
    MandateState,
    OrganisationState,
    OrgListState,
    PackState,
    PassportState,
    ProjectState,
    SubjectState,
    TrustedKey,
    VariantState,
)


class State(msgspec.Struct, frozen=True, eq=True):
    """The fold of the first `position` entries of the record.

    The first block is the things themselves by id. The second is indexes over them, never set by an event directly:
    ownership_files: by SHA-256, the files of edges and designations that were imported.
    country_groups: by regulation, the groups imported last.
    instance_keys: by kid, those that a rotation brought or ended; empty while every key is its first.
    grants_to: (`"subject"`, subject, variant), (`"group"`, (organisation, group), variant) or
    (`"organisation"`, organisation, variant) -> grants that name exactly that grantee and variant and have not ended.
    orders_on: variant -> directives that restrict it (licence_required, suspend, restrict_to_list), rescinded or not.
    licences_for: variant -> licences. by_lei, by_registry: exact identifiers of registered organisations.
    awaiting: identifier -> lists (`"list"`, id) and directives (`"directive"`, id) with a line that carries it.
    legal_holds: subject -> numbers of the matters for which nothing of theirs may be deleted.
    next_status_index: the next free entry of the status list.
    quotas_on: (`authorization | subject | project | organisation | variant`, id) or (`all`, "") -> quotas.
    """

    position: int = 0
    instance: InstanceInitialised | None = None
    instance_keys: Map[str, InstanceKey] = Map()
    trust: Map[str, TrustedKey] = Map()
    providers: Map[ProviderId, ProviderRegistered] = Map()
    models: Map[ModelId, ModelRegistered] = Map()
    variants: Map[VariantId, VariantState] = Map()
    deployments: Map[DeploymentId, DeploymentState] = Map()
    organisations: Map[OrganisationId, OrganisationState] = Map()
    subjects: Map[SubjectId, SubjectState] = Map()
    passports: Map[PassportId, PassportState] = Map()
    mandates: Map[MandateId, MandateState] = Map()
    gateway_keys: Map[KeyId, GatewayKeyState] = Map()
    projects: Map[ProjectId, ProjectState] = Map()
    grants: Map[GrantId, GrantState] = Map()
    licences: Map[LicenceId, LicenceState] = Map()
    org_lists: Map[str, OrgListState] = Map()
    directives: Map[DirectiveId, DirectiveState] = Map()
    packs: Map[str, tuple[PackState, ...]] = Map()
    misuse_signals: Map[tuple[str, str], MisuseSignalReceived] = Map()
    next_status_index: int = 0
    quotas: Map[QuotaId, QuotaSet] = Map()
    kyc_cases: Map[CaseId, CaseRecorded] = Map()
    legal_holds: Map[SubjectId, tuple[str, ...]] = Map()
    erased: Map[SubjectId, SubjectErased] = Map()
    screening_lists: Map[str, ScreeningListPutInForce] = Map()
    ownership_files: Map[str, OwnershipImported] = Map()
    country_groups: Map[str, CountryGroupsImported] = Map()

    deployments_of: Map[VariantId, tuple[DeploymentId, ...]] = Map()
    variants_of: Map[ModelId, tuple[VariantId, ...]] = Map()
    grants_to: Map[tuple[str, object, VariantId], tuple[GrantId, ...]] = Map()
    orders_on: Map[VariantId, tuple[DirectiveId, ...]] = Map()
    licences_for: Map[VariantId, tuple[LicenceId, ...]] = Map()
    by_lei: Map[str, OrganisationId] = Map()
    by_registry: Map[tuple[str, str], OrganisationId] = Map()
    awaiting: Map[object, frozenset[tuple[str, str]]] = Map()
    quotas_on: Map[tuple[str, str], tuple[QuotaId, ...]] = Map()

    @staticmethod
    def empty() -> State:
        """The state before the first entry."""
        return _EMPTY

    def apply(self, event: Event, position: int) -> State:
        """The state after `event`, `position` entries having been folded."""
        return msgspec.structs.replace(self, position=position, **changes_of(self, event))


_EMPTY = State()


def fold(events: Iterable[Event], state: State = _EMPTY) -> State:
    """Fold events in order on top of `state`; each is one entry of the record."""
    for event in events:
        state = state.apply(event, state.position + 1)
    return state
