"""Tie the entries that files of ownership name to the lists in force: who owns somebody is on a list as long as the list says so.

A file of edges may name an owner as `entry:LIST:ID`. Whenever a list or the edges change, this makes the designations of each
such list agree with its version in force: entries that edges name and the list holds are designated; what an operator designated
stays while its entry is on the list, and ends with it. Refuses to match by name: an entry is named, or it is nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from safeconduct.app.assess_ownership import EDGES, designations_of, named_nodes
from safeconduct.app.commit import instant
from safeconduct.app.import_ownership import ImportOwnership, OwnershipImportResult, import_designations
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.app.screening_lists import ListStore, entries_in_force
from safeconduct.identity.ownership.designation import Designation
from safeconduct.kernel.canonical import canonical_json
from safeconduct.kernel.vocabulary import Role

_ENTRY = "entry"


class Designated(msgspec.Struct, frozen=True):
    """done: None when nothing changed. left: lists of which no designated entry is on the version in force; theirs stand."""

    done: OwnershipImportResult | None
    left: tuple[str, ...]


def designate_listed(
    instance: Instance, caller: Caller, store: ListStore, sources: Iterable[str] | None = None
) -> Designated:
    """By an operator, for these sources of lists (None: all in force).

    Raises Forbidden, NotFound (a version that is not kept here), Conflict, LogUnavailable, and the store's error of damaged files;
    what was designated before then stands.
    """
    require_role(caller, Role.OPERATOR)
    state = instance.record.state
    if not state.ownership_files:
        return Designated(None, ())
    now = instant(instance)
    known = designations_of(instance, state, now)
    named: dict[str, set[str]] = {}
    for node in named_nodes(instance, state, EDGES):
        kind, _, rest = node.partition(":")
        name, _, entry = rest.partition(":")
        if kind == _ENTRY and entry:
            named.setdefault(name, set()).add(entry)
    wanted: list[Designation] = []
    left: list[str] = []
    for source in sorted(
        state.screening_lists if sources is None else set(sources) & set(state.screening_lists)
    ):
        event = state.screening_lists[source]
        # With the moment: a list that was rolled back says again what it said before, and that is a new statement.
        version = f"{event.sha256}@{now}"
        held = {one.list for one in known} | set(named)
        programmes: dict[str, dict[str, tuple[str, ...]]] = {}
        for one in entries_in_force(store, event):
            name = one.list_name or source
            if name in held:
                programmes.setdefault(name, {})[one.id] = one.programmes
        for name, entries in sorted(programmes.items()):
            before = {one for one in known if one.list == name}
            nodes = {(one.node, one.entry) for one in before if one.entry in entries}
            nodes |= {
                (f"{_ENTRY}:{name}:{entry}", entry) for entry in named.get(name, ()) if entry in entries
            }
            after = {Designation(node, name, version, entry, _plain(entries[entry])) for node, entry in nodes}
            if {(one.node, one.entry) for one in before} == nodes and all(
                one.programmes == _plain(entries[one.entry]) for one in before
            ):
                continue
            if not after:
                # A whole list's designations never end by themselves: somebody says so.
                left.append(name)
                continue
            wanted += sorted(after, key=lambda one: (one.node, one.entry))
    if not wanted:
        return Designated(None, tuple(left))
    document = canonical_json(
        [
            {
                "node": one.node,
                "list": one.list,
                "version": one.version,
                "entry": one.entry,
                "programmes": ";".join(one.programmes),
            }
            for one in wanted
        ]
    ).decode()
    # Which entries a list holds was checked when the list came in: fewer than before is what it says.
    done = import_designations(instance, caller, ImportOwnership("json", document, allow_fewer=True))
    return Designated(done, tuple(left))


def _plain(programmes: tuple[str, ...]) -> tuple[str, ...]:
    """As a file of designations writes them."""
    kept = (one.replace(";", ",")[:60].strip() for one in programmes)
    return tuple(one for one in kept if one and one.isprintable())
