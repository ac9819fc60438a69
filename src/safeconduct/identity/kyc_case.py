"""The KYC case: its states, clocks, reviewers, votes and ends. A pure state machine; time is an argument (seconds).

Owns that nothing is approved without what the level demands, that nobody decides where they have a stake, and that a case
always says why it is where it is. Refuses to read evidence: what it amounts to comes in as a `Basis` that was computed.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from safeconduct.identity.kyc_states import (
    EDITABLE,
    HELD,
    MAX_REASONS,
    MAX_TEXT,
    NEXT,
    OPEN,
    POLICY,
    RUNNING,
    Appeal,
    Approval,
    Basis,
    InformationRequest,
    KycCase,
    Outcome,
    Policy,
    Reviewer,
    RiskRating,
    Step,
    Vote,
)
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput
from safeconduct.kernel.ids import CaseId, OrganisationId, SubjectId
from safeconduct.kernel.vocabulary import CaseState, Compartment, Level, Risk, Screening


def open_case(
    case: CaseId,
    *,
    subject: SubjectId,
    applicant: frozenset[str],
    requester: str,
    level: Level,
    compartments: tuple[Compartment, ...],
    organisation: OrganisationId | None,
    at: int,
) -> KycCase:
    """A draft. Raises InvalidInput for what nobody needs a case for, or nobody can get by one."""
    if level is Level.C0:
        raise InvalidInput(
            "C0 is public: nothing has to be shown", field="level", remedy="ask for C1 or above"
        )
    if compartments and level < Level.C2:
        raise InvalidInput(
            "compartments are held from C2 on",
            field="compartments",
            remedy="ask for C2 or above, or for none",
        )
    if level >= Level.C2 and organisation is None:
        raise InvalidInput(
            f"{level.name} is held through an organisation",
            field="organisation",
            remedy="name it, or ask for C1",
        )
    return KycCase(
        id=case,
        subject=subject,
        applicant=applicant,
        requester=requester,
        level=level,
        compartments=tuple(sorted(set(compartments))),
        organisation=organisation,
        opened_at=at,
        history=(Step(CaseState.DRAFT, at, "applicant"),),
    )


def clock(case: KycCase, now: int) -> int:
    """Seconds for which the desk's clock has run in this round."""
    return case.clock_ran + (max(0, now - case.clock_since) if case.clock_since is not None else 0)


def overdue(case: KycCase, now: int, policy: Policy = POLICY) -> bool:
    """The desk has taken longer than it promises."""
    return case.state in RUNNING and clock(case, now) > policy.decide_within


def checked_texts(values: Collection[str], field: str, *, least: int = 1) -> tuple[str, ...]:
    """Reasons as given: a few, plain, none empty. Raises InvalidInput that names which one is not."""
    if not least <= len(values) <= MAX_REASONS:
        raise InvalidInput(
            f"{least} to {MAX_REASONS} entries", field=field, remedy="say why, in a few sentences"
        )
    for place, value in enumerate(values):
        if not 0 < len(value.strip()) <= MAX_TEXT or not all(
            char.isprintable() or char == "\n" for char in value
        ):
            raise InvalidInput(
                f"1 to {MAX_TEXT} printable characters", field=f"{field}[{place}]", remedy="write plain text"
            )
    return tuple(values)


def moved(
    case: KycCase, state: CaseState, *, at: int, by: str, cause: str = "", **changes: object
) -> KycCase:
    """The case in another state, its clock kept. Raises Conflict when the state does not follow."""
    if state not in NEXT[case.state]:
        after = ", ".join(sorted(NEXT[case.state])) or "nothing"
        raise Conflict(
            f"a case that is {case.state} does not become {state}",
            field="state",
            remedy=f"it may become {after}",
        )
    ran = clock(case, at)
    return msgspec.structs.replace(
        case,
        state=state,
        version=case.version + 1,
        clock_ran=ran,
        clock_since=at if state in RUNNING else None,
        history=(*case.history, Step(state, at, by, cause)),
        **changes,
    )


def changed(case: KycCase, **changes: object) -> KycCase:
    """The case with something changed and its version one higher."""
    return msgspec.structs.replace(case, version=case.version + 1, **changes)


def check_editable(case: KycCase) -> None:
    """The applicant may add and change now. Raises Conflict."""
    if case.state not in EDITABLE:
        raise Conflict(
            f"nothing can be added to a case that is {case.state}",
            field="state",
            remedy="wait for the desk's answer" if case.state in OPEN else "open another case",
        )


