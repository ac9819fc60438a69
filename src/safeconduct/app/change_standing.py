"""Use case: suspend, restore, withdraw, recall or retire a variant."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_provider
from safeconduct.kernel.errors import InvalidInput, NotFound
from safeconduct.kernel.ids import VariantId
from safeconduct.kernel.vocabulary import Standing
from safeconduct.record.events import Event
from safeconduct.record.events.registrations import StandingChanged
from safeconduct.record.state import State
from safeconduct.registry.release import check_standing


class ChangeStanding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """cohort: for `cohort_restored`, the published list of those let in again."""

    variant: str
    standing: Standing
    cause: str
    cohort: str | None = None


def change_standing(instance: Instance, caller: Caller, ask: ChangeStanding) -> StandingChanged:
    """By the variant's provider; an operator may only suspend. Raises Forbidden, InvalidInput, NotFound, Conflict."""
    if not ask.cause.strip():
        raise InvalidInput("say why", field="cause")
    event = StandingChanged(
        variant=VariantId(ask.variant),
        standing=ask.standing,
        cohort=ask.cohort,
        cause=ask.cause,
        by=caller.id,
        at=instant(instance),
    )

    def check(state: State) -> list[Event]:
        known = state.variants.get(event.variant)
        if known is None:
            raise NotFound(f"there is no variant {event.variant!r}", field="variant")
        require_provider(caller, known.provider, operators=event.standing is Standing.SUSPENDED)
        check_standing(known.standing, event.standing, cohort=event.cohort)
        if event.cohort is not None and event.cohort not in state.org_lists:
            raise NotFound(f"there is no list {event.cohort!r}", field="cohort")
        return [event]

    commit_checked(instance, check)
    return event
