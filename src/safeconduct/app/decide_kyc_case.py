"""Use case: a reviewer decides. What an approval rests on is computed here and now; the record gets what was decided.

Owns that a decision is made on the version that the reviewer saw: of two at once, one wins and the other is told.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.assess_case import Asked, basis_of
from safeconduct.app.change_clearance import ChangeClearance, change_clearance
from safeconduct.app.kyc_desk import KycDesk, reviewer_of, settle
from safeconduct.app.kyc_files import KycFile, check_version, load, save
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_case import decide, needed_votes
from safeconduct.identity.kyc_ends import was_suspended
from safeconduct.identity.kyc_states import Outcome
from safeconduct.kernel.errors import Forbidden
from safeconduct.kernel.vocabulary import ClearanceState, Compartment, Level

# Stands for the second adjudicator while only the first has voted; no key can have this id.
_SECOND = "(second adjudicator)"


class DecideKycCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """version: of the case as the reviewer saw it. level, compartments: what is approved; as asked for when left out."""

    version: int
    outcome: Outcome
    reasons: tuple[str, ...]
    level: Level | None = None
    compartments: tuple[Compartment, ...] | None = None
    conditions: tuple[str, ...] = ()


def decide_kyc_case(desk: KycDesk, caller: Caller, case: str, ask: DecideKycCase) -> KycFile:
    """Vote. Raises Forbidden (a conflict, not assigned), InvalidInput, NotFound, Conflict, LogUnavailable."""
    reviewer = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    check_version(file.case, ask.version)
    level = ask.level if ask.level is not None else file.case.level
    compartments = ask.compartments if ask.compartments is not None else file.case.compartments
    now = desk.now()
    voted = {vote.by for vote in file.case.votes if vote.round == file.case.round} | {reviewer.id}
    names = (*sorted(voted), *((_SECOND,) if len(voted) < needed_votes(level) else ()))
    basis, _ = basis_of(
        desk.instance,
        file,
        Asked(level, compartments, names, file.case.organisation, file.case.requester),
        proofs=desk.proofs(file.case.subject),
        state=desk.instance.record.state,
        now=now,
    )
    decided = decide(
        file.case,
        reviewer,
        ask.outcome,
        level=level,
        compartments=compartments,
        reasons=ask.reasons,
        conditions=ask.conditions,
        basis=basis,
        at=now,
        policy=desk.policy,
    )
    back = was_suspended(file.case) and decided.approval is not None
    if back and not reviewer.adjudicator:
        raise Forbidden(
            "what was suspended is brought back by an adjudicator",
            field="reviewer",
            remedy="assign an adjudicator",
        )
    saved = save(desk.instance, file, case=decided)
    settle(desk, saved)
    if back:
        _reinstate(desk, caller, saved)
    return saved


def _reinstate(desk: KycDesk, caller: Caller, file: KycFile) -> None:
    """Lift what the case's own suspension did to the clearance; the evidence alone never does."""
    known = desk.instance.record.state.subjects.get(file.case.subject)
    if known is None or known.clearance is None or known.clearance.state is not ClearanceState.SUSPENDED:
        return
    change_clearance(
        desk.instance,
        caller,
        ChangeClearance(
            subject=file.case.subject,
            state=ClearanceState.REINSTATED,
            cause=f"kyc {file.case.id}: approved after its suspension",
        ),
    )
