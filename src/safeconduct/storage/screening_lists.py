"""Versions of screening lists as files below `<data>/screening/`, mode 0600.

    lists.json                            how the operator runs each list: age limits, canaries
    uploads/<sha256>                      files on their way in
    lists/<list>/lock                     held while a version comes in
    lists/<list>/in-force                 the pointer: one digest, replaced as a whole
    lists/<list>/versions/<sha256>/       version.json, entries.jsonl and sources/<role>.gz, never changed

Owns that a version is whole or absent and that the pointer names a whole one: a version is written beside, synced and renamed, and so is
the pointer. Refuses symbolic links, names that leave the directory, and to read entries whose digest is not the version's.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import msgspec

from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.list_version import ListSettings, ListVersion
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound, SafeconductError

_LIST = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_ROLE = re.compile(r"[a-z]{1,20}\Z")
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
_CHUNK = 256 << 10
MAX_UPLOAD = 1 << 30
UPLOAD_LIFE = 86_400
_IN_FORCE = "in-force"
_VERSION, _ENTRIES = "version.json", "entries.jsonl"


class ListDamaged(SafeconductError):
    """The files of a version are not what was written. `field` names the version."""

    kind = "list_damaged"


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: Path) -> None:
    """Make a directory and those above it, for the instance alone."""
    if not path.is_dir():
        _private(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _create(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600), "wb")


def _open(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDONLY | _FLAGS), "rb")


def _close_synced(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _replace_durably(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    with _create(temporary) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    _sync_directory(path.parent)


def check_digest(text: str, field: str = "sha256") -> str:
    """A SHA-256 in hex. Raises InvalidInput."""
    if not _DIGEST.match(text):
        raise InvalidInput("not a SHA-256 in hex", field=field, remedy="64 digits and letters a to f")
    return text


class Upload:
    """A file on its way in, for whoever knows its digest. Use as a context manager; it takes its name with `keep`."""

    def __init__(self, directory: Path, sha256: str, limit: int) -> None:
        self._path = directory / check_digest(sha256)
        self._sha256 = sha256
        self._limit = limit
        self._seen = 0
        self._hash = hashlib.sha256()
        self._temporary = directory / f".{sha256}.{secrets.token_hex(8)}"
        self._file = _create(self._temporary)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Append. Raises InvalidInput beyond the limit."""
        self._seen += len(chunk)
        if self._seen > self._limit:
            raise InvalidInput(f"the file is larger than {self._limit:,} bytes", field="file")
        self._hash.update(chunk)
        self._file.write(chunk)

    def keep(self) -> int:
        """Check the digest and keep the file; its size in bytes. Raises InvalidInput."""
        if self._hash.hexdigest() != self._sha256:
            raise InvalidInput(
                f"the file has the SHA-256 {self._hash.hexdigest()}, not the one it was announced with",
                field="sha256",
                remedy="send the file again: it was cut or changed on its way",
            )
        self._file.close()
        self._temporary.rename(self._path)
        return self._seen


