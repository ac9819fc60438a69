"""Use case: what changed between two versions of a screening list."""

from __future__ import annotations

import msgspec

from safeconduct.app.ports import Instance
from safeconduct.app.roll_back_screening_list import find_version
from safeconduct.app.screening_lists import ListStore
from safeconduct.identity.screening.list_difference import ListDifference, difference
from safeconduct.identity.screening.list_version import ListVersion
from safeconduct.identity.screening.sources.formats import list_source
from safeconduct.kernel.errors import NotFound


class ComparedVersions(msgspec.Struct, frozen=True):
    """Two versions and what changed from the one to the other."""

    before: ListVersion
    after: ListVersion
    difference: ListDifference


def compare_screening_lists(
    instance: Instance, store: ListStore, name: str, *, before: str | None = None, after: str | None = None
) -> ComparedVersions:
    """before, after: digests or their starts; what is in force, against what it replaced, when left out. Raises NotFound."""
    list_source(name)
    known = instance.record.state.screening_lists.get(name)
    if known is None:
        raise NotFound(f"no version of {name} is in force", field="list", remedy="import one")
    new = find_version(store, name, after, "after") if after else store.version(name, known.sha256)
    if before:
        old = find_version(store, name, before, "before")
    elif known.replaces and known.replaces != new.sha256:
        old = store.version(name, known.replaces)
    else:
        others = [each for each in store.versions(name) if each.sha256 != new.sha256]
        if not others:
            raise NotFound(f"there is no earlier version of {name}", field="before")
        old = others[0]
    found = difference(store.entries(name, old.sha256), store.entries(name, new.sha256))
    return ComparedVersions(old, new, found)
