"""Use case: put an earlier version of a screening list in force again."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.import_screening_list import MAX_REASON
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.app.screening_lists import ListStore, settle_lists
from safeconduct.identity.screening.list_version import ListVersion, published_instant
from safeconduct.identity.screening.sources.formats import list_source
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import ListAct, Role
from safeconduct.record.events.screening import ScreeningListPutInForce
from safeconduct.record.state import State


class RollBackScreeningList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """reason: why. to: digest of the version, or the start of one; the one before when left out."""

    reason: str
    to: str | None = None


def roll_back_screening_list(
    instance: Instance, caller: Caller, store: ListStore, name: str, ask: RollBackScreeningList
) -> ScreeningListPutInForce:
    """By an operator. The version's age goes on from where it was. Raises NotFound, Conflict, InvalidInput, Forbidden.

    The entries are read through and held against their digest before they come into force.
    """
    require_role(caller, Role.OPERATOR)
    list_source(name)
    if not ask.reason.strip():
        raise InvalidInput("rolling back takes a reason", field="reason")
    if len(ask.reason) > MAX_REASON:
        raise InvalidInput(f"at most {MAX_REASON} characters", field="reason")
    now = instant(instance)
    with store.changing(name):
        settle_lists(store, instance.record.state)
        known = instance.record.state.screening_lists.get(name)
        if known is None:
            raise NotFound(f"no version of {name} is in force", field="list", remedy="import one")
        version = _meant(store, name, known, ask.to)
        if version.sha256 == known.sha256:
            raise Conflict("that version is in force", field="to")
        for _ in store.entries(name, version.sha256):
            pass
        event = ScreeningListPutInForce(
            list=name,
            sha256=version.sha256,
            entries_sha256=version.entries_sha256,
            entries=version.entries,
            act=ListAct.ROLLED_BACK,
            current_at=(
                min(version.imported_at, published_instant(version.published))
                if version.published
                else version.imported_at
            ),
            by=caller.id,
            at=now,
            published=version.published,
            reason=ask.reason,
            confirmed=tuple(sorted(version.confirmed)),
            replaces=known.sha256,
        )

        def check(state: State) -> list[ScreeningListPutInForce]:
            if state.screening_lists.get(name) != known:
                raise Conflict(f"another version of {name} came into force meanwhile", field="list")
            return [event]

        commit_checked(instance, check)
        store.put_in_force(name, version.sha256)
    return event


def _meant(store: ListStore, name: str, known: ScreeningListPutInForce, to: str | None) -> ListVersion:
    if to is not None:
        return find_version(store, name, to)
    if known.replaces is None or known.replaces == known.sha256:
        # A check of an unchanged list replaces itself: then the last one imported before is meant.
        others = [each for each in store.versions(name) if each.sha256 != known.sha256]
        if not others:
            raise NotFound(f"there is no earlier version of {name}", field="to")
        return others[0]
    return store.version(name, known.replaces)


def find_version(store: ListStore, name: str, text: str, field: str = "to") -> ListVersion:
    """The one version whose digest starts with the text. Raises NotFound, InvalidInput when several do."""
    if len(text) < 6:
        raise InvalidInput("give at least 6 characters of the digest", field=field)
    found = [each for each in store.versions(name) if each.sha256.startswith(text.lower())]
    if not found:
        raise NotFound(f"no version of {name} has a digest that starts with {text[:12]!r}", field=field)
    if len(found) > 1:
        raise InvalidInput("several versions start like this", field=field, remedy="give more of the digest")
    return found[0]
