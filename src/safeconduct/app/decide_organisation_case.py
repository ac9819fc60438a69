"""Use case: an adjudicator approves, rejects or returns an organisation's case. An approval needs every sentence met.

Refuses whoever submitted it, and whoever is tied to the organisation. What was rejected stays what the record says of it: a
rejection is no finding against the organisation.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import instant
from safeconduct.app.organisation_cases import CHANGING, check_recordable, keep_case, load_case, record_case
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import names_of, require_role
from safeconduct.identity.organisation_case import (
    Decided,
    OrganisationCase,
    OrganisationCaseState,
    RegistryLookup,
    requirements,
)
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput
from safeconduct.kernel.vocabulary import Role

_OPEN = (OrganisationCaseState.SUBMITTED, OrganisationCaseState.REFRESH_DUE)
_ENDS = (
    OrganisationCaseState.APPROVED,
    OrganisationCaseState.REJECTED,
    OrganisationCaseState.RETURNED_WITHOUT_ACTION,
)


class DecideOrganisationCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """outcome: approved, rejected or returned_without_action. registry_lookup: what the decider found in the register."""

    outcome: OrganisationCaseState
    rationale: str
    registry_lookup: RegistryLookup | None = None


def decide_organisation_case(
    instance: Instance, caller: Caller, organisation: str, ask: DecideOrganisationCase
) -> OrganisationCase:
    """Decide. Raises Forbidden, NotFound, InvalidInput, Conflict naming each sentence that an approval misses."""
    require_role(caller, Role.ADJUDICATOR)
    if ask.outcome not in _ENDS:
        raise InvalidInput(f"{ask.outcome} is not decided", field="outcome", remedy=f"use {', '.join(_ENDS)}")
    if not ask.rationale.strip() or len(ask.rationale) > 1_000:
        raise InvalidInput("say why, in up to 1,000 characters", field="rationale")
    now = instant(instance)
    with CHANGING:
        case = load_case(instance, organisation)
        if case.submitted_by in names_of(caller):
            raise Forbidden("nobody approves their own request", field="organisation")
        if caller.organisation == organisation:
            raise Forbidden("an adjudicator tied to the organisation is kept out", field="organisation")
        if case.state not in _OPEN:
            raise Conflict(
                f"the case is {case.state}", field="organisation", remedy="have it submitted again"
            )
        lookup = ask.registry_lookup
        if lookup is not None:
            if lookup.at > now:
                raise InvalidInput("looked up in the future", field="registry_lookup.at")
            case = msgspec.structs.replace(case, registry_lookup=lookup)
        decided = msgspec.structs.replace(
            case,
            state=ask.outcome,
            decisions=(
                *case.decisions,
                Decided(by=caller.id, at=now, state=ask.outcome, rationale=ask.rationale),
            ),
        )
        if ask.outcome is OrganisationCaseState.APPROVED:
            missing = [each.sentence for each in requirements(case) if not each.met]
            if missing:
                raise Conflict(
                    "; ".join(missing),
                    field="outcome",
                    remedy="have it completed, or return it without action",
                )
            check_recordable(instance, decided, now=now)
            # The record first: a case that says approved before the record does would lie after a crash.
            record_case(instance, decided, now=now)
        keep_case(instance, decided)
    return decided
