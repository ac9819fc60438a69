"""The release stage machine and the standing beside it.

Owns which step may follow which, what a gate asks for, and the one way past the gates: adopting what its provider released
elsewhere. Refuses to skip a stage in either direction. Who may take the step is the use case's business.
"""

from __future__ import annotations

from collections.abc import Collection

from safeconduct.kernel.errors import Conflict, Forbidden
from safeconduct.kernel.vocabulary import Stage, Standing
from safeconduct.registry.finding import Finding

STAGES = tuple(Stage)
LISTING_STAGES = frozenset(Stage) - {Stage.INTERNAL, Stage.GENERAL}

_STANDINGS: dict[Standing, frozenset[Standing]] = {
    Standing.ACTIVE: frozenset({Standing.SUSPENDED, Standing.WITHDRAWN, Standing.RECALLED, Standing.RETIRED}),
    Standing.SUSPENDED: frozenset(
        {
            Standing.ACTIVE,
            Standing.COHORT_RESTORED,
            Standing.WITHDRAWN,
            Standing.RECALLED,
            Standing.RETIRED,
        }
    ),
    Standing.COHORT_RESTORED: frozenset(
        {
            Standing.ACTIVE,
            Standing.SUSPENDED,
            Standing.WITHDRAWN,
            Standing.RECALLED,
            Standing.RETIRED,
        }
    ),
    # What was taken off the market comes back only through `suspended`: nobody is let in by the same act.
    Standing.WITHDRAWN: frozenset({Standing.SUSPENDED, Standing.RECALLED, Standing.RETIRED}),
    Standing.RECALLED: frozenset({Standing.SUSPENDED, Standing.RETIRED}),
    Standing.RETIRED: frozenset(),
}


def check_stage(
    current: Stage, target: Stage, *, findings: Collection[Finding], org_list: str | None
) -> None:
    """Check a step of the stage machine: one forward through its gate, or one back.

    The gate of every stage after `internal` asks for at least one finding (a finding that says `below` is one: the point
    is that somebody looked). A closed stage without a list admits nobody; `internal` and `general` refuse a list, which would
    mean nothing there. Going back needs no gate: it only closes. Raises Conflict that names the field and the remedy.
    """
    step = STAGES.index(target) - STAGES.index(current)
    if step == 0:
        raise Conflict(f"the variant is at stage {current} already", field="stage")
    if abs(step) > 1:
        between = STAGES[STAGES.index(current) + (1 if step > 0 else -1)]
        raise Conflict(
            f"{current} to {target} skips stages", field="stage", remedy=f"the next step is {between}"
        )
    if step == 1 and not findings:
        raise Conflict(
            f"the gate of {target} asks for findings and there are none",
            field="stage",
            remedy="record at least one finding on the variant first",
        )
    if org_list is not None and target not in LISTING_STAGES:
        raise Conflict(f"{target} admits no list", field="org_list", remedy="leave it out")


def adopted(*, provider: str, speaks_here: bool, orders: Collection[str]) -> Stage:
    """The stage of a variant that its provider released to the public elsewhere, and that is only used here.

    This is not a step of the machine: no gate is passed here, since the provider passed its own. speaks_here: the provider
    has, or ever had, a role key in the trust list. orders: those in force that name the variant, its model or the same
    upstream. Raises Forbidden for a provider that speaks for itself here, Conflict under an order.
    """
    if speaks_here:
        raise Forbidden(
            f"provider {provider!r} releases its models here itself",
            field="provider",
            remedy=f"ask whoever holds the role key of provider:{provider} to release it and to grant it",
        )
    if orders:
        raise Conflict(
            f"an order in force names it: {', '.join(sorted(orders))}",
            field="variant",
            remedy="adopt it once the order is rescinded",
        )
    return Stage.GENERAL


def check_standing(current: Standing, target: Standing, *, cohort: str | None) -> None:
    """Check a change of standing. `cohort_restored` names the list it restores; no other standing does.

    Raises Conflict.
    """
    if target not in _STANDINGS[current]:
        allowed = ", ".join(sorted(_STANDINGS[current])) or "nothing: it is final"
        raise Conflict(
            f"{current} does not lead to {target}", field="standing", remedy=f"it leads to {allowed}"
        )
    if (target is Standing.COHORT_RESTORED) != (cohort is not None):
        raise Conflict(
            "a cohort is named exactly when the standing is cohort_restored",
            field="cohort",
            remedy="name the published list of the cohort, or leave it out",
        )
