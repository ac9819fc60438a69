"""The KYC desk of one process: what its use cases work with, who works there, and how a case reaches the record.

Owns `settle`: after every step the record is brought in line with the store, and again by the sweep, so a crash in between is made
good. Approvals come to the record as clearances computed from evidence; ends take clearance and passports with them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from safeconduct.app.assess_case import DESK, Asked, Proofs, assess_case, screening_that_counts
from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.import_evidence import ASSESSMENT
from safeconduct.app.kyc_files import KycFile, PersonFile, cases_of, commitment
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.app.screen_party import ListScreener
from safeconduct.authorization.clearance import HELD as HELD_CLEARANCES
from safeconduct.authorization.misuse import open_signal
from safeconduct.identity.documents.csca import CscaStore
from safeconduct.identity.kyc_ends import DOCUMENT_LOST, standing
from safeconduct.identity.kyc_states import POLICY, KycCase, Policy, Reviewer
from safeconduct.identity.screening.party import PartyHit, open_hits
from safeconduct.identity.screening.port import Screener
from safeconduct.identity.screening.score import Band
from safeconduct.kernel.errors import Forbidden, NotFound, UnsafeConfiguration
from safeconduct.kernel.ids import OrganisationId, SubjectId
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import CaseState, ClearanceState, PassportStatus, Role, Screening
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import ClearanceChanged
from safeconduct.record.events.cases import KycCaseChanged, KycCaseOpened
from safeconduct.record.events.holders import PassportStatusChanged, SubjectScreened
from safeconduct.record.state import State

_STOPPING: Final = (Screening.MATCH, Screening.POSSIBLE)
REVIEWERS: Final = (Role.ANALYST, Role.ADJUDICATOR)


class KycDesk(msgspec.Struct, frozen=True):
    """lists: screens against the lists in force. screener: what stands in for it while there are none, or None. authorities: whose documents are believed. proofs: what a person's authenticators and liveness checks came to."""

    instance: Instance
    authorities: Callable[[], CscaStore]
    proofs: Callable[[SubjectId], Proofs]
    screener: Screener | None = None
    lists: ListScreener | None = None
    policy: Policy = POLICY

    @property
    def production(self) -> bool:
        """Development providers, key files and specimens are refused."""
        return self.instance.profile != "development"

    def now(self) -> int:
        """The instance's time, seconds."""
        return instant(self.instance)

    def suspends(self, hits: Sequence[PartyHit]) -> bool:
        """Whether one of these open hits stops at once whoever holds something: the block band does, others as the operator set it."""
        return any(
            one.hit.band is Band.BLOCK
            or (self.lists is not None and self.lists.names.suspends(one.hit.list, one.hit.band))
            for one in hits
        )

    def screening(self) -> Screener:
        """The lists in force, or while there are none the development provider. Raises UnsafeConfiguration in production without either."""
        if self.lists is not None and (self.production or self.instance.record.state.screening_lists):
            return self.lists
        if self.screener is None or (self.production and self.screener.development):
            raise UnsafeConfiguration(
                "no screening provider is configured that a production profile accepts",
                field="screening",
                remedy="import lists; until then nothing from C2 on is approved",
            )
        return self.screener


def reviewer_of(desk: KycDesk, caller: Caller) -> Reviewer:
    """The caller as a reviewer. Raises Forbidden when they are none."""
    require_role(caller, *REVIEWERS)
    return _reviewer(desk, caller.id, caller.organisation, adjudicator=caller.role is Role.ADJUDICATOR)


def reviewer_named(desk: KycDesk, kid: str) -> Reviewer:
    """Somebody else of the desk, by the id of their key. Raises NotFound when the trust list knows no such reviewer."""
    entry = desk.instance.record.state.trust.get(kid)
    if entry is None or entry.revoked is not None:
        raise NotFound(f"there is no reviewer {kid[:60]!r}", field="reviewer", remedy="give the key's id")
    roles = {Role(one.removeprefix("role:")) for one in entry.added.may_sign if one.startswith("role:")}
    if not roles & set(REVIEWERS):
        raise Forbidden(
            "that key is no reviewer's", field="reviewer", remedy="name an analyst or an adjudicator"
        )
    organisation = OrganisationId(entry.added.organisation) if entry.added.organisation else None
    return _reviewer(desk, kid, organisation, adjudicator=Role.ADJUDICATOR in roles)


def _reviewer(desk: KycDesk, kid: str, organisation: OrganisationId | None, *, adjudicator: bool) -> Reviewer:
    entry = desk.instance.record.state.trust.get(kid)
    names = frozenset({VerifyingKey(entry.added.jwk).thumbprint}) if entry is not None else frozenset()
    return Reviewer(id=kid, names=names, organisation=organisation, adjudicator=adjudicator)


def standing_asked(desk: KycDesk, subject: SubjectId, now: int) -> Asked | None:
    """What of the person's cases stands, put together; None when nothing does.

    The level is that of the highest approval, with the adjudicators of that one alone; compartments add up. It lasts until the
    first of them ends, when the sweep works it out anew.
    """
    cases = [case for case in cases_of(desk.instance, subject) if standing(case, now)]
    approvals = [(case, case.approval) for case in cases if case.approval is not None]
    if not approvals:
        return None
    case, best = max(approvals, key=lambda pair: (pair[1].level, pair[1].at))
    return Asked(
        level=best.level,
        compartments=tuple(sorted({one for _, approval in approvals for one in approval.compartments})),
        adjudicators=best.adjudicators,
        organisation=case.organisation,
        requester=case.requester,
        until=min(approval.until for _, approval in approvals),
    )


