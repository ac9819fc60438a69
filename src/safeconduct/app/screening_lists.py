"""What the use cases about screening lists share: the ports, and which version is in force.

The record says which version is in force; the store's pointer follows it and is set right whenever the two differ, as after a power cut
between the one and the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import IO, Protocol

import msgspec

from safeconduct.app.commit import instant
from safeconduct.app.ports import Instance
from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.list_version import DAY, ListSettings, ListVersion
from safeconduct.identity.screening.sources.formats import list_names, list_source
from safeconduct.kernel.errors import Conflict, NotFound, SafeconductError
from safeconduct.record.events.screening import ScreeningListPutInForce
from safeconduct.record.state import State

_OTHER = "the version kept here is not the one that was put in force"


class Draft(Protocol):
    """A version that is being written; unseen until it is kept."""

    @property
    def entries_sha256(self) -> str:
        """SHA-256 (hex) of what was written."""
        ...

    def write(self, entry: ListEntry) -> None:
        """Append an entry."""
        ...

    def entries(self) -> Iterator[ListEntry]:
        """What was written, read back."""
        ...

    def keep_source(self, role: str, source: IO[bytes]) -> None:
        """Keep a file that the entries came from."""
        ...

    def keep(self, version: ListVersion) -> None:
        """Make it durable under its digest."""
        ...

    def drop(self) -> None:
        """Leave nothing behind."""
        ...


class ListStore(Protocol):
    """Versions of lists (`storage.screening_lists`)."""

    def settings(self) -> Mapping[str, ListSettings]:
        """How the operator runs each list, by name. Raises InvalidInput."""
        ...

    def changing(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Hold the list for one change. Raises Conflict."""
        ...

    def uploaded(self, sha256: str) -> IO[bytes]:
        """A file that came in, seekable. Raises NotFound."""
        ...

    def forget_upload(self, sha256: str) -> None:
        """Remove a file that came in."""
        ...

    def lists(self) -> list[str]:
        """Names of the lists that anything is kept of, ordered."""
        ...

    def draft(self, name: str) -> Draft:
        """A version to be written, within `changing`."""
        ...

    def versions(self, name: str) -> list[ListVersion]:
        """Versions that are kept, the last imported first."""
        ...

    def version(self, name: str, sha256: str) -> ListVersion:
        """One version. Raises NotFound."""
        ...

    def entries(self, name: str, sha256: str) -> Iterator[ListEntry]:
        """Entries of a version, in order; an error at the end when they are not those imported. Raises NotFound."""
        ...

    def in_force(self, name: str) -> str | None:
        """The digest that the pointer names."""
        ...

    def put_in_force(self, name: str, sha256: str) -> None:
        """Swap the pointer, durably."""
        ...


class ListStatus(msgspec.Struct, frozen=True):
    """A list as it stands.

    age: seconds since it was known to be current. past_age: older than max_age (seconds): screening gives `review`, never `clear`.
    fault: why the version in force cannot be used, or "". usable: neither past its age nor at fault.
    """

    list: str
    title: str
    in_force: ScreeningListPutInForce | None
    age: int | None
    max_age: int
    past_age: bool
    fault: str
    versions: int
    version: ListVersion | None = None

    @property
    def usable(self) -> bool:
        """Whether it can show that somebody is not listed."""
        return self.in_force is not None and not self.past_age and not self.fault


def settle_lists(store: ListStore, state: State) -> None:
    """Set the pointers right: each names the version that the record says is in force, where that version is kept here."""
    for name, event in state.screening_lists.items():
        with contextlib.suppress(SafeconductError):
            if _pointer(store, name) != event.sha256:
                store.put_in_force(name, event.sha256)


def _pointer(store: ListStore, name: str) -> str | None:
    try:
        return store.in_force(name)
    except SafeconductError:
        return None


def settings_of(store: ListStore, name: str) -> ListSettings:
    """How the operator runs one list."""
    return store.settings().get(name, ListSettings())


def version_in_force(store: ListStore, state: State, name: str) -> ListVersion | None:
    """What the record says is in force, as it is kept here. Raises NotFound when it is not kept here."""
    event = state.screening_lists.get(name)
    return store.version(name, event.sha256) if event is not None else None


def entries_in_force(store: ListStore, event: ScreeningListPutInForce) -> Iterator[ListEntry]:
    """Entries of the version that the record put in force, held against the digest in the record at the end.

    Raises NotFound (not kept here), Conflict (what is kept under this name is another), and the store's error of damaged files:
    what was read before an error must not be used.
    """
    version = store.version(event.list, event.sha256)
    if version.entries_sha256 != event.entries_sha256:
        raise Conflict(_OTHER, field=event.list, remedy="import the list again")
    return store.entries(event.list, event.sha256)


def list_status(instance: Instance, store: ListStore, name: str) -> ListStatus:
    """How one list stands. Raises NotFound when there is no such list."""
    source = list_source(name)
    state = instance.record.state
    event = state.screening_lists.get(name)
    limit = settings_of(store, name).max_age
    max_age = (limit if limit is not None else source.max_age) * DAY
    version: ListVersion | None = None
    fault = ""
    try:
        version = version_in_force(store, state, name)
    except SafeconductError as error:
        fault = str(error)
    if version is not None and event is not None and version.entries_sha256 != event.entries_sha256:
        fault = _OTHER
    age = max(0, instant(instance) - event.current_at) if event is not None else None
    return ListStatus(
        list=name,
        title=source.title,
        in_force=event,
        age=age,
        max_age=max_age,
        past_age=age is not None and age > max_age,
        fault=fault,
        versions=len(store.versions(name)),
        version=version,
    )


def list_statuses(instance: Instance, store: ListStore) -> list[ListStatus]:
    """Every publisher's list and every other that anything is known of, ordered by name; those never imported too."""
    known = {*list_names(), *instance.record.state.screening_lists, *store.lists()}
    found = []
    for name in sorted(known):
        with contextlib.suppress(NotFound):
            found.append(list_status(instance, store, name))
    return found
