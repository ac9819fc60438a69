"""Use case: take in a new version of a screening list, and put it in force when every check passes.

Owns the order of the steps. Until the last one nobody sees anything of the new version; when a step refuses, the version in force stays
and nothing of the new one is kept. Refuses to bring in what it cannot read to the end.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Protocol

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.app.screening_lists import Draft, ListStore, settings_of, settle_lists, version_in_force
from safeconduct.identity.screening.canary import CanarySearch, ExactNames
from safeconduct.identity.screening.list_version import (
    MAX_CANARIES,
    ListVersion,
    SourceFile,
    check_version,
    digest_of,
    published_instant,
    settle_published,
)
from safeconduct.identity.screening.sources.archive import MAGIC, unpack
from safeconduct.identity.screening.sources.formats import (
    ListFormat,
    ListSource,
    detect,
    list_source,
    read_list,
    role_of,
    roles_of,
)
from safeconduct.identity.screening.sources.reading import Chunks, Defect, Reading
from safeconduct.kernel.errors import Conflict, InvalidInput, SafeconductError
from safeconduct.kernel.vocabulary import ListAct, Role
from safeconduct.record.events.screening import ScreeningListPutInForce
from safeconduct.record.state import State

_CHUNK = 256 << 10
_EVERY = 1_000
MAX_REASON = 1_000


class GivenFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that was uploaded (sha256), or one to fetch (url, https; sha256 then may say what must come).

    name: the publisher's file name, or which of the list's files it is (`primary`, `aliases` ...).
    """

    name: str
    sha256: str | None = None
    url: str | None = None


class ImportScreeningList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """format: told by the file when left out. published: date of publication, where the file does not say.

    confirm: defects to accept, with a reason.
    """

    files: tuple[GivenFile, ...]
    format: ListFormat | None = None
    published: str | None = None
    confirm: tuple[Defect, ...] = ()
    reason: str = ""


class ImportedScreeningList(msgspec.Struct, frozen=True):
    """changed: whether another version than before is in force now. lost, gained: entries, against the version before."""

    version: ListVersion
    event: ScreeningListPutInForce | None
    changed: bool
    lost: int = 0
    gained: int = 0


class ListFetch(Protocol):
    """Fetches a list for an operator who asked for it."""

    def fetch(self, url: str) -> IO[bytes]:
        """The whole file, in a temporary one, positioned at its start. Raises InvalidInput (an address that is refused, an answer
        that is no file), SafeconductError (nobody answers, too much, too slow).
        """
        ...


Progress = Callable[[str, int], None]
"""Told the step under way (`fetching reading checking keeping`) and how many entries were read."""


def _quiet(_step: str, _done: int) -> None:
    pass


def import_screening_list(
    instance: Instance,
    caller: Caller,
    store: ListStore,
    name: str,
    ask: ImportScreeningList,
    *,
    fetch: ListFetch | None = None,
    canaries: CanarySearch | None = None,
    progress: Progress = _quiet,
) -> ImportedScreeningList:
    """By an operator. Raises InvalidInput (the file, or a check; names what and the remedy), Conflict, NotFound, Forbidden."""
    require_role(caller, Role.OPERATOR)
    source = list_source(name)
    _check_ask(ask)
    with store.changing(name), contextlib.ExitStack() as held:
        settle_lists(store, instance.record.state)
        given = _Given(held)
        for file in ask.files:
            given.take(file, store, fetch, progress)
        result = _Import(
            instance=instance,
            caller=caller,
            store=store,
            source=source,
            ask=ask,
            canaries=canaries or ExactNames(),
            progress=progress,
        ).run(given)
    for uploaded in ask.files:
        if uploaded.url is None and uploaded.sha256 is not None:
            store.forget_upload(uploaded.sha256)
    return result


def _check_ask(ask: ImportScreeningList) -> None:
    if not ask.files:
        raise InvalidInput("no file is named", field="files")
    if len(ask.files) > 8:
        raise InvalidInput("too many files", field="files")
    if len(ask.reason) > MAX_REASON:
        raise InvalidInput(f"at most {MAX_REASON} characters", field="reason")
    if ask.confirm and not ask.reason.strip():
        raise InvalidInput("to confirm a defect takes a reason", field="reason", remedy="say why it is right")


