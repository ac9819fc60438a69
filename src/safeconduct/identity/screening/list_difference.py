"""What changed between two versions of a list: entries added, removed, and changed with which members."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from safeconduct.identity.screening.entry import ListEntry

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ListEntry).decode


class ChangedEntry(msgspec.Struct, frozen=True):
    """An entry in both versions. members: those that differ, in the order of `ListEntry`. name: its first name now."""

    id: str
    name: str
    members: tuple[str, ...]


class EntryName(msgspec.Struct, frozen=True):
    """An entry by its id and first name."""

    id: str
    name: str


class ListDifference(msgspec.Struct, frozen=True):
    """From one version to another, each part in the order of the version that holds it."""

    added: tuple[EntryName, ...]
    removed: tuple[EntryName, ...]
    changed: tuple[ChangedEntry, ...]

    @property
    def ids(self) -> frozenset[str]:
        """Ids of the entries to search anew against everybody: added and changed."""
        return frozenset((*(each.id for each in self.added), *(each.id for each in self.changed)))


def difference(before: Iterable[ListEntry], after: Iterable[ListEntry]) -> ListDifference:
    """Compare two versions by the ids of their entries. An id is unique within a version."""
    # Packed, a large version takes a fifth of the room.
    known = {entry.id: _encode(entry) for entry in before}
    added: list[EntryName] = []
    changed: list[ChangedEntry] = []
    for entry in after:
        packed = known.pop(entry.id, None)
        if packed is None:
            added.append(EntryName(entry.id, entry.names[0].text))
        elif packed != _encode(entry):
            was = _decode(packed)
            members = tuple(
                name for name in ListEntry.__struct_fields__ if getattr(was, name) != getattr(entry, name)
            )
            changed.append(ChangedEntry(entry.id, entry.names[0].text, members))
    removed = tuple(EntryName(entry.id, entry.names[0].text) for entry in map(_decode, known.values()))
    return ListDifference(tuple(added), removed, tuple(changed))