def settle(desk: KycDesk, file: KycFile) -> int:
    """Bring the record in line with the case as it lies in the store; returns the record's position. Safe to repeat.

    Raises what `assess_person` raises, LogUnavailable.
    """
    if file.case.state is CaseState.DRAFT or (
        file.case.state is CaseState.WITHDRAWN and file.case.id not in desk.instance.record.state.kyc_cases
    ):
        # Nothing of what was never handed in comes to the record.
        return desk.instance.record.state.position
    now = desk.now()
    bound = commitment(file.case, file.person)
    vault, subject = desk.instance.vault, file.case.subject

    def check(state: State) -> list[Event]:
        about = _case_events(file.case, bound, state)
        if not _changes_what_stands(file.case, state):
            return about
        asked = standing_asked(desk, subject, now)
        if asked is not None:
            assessment, events = assess_case(
                desk.instance,
                file,
                asked,
                proofs=desk.proofs(subject),
                state=state,
                commitment=bound,
                now=now,
            )
            # Before the record: whoever is told that they may collect a passport finds what it will say.
            vault.put(ASSESSMENT, subject, subject, msgspec.json.encode(assessment))
        else:
            events = endings(file.case, state, now)
        return [*events, *about]

    commit_checked(desk.instance, check)
    return desk.instance.record.state.position


def record_screening(desk: KycDesk, person: PersonFile) -> None:
    """Bring the record in line with what screening says of somebody who is enrolled.

    A match, or a possible one where the operator wants it, is recorded as what it is, and then every decision denies as
    `ACCESS_RESTRICTED`; passport and clearance stay as they are, so nothing else tells. A possible match that suspends nobody is not
    recorded. What was recorded is lowered when hits were cleared.
    """
    counts = screening_that_counts(person)
    if counts is None or person.screening is None:
        return
    stops = desk.suspends(open_hits(person.screening, person.cleared))
    event = SubjectScreened(
        subject=person.subject,
        screening=counts.result,
        screened_at=counts.at,
        list_digests=counts.digests(),
    )

    def check(state: State) -> list[Event]:
        known = state.subjects.get(person.subject)
        if known is None or known.screening == event:
            return []
        held = known.screening.screening if known.screening is not None else Screening.NONE
        if held not in _STOPPING and (known.screening is None or event.screening in _STOPPING) and not stops:
            return []
        return [event]

    commit_checked(desk.instance, check)


def _changes_what_stands(case: KycCase, state: State) -> bool:
    known = state.kyc_cases.get(case.id)
    last = known.last if known is not None else None
    before = (last.level, last.valid_until) if last is not None else (None, None)
    approval = case.approval
    return before != ((approval.level, approval.until) if approval is not None else (None, None))


def _case_events(case: KycCase, bound: str, state: State) -> list[Event]:
    events: list[Event] = []
    known = state.kyc_cases.get(case.id)
    if known is None:
        events.append(
            KycCaseOpened(case=case.id, subject=case.subject, level=case.level, opened_at=case.opened_at)
        )
    last = known.last if known is not None else None
    approval = case.approval
    level = approval.level if approval is not None else None
    until = approval.until if approval is not None else None
    if last is None or (last.state, last.round, last.level, last.valid_until) != (
        case.state,
        case.round,
        level,
        until,
    ):
        step = case.history[-1]
        events.append(
            KycCaseChanged(
                case=case.id,
                state=case.state,
                round=case.round,
                by=step.by,
                at=step.at,
                commitment=bound,
                level=level,
                valid_until=until,
                risk=case.rating.risk if case.rating is not None else None,
                reviewers=tuple(
                    sorted(
                        {vote.by for vote in case.votes if vote.round == case.round and vote.at == step.at}
                    )
                )
                if approval is None
                else approval.adjudicators,
            )
        )
    return events


_ENDS: dict[CaseState, tuple[ClearanceState, PassportStatus]] = {
    CaseState.SUSPENDED: (ClearanceState.SUSPENDED, PassportStatus.SUSPENDED),
    CaseState.REVOKED: (ClearanceState.REVOKED, PassportStatus.INVALID),
}
_OTHER_END = (ClearanceState.EXPIRED, PassportStatus.INVALID)


def endings(case: KycCase, state: State, now: int, *, cause: str = "") -> list[Event]:
    """What ends with the person's last approval: the clearance, and every passport. Empty when nothing is held."""
    known = state.subjects.get(case.subject)
    recorded = state.kyc_cases.get(case.id)
    # Only a case under which something stood takes it away: a refused first request ends nothing.
    if known is None or recorded is None or recorded.last is None or recorded.last.level is None:
        return []
    lost = case.history[-1].cause == DOCUMENT_LOST
    clearance, status = _OTHER_END if lost else _ENDS.get(case.state, _OTHER_END)
    why = cause or f"kyc {case.id}: {case.history[-1].cause or case.state}"
    events: list[Event] = [
        PassportStatusChanged(passport=name, status=status, cause=why, by=DESK, at=now)
        for name in known.passports
        if state.passports[name].status is PassportStatus.VALID
        or (
            status is PassportStatus.INVALID
            and state.passports[name].status is PassportStatus.SUSPENDED
            # What a misuse signal suspended stays so: only its adjudication ends that.
            and not open_signal(state.passports[name].cause)
        )
    ]
    if known.clearance is not None and known.clearance.state in HELD_CLEARANCES:
        events.append(ClearanceChanged(subject=case.subject, state=clearance, cause=why, by=DESK, at=now))
    return events