class VersionDraft:
    """A version that is being written. Nothing of it is seen until `keep`; `drop` leaves nothing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._hash = hashlib.sha256()
        _private(directory / "sources")
        self._entries = _create(directory / _ENTRIES)
        self._encoder = msgspec.json.Encoder(order="deterministic")

    def write(self, entry: ListEntry) -> None:
        """Append an entry."""
        line = self._encoder.encode(entry) + b"\n"
        self._hash.update(line)
        self._entries.write(line)

    def entries(self) -> Iterator[ListEntry]:
        """What was written so far, read back from the file."""
        self._entries.flush()
        return _read_entries(self._directory / _ENTRIES)

    @property
    def entries_sha256(self) -> str:
        """SHA-256 (hex) of the entries as they are kept."""
        return self._hash.hexdigest()

    def keep_source(self, role: str, source: IO[bytes]) -> None:
        """Keep the file that the entries came from, so that they can be read from it again."""
        if not _ROLE.match(role):
            raise InvalidInput(f"{role[:40]!r} names no file", field="files")
        source.seek(0)
        with _create(self._directory / "sources" / f"{role}.gz") as file:
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=5, mtime=0) as packed:
                shutil.copyfileobj(source, packed, _CHUNK)
            file.flush()
            os.fsync(file.fileno())

    def keep(self, version: ListVersion) -> None:
        """Make the version durable under its digest. A version that is there already stays."""
        _close_synced(self._entries)
        with _create(self._directory / _VERSION) as file:
            file.write(msgspec.json.format(msgspec.json.encode(version), indent=1))
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(self._directory / "sources")
        _sync_directory(self._directory)
        place = self._directory.parent / check_digest(version.sha256)
        if place.exists():
            if _intact(place):
                self.drop()
                return
            # Damaged on the disk; whoever reads it is told so until the new one has its place.
            aside = place.with_name(f".draft-damaged-{secrets.token_hex(8)}")
            place.rename(aside)
            self._directory.rename(place)
            _sync_directory(place.parent)
            shutil.rmtree(aside, ignore_errors=True)
            return
        self._directory.rename(place)
        _sync_directory(place.parent)

    def drop(self) -> None:
        """Leave nothing behind."""
        self._entries.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _intact(place: Path) -> bool:
    try:
        with _open(place / _VERSION) as file:
            version = msgspec.json.decode(file.read(), type=ListVersion)
        for _ in _read_entries(place / _ENTRIES, version.entries_sha256):
            pass
    except (OSError, msgspec.MsgspecError, ListDamaged):
        return False
    return True


def _read_entries(path: Path, sha256: str | None = None) -> Iterator[ListEntry]:
    decode = msgspec.json.Decoder(ListEntry).decode
    digest = hashlib.sha256()
    with _open(path) as file:
        for line in file:
            digest.update(line)
            try:
                yield decode(line)
            except msgspec.MsgspecError:
                raise _damaged(path) from None
    if sha256 is not None and digest.hexdigest() != sha256:
        raise _damaged(path)


def _damaged(path: Path) -> ListDamaged:
    return ListDamaged(
        "the entries are not those that were imported",
        field=f"{path.parent.parent.parent.name} {path.parent.name[:12]}",
        remedy="import the list again, or restore the data directory",
    )


class ScreeningListFiles:
    """Implements `app.screening_lists.ListStore`."""

    def __init__(self, root: Path) -> None:
        """root: the directory; made when the first file comes."""
        self.root = root

    def settings(self) -> dict[str, ListSettings]:
        """How the operator runs each list, by name. Raises InvalidInput that names the file."""
        path = self.root / "lists.json"
        try:
            with _open(path) as file:
                return msgspec.json.decode(file.read(), type=dict[str, ListSettings])
        except FileNotFoundError:
            return {}
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"not the settings of lists: {error}", field=str(path)) from None

    # Files on their way in.

    def upload(self, sha256: str, limit: int = MAX_UPLOAD) -> Upload:
        """A file that is coming in. Raises InvalidInput when that is no digest."""
        check_digest(sha256)
        directory = self.root / "uploads"
        _private(directory)
        self._forget_old_uploads(directory)
        return Upload(directory, sha256, limit)

    @staticmethod
    def _forget_old_uploads(directory: Path) -> None:
        for left in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                # The file system's time on both sides, whatever the instance's clock says.
                if SystemClock().now() - left.lstat().st_mtime > UPLOAD_LIFE:
                    left.unlink()

    def uploaded(self, sha256: str) -> IO[bytes]:
        """A file that came in. Raises NotFound, InvalidInput."""
        try:
            return _open(self.root / "uploads" / check_digest(sha256))
        except FileNotFoundError:
            raise NotFound(
                f"no file with the SHA-256 {sha256[:12]}... was uploaded",
                field="files",
                remedy="upload it first",
            ) from None

    def forget_upload(self, sha256: str) -> None:
        """Remove a file that came in; no error when it is not there."""
        (self.root / "uploads" / check_digest(sha256)).unlink(missing_ok=True)

    # Versions.

    def _place(self, name: str) -> Path:
        if len(name) > 80 or not _LIST.match(name):
            raise InvalidInput(f"{name[:80]!r} is not the name of a list", field="list")
        return self.root / "lists" / name

    @contextlib.contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Hold the list for one change. Raises Conflict when another change of it is under way, here or in another process."""
        place = self._place(name)
        _private(place / "versions")
        descriptor = os.open(place / "lock", os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"another change of the list {name} is under way",
                    field="list",
                    remedy="wait until it is done and look at the status",
                ) from None
            # What a process that was stopped left behind: never seen by anybody, so nothing is lost.
            for left in (place / "versions").glob(".draft-*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)

    def lists(self) -> list[str]:
        """Names of the lists that have a directory, ordered."""
        try:
            return sorted(path.name for path in (self.root / "lists").iterdir() if _LIST.match(path.name))
        except FileNotFoundError:
            return []

    def draft(self, name: str) -> VersionDraft:
        """A version to be written; only within `changing`."""
        versions = self._place(name) / "versions"
        draft = versions / f".draft-{secrets.token_hex(8)}"
        draft.mkdir(mode=0o700)
        for directory in (versions.parent, versions.parent.parent, self.root, self.root.parent):
            _sync_directory(directory)
        return VersionDraft(draft)

    def versions(self, name: str) -> list[ListVersion]:
        """Versions that are kept, the last imported first."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in (self._place(name) / "versions").iterdir():
                if _DIGEST.match(path.name):
                    # A damaged one is as good as none; asked for by name it says so.
                    with contextlib.suppress(NotFound, ListDamaged):
                        found.append(self.version(name, path.name))
        return sorted(found, key=lambda version: (version.imported_at, version.sha256), reverse=True)

    def version(self, name: str, sha256: str) -> ListVersion:
        """One version. Raises NotFound, ListDamaged."""
        path = self._place(name) / "versions" / check_digest(sha256)
        try:
            with _open(path / _VERSION) as file:
                found = msgspec.json.decode(file.read(), type=ListVersion)
        except FileNotFoundError:
            raise NotFound(
                f"the version {sha256[:12]} of {name} is not kept here",
                field="version",
                remedy="see `lists status`",
            ) from None
        except msgspec.MsgspecError:
            raise _damaged(path / _ENTRIES) from None
        if found.sha256 != sha256 or found.list != name:
            raise _damaged(path / _ENTRIES)
        return found

    def entries(self, name: str, sha256: str) -> Iterator[ListEntry]:
        """Entries of a version, in the order of its file. At the end they are held against their digest.

        Raises NotFound, ListDamaged: what was read before that must not be used.
        """
        version = self.version(name, sha256)
        try:
            yield from _read_entries(
                self._place(name) / "versions" / sha256 / _ENTRIES, version.entries_sha256
            )
        except FileNotFoundError:
            raise _damaged(self._place(name) / "versions" / sha256 / _ENTRIES) from None

    # The pointer.

    def in_force(self, name: str) -> str | None:
        """The digest that the pointer names, or None. Raises ListDamaged."""
        path = self._place(name) / _IN_FORCE
        try:
            with _open(path) as file:
                text = file.read(100).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        if not _DIGEST.match(text):
            raise ListDamaged(
                "the pointer names no version", field=str(path), remedy="roll back, or import again"
            )
        return text

    def put_in_force(self, name: str, sha256: str) -> None:
        """Swap the pointer, durably: afterwards it names this version, and before that the one before."""
        self.version(name, sha256)
        _replace_durably(self._place(name) / _IN_FORCE, sha256.encode() + b"\n")
