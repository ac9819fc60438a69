"""Use case: move a variant one release stage forward through its gate, or one back."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_provider
from safeconduct.kernel.errors import NotFound
from safeconduct.kernel.ids import VariantId
from safeconduct.kernel.vocabulary import Stage
from safeconduct.record.events import Event
from safeconduct.record.events.registrations import StageChanged
from safeconduct.record.state import State
from safeconduct.registry.release import check_stage


class ChangeStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """org_list: the published list that a closed stage admits."""

    variant: str
    stage: Stage
    org_list: str | None = None


def change_stage(instance: Instance, caller: Caller, ask: ChangeStage) -> StageChanged:
    """By the variant's provider. Raises Forbidden, NotFound, Conflict (a skipped stage, a gate without findings)."""
    event = StageChanged(
        variant=VariantId(ask.variant),
        stage=ask.stage,
        org_list=ask.org_list,
        by=caller.id,
        at=instant(instance),
    )

    def check(state: State) -> list[Event]:
        known = state.variants.get(event.variant)
        if known is None:
            raise NotFound(f"there is no variant {event.variant!r}", field="variant")
        require_provider(caller, known.provider)
        check_stage(known.stage, event.stage, findings=known.findings, org_list=event.org_list)
        if event.org_list is not None and event.org_list not in state.org_lists:
            raise NotFound(
                f"there is no list {event.org_list!r}",
                field="org_list",
                remedy="import the authority's signed list first",
            )
        return [event]

    commit_checked(instance, check)
    return event
