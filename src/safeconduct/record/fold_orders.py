"""Folds directives and lists of organisations, and links amendments and rescissions to what they name.

Owns those links: an amendment or rescission touches the directives it names and no other. Refuses to lose an order: one
whose predicate cannot be read is kept and applies to everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from safeconduct.authorization.predicate import parse, parse_exceptions
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import DirectiveKind
from safeconduct.record.events.orders import DirectiveImported, OrgListPublished
from safeconduct.record.matching import awaited, match, match_annexes
from safeconduct.record.projections import DirectiveState, OrgListState

if TYPE_CHECKING:
    from safeconduct.record.state import State

RESTRICTING = frozenset(
    {DirectiveKind.LICENCE_REQUIRED, DirectiveKind.SUSPEND, DirectiveKind.RESTRICT_TO_LIST}
)


def _compiled(event: DirectiveImported) -> DirectiveState:
    try:
        applies_to = parse(event.applies_to)
    except InvalidInput:
        applies_to = None
    try:
        exceptions = parse_exceptions(event.except_)
    except InvalidInput:
        exceptions = ()
    return DirectiveState(imported=event, applies_to=applies_to, exceptions=exceptions)


def _directive(state: State, event: DirectiveImported) -> dict[str, Any]:
    if event.directive in state.directives:
        return {}
    annexes, unmatched = match_annexes(event.annexes, state.by_lei, state.by_registry)
    entry = msgspec.structs.replace(_compiled(event), annexes=annexes, unmatched=unmatched)
    directives = state.directives.set(event.directive, entry)
    for named in dict.fromkeys(event.amends):
        target = directives.get(named)
        if target is None or named == event.directive:
            continue
        if event.kind is DirectiveKind.PARTIALLY_AUTHORISE:
            target = msgspec.structs.replace(target, amended_by=(*target.amended_by, event.directive))
        elif event.kind is DirectiveKind.RESCIND:
            ends = set(target.imported.variants) <= set(event.variants) or not event.variants
            since = target.rescinded_from
            if ends:
                since = event.effective_from if since is None else min(since, event.effective_from)
            target = msgspec.structs.replace(
                target, rescinded_from=since, rescinded_by=(*target.rescinded_by, event.directive)
            )
        else:
            continue
        directives = directives.set(named, target)
    entries = tuple(line for annex in event.annexes for line in annex.entries)
    changes: dict[str, Any] = {
        "directives": directives,
        "awaiting": awaited(state.awaiting, entries, ("directive", event.directive)),
    }
    if event.kind in RESTRICTING:
        index = state.orders_on
        for variant in dict.fromkeys(event.variants):
            index = index.set(variant, (*index.get(variant, ()), event.directive))
        changes["orders_on"] = index
    return changes


def _org_list(state: State, event: OrgListPublished) -> dict[str, Any]:
    known = state.org_lists.get(event.list)
    # A lower version is an old list shown again.
    if known is not None and known.published.version >= event.version:
        return {}
    organisations, unmatched = match(event.entries, state.by_lei, state.by_registry)
    entry = OrgListState(published=event, organisations=organisations, unmatched=unmatched)
    return {
        "org_lists": state.org_lists.set(event.list, entry),
        "awaiting": awaited(state.awaiting, event.entries, ("list", event.list)),
    }


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {
    DirectiveImported: _directive,
    OrgListPublished: _org_list,
}
