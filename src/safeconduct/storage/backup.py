"""Backups of an instance: what is in one, how it is written while the instance runs, how it is read.

A backup is a directory or one tar file: `manifest.json` (SHA-256 of every file), `manifest.seal` (that manifest's digest, sealed
under the root key, so that only who holds it can make one), the two logs as published, the subjects' wrapped keys and the vault.
No private key is ever in it. Consistent although nothing stops: first the decision log, then the record that its decisions
rest on, then the keys under which both were sealed, then the vault, each as of one moment not before the one ahead of it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import msgspec

from safeconduct.audit.checkpoint import LogVerifier, parse_checkpoint
from safeconduct.audit.fsck import Report, verify
from safeconduct.audit.tile import (
    ENTRIES,
    TILE_WIDTH,
    decode_bundle,
    encode_bundle,
    parse_tile_path,
    tile_path,
)
from safeconduct.kernel.canonical import canonical_json
from safeconduct.kernel.errors import Conflict, InvalidInput, LogCorrupt, NotFound, VerificationFailed
from safeconduct.kernel.signing import KeyWrapper
from safeconduct.storage.log_files import FileLogDirectory

FORMAT = 1
MANIFEST = "manifest.json"
SEAL = "manifest.seal"
RECORD_LOG = "record/log"
DECISION_LOG = "decisions/log"
SUBJECT_KEYS = "record/subject-keys.db"
VAULT = "vault.db"
OTHER_DATABASES = ("responses.db",)
"""Backed up where they are there; what is lost with them is denied, never allowed."""
INSTANCE = "instance.json"
_CONTEXT = b"safeconduct backup manifest v1"
# Versions of screening lists never change; one that is coming in while the backup is made is in it whole or not at all.
SCREENING = "screening"
_SCREENING = (
    r"screening/(?:lists\.json|lists/[a-z0-9][a-z0-9._-]{0,79}/(?:in-force|"
    r"versions/[0-9a-f]{64}/(?:version\.json|entries\.jsonl|sources/[a-z]{1,20}\.gz)))"
)
_LOG = r"(?:record|decisions(?:/[a-z0-9][a-z0-9-]{0,62})?)/log"
_PATH = re.compile(
    rf"instance\.json|vault\.db|responses\.db|record/subject-keys\.db|{_SCREENING}|{_LOG}/(?:checkpoint|key-history|tile/[a-z0-9./]+)"
)

Progress = Callable[[int, int], None]


class BackedUpFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """path: within the backup; size: bytes; sha256: hex."""

    path: str
    size: int
    sha256: str


class BackedUpLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A log as of the backup. path: within the data directory; root: hex."""

    path: str
    origin: str
    size: int
    root: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds. made_at: seconds since the epoch; release: that made it; logs: the record is the last."""

    format: int
    made_at: int
    release: str
    logs: tuple[BackedUpLog, ...]
    files: tuple[BackedUpFile, ...]

    @property
    def record(self) -> BackedUpLog:
        """The record."""
        return self.logs[-1]

    @property
    def decisions(self) -> int:
        """Entries of all decision logs."""
        return sum(log.size for log in self.logs[:-1])


class Place(msgspec.Struct, frozen=True):
    """Where an instance's data lie, and what its logs are signed with.

    decisions: the node's, whose name workers' go on from. workers: the key of their logs, None where there never was one.
    """

    data: Path
    record: LogVerifier
    decisions: LogVerifier
    workers: LogVerifier | None = None

    def verifier(self, path: str, origin: str) -> LogVerifier:
        """The verifier of the log in directory `path`, which must be one of the instance. Raises LogCorrupt."""
        base = self.record if path == RECORD_LOG else self.decisions
        worker = path.removeprefix("decisions/").removesuffix("/log") if path != DECISION_LOG else ""
        expected = f"{base.name}/{worker}" if worker and path != RECORD_LOG else base.name
        if origin != expected:
            raise LogCorrupt(f"the log there is {origin!r}, expected {expected!r}", field=path)
        if worker and path != RECORD_LOG:
            if self.workers is None:
                raise LogCorrupt(
                    "there is a worker's log and no key for it",
                    field=path,
                    remedy="restore the key worker-log",
                )
            base = self.workers
        return LogVerifier(expected, base.key)

    def logs(self) -> list[str]:
        """The instance's log directories that are there: decision logs first, the record last."""
        found = [f"decisions/{name.parent.name}/log" for name in sorted(self.data.glob("decisions/*/log"))]
        return [DECISION_LOG, *found, RECORD_LOG]