def submit(case: KycCase, *, at: int) -> KycCase:
    """Hand in, answer an information request, or begin a refresh.

    A case that had ended or stood begins a new round: its clock starts anew, and who decided before is kept out.
    """
    if case.state is CaseState.INFORMATION_REQUESTED:
        last = msgspec.structs.replace(case.requests[-1], answered=at)
        # What was voted on is no longer what is before the desk.
        return moved(
            case,
            CaseState.SUBMITTED,
            at=at,
            by="applicant",
            requests=(*case.requests[:-1], last),
            votes=_closed_votes(case),
        )
    if case.state is CaseState.DRAFT:
        return moved(case, CaseState.SUBMITTED, at=at, by="applicant")
    return moved(
        msgspec.structs.replace(case, clock_ran=0, clock_since=None),
        CaseState.SUBMITTED,
        at=at,
        by="applicant",
        round=case.round + 1,
        assigned=(),
        rating=None,
        appeal=None,
    )


def _closed_votes(case: KycCase) -> tuple[Vote, ...]:
    """Only what ended an earlier round: an unfinished vote of this one falls with the evidence it was cast on."""
    return tuple(vote for vote in case.votes if vote.round < case.round)


def excluded(case: KycCase, reviewer: Reviewer) -> str:
    """Why this reviewer is kept out of the case; empty when they are not."""
    mine = reviewer.names | {reviewer.id}
    if mine & case.applicant:
        return "nobody decides their own case"
    if case.requester in mine:
        return "who asked for it does not decide it"
    if reviewer.organisation is not None and reviewer.organisation == case.organisation:
        return "tied to the applicant's organisation"
    if reviewer.id in case.recused:
        return "recused from this case"
    if any(vote.by == reviewer.id and vote.round < case.round for vote in case.votes):
        return "decided this case before"
    return ""


def check_reviewer(case: KycCase, reviewer: Reviewer) -> None:
    """Raises Forbidden for a conflict of interest."""
    why = excluded(case, reviewer)
    if why:
        raise Forbidden(why, field="reviewer", remedy="let somebody without a stake in it work on it")


def check_assigned(case: KycCase, reviewer: Reviewer) -> None:
    """Only who was assigned, and has no conflict, works on a case and sees what is in it. Raises Forbidden."""
    check_reviewer(case, reviewer)
    if reviewer.id not in case.assigned:
        raise Forbidden(
            "the case is not assigned to you",
            field="reviewer",
            remedy="assign it first, with a reason to look",
        )


def assign(case: KycCase, reviewer: Reviewer) -> KycCase:
    """Put a reviewer on the case. Raises Forbidden (a conflict), Conflict (there already, or nothing to work on)."""
    check_reviewer(case, reviewer)
    if case.state in (CaseState.DRAFT, CaseState.WITHDRAWN):
        raise Conflict(f"a case that is {case.state} has nothing to work on", field="state")
    if reviewer.id in case.assigned:
        raise Conflict("assigned already", field="reviewer")
    return changed(case, assigned=(*case.assigned, reviewer.id))


def recuse(case: KycCase, reviewer: Reviewer) -> KycCase:
    """A reviewer steps back, for good; an unfinished vote of theirs falls."""
    if reviewer.id in case.recused:
        raise Conflict("recused already", field="reviewer")
    return changed(
        case,
        assigned=tuple(one for one in case.assigned if one != reviewer.id),
        recused=(*case.recused, reviewer.id),
        votes=tuple(vote for vote in case.votes if vote.by != reviewer.id or vote.round < case.round),
    )


def request_information(
    case: KycCase, reviewer: Reviewer, asks: Collection[str], *, at: int, policy: Policy = POLICY
) -> KycCase:
    """Ask the applicant; the clock stops until they answer."""
    check_assigned(case, reviewer)
    request = InformationRequest(checked_texts(asks, "asks"), reviewer.id, at, at + policy.answer_within)
    return moved(
        case,
        CaseState.INFORMATION_REQUESTED,
        at=at,
        by=reviewer.id,
        requests=(*case.requests, request),
        votes=_closed_votes(case),
    )


