"""Use case: records of the Global LEI Index reach the cases they belong to; a lapse, an end or a change calls for a refresh.

Owns what each does to an organisation that is verified: a lapsed number leaves it verified for a month, an ended one not at all,
a renewed one asks for a new look. An older file never replaces a newer one. The index's files are not signed, so an operator
hands them in and an adjudicator decides.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.organisation_cases import CHANGING, all_cases, keep_case
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.identity.lei_record import LeiRecord, LeiStanding, same_name
from safeconduct.identity.organisation import check_lei
from safeconduct.identity.organisation_case import (
    LAPSE_GRACE,
    LeiLookup,
    OrganisationCase,
    OrganisationCaseState,
)
from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events import Event
from safeconduct.record.events.holders import OrganisationStandingChanged
from safeconduct.record.state import State

MAX_RECORDS = 5_000
_HELD = (OrganisationCaseState.APPROVED, OrganisationCaseState.REFRESH_DUE)


class ImportLeiRecords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """file: SHA-256 (hex) of the golden copy. published: when it was, seconds. records: those of our organisations.

    absent: LEIs that were looked for and are not in it.
    """

    file: str
    published: int
    records: tuple[LeiRecord, ...]
    absent: tuple[str, ...] = ()


class LeiImported(msgspec.Struct, frozen=True):
    """matched: organisations whose record was kept. refresh: organisation -> why it needs a refresh."""

    matched: tuple[str, ...]
    refresh: dict[str, str]


def import_lei_records(instance: Instance, caller: Caller, ask: ImportLeiRecords) -> LeiImported:
    """Keep each record with its case, and act on what it says. Raises Forbidden, InvalidInput, LogUnavailable."""
    require_role(caller, Role.OPERATOR)
    now = instant(instance)
    if len(ask.records) > MAX_RECORDS or len(ask.absent) > MAX_RECORDS:
        raise InvalidInput(
            f"more than {MAX_RECORDS} at once", field="records", remedy="hand them in in parts"
        )
    if len(ask.file) != 64 or not set(ask.file) <= set("0123456789abcdef"):
        raise InvalidInput("not a SHA-256 in lower-case hexadecimal", field="file")
    if not 0 < ask.published <= now:
        raise InvalidInput("published in the future, or never", field="published")
    by_lei: dict[str, LeiRecord] = {}
    for place, record in enumerate(ask.records):
        if check_lei(record.lei, f"records[{place}].lei") in by_lei:
            raise InvalidInput("stands twice", field=f"records[{place}].lei")
        by_lei[record.lei] = record
    matched: list[str] = []
    refresh: dict[str, str] = {}
    with CHANGING:
        for case in all_cases(instance):
            lei, known = case.application.lei, case.lei_lookup
            if lei is None or (known is not None and known.at > ask.published):
                continue
            if lei in by_lei:
                why = _why(case, by_lei[lei])
                lookup = LeiLookup(record=by_lei[lei], file=ask.file, at=ask.published)
                changed = msgspec.structs.replace(case, lei_lookup=lookup)
                until = _until(by_lei[lei], ask.published)
                matched.append(case.application.organisation)
            elif lei in ask.absent:
                why, changed, until = "the LEI is not in the index", case, 0
            else:
                continue
            if why and (case.state in _HELD or _verified_by(instance, case)):
                refresh[case.application.organisation] = why
                changed = _refreshed(changed, why, until, now)
                _shorten(instance, case, until)
            keep_case(instance, changed)
    return LeiImported(matched=tuple(matched), refresh=refresh)


def _why(case: OrganisationCase, record: LeiRecord) -> str:
    """What calls for a refresh, or "" when the record still says what the approval rests on."""
    if record.standing is not LeiStanding.GOOD:
        return f"the LEI is {record.standing} ({record.status}, entity {record.entity})"
    if not same_name(record.legal_name, case.application.legal_name):
        return "the LEI's record has another legal name"
    if record.country != case.application.country:
        return f"the LEI's record has another country ({record.country})"
    return ""


def _until(record: LeiRecord, published: int) -> int:
    """Until when an organisation stays verified at the latest, once its record calls for a refresh."""
    if record.standing is LeiStanding.ENDED:
        return 0
    # A change of name or country, or a lapse: time for a refresh.
    return published + LAPSE_GRACE


def _refreshed(case: OrganisationCase, why: str, until: int, now: int) -> OrganisationCase:
    state = case.state
    if state in _HELD:
        state = OrganisationCaseState.EXPIRED if until == 0 else OrganisationCaseState.REFRESH_DUE
    note = f"{format_instant(now)} {why}"
    notes = case.notes if case.notes and case.notes[-1].endswith(why) else (*case.notes, note)
    return msgspec.structs.replace(case, state=state, notes=notes[-100:])


def _verified_by(instance: Instance, case: OrganisationCase) -> bool:
    """True when the record matches the organisation by this very LEI: a number that is only claimed costs nobody anything.

    Asked beside the case's state: an application submitted again must not be a way round a lapse.
    """
    known = instance.record.state.organisations.get(case.application.organisation)
    return known is not None and known.registered.lei == case.application.lei


def _shorten(instance: Instance, case: OrganisationCase, until: int) -> None:
    """End the organisation's verification by then. Never prolongs, and lifts nothing."""
    name = case.application.organisation

    def check(state: State) -> list[Event]:
        known = state.organisations.get(name)
        standing = known.standing if known is not None else None
        if known is None or standing is None or known.registered.lei != case.application.lei:
            return []
        if standing.verified_until <= until:
            return []
        shorter: OrganisationStandingChanged = msgspec.structs.replace(standing, verified_until=until)
        return [shorter]

    if check(instance.record.state):
        commit_checked(instance, check)