# -- writing ---------------------------------------------------------------------------------------------------------


class _Sink(Protocol):
    def put(self, path: str, data: IO[bytes], size: int) -> None: ...

    def finish(self) -> None: ...


class _DirectorySink:
    def __init__(self, target: Path) -> None:
        self._target = target
        target.mkdir(mode=0o700)

    def put(self, path: str, data: IO[bytes], size: int) -> None:  # noqa: ARG002 - the tar needs to know it first
        place = self._target / path
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123
            shutil.copyfileobj(data, file, 1 << 20)

    def finish(self) -> None:
        sync_tree(self._target)


class _TarSink:
    def __init__(self, target: Path) -> None:
        self._file = open(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")  # noqa: PTH123, SIM115
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def put(self, path: str, data: IO[bytes], size: int) -> None:
        member = tarfile.TarInfo(path)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, data)

    def finish(self) -> None:
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def sync_tree(top: Path) -> None:
    """Make every file and name below `top` durable, and `top` itself in its parent."""
    for directory, _, names in os.walk(top):
        for name in [*(f"{directory}/{one}" for one in names), directory]:
            _sync(Path(name))
    _sync(top.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Writer:
    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self.files: list[BackedUpFile] = []

    def put(self, path: str, data: bytes) -> None:
        self._sink.put(path, BytesIO(data), len(data))
        self.files.append(BackedUpFile(path, len(data), hashlib.sha256(data).hexdigest()))

    def put_file(self, path: str, file: Path) -> None:
        with file.open("rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
            size = data.tell()
            data.seek(0)
            self._sink.put(path, data, size)
        self.files.append(BackedUpFile(path, size, digest))


def write_backup(
    place: Place,
    target: Path,
    *,
    wrapper: KeyWrapper,
    made_at: int,
    release: str,
    settle: Callable[[], None],
    progress: Callable[[str], contextlib.AbstractContextManager[Progress]],
) -> Manifest:
    """Write a backup of an instance, running or not, to `target`, a directory or a `.tar` file that must not exist.

    settle: returns once what the record holds now is in its checkpoint. Every entry is verified as it is copied.
    Raises Conflict, NotFound, LogCorrupt.
    """
    if target.exists():
        raise Conflict("there is something already", field=str(target), remedy="name a new file or directory")
    partial = target.with_name(target.name + ".partial")
    if partial.exists():
        raise Conflict(
            "an unfinished backup lies there", field=str(partial), remedy="remove it, or name another target"
        )
    sink: _Sink = _TarSink(partial) if target.suffix == ".tar" else _DirectorySink(partial)
    try:
        writer = _Writer(sink)
        *decision_logs, record = place.logs()
        logs = [_copy_log(place, path, writer, progress) for path in decision_logs]
        settle()
        logs.append(_copy_log(place, record, writer, progress))
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".safeconduct-backup-") as scratch:
            others = [name for name in OTHER_DATABASES if (place.data / name).is_file()]
            for path in (SUBJECT_KEYS, VAULT, *others):
                copy = Path(scratch) / path.replace("/", "-")
                _copy_database(place.data / path, copy)
                writer.put_file(path, copy)
        for file in sorted((place.data / SCREENING).rglob("*")):
            path = str(file.relative_to(place.data))
            if _PATH.fullmatch(path) and file.is_file() and not file.is_symlink():
                writer.put_file(path, file)
        writer.put(INSTANCE, (place.data / INSTANCE).read_bytes())
        manifest = Manifest(FORMAT, made_at, release, tuple(logs), tuple(writer.files))
        text = canonical_json(manifest)
        writer.put(MANIFEST, text)
        seal = wrapper.wrap(hashlib.sha256(text).digest(), _CONTEXT)
        writer.put(SEAL, base64.b64encode(seal) + b"\n")
        sink.finish()
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True) if partial.is_dir() else partial.unlink(missing_ok=True)
        raise
    partial.rename(target)
    _sync(target.parent)
    return manifest


