"""What screening found of organisations, who cleared what of it, and how it reaches the record.

Owns the file that is kept per organisation. A match is recorded as part of its standing, so all of its people are denied at once as
`ACCESS_RESTRICTED`; verification and everything else stay as they are.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.clear_screening_match import check_rationale, cleared_pair, open_hit
from safeconduct.app.commit import commit_checked
from safeconduct.app.kyc_desk import KycDesk, reviewer_of
from safeconduct.app.ports import Caller, Instance, StoredDocument
from safeconduct.app.screen_party import ListScreener
from safeconduct.identity.screening.party import (
    ClearedPair,
    PartyScreening,
    ScreenedParty,
    open_hits,
    standing_result,
)
from safeconduct.identity.screening.score import Band
from safeconduct.kernel.errors import Conflict, Forbidden, NotFound
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.vocabulary import Screening
from safeconduct.record.events import Event
from safeconduct.record.events.holders import OrganisationRegistered, OrganisationStandingChanged
from safeconduct.record.state import State

_KIND = "organisation-screening"
_STOPPING = (Screening.MATCH, Screening.POSSIBLE)


class OrganisationScreening(msgspec.Struct, frozen=True):
    """The last screening and every pair that was ever cleared. version: rises with each change."""

    organisation: str
    screening: PartyScreening
    cleared: tuple[ClearedPair, ...] = ()
    version: int = 1


class ClearOrganisationMatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """list, entry: which hit; may be left out when one is open. version: of the screening as the reviewer saw it."""

    version: int
    rationale: str
    list: str | None = None
    entry: str | None = None


def screened_organisation(registered: OrganisationRegistered) -> ScreenedParty:
    """Who is searched for: the legal name, with country and numbers."""
    numbers = [("lei", registered.lei)] if registered.lei is not None else []
    if registered.registry is not None:
        numbers.append((registered.registry.authority, registered.registry.number))
    return ScreenedParty((registered.legal_name,), None, (registered.country,), tuple(numbers))


def load_screening(
    instance: Instance, organisation: str
) -> tuple[OrganisationScreening | None, bytes | None]:
    """What is kept of an organisation, and its bytes."""
    data = instance.vault.get(_KIND, organisation)
    return (msgspec.json.decode(data, type=OrganisationScreening) if data is not None else None), data


def _keep(instance: Instance, found: OrganisationScreening, before: bytes | None) -> None:
    document = StoredDocument(
        _KIND, found.organisation, f"organisation:{found.organisation}", msgspec.json.encode(found)
    )
    instance.vault.exchange([document], expect={(_KIND, found.organisation): before})


def rescreen_organisation(
    desk: KycDesk, lists: ListScreener, organisation: str, *, now: int
) -> tuple[int, bool]:
    """Screen it again because a list changed; how many hits are open that were not, and whether it was stopped.

    Raises LogUnavailable, Conflict (somebody else wrote meanwhile).
    """
    held = desk.instance.record.state.organisations.get(OrganisationId(organisation))
    if held is None:
        return 0, False
    known, data = load_screening(desk.instance, organisation)
    found = lists.screen_as(screened_organisation(held.registered), "organisation", now=now, list_change=True)
    cleared = known.cleared if known is not None else ()
    before = {(one.pair, one.entry_sha256) for one in open_hits(known.screening, cleared)} if known else set()
    still = open_hits(found, cleared)
    after = {(one.pair, one.entry_sha256) for one in still}
    if after == before:
        return 0, False
    kept = OrganisationScreening(organisation, found, cleared, known.version + 1 if known is not None else 1)
    _keep(desk.instance, kept, data)
    stops = desk.suspends(still)
    if stops:
        _record(desk, kept)
    return len(after - before), stops


def _record(desk: KycDesk, kept: OrganisationScreening) -> None:
    counts = standing_result(kept.screening, kept.cleared)
    stops = desk.suspends(open_hits(kept.screening, kept.cleared))

    def check(state: State) -> list[Event]:
        held = state.organisations.get(OrganisationId(kept.organisation))
        if held is None or (held.standing is None and not stops):
            return []
        # One that was never verified may have people below C2: for them the finding counts all the same.
        standing = held.standing or OrganisationStandingChanged(
            organisation=held.registered.organisation,
            verified_until=0,
            screening=Screening.NONE,
            screened_at=0,
            list_digests=(),
            evidence=kept.screening.party_sha256,
        )
        if counts.result is not Screening.CLEAR and standing.screening not in _STOPPING and not stops:
            return []
        changed = msgspec.structs.replace(
            standing,
            screening=counts.result,
            screened_at=counts.at,
            list_digests=counts.digests(),
        )
        return [] if changed == held.standing else [changed]

    commit_checked(desk.instance, check)


def _check_reviewer(caller: Caller, desk: KycDesk, organisation: str) -> bool:
    reviewer = reviewer_of(desk, caller)
    if reviewer.organisation == organisation:
        raise Forbidden(
            "tied to the organisation",
            field="reviewer",
            remedy="let somebody without a stake in it work on it",
        )
    return reviewer.adjudicator


def show_organisation_matches(desk: KycDesk, caller: Caller, organisation: str) -> dict[str, object]:
    """What is open and what was cleared. By analysts and adjudicators not tied to it. Raises Forbidden, NotFound."""
    _check_reviewer(caller, desk, organisation)
    known, _ = load_screening(desk.instance, organisation)
    if known is None:
        raise NotFound("no list has named it", field="organisation")
    return _shown(known)


def screen_organisation_again(desk: KycDesk, caller: Caller, organisation: str) -> dict[str, object]:
    """Screen an organisation against the lists in force now, and bring the record in line with it.

    Raises Forbidden, NotFound, Conflict (no lists, or none that could clear it).
    """
    _check_reviewer(caller, desk, organisation)
    held = desk.instance.record.state.organisations.get(OrganisationId(organisation))
    if held is None:
        raise NotFound(f"there is no organisation {organisation[:60]!r}", field="organisation")
    if desk.lists is None:
        raise Conflict("this process screens nobody", remedy="ask the control process of the instance")
    known, data = load_screening(desk.instance, organisation)
    found = desk.lists.screen_as(screened_organisation(held.registered), "organisation", now=desk.now())
    if found.reasons and not found.hits:
        raise Conflict(
            f"nobody can be cleared now: {found.reasons[0]}",
            field="screening",
            remedy="have the operator import current lists, then screen again",
        )
    cleared = known.cleared if known is not None else ()
    kept = OrganisationScreening(organisation, found, cleared, known.version + 1 if known is not None else 1)
    _keep(desk.instance, kept, data)
    _record(desk, kept)
    return _shown(kept)


def list_organisation_matches(desk: KycDesk, caller: Caller) -> list[dict[str, object]]:
    """Organisations that a list has named, those with open hits first. By analysts and adjudicators."""
    reviewer = reviewer_of(desk, caller)
    found: list[tuple[int, dict[str, object]]] = []
    for name in desk.instance.vault.names(_KIND):
        known, _ = load_screening(desk.instance, name)
        if known is not None:
            still = open_hits(known.screening, known.cleared)
            shown: dict[str, object] = {
                "organisation": name,
                "version": known.version,
                "result": standing_result(known.screening, known.cleared).result,
                "hits": len(still),
                "at": known.screening.at,
                "kept_out": "tied to the organisation" if reviewer.organisation == name else "",
            }
            found.append((-len(still), shown))
    found.sort(key=lambda pair: pair[0])
    return [shown for _, shown in found]


def _shown(known: OrganisationScreening) -> dict[str, object]:
    return {
        "organisation": known.organisation,
        "version": known.version,
        "result": standing_result(known.screening, known.cleared).result,
        "reasons": list(known.screening.reasons),
        "lists": list(known.screening.lists),
        "scorer": known.screening.scorer,
        "weights": known.screening.weights,
        "at": known.screening.at,
        "open_hits": list(open_hits(known.screening, known.cleared)),
        "cleared": list(known.cleared),
    }


def clear_organisation_match(
    desk: KycDesk, caller: Caller, organisation: str, ask: ClearOrganisationMatch
) -> dict[str, object]:
    """Find that an organisation is not whom an entry means, with a rationale. Raises InvalidInput, Forbidden, NotFound, Conflict."""
    adjudicator = _check_reviewer(caller, desk, organisation)
    known, data = load_screening(desk.instance, organisation)
    if known is None:
        raise NotFound("no list has named it", field="organisation")
    if known.version != ask.version:
        raise Conflict(
            f"it is at version {known.version}, and you looked at {ask.version}",
            field="version",
            remedy="look at it again, then repeat",
        )
    hit = open_hit(known.screening, known.cleared, list=ask.list, entry=ask.entry)
    check_rationale(ask.rationale, hit)
    if hit.hit.band is Band.BLOCK and not adjudicator:
        raise Forbidden(
            "a hit in the block band is cleared by an adjudicator",
            field="reviewer",
            remedy="ask an adjudicator",
        )
    pair = cleared_pair(hit, known.screening, by=caller.id, rationale=ask.rationale, at=desk.now())
    kept = msgspec.structs.replace(known, cleared=(*known.cleared, pair), version=known.version + 1)
    _keep(desk.instance, kept, data)
    _record(desk, kept)
    return _shown(kept)
