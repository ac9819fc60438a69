"""Turns the maps of a state into packed rows, and rows into maps again.

Owns which form a map has: an `immutables.Map` up to `SMALL` entries, rows under a `LargeMap` beyond. Both read the same, so
nobody else needs to know. The index `grants_to` is packed by grantee and worked out by variant (`GrantsByVariant`).
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from immutables import Map

from safeconduct.kernel.ids import GrantId
from safeconduct.record.events.authorizations import GrantGiven
from safeconduct.record.growing_rows import GrowingRows
from safeconduct.record.large_map import Draft, GrantsByVariant, LargeMap, in_one_order
from safeconduct.record.rows import GONE, RowCodec, Rows, empty_rows
from safeconduct.record.state import State

SMALL: Final = 20_000
"""Entries up to which a map is an `immutables.Map`: quicker to read, a kilobyte or so an entry, and slow to load."""

_Text = str | tuple[str, str]
# What `State` declares as an object because a map does not care, and a row has to.
_KEYS: Final[dict[str, Any]] = {"awaiting": _Text}
GRANTS_TO: Final = "grants_to"

Grouped = dict[Any, list[tuple[Any, ...]]]


@functools.cache
def codecs() -> dict[str, RowCodec]:
    """The row format of every map of the state, by the field's name."""
    found: dict[str, RowCodec] = {}
    for name, kind in typing.get_type_hints(State).items():
        if typing.get_origin(kind) is Map:
            key, value = typing.get_args(kind)
            found[name] = RowCodec(_KEYS.get(name, key), value)
    found[GRANTS_TO] = RowCodec(tuple[str, _Text], tuple[GrantId, ...])
    return found


def as_rows(name: str, held: Any) -> tuple[Rows, Mapping[Any, Any]]:
    """A map of the state, other than `grants_to`, as rows and what changed since they were made."""
    if isinstance(held, LargeMap):
        assert isinstance(held.base, Rows)
        return held.base, held.changes
    return empty_rows(codecs()[name]), held


def from_rows(rows: Rows) -> Any:
    """The map that these rows hold."""
    return Map(rows.items()) if len(rows) <= SMALL else LargeMap(rows)


def grants_as_rows(held: Any) -> tuple[Rows, dict[Any, tuple[GrantId, ...]]]:
    """`grants_to` as rows by grantee, and what changed since they were made."""
    if not isinstance(held, LargeMap):
        return empty_rows(codecs()[GRANTS_TO]), _by_grantee(held, lambda _: ())
    assert isinstance(held.base, GrantsByVariant)
    rows = held.base.by_grantee
    return rows, _by_grantee(held.changes, rows.get)


def _by_grantee(index: Mapping[Any, Any], known: Callable[[Any], Any]) -> dict[Any, tuple[GrantId, ...]]:
    grouped: Grouped = {}
    for (kind, grantee, _), names in index.items():
        grouped.setdefault((kind, grantee), []).append(names)
    return {grantee: in_one_order([known(grantee) or (), *lists]) for grantee, lists in grouped.items()}


def grants_from_rows(by_grantee: Rows, grants: Any) -> Any:
    """`grants_to` out of rows by grantee. grants: the state's map of grants."""
    index = GrantsByVariant(by_grantee, grants)
    return Map(index.items()) if len(grants) <= SMALL else LargeMap(index)


class GrantsDraft:
    """`grants_to` under construction: notes the grants given, by grantee, in order."""

    def __init__(self, before: Any) -> None:
        self.before = before
        self.added: dict[Any, list[GrantId]] = {}

    def note(self, given: GrantGiven) -> None:
        """A grant that the state did not know."""
        # As `grantee_keys`: one grantee, whatever the number of variants, and nobody when there is none.
        if not given.variants:
            return
        grantee: Any = given.to_subject
        kind = "subject"
        if grantee is None:
            if given.to_group is not None:
                kind, grantee = "group", (given.by_organisation, given.to_group)
            else:
                kind, grantee = "organisation", given.to_organisation
                if grantee is None:
                    return
        listed = self.added.get((kind, grantee))
        if listed is None:
            self.added[kind, grantee] = [given.grant]
        else:
            listed.append(given.grant)


def settle(name: str, draft: Draft) -> None:
    """Put a draft's changes into the map that it is of: rows that grow, once there are many."""
    before, changes = draft.before, draft.changes
    draft.changes = {}
    if not changes:
        return
    if isinstance(before, GrowingRows):
        before.take(changes)
    elif isinstance(before, LargeMap):
        if len(changes) <= max(SMALL, len(before) // 10):
            for key, value in changes.items():
                before = before.set(key, value) if value is not GONE else _without(before, key)
            draft.before = before
        else:
            rows, earlier = as_rows(name, before)
            draft.before = GrowingRows(rows)
            draft.before.take({**earlier, **changes})
    elif len(before) + len(changes) <= SMALL:
        changing = before.mutate()
        for key, value in changes.items():
            if value is not GONE:
                changing[key] = value
            elif key in changing:
                del changing[key]
        draft.before = changing.finish()
    else:
        draft.before = GrowingRows(empty_rows(codecs()[name]))
        draft.before.take({**before, **changes})


def _without(held: LargeMap, key: Any) -> LargeMap:
    return held.delete(key) if key in held else held


def settle_grants(draft: GrantsDraft, grants: Any) -> None:
    """The same for `grants_to`. grants: the map of grants as it is now, or its rows."""
    index, added = draft.before, draft.added
    draft.added = {}
    if isinstance(index, GrowingRows):
        index.take(added, _joined)
        return
    large = isinstance(index, LargeMap)
    # Counted by grants and not by keys: a key is one grant seen from one of its variants.
    if len(grants) <= SMALL or (large and len(added) <= max(SMALL, len(index.base.by_grantee) // 10)):
        for (kind, grantee), names in added.items():
            for name in names:
                for variant in dict.fromkeys(grants.get(name).given.variants):
                    key = (kind, grantee, variant)
                    index = index.set(key, (*index.get(key, ()), name))
        draft.before = index
        return
    rows, changes = grants_as_rows(index)
    draft.before = GrowingRows(rows)
    draft.before.take(changes)
    draft.before.take(added, _joined)


def _joined(known: Sequence[GrantId], later: Sequence[GrantId]) -> tuple[GrantId, ...]:
    return (*known, *later)


def finished(draft: Draft) -> Any:
    """The map that a settled draft has become."""
    before = draft.before
    return from_rows(before.finished()) if isinstance(before, GrowingRows) else before


def finished_grants(draft: GrantsDraft, grants: Any) -> Any:
    """`grants_to`, once settled. grants: the state's map of grants."""
    before = draft.before
    return grants_from_rows(before.finished(), grants) if isinstance(before, GrowingRows) else before
