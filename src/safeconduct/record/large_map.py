"""A persistent map over packed rows: what `immutables.Map` is to a few thousand entries, for a million.

Owns the two layers: rows that never change, and a `Map` of what was changed since. Reads like `immutables.Map`; `set` and
`delete` return another map that shares everything but the change. Refuses in-place changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, Self

from immutables import Map

from safeconduct.record.rows import GONE, Rows

_ABSENT: Final = object()


class Base(Protocol):
    """The unchanging layer."""

    def __len__(self) -> int: ...

    def get(self, key: Any, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        ...

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Keys and values, each once."""
        ...


class LargeMap:
    """Keys to values. Values are made from rows when they are asked for, so equal ones need not be identical."""

    __slots__ = ("_added", "_changes", "base")

    def __init__(self, base: Base, changes: Map[Any, Any] | None = None, added: int = 0) -> None:
        """added: how many more keys there are than in the base."""
        self.base = base
        self._changes: Map[Any, Any] = Map() if changes is None else changes
        self._added = added

    @property
    def changes(self) -> Mapping[Any, Any]:
        """What differs from the base; GONE marks a deletion."""
        return self._changes

    def get(self, key: Any, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        found = self._changes.get(key, _ABSENT)
        if found is _ABSENT:
            return self.base.get(key, default)
        return default if found is GONE else found

    def __getitem__(self, key: Any) -> Any:
        found = self.get(key, _ABSENT)
        if found is _ABSENT:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self.get(key, _ABSENT) is not _ABSENT

    def __len__(self) -> int:
        return len(self.base) + self._added

    def set(self, key: Any, value: Any) -> LargeMap:
        """The map with `value` under `key`."""
        added = self._added if key in self else self._added + 1
        return LargeMap(self.base, self._changes.set(key, value), added)

    def delete(self, key: Any) -> LargeMap:
        """The map without `key`. Raises KeyError when it is not there."""
        if key not in self:
            raise KeyError(key)
        return LargeMap(self.base, self._changes.set(key, GONE), self._added - 1)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Keys and values, each once."""
        changes = self._changes
        for key, value in self.base.items():
            if key not in changes:
                yield key, value
        for key, value in changes.items():
            if value is not GONE:
                yield key, value

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self.items())

    def keys(self) -> Iterator[Any]:
        """Every key, once."""
        return iter(self)

    def values(self) -> Iterator[Any]:
        """The values of all keys."""
        return (value for _, value in self.items())

    def mutate(self) -> _Changing:
        """A working copy, for many changes in a row."""
        return _Changing(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LargeMap | Map):
            return NotImplemented
        if len(self) != len(other):
            return False
        return all(other.get(key, _ABSENT) == value for key, value in self.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<LargeMap on {self.base!r}, {len(self._changes)} changes>"


class _Changing:
    """As `immutables.MapMutation`, as far as the folds use it."""

    def __init__(self, changed: LargeMap) -> None:
        self._changed = changed

    def get(self, key: Any, default: Any = None) -> Any:
        return self._changed.get(key, default)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._changed = self._changed.set(key, value)

    def finish(self) -> LargeMap:
        return self._changed


class GrantsByVariant:
    """The base of `State.grants_to`: (kind, grantee, variant) -> grants, worked out from one row a grantee.

    A grant names several variants, so the index itself would be many times longer than the grants. `by_grantee` holds, by
    (kind, grantee), the grants in the order of the record; which variants each names, its own row says.
    """

    __slots__ = ("_grants", "_length", "_remembered", "by_grantee")

    def __init__(self, by_grantee: Rows, grants: Any) -> None:
        """grants: the map with every grant that the rows name."""
        self.by_grantee = by_grantee
        self._grants = grants
        self._length: int | None = None
        self._remembered: dict[Any, Any] = {}

    def __len__(self) -> int:
        if self._length is None:
            # Counted when somebody asks, since no decision does.
            self._length = sum(1 for _ in self.items())
        return self._length

    def get(self, key: Any, default: Any = None) -> Any:
        """The grants under `key`, or `default`."""
        found = self._remembered.get(key, _ABSENT)
        if found is _ABSENT:
            kind, grantee, variant = key
            names = self.by_grantee.get((kind, grantee), ())
            find = self._grants.get
            found = tuple([name for name in names if variant in find(name).given.variants])
            if len(self._remembered) >= REMEMBERED_KEYS:
                self._remembered = {}
            self._remembered[key] = found
        return found or default

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Keys and grants, each key once."""
        for (kind, grantee), names in self.by_grantee.items():
            found: dict[Any, list[Any]] = {}
            for name in names:
                for variant in dict.fromkeys(self._grants.get(name).given.variants):
                    found.setdefault(variant, []).append(name)
            for variant, grants in found.items():
                yield (kind, grantee, variant), tuple(grants)


REMEMBERED_KEYS: Final = 50_000


def in_one_order(sequences: Iterable[Iterable[Any]]) -> tuple[Any, ...]:
    """Sequences that are each part of one order, as one: nobody before another whom a sequence puts after it."""
    left = [list(dict.fromkeys(one)) for one in sequences]
    found: list[Any] = []
    while left := [one for one in left if one]:
        later = {name for one in left for name in one[1:]}
        head = next((one[0] for one in left if one[0] not in later), left[0][0])
        found.append(head)
        left = [[name for name in one if name != head] for one in left]
    return tuple(found)


class Draft:
    """A map under construction: the interface of a persistent one, changed in place. For folding many events at once.

    INVARIANT: whoever sets never looks at the map before the change again; folds pass maps on and do not keep them.
    """

    __slots__ = ("before", "changes")

    def __init__(self, before: Any) -> None:
        self.before = before
        self.changes: dict[Any, Any] = {}

    def get(self, key: Any, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        found = self.changes.get(key, _ABSENT)
        if found is _ABSENT:
            return self.before.get(key, default)
        return default if found is GONE else found

    def __getitem__(self, key: Any) -> Any:
        found = self.get(key, _ABSENT)
        if found is _ABSENT:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self.get(key, _ABSENT) is not _ABSENT

    def set(self, key: Any, value: Any) -> Self:
        """Put `value` under `key`; returns the same map."""
        self.changes[key] = value
        return self

    def delete(self, key: Any) -> Self:
        """Take `key` out; returns the same map. Raises KeyError when it is not there."""
        if key not in self:
            raise KeyError(key)
        self.changes[key] = GONE
        return self

    def mutate(self) -> Self:
        """Return the same map."""
        return self

    __setitem__ = set

    def finish(self) -> Self:
        """Return the same map."""
        return self