def _copy_log(
    place: Place,
    path: str,
    writer: _Writer,
    progress: Callable[[str], contextlib.AbstractContextManager[Progress]],
) -> BackedUpLog:
    directory, prefix = FileLogDirectory(place.data / path), path
    try:
        checkpoint = directory.read("checkpoint")
    except FileNotFoundError:
        raise NotFound("there is no log here", field=str(directory.root)) from None
    verifier = place.verifier(path, parse_checkpoint(checkpoint).origin)
    copied: set[str] = set()

    def fetch(path: str) -> bytes:
        # The log goes on growing: its checkpoint is the one read first, and what was partial then stays partial.
        data = checkpoint if path == "checkpoint" else _read_tile(directory, path)
        if path not in copied:
            copied.add(path)
            writer.put(f"{prefix}/{path}", data)
        return data

    with progress(f"copying {verifier.name}") as advance:
        report = verify(fetch, verifier, progress=advance)
    _demand(report, "the log is damaged, so there is nothing to back up", "run `safeconduct audit fsck`")
    return BackedUpLog(prefix, report.origin, report.size, report.root.hex())


def _read_tile(directory: FileLogDirectory, path: str) -> bytes:
    try:
        return directory.read(path)
    except FileNotFoundError:
        level, number, width = parse_tile_path(path) if path.startswith("tile/") else (0, 0, TILE_WIDTH)
        if width == TILE_WIDTH:
            raise
        # It became full meanwhile, and partial ones may go then.
        full = tile_path(level, number)
        data = directory.read(full)
        return encode_bundle(decode_bundle(data, full)[:width]) if level == ENTRIES else data[: width * 32]


def _demand(report: Report, message: str, remedy: str) -> None:
    if not report.ok:
        raise LogCorrupt(f"{message}: {report.problems[0]}", field=report.origin, remedy=remedy)


def _copy_database(source: Path, target: Path) -> None:
    """A copy as of one moment, also while another process writes; what was deleted is not in it."""
    if not source.is_file():
        raise NotFound("a database is missing", field=str(source), remedy="restore the instance first")
    with contextlib.closing(sqlite3.connect(source, timeout=30)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))
    target.chmod(0o600)


# -- reading ---------------------------------------------------------------------------------------------------------


