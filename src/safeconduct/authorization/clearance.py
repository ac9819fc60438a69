"""The states of a clearance and who may adjudicate one (domain.md 2).

Refuses to come back from `revoked` and `expired`: that takes a new adjudication.
"""

from __future__ import annotations

from collections.abc import Sequence

from safeconduct.kernel.errors import Conflict, Forbidden
from safeconduct.kernel.vocabulary import ClearanceState, Level

HELD = frozenset(
    {
        ClearanceState.INTERIM,
        ClearanceState.GRANTED,
        ClearanceState.CONDITIONAL,
        ClearanceState.REINSTATED,
    }
)
_ENDS = frozenset({ClearanceState.SUSPENDED, ClearanceState.REVOKED, ClearanceState.EXPIRED})

NEXT: dict[ClearanceState, frozenset[ClearanceState]] = {
    ClearanceState.NONE: frozenset(
        {ClearanceState.INTERIM, ClearanceState.GRANTED, ClearanceState.CONDITIONAL}
    ),
    ClearanceState.INTERIM: _ENDS | {ClearanceState.GRANTED, ClearanceState.CONDITIONAL},
    ClearanceState.GRANTED: _ENDS | {ClearanceState.CONDITIONAL},
    ClearanceState.CONDITIONAL: _ENDS | {ClearanceState.GRANTED},
    ClearanceState.SUSPENDED: frozenset(
        {ClearanceState.REINSTATED, ClearanceState.REVOKED, ClearanceState.EXPIRED}
    ),
    ClearanceState.REINSTATED: _ENDS,
    ClearanceState.REVOKED: frozenset(),
    ClearanceState.EXPIRED: frozenset(),
}


def check_transition(current: ClearanceState, target: ClearanceState) -> None:
    """Raises Conflict when `target` does not follow `current`."""
    if target not in NEXT[current]:
        allowed = ", ".join(sorted(NEXT[current])) or "nothing: adjudicate anew"
        raise Conflict(
            f"a clearance that is {current} does not become {target}",
            field="state",
            remedy=f"it may become {allowed}",
        )


def check_adjudicators(
    level: Level, adjudicators: Sequence[str], *, applicant: str, requested_by: str
) -> None:
    """Two different adjudicators from C3 on, one below; neither the applicant nor who asked. Raises Conflict, Forbidden."""
    for one in adjudicators:
        if one in (applicant, requested_by):
            raise Forbidden(
                f"{one!r} asked for this and cannot decide it",
                field="adjudicators",
                remedy="let somebody else decide",
            )
    needed = 2 if level >= Level.C3 else 1 if level >= Level.C2 else 0
    if len(set(adjudicators)) < needed:
        raise Conflict(
            f"{level.name} needs {needed} different adjudicators", field="adjudicators", remedy="add one"
        )