class _Given:
    """The files of one import, open."""

    def __init__(self, held: contextlib.ExitStack) -> None:
        self._held = held
        self.files: list[tuple[str, IO[bytes], SourceFile]] = []
        self.fetched = True

    def take(self, given: GivenFile, store: ListStore, fetch: ListFetch | None, progress: Progress) -> None:
        """Open a file and work out its digest."""
        if given.url is not None:
            if fetch is None:
                raise InvalidInput("this instance fetches no lists", field="url", remedy="upload the file")
            progress("fetching", 0)
            file = self._held.enter_context(fetch.fetch(given.url))
        elif given.sha256 is not None:
            self.fetched = False
            file = self._held.enter_context(store.uploaded(given.sha256))
        else:
            raise InvalidInput("a file has a digest or an address", field="files")
        digest = hashlib.sha256()
        size = 0
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
        if size == 0:
            raise InvalidInput(
                "the file is empty", field=given.name[:80], remedy="fetch it again from its publisher"
            )
        if given.sha256 is not None and digest.hexdigest() != given.sha256:
            raise InvalidInput(
                f"it has the SHA-256 {digest.hexdigest()}, not the one that was given",
                field=given.name[:80],
                remedy="it was changed on its way, or is another version than you meant",
            )
        self.files.append((given.name, file, SourceFile("", size, digest.hexdigest())))


def _chunks(file: IO[bytes], role: str) -> Iterator[bytes]:
    file.seek(0)
    head = file.read(len(MAGIC))
    file.seek(0)
    if head == MAGIC:
        yield from unpack(file, field=role)
        return
    while chunk := file.read(_CHUNK):
        yield chunk