def begin_screening(case: KycCase, reviewer: Reviewer, *, at: int) -> KycCase:
    """Screening is under way. A case that is reviewed or stands is screened again where it is; votes cast on what was found before fall."""
    check_assigned(case, reviewer)
    if case.state is CaseState.REVIEW or (case.state in HELD and case.approval is not None):
        return screening_changed(case, at=at, by=reviewer.id, cause="screened again")
    return moved(case, CaseState.SCREENING, at=at, by=reviewer.id)


def screened(case: KycCase, *, by: str, at: int) -> KycCase:
    """Screening came to a result: the case is before the reviewers, or stays where it was when it was screened again."""
    return moved(case, CaseState.REVIEW, at=at, by=by) if case.state is CaseState.SCREENING else case


def screening_changed(case: KycCase, *, at: int, by: str, cause: str) -> KycCase:
    """What is known from lists about the person has changed, and with it what an unfinished vote of a review was cast on."""
    return changed(
        case,
        votes=_closed_votes(case) if case.state is CaseState.REVIEW else case.votes,
        history=(*case.history, Step(case.state, at, by, cause)),
    )


def rate(case: KycCase, reviewer: Reviewer, risk: Risk, reasons: Collection[str], *, at: int) -> KycCase:
    """Rate the risk. Votes cast on another rating fall."""
    check_assigned(case, reviewer)
    if case.state is not CaseState.REVIEW:
        raise Conflict(f"a case that is {case.state} is not rated", field="state", remedy="screen it first")
    return changed(
        case,
        rating=RiskRating(risk, checked_texts(reasons, "reasons"), reviewer.id, at),
        votes=_closed_votes(case),
    )


def needed_votes(level: Level) -> int:
    """How many different people must approve."""
    return 2 if level >= Level.C3 else 1


def decide(
    case: KycCase,
    reviewer: Reviewer,
    outcome: Outcome,
    *,
    level: Level,
    compartments: tuple[Compartment, ...],
    reasons: Collection[str],
    conditions: Collection[str] = (),
    basis: Basis,
    at: int,
    policy: Policy = POLICY,
) -> KycCase:
    """Cast a vote; the case ends when it is the last that is needed. One vote against an approval is enough.

    basis: computed with this reviewer among the adjudicators. Raises Forbidden, Conflict, InvalidInput.
    """
    check_assigned(case, reviewer)
    early = outcome is Outcome.RETURNED_WITHOUT_ACTION and case.state is CaseState.SUBMITTED
    if case.state is not CaseState.REVIEW and not early:
        raise Conflict(f"a case that is {case.state} is not decided", field="state", remedy="screen it first")
    given = checked_texts(reasons, "reasons")
    if outcome is Outcome.RETURNED_WITHOUT_ACTION and case.appeal is not None and case.appeal.outcome is None:
        raise Conflict(
            "an appeal is decided, not returned",
            field="outcome",
            remedy="approve, reject, or ask for information",
        )
    vote = Vote(
        by=reviewer.id,
        outcome=outcome,
        level=level,
        compartments=tuple(sorted(set(compartments))),
        reasons=given,
        conditions=checked_texts(conditions, "conditions", least=0),
        at=at,
        round=case.round,
    )
    if outcome in (Outcome.REJECTED, Outcome.RETURNED_WITHOUT_ACTION):
        ended = CaseState(outcome.value)
        return moved(
            case,
            ended,
            at=at,
            by=reviewer.id,
            votes=(*case.votes, vote),
            appeal=_appeal_ended(case, "upheld"),
            # A refresh that is refused ends what stood; returned without action it runs on until it expires.
            approval=None if outcome is Outcome.REJECTED else case.approval,
        )
    _check_approvable(case, reviewer, vote, basis)
    standing = [each for each in case.votes if each.round == case.round]
    if any(each.by == reviewer.id for each in standing):
        raise Forbidden(
            "you have voted: the second vote is somebody else's",
            field="reviewer",
            remedy="assign another adjudicator",
        )
    for each in standing:
        if (each.outcome, each.level, each.compartments, each.conditions) != (
            vote.outcome,
            vote.level,
            vote.compartments,
            vote.conditions,
        ):
            raise Conflict(
                "the first vote was for something else",
                field="outcome",
                remedy="vote for the same outcome, level, compartments and conditions, or reject",
            )
    votes = (*case.votes, vote)
    names = {each.by for each in (*standing, vote)}
    if len(names) < needed_votes(level):
        return changed(case, votes=votes)
    return _approved(case, vote, votes, tuple(sorted(names)), basis, at=at, policy=policy)


