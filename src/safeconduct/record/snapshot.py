"""The bytes of a whole state: what a snapshot file holds, and how a state is made of it again.

Owns the format, version 1: for each map its rows, their lengths and the hashes of their keys, then a directory (MessagePack)
that says where each lies. Refuses what another fold made: `fold_digest` names the code that folds, and a snapshot says
which it was. Nothing here is verified: `app.snapshots` holds digest, signature and the record's root against it first.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from array import array
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Final

import msgspec

from safeconduct.kernel.errors import InvalidInput
from safeconduct.record.events.trust import InstanceInitialised
from safeconduct.record.packing import GRANTS_TO, as_rows, codecs, from_rows, grants_as_rows, grants_from_rows
from safeconduct.record.rows import Rows
from safeconduct.record.state import State

FORMAT: Final = 1
# What decides how an event becomes state. A change in any of it makes every older snapshot one of another fold.
_PACKAGES: Final = ("safeconduct.record", "safeconduct.record.events")
_MODULES: Final = (
    ("safeconduct.authorization", "predicate.py"),
    ("safeconduct.registry", "finding.py"),
    ("safeconduct.identity.ownership", "regime.py"),
    ("safeconduct.kernel", "vocabulary.py"),
)


@functools.cache
def fold_digest() -> str:
    """SHA-256 (hex) of the code that folds the record: a state is only as good as the rules it was folded by."""
    found = [resources.files(package) / name for package, name in _MODULES]
    for package in _PACKAGES:
        inside = [one for one in resources.files(package).iterdir() if one.name.endswith(".py")]
        found += sorted(inside, key=lambda one: one.name)
    digest = hashlib.sha256(sys.implementation.name.encode())
    for one in found:
        text = one.read_bytes()
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


class _Section(msgspec.Struct, frozen=True):
    """Where a map lies: offset and length in bytes of its rows; offsets of the lengths and of the hashes; entries."""

    data: int
    size: int
    lengths: int
    hashes: int
    count: int


class _Directory(msgspec.Struct, frozen=True):
    position: int
    next_status_index: int
    instance: InstanceInitialised | None
    maps: dict[str, _Section]
    byteorder: str = sys.byteorder


Write = Callable[[bytes | bytearray | memoryview], None]


def write_state(state: State, write: Write, pause: Callable[[], None] = lambda: None) -> None:
    """Hand the state's bytes to `write` in order. pause: called after every piece, for a thread that must not be in the way."""
    at = 0
    sections: dict[str, _Section] = {}

    def put(data: bytes | bytearray | memoryview) -> None:
        nonlocal at
        write(data)
        at += len(data)
        pause()

    def align() -> int:
        if at % 8:
            put(bytes(-at % 8))
        return at

    for name in codecs():
        rows, changes = (
            grants_as_rows(state.grants_to) if name == GRANTS_TO else as_rows(name, getattr(state, name))
        )
        hashes, lengths = array("Q"), array("I")
        began = at
        for piece in rows.merged(changes):
            hashes += piece.hashes
            lengths += piece.lengths
            put(piece.data)
        size = at - began
        placed = align()
        for start in range(0, len(lengths), 65_536):
            put(memoryview(lengths[start : start + 65_536]).cast("B"))
        then = align()
        for start in range(0, len(hashes), 65_536):
            put(memoryview(hashes[start : start + 65_536]).cast("B"))
        sections[name] = _Section(began, size, placed, then, len(hashes))
    directory = msgspec.msgpack.encode(
        _Directory(state.position, state.next_status_index, state.instance, sections), order="deterministic"
    )
    put(directory)
    put(len(directory).to_bytes(8, "big"))


def read_state(content: memoryview) -> State:
    """The state that `write_state` wrote. Raises InvalidInput when it is not one.

    content: kept as it is, and not copied: it must not change.
    """
    try:
        length = int.from_bytes(content[-8:], "big")
        directory = msgspec.msgpack.decode(content[-8 - length : -8], type=_Directory)
        if directory.byteorder != sys.byteorder or set(directory.maps) != set(codecs()):
            raise InvalidInput("the snapshot is of another kind of machine or release", field="directory")
        rows = {name: _rows(content, name, section) for name, section in directory.maps.items()}
        fields = {name: from_rows(one) for name, one in rows.items() if name != GRANTS_TO}
        return State(
            position=directory.position,
            next_status_index=directory.next_status_index,
            instance=directory.instance,
            grants_to=grants_from_rows(rows[GRANTS_TO], fields["grants"]),
            **fields,
        )
    except (msgspec.MsgspecError, ValueError, IndexError, KeyError) as error:
        raise InvalidInput(f"not a state: {error}", field="content") from None


def _rows(content: memoryview, name: str, section: _Section) -> Rows:
    lengths, hashes = array("I"), array("Q")
    lengths.frombytes(content[section.lengths : section.lengths + 4 * section.count])
    hashes.frombytes(content[section.hashes : section.hashes + 8 * section.count])
    if len(hashes) != section.count or sum(lengths) != section.size:
        raise InvalidInput("the rows and their lengths differ", field=name)
    return Rows(codecs()[name], hashes, lengths, content[section.data : section.data + section.size])


def state_bytes(state: State) -> Iterator[bytes]:
    """The pieces of `write_state`, for those who want them all."""
    pieces: list[bytes] = []
    write_state(state, lambda data: pieces.append(bytes(data)))
    return iter(pieces)
