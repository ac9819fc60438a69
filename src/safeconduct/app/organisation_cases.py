"""Organisations' cases in the vault, and how one reaches the record. Part of several use cases.

Owns that what the record says of an organisation is computed from its case by `assess_organisation`, and that an approval
leaves alone what a case does not hold: screening, a suspension, a link to a provider or parent.
"""

from __future__ import annotations

import threading

import msgspec

from safeconduct.app.assess_organisation import assess_organisation
from safeconduct.app.commit import commit_checked
from safeconduct.app.ports import Caller, Instance
from safeconduct.identity.organisation_case import OrganisationCase, evidence_of
from safeconduct.identity.screening.result import ScreenedList, ScreeningResult
from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.errors import Forbidden, NotFound
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events import Event
from safeconduct.record.state import State

_KIND = "organisation-case"
CHANGING = threading.RLock()
"""Held over reading a case and writing it back: two at once could both see it undecided."""


def load_case(instance: Instance, organisation: str) -> OrganisationCase:
    """The case of an organisation. Raises NotFound."""
    found = instance.vault.get(_KIND, organisation)
    if found is None:
        raise NotFound(
            f"organisation {organisation!r} has no case", field="organisation", remedy="submit an application"
        )
    return msgspec.json.decode(found, type=OrganisationCase)


def find_case(instance: Instance, organisation: str) -> OrganisationCase | None:
    """The case, or None."""
    try:
        return load_case(instance, organisation)
    except NotFound:
        return None


def all_cases(instance: Instance) -> list[OrganisationCase]:
    """Every case, ordered by organisation."""
    found = [find_case(instance, name) for name in instance.vault.names(_KIND)]
    return [case for case in found if case is not None]


def keep_case(instance: Instance, case: OrganisationCase) -> None:
    """Store or replace a case, durable on return."""
    name = case.application.organisation
    instance.vault.put(_KIND, name, f"organisation:{name}", msgspec.json.encode(case))


def require_own(caller: Caller, organisation: str) -> None:
    """An organisation speaks for itself only. Raises Forbidden."""
    if caller.role is Role.ORGANISATION and caller.organisation != organisation:
        raise Forbidden("an organisation's own case only", field="organisation")


def record_case(instance: Instance, case: OrganisationCase, *, now: int) -> tuple[Event, ...]:
    """Bring the record in line with an approved case. Raises Conflict, LogUnavailable."""
    digest = sha256_hex(msgspec.json.encode(case))

    def check(state: State) -> list[Event]:
        return _events(case, digest, state, now)

    return commit_checked(instance, check)


def check_recordable(instance: Instance, case: OrganisationCase, *, now: int) -> None:
    """Raises Conflict when an identifier of the case is another organisation's."""
    _events(case, "", instance.record.state, now)


def _events(case: OrganisationCase, digest: str, state: State, now: int) -> list[Event]:
    evidence = evidence_of(case)
    known = state.organisations.get(OrganisationId(case.application.organisation))
    if known is not None:
        standing = known.standing
        evidence = msgspec.structs.replace(
            evidence,
            provider=known.registered.provider,
            parent=known.registered.parent,
            screening=None
            if standing is None or not standing.list_digests
            else ScreeningResult(
                result=standing.screening,
                lists=tuple(ScreenedList("as recorded", each) for each in standing.list_digests),
                at=standing.screened_at,
            ),
        )
    events, _ = assess_organisation(evidence, document=digest, state=state, now=now)
    return events