def _check_approvable(case: KycCase, reviewer: Reviewer, vote: Vote, basis: Basis) -> None:
    """INVARIANT: the only way to `approved`. What the level demands is asked here, of what was computed."""
    if vote.level is Level.C0 or vote.level > case.level:
        raise InvalidInput(
            f"the case asks for {case.level.name}", field="level", remedy=f"approve C1 to {case.level.name}"
        )
    if not set(vote.compartments) <= set(case.compartments):
        raise InvalidInput("more compartments than the case asks for", field="compartments")
    if vote.level >= Level.C3 and not reviewer.adjudicator:
        raise Forbidden(
            "C3 and above are decided by adjudicators", field="reviewer", remedy="let two adjudicators decide"
        )
    if vote.level >= Level.C3 and not case.requester:
        raise Conflict(
            "nobody has asked for this on the organisation's behalf",
            field="requester",
            remedy="have the organisation attest the affiliation",
        )
    whole = vote.level is case.level and set(vote.compartments) == set(case.compartments)
    if vote.outcome is Outcome.APPROVED and (not whole or vote.conditions):
        raise Conflict(
            "less than was asked for, or with conditions: that is a conditional approval",
            field="outcome",
            remedy="decide approved_conditional",
        )
    if vote.outcome is Outcome.APPROVED_CONDITIONAL and whole and not vote.conditions:
        raise Conflict(
            "nothing is conditional in it", field="conditions", remedy="name them, or decide approved"
        )
    if case.rating is None:
        raise Conflict("the risk is not rated", field="risk", remedy="rate it with reasons first")
    if case.rating.risk is Risk.PROHIBITED:
        raise Conflict(
            "the risk is prohibited", field="risk", remedy="reject it, or rate it anew with reasons"
        )
    if basis.open_alerts:
        raise Conflict(
            f"{basis.open_alerts} alerts are open",
            field="alerts",
            remedy="look at each and resolve it with a rationale",
        )
    if basis.screening in (Screening.MATCH, Screening.POSSIBLE):
        raise Conflict(
            "a possible match on a list is open" if basis.screening is Screening.POSSIBLE else "on a list",
            field="screening",
            remedy="look at the hits and clear each that means somebody else, with a rationale",
        )
    if not basis.same_data:
        raise Conflict(
            "the person's data changed after they were screened",
            field="screening",
            remedy="screen the case again",
        )
    if vote.level >= Level.C2 and basis.screening is Screening.NONE:
        raise Conflict("the person was not screened", field="screening", remedy="screen the case")
    # The second adjudicator is not there yet when the first one votes; everything else has to be.
    short = basis.level < vote.level
    if short or not set(vote.compartments) <= set(basis.compartments):
        raise Conflict(
            f"the evidence amounts to {basis.level.name}"
            + (f" with {' '.join(basis.compartments)}" if basis.compartments else ""),
            field="level",
            remedy="; ".join(basis.missing[:5]) or "decide what the evidence supports",
        )


def _approved(
    case: KycCase,
    vote: Vote,
    votes: tuple[Vote, ...],
    names: tuple[str, ...],
    basis: Basis,
    *,
    at: int,
    policy: Policy,
) -> KycCase:
    assert case.rating is not None
    ends = {"policy": at + policy.refresh(case.rating.risk)}
    if basis.document_until is not None:
        ends["document"] = basis.document_until
    if basis.screening is not Screening.NONE:
        ends["screening"] = basis.screened_at + policy.screening_life
    if basis.clearance_until is not None:
        ends["clearance"] = basis.clearance_until
    limited_by = min(ends, key=lambda name: (ends[name], name))
    until = ends[limited_by]
    if until <= at:
        raise Conflict(
            f"the {limited_by} has expired", field=limited_by, remedy="ask the applicant for a current one"
        )
    return moved(
        case,
        CaseState(vote.outcome.value),
        at=at,
        by=vote.by,
        votes=votes,
        approval=Approval(
            level=vote.level,
            compartments=vote.compartments,
            adjudicators=names,
            conditions=vote.conditions,
            at=at,
            until=until,
            limited_by=limited_by,
        ),
        appeal=_appeal_ended(case, "overturned"),
        refresh_by=max(at, until - policy.notice_before_expiry),
    )


def _appeal_ended(case: KycCase, outcome: str) -> Appeal | None:
    if case.appeal is None or case.appeal.outcome is not None:
        return case.appeal
    return msgspec.structs.replace(case.appeal, outcome=outcome)