class _Import:
    """One import, step by step."""

    def __init__(
        self,
        *,
        instance: Instance,
        caller: Caller,
        store: ListStore,
        source: ListSource,
        ask: ImportScreeningList,
        canaries: CanarySearch,
        progress: Progress,
    ) -> None:
        self.instance = instance
        self.caller = caller
        self.store = store
        self.source = source
        self.ask = ask
        self.canaries = canaries
        self.progress = progress
        self.now = instant(instance)
        self.settings = settings_of(store, source.name)
        self.reading = Reading(ask.confirm)

    def run(self, given: _Given) -> ImportedScreeningList:
        """The steps in order."""
        written = self._format(given)
        files = self._roles(written, given)
        sources = tuple(each for _, each in files.values())
        sha256 = digest_of(sources)
        state = self.instance.record.state
        before, kept = self._before(state)
        if before is not None and before.sha256 == sha256:
            return self._unchanged(before, state, fetched=given.fetched)
        draft = self.store.draft(self.source.name)
        try:
            version, lost, gained = self._read(
                draft, written, files, sources=sources, sha256=sha256, before=before, kept=kept
            )
            self._check_canaries(draft)
            for role, (file, _) in files.items():
                draft.keep_source(role, file)
            self.progress("keeping", version.entries)
            draft.keep(version)
        except BaseException:
            draft.drop()
            raise
        event = self._put_in_force(version, state)
        return ImportedScreeningList(version, event, changed=True, lost=lost, gained=gained)

    def _before(self, state: State) -> tuple[ListVersion | None, frozenset[str]]:
        """The version in force and the ids of its entries."""
        try:
            before = version_in_force(self.store, state, self.source.name)
            if before is None:
                return None, frozenset()
            return before, frozenset(
                entry.id for entry in self.store.entries(self.source.name, before.sha256)
            )
        except SafeconductError:
            # Lost or damaged here: importing the list anew is the remedy, so it must not stand in the way.
            return None, frozenset()

    def _format(self, given: _Given) -> ListFormat:
        if self.ask.format is not None:
            if self.ask.format not in self.source.formats:
                raise InvalidInput(
                    f"{self.source.name} does not come as {self.ask.format.value}",
                    field="format",
                    remedy=f"one of: {', '.join(self.source.formats)}",
                )
            return self.ask.format
        head = b""
        for chunk in _chunks(given.files[0][1], "files"):
            head += chunk
            if len(head) >= 512:
                break
        return detect(self.source, head[:512])

    @staticmethod
    def _roles(format: ListFormat, given: _Given) -> dict[str, tuple[IO[bytes], SourceFile]]:
        found: dict[str, tuple[IO[bytes], SourceFile]] = {}
        for name, file, source in given.files:
            role = role_of(format, name)
            if role in found:
                raise InvalidInput(f"two files are {role!r}", field="files")
            found[role] = (file, SourceFile(role, source.size, source.sha256))
        missing = roles_of(format)[0]
        if missing not in found:
            raise InvalidInput(f"the file {missing!r} of {format.value} is missing", field="files")
        return found

    def _unchanged(self, before: ListVersion, state: State, *, fetched: bool) -> ImportedScreeningList:
        """The very version in force. Fetched from its publisher, that shows it is current; from a disk it shows nothing."""
        if not fetched:
            return ImportedScreeningList(before, None, changed=False)
        known = state.screening_lists[self.source.name]
        event = msgspec.structs.replace(
            known,
            act=ListAct.CHECKED,
            current_at=max(self.now, known.current_at),
            by=self.caller.id,
            at=self.now,
            reason=self.ask.reason,
            replaces=known.sha256,
        )
        self._commit(event, known)
        return ImportedScreeningList(before, event, changed=False)

    def _read(
        self,
        draft: Draft,
        format: ListFormat,
        files: Mapping[str, tuple[IO[bytes], SourceFile]],
        *,
        sources: tuple[SourceFile, ...],
        sha256: str,
        before: ListVersion | None,
        kept: frozenset[str],
    ) -> tuple[ListVersion, int, int]:
        chunks: dict[str, Chunks] = {role: _chunks(file, role) for role, (file, _) in files.items()}
        left = len(kept)
        entries = names = found = 0
        newest = ""
        by_list: dict[str, int] = {}
        for entry in read_list(format, chunks, self.reading):
            draft.write(entry)
            entries += 1
            names += len(entry.names)
            found += entry.id in kept
            by_list[entry.list_name] = by_list.get(entry.list_name, 0) + 1
            newest = max(newest, _mark(format, entry.id, entry.listed_on))
            if entries % _EVERY == 0:
                self.progress("reading", entries)
        self.progress("checking", entries)
        reading = self.reading
        published = settle_published(reading, self.ask.published, now=self.now)
        version = ListVersion(
            list=self.source.name,
            sha256=sha256,
            entries_sha256=draft.entries_sha256,
            format=format,
            files=sources,
            entries=entries,
            names=names,
            imported_at=self.now,
            newest=newest,
            published=published,
            by_list={name: count for name, count in by_list.items() if name},
            unknown_places=dict(reading.unknown_places.most_common(50)),
            skipped=dict(reading.skipped.most_common(50)),
            damaged=tuple(reading.damaged[:20]),
            encoding=reading.encoding,
        )
        earlier = self._earlier(before)
        check_version(
            version,
            before,
            lost=left - found,
            earlier=earlier,
            settings=self.settings,
            reading=reading,
        )
        confirmed = {defect.value: detail for defect, detail in sorted(reading.defects.items())}
        return msgspec.structs.replace(version, confirmed=confirmed), left - found, entries - found

    def _earlier(self, before: ListVersion | None) -> dict[str, ListVersion]:
        """Versions that came before the one in force, by the digest of their entries.

        One that is kept and is younger never came into force: a process that was stopped left it, and trying again is no return.
        """
        known = self.instance.record.state.screening_lists.get(self.source.name)
        if before is None or known is None:
            return {}
        return {
            each.entries_sha256: each
            for each in reversed(self.store.versions(self.source.name))
            if each.sha256 != before.sha256 and each.imported_at <= known.at
        }

    def _check_canaries(self, draft: Draft) -> None:
        wanted = self.settings.canaries
        if len(wanted) > MAX_CANARIES:
            raise InvalidInput(f"more than {MAX_CANARIES} canaries", field="canaries")
        missing = self.canaries.missing(wanted, draft.entries()) if wanted else []
        if missing:
            raise InvalidInput(
                f"{len(missing)} of {len(wanted)} canaries are not found in it (the first: {missing[0][:80]!r})",
                field="canaries",
                remedy="check that it is the whole list; a name that was really delisted is taken out of lists.json",
            )

    def _put_in_force(self, version: ListVersion, state: State) -> ScreeningListPutInForce:
        before = state.screening_lists.get(self.source.name)
        event = ScreeningListPutInForce(
            list=self.source.name,
            sha256=version.sha256,
            entries_sha256=version.entries_sha256,
            entries=version.entries,
            act=ListAct.IMPORTED,
            current_at=min(self.now, published_instant(version.published)) if version.published else self.now,
            by=self.caller.id,
            at=self.now,
            published=version.published,
            reason=self.ask.reason,
            confirmed=tuple(sorted(version.confirmed)),
            replaces=before.sha256 if before is not None else None,
        )
        self._commit(event, before)
        self.store.put_in_force(self.source.name, version.sha256)
        return event

    def _commit(self, event: ScreeningListPutInForce, before: ScreeningListPutInForce | None) -> None:
        def check(state: State) -> list[ScreeningListPutInForce]:
            if state.screening_lists.get(self.source.name) != before:
                raise Conflict(
                    f"another version of {self.source.name} came into force meanwhile",
                    field="list",
                    remedy="look at the status and import again",
                )
            return [event]

        commit_checked(self.instance, check)


def _mark(format: ListFormat, identifier: str, listed_on: str | None) -> str:
    """What grows when a list does: OFAC gives numbers in ascending order, others say when they listed somebody."""
    if format is ListFormat.OFAC_CSV:
        return f"{int(identifier):012d}"
    return listed_on or ""
