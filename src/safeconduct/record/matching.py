"""Ties the lines of annexes and lists to registered organisations, by exact identifiers only.

Owns the rule "exact LEI, or exact (registry authority, number)". Refuses to guess: a name matches nothing, an owner passes
nothing on, and a line whose two identifiers belong to different organisations stays unmatched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from immutables import Map

from safeconduct.kernel.ids import DirectiveId, OrganisationId
from safeconduct.record.events.holders import OrganisationRegistered
from safeconduct.record.events.orders import Annex, OrganisationEntry

if TYPE_CHECKING:
    from safeconduct.record.state import State

Identifier = str | tuple[str, str]


def identifiers_of(organisation: OrganisationRegistered) -> Iterator[Identifier]:
    """The identifiers an organisation can be matched by."""
    if organisation.lei is not None:
        yield organisation.lei
    if organisation.registry is not None:
        yield (organisation.registry.authority, organisation.registry.number)


def _identifiers_of_entry(entry: OrganisationEntry) -> Iterator[Identifier]:
    if entry.lei is not None:
        yield entry.lei
    if entry.registry_authority is not None and entry.registry_number is not None:
        yield (entry.registry_authority, entry.registry_number)


def match(
    entries: Iterable[OrganisationEntry],
    by_lei: Map[str, OrganisationId],
    by_registry: Map[tuple[str, str], OrganisationId],
) -> tuple[frozenset[OrganisationId], tuple[OrganisationEntry, ...]]:
    """The organisations named, and the lines that match none (in order)."""
    found: set[OrganisationId] = set()
    unmatched: list[OrganisationEntry] = []
    for entry in entries:
        named = {
            organisation
            for identifier in _identifiers_of_entry(entry)
            if (
                organisation := by_lei.get(identifier)
                if isinstance(identifier, str)
                else by_registry.get(identifier)
            )
            is not None
        }
        if len(named) == 1:
            found |= named
        else:
            unmatched.append(entry)
    return frozenset(found), tuple(unmatched)


def match_annexes(
    annexes: Iterable[Annex],
    by_lei: Map[str, OrganisationId],
    by_registry: Map[tuple[str, str], OrganisationId],
) -> tuple[Map[str, frozenset[OrganisationId]], tuple[OrganisationEntry, ...]]:
    """Each annex's organisations by its name, and the unmatched lines of all of them."""
    resolved: dict[str, frozenset[OrganisationId]] = {}
    unmatched: tuple[OrganisationEntry, ...] = ()
    for annex in annexes:
        resolved[annex.name], missing = match(annex.entries, by_lei, by_registry)
        unmatched += missing
    return Map(resolved), unmatched


def awaited(
    awaiting: Map[object, frozenset[tuple[str, str]]],
    entries: Iterable[OrganisationEntry],
    where: tuple[str, str],
) -> Map[object, frozenset[tuple[str, str]]]:
    """The index with `where` noted under every identifier of `entries`."""
    changed = awaiting.mutate()
    for entry in entries:
        for identifier in _identifiers_of_entry(entry):
            changed[identifier] = changed.get(identifier, frozenset()) | {where}
    return changed.finish()


def rematched(
    state: State,
    identifiers: Iterable[Identifier],
    by_lei: Map[str, OrganisationId],
    by_registry: Map[tuple[str, str], OrganisationId],
) -> dict[str, Any]:
    """Lists and directives whose lines carry one of these identifiers, matched again: an annex may precede a register."""
    places = {place for identifier in identifiers for place in state.awaiting.get(identifier, frozenset())}
    if not places:
        return {}
    lists, directives = state.org_lists, state.directives
    for kind, name in places:
        if kind == "list":
            held = lists[name]
            organisations, unmatched = match(held.published.entries, by_lei, by_registry)
            lists = lists.set(
                name, msgspec.structs.replace(held, organisations=organisations, unmatched=unmatched)
            )
        else:
            order = directives[DirectiveId(name)]
            annexes, unmatched = match_annexes(order.imported.annexes, by_lei, by_registry)
            directives = directives.set(
                DirectiveId(name), msgspec.structs.replace(order, annexes=annexes, unmatched=unmatched)
            )
    return {"org_lists": lists, "directives": directives}