class BackupReader:
    """A backup opened for reading: nothing in it is trusted before `manifest` was. Use it as a context manager."""

    def __init__(self, source: Path) -> None:
        """Raises NotFound, InvalidInput."""
        self.source = source
        self._tar: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}
        if source.is_dir():
            return
        if not source.is_file():
            raise NotFound("there is no backup", field=str(source))
        try:
            self._tar = tarfile.open(source, mode="r:")  # noqa: SIM115 - closed by __exit__
            for member in self._tar:
                if not member.isreg() or member.name in self._members:
                    raise self._foreign(member.name)
                self._members[member.name] = member
        except tarfile.TarError as error:
            raise InvalidInput(f"not a backup: {error}", field=str(source)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._tar is not None:
            self._tar.close()

    def _foreign(self, path: str) -> InvalidInput:
        return InvalidInput(
            f"{path[:120]!r} does not belong into a backup",
            field=str(self.source),
            remedy="use an unaltered copy",
        )

    def _paths(self) -> Iterator[str]:
        if self._tar is not None:
            yield from self._members
            return
        for directory, folders, names in os.walk(self.source):
            for name in (*folders, *names):
                whole = Path(directory) / name
                if whole.is_symlink() or not (whole.is_file() or whole.is_dir()):
                    raise self._foreign(name)
            yield from (os.path.relpath(f"{directory}/{name}", self.source) for name in names)

    @contextlib.contextmanager
    def _open(self, path: str) -> Iterator[IO[bytes]]:
        if self._tar is None:
            try:
                with (self.source / path).open("rb") as file:
                    yield file
            except FileNotFoundError:
                raise VerificationFailed(f"{path} is missing", step="files", code="") from None
            return
        member = self._members.get(path)
        found = self._tar.extractfile(member) if member is not None else None
        if found is None:
            raise VerificationFailed(f"{path} is missing", step="files", code="")
        with found:
            yield found

    def verified(self, manifest: Manifest, path: str) -> bytes:
        """The bytes of a small file, as they were backed up. Raises VerificationFailed."""
        data = self._small(path)
        listed = {file.path: file.sha256 for file in manifest.files}
        if listed.get(path) != hashlib.sha256(data).hexdigest():
            raise VerificationFailed(
                f"{path} is not the file that was backed up",
                step="files",
                code="",
                remedy="use an unaltered copy",
            )
        return data

    def _small(self, path: str) -> bytes:
        with self._open(path) as file:
            data = file.read((256 << 20) + 1)
        if len(data) > 256 << 20:
            raise self._foreign(path)
        return data

    def manifest(self, wrapper: KeyWrapper) -> Manifest:
        """The manifest, once its seal is that of the root key and its list is that of the files.

        Raises VerificationFailed, InvalidInput.
        """
        text = self._small(MANIFEST)
        try:
            sealed = base64.b64decode(self._small(SEAL).strip(), validate=True)
            digest = wrapper.unwrap(sealed, _CONTEXT)
        except (ValueError, InvalidInput):
            digest = b""
        if digest != hashlib.sha256(text).digest():
            raise VerificationFailed(
                "the manifest was altered, or made under another root key",
                step="seal",
                code="",
                remedy="use an unaltered copy and the root key of the instance that was backed up",
            )
        number = msgspec.json.decode(text).get("format")
        if number != FORMAT:
            raise InvalidInput(
                f"the backup is of format {number}, this release reads format {FORMAT}",
                field=MANIFEST,
                remedy="use the release that made it, or a newer one",
            )
        manifest = msgspec.json.decode(text, type=Manifest)
        listed = {file.path for file in manifest.files}
        for path in self._paths():
            if path not in listed and path not in (MANIFEST, SEAL):
                raise self._foreign(path)
        if not manifest.logs or manifest.record.path != RECORD_LOG:
            raise InvalidInput("the backup holds no record", field=MANIFEST)
        for path in [*listed, *(f"{log.path}/checkpoint" for log in manifest.logs)]:
            # Sealed or not: nothing that it names may lead out of the directory that is restored.
            if not _PATH.fullmatch(path) or ".." in path or "//" in path or path not in listed:
                raise self._foreign(path)
        return manifest

    def unpack(self, manifest: Manifest, target: Path, progress: Progress) -> None:
        """Write every file below `target`, its hash checked. Raises VerificationFailed naming the first that differs."""
        for number, listed in enumerate(manifest.files, start=1):
            place = target / listed.path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            digest, size = hashlib.sha256(), 0
            with (
                self._open(listed.path) as source,
                open(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file,  # noqa: PTH123
            ):
                while piece := source.read(1 << 20):
                    digest.update(piece)
                    size += len(piece)
                    file.write(piece)
            if (size, digest.hexdigest()) != (listed.size, listed.sha256):
                raise VerificationFailed(
                    f"{listed.path} is not the file that was backed up",
                    step="files",
                    code="",
                    remedy="use an unaltered copy",
                )
            progress(number, len(manifest.files))
