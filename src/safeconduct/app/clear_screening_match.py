"""Use case: a reviewer finds that the person is not whom an entry of a list means, and says why.

Owns that only the pair in front of the reviewer is cleared, as it stands in the screening that they saw, and by somebody who has no stake
in the case. A hit in the block band takes an adjudicator. Whoever could be cleared of nothing, because a list is past its age, is not.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.kyc_desk import KycDesk, record_screening, reviewer_of
from safeconduct.app.kyc_files import KycFile, check_version, load, save
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_case import changed, check_assigned, checked_texts
from safeconduct.identity.kyc_states import KycCase
from safeconduct.identity.screening.party import ClearedPair, PartyHit, PartyScreening, open_hits
from safeconduct.identity.screening.score import Band
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import CaseState

LEAST_LETTERS = 12
"""Of a rationale: shorter ones ("ok", "no match") say nothing that somebody else could check."""


class ClearMatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """list, entry: which hit; may be left out when one is open. rationale: why the person is not who the list means.

    version: of the case as the reviewer saw it.
    """

    version: int
    rationale: str
    list: str | None = None
    entry: str | None = None


def check_rationale(rationale: str, hit: PartyHit) -> str:
    """A reason that says more than the names that were compared. Raises InvalidInput."""
    checked_texts((rationale,), "rationale")
    shown = {
        word
        for text in (hit.asked, hit.hit.name, hit.hit.entry, hit.hit.list)
        for word in text.casefold().split()
    }
    said = {word for word in rationale.casefold().split() if word not in shown}
    if sum(char.isalpha() for word in said for char in word) < LEAST_LETTERS:
        raise InvalidInput(
            "it gives no reason",
            field="rationale",
            remedy="say what shows that it is somebody else: a birth date, a nationality, a document",
        )
    return rationale


def open_hit(
    screening: PartyScreening, cleared: tuple[ClearedPair, ...], *, list: str | None, entry: str | None
) -> PartyHit:
    """The hit that is meant, of those that are open. Raises NotFound, Conflict (none is), InvalidInput (several are)."""
    still = open_hits(screening, cleared)
    if not still:
        why = screening.reasons[0] if screening.reasons else "nothing is open"
        raise Conflict(
            f"there is no hit to clear: {why}",
            field="screening",
            remedy="have the operator import current lists, then screen again"
            if screening.reasons
            else "look at the case again",
        )
    found = [one for one in still if list in (None, one.hit.list) and entry in (None, one.hit.entry)]
    if not found:
        raise NotFound("there is no such open hit", field="entry", remedy="list them with `kyc matches`")
    if len(found) > 1:
        raise InvalidInput(
            f"{len(found)} hits are open",
            field="entry",
            remedy="name list and entry; each takes its own reason",
        )
    return found[0]


def cleared_pair(
    hit: PartyHit, screening: PartyScreening, *, by: str, rationale: str, at: int
) -> ClearedPair:
    """What is kept of it."""
    return ClearedPair(
        list=hit.hit.list,
        entry=hit.hit.entry,
        entry_sha256=hit.entry_sha256,
        party_sha256=screening.party_sha256,
        band=hit.hit.band,
        score=hit.hit.score,
        by=by,
        rationale=rationale,
        at=at,
    )


def _check_reviewed(case: KycCase) -> None:
    if case.state is not CaseState.REVIEW and case.approval is None:
        raise Conflict(
            f"a case that is {case.state} has no screening to look at",
            field="state",
            remedy="screen the case first",
        )


def clear_screening_match(desk: KycDesk, caller: Caller, case: str, ask: ClearMatch) -> KycFile:
    """Clear one hit. Raises InvalidInput (no rationale, which hit), Forbidden (a conflict, the band), NotFound, Conflict."""
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, ask.version)
    check_assigned(file.case, reviewer)
    _check_reviewed(file.case)
    screening = file.person.screening
    if screening is None:
        raise Conflict("there is no screening to look at", field="screening", remedy="screen the case first")
    hit = open_hit(screening, file.person.cleared, list=ask.list, entry=ask.entry)
    check_rationale(ask.rationale, hit)
    if hit.hit.band is Band.BLOCK and not reviewer.adjudicator:
        raise Forbidden(
            "a hit in the block band is cleared by an adjudicator",
            field="reviewer",
            remedy="assign an adjudicator, or reject the case",
        )
    pair = cleared_pair(hit, screening, by=reviewer.id, rationale=ask.rationale, at=desk.now())
    saved = save(
        desk.instance,
        file,
        case=changed(file.case),
        person=msgspec.structs.replace(file.person, cleared=(*file.person.cleared, pair)),
    )
    record_screening(desk, saved.person)
    return saved
