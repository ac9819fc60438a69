"""Putting a backup back: verified as a whole beside the old data, then exchanged for it in one step.

Refuses logs that are shorter than, or contradict, a checkpoint that is known: that of the data being replaced, or one that
somebody kept. So nothing that was revoked comes back; and subjects that were erased since are erased in what is restored.
Overwrites nothing: the data it replaces are kept under another name, less the keys of those who were erased.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from safeconduct.audit.checkpoint import Checkpoint, LogVerifier, parse_checkpoint
from safeconduct.audit.files import LogReader
from safeconduct.audit.fsck import verify
from safeconduct.audit.reader import PublishedLog
from safeconduct.audit.recovery import EPOCH, Epoch, read_epoch, replace_file
from safeconduct.audit.segments import SegmentWriter
from safeconduct.audit.tile import TILE_WIDTH
from safeconduct.kernel.errors import (
    Conflict,
    InvalidInput,
    LogCorrupt,
    LogUnavailable,
    SafeconductError,
    VerificationFailed,
)
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import KeyWrapper
from safeconduct.storage.backup import (
    DECISION_LOG,
    RECORD_LOG,
    SUBJECT_KEYS,
    BackupReader,
    Manifest,
    Place,
    Progress,
    sync_tree,
)
from safeconduct.storage.log_files import LOCK, FileLogDirectory
from safeconduct.storage.subject_keys import SubjectKeys
from safeconduct.storage.vault import SqliteVault


class Restored(msgspec.Struct, frozen=True):
    """What was done. erased: subjects whose erasure was carried over; kept: where the data lie that were replaced, or empty."""

    manifest: Manifest
    erased: int
    kept: str


def restore_backup(
    source: Path,
    place: Place,
    *,
    wrapper: KeyWrapper,
    known: Sequence[Checkpoint],
    replace: bool,
    random: RandomBytes,
    progress: Callable[[str], contextlib.AbstractContextManager[Progress]],
    mirrored: bool = False,
) -> Restored:
    """Restore a backup to `place.data`. known: checkpoints that somebody kept; replace: there may be data already.

    mirrored: the record's home is a database, so its files get no write-ahead log.
    Raises Conflict, LogUnavailable (in use), VerificationFailed, LogCorrupt, InvalidInput, NotFound.
    """
    data = place.data
    present = data.exists() and any(data.iterdir())
    if present and not replace:
        raise Conflict(
            "there are data already",
            field=str(data),
            remedy="give --replace to exchange them (they are kept aside), or another directory",
        )
    staging = data.with_name(data.name + ".restoring")
    if staging.exists():
        raise Conflict(
            "an unfinished restore lies there", field=str(staging), remedy="remove it and try again"
        )
    with BackupReader(source) as backup, not_in_use(data):
        manifest = backup.manifest(wrapper)
        staging.mkdir(mode=0o700, parents=True)
        try:
            with progress("unpacking") as advance:
                backup.unpack(manifest, staging, advance)
            demands = [*known, *_own_checkpoints(place)]
            _check_complete(manifest, place, demands)
            for log in manifest.logs:
                verifier = place.verifier(log.path, log.origin)
                with progress(f"verifying {log.origin}") as advance:
                    _check_log(FileLogDirectory(staging / log.path), verifier, demands, advance)
            erased = _carry_erasures(data, staging, wrapper)
            for log in manifest.logs:
                if log.path != RECORD_LOG or not mirrored:
                    verifier = place.verifier(log.path, log.origin)
                    _make_writable(staging / log.path, data / log.path, verifier, random)
            (staging / "logs").mkdir(mode=0o700, exist_ok=True)
            sync_tree(staging)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        kept = _exchange(staging, data, manifest.made_at) if present else ""
        if not present:
            if data.exists():
                data.rmdir()
            staging.rename(data)
        _sync_parent(data)
    return Restored(manifest, erased, kept)


@contextlib.contextmanager
def not_in_use(data: Path) -> Iterator[None]:
    """Hold the locks of both logs. Raises LogUnavailable when a process has the data open."""
    with contextlib.ExitStack() as held:
        logs = [
            RECORD_LOG,
            DECISION_LOG,
            *(f"decisions/{one.parent.name}/log" for one in data.glob("decisions/*/log")),
        ]
        for path in logs:
            try:
                file = held.enter_context((data / path / LOCK).open("rb"))
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LogUnavailable(
                    "a process has these data open", field=str(data), remedy="stop it first"
                ) from None
        yield


def _own_checkpoints(place: Place) -> list[Checkpoint]:
    found = []
    for path in place.logs():
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found.append(parse_checkpoint(FileLogDirectory(place.data / path).read("checkpoint")))
    return found


def _check_complete(manifest: Manifest, place: Place, demands: Sequence[Checkpoint]) -> None:
    """Refuse a backup that lacks a log of this instance of which a checkpoint is known."""
    there = {log.origin for log in manifest.logs}
    for demand in demands:
        ours = demand.origin == place.record.name or f"{demand.origin}/".startswith(
            f"{place.decisions.name}/"
        )
        if ours and demand.origin not in there and demand.size:
            raise VerificationFailed(
                f"the backup does not hold the log {demand.origin}, of which {demand.size} entries were signed",
                step="consistency",
                code="",
                remedy="use a newer backup",
            )


def _check_log(
    directory: LogReader, verifier: LogVerifier, demands: Sequence[Checkpoint], progress: Progress
) -> None:
    report = verify(directory.read, verifier, progress=progress)
    if not report.ok:
        raise LogCorrupt(
            f"the backup's log does not verify: {report.problems[0]}",
            field=report.origin,
            remedy="use another backup",
        )
    log = PublishedLog(directory.read, verifier)
    log.refresh()
    for demand in demands:
        if demand.origin != verifier.name:
            continue
        log.verifier.verify(demand.text)
        if demand.size > report.size:
            raise VerificationFailed(
                f"the backup's log {verifier.name} has {report.size} entries, and {demand.size} were signed",
                step="consistency",
                code="",
                field=str(demand.size),
                remedy="use a newer backup: with this one, what was revoked since would be in force again",
            )
        try:
            _check_same(log, demand)
        except SafeconductError as error:
            raise VerificationFailed(
                f"the backup's log {verifier.name} contradicts a checkpoint over {demand.size} entries: {error.message}",
                step="consistency",
                code="",
                remedy="keep both as evidence: one of the two histories was made up",
            ) from None


def _check_same(log: PublishedLog, demand: Checkpoint) -> None:
    from safeconduct.audit.merkle import EMPTY_ROOT, range_hash  # noqa: PLC0415

    size = log.checkpoint.size
    root = range_hash(log.node(size), 0, demand.size) if demand.size else EMPTY_ROOT
    if root != demand.root:
        raise VerificationFailed("another root", step="consistency", code="")


def _carry_erasures(data: Path, staging: Path, wrapper: KeyWrapper) -> int:
    """Erase in the restored data whoever is erased in the present ones. Returns how many that were."""
    present = data / SUBJECT_KEYS
    if not present.is_file():
        return 0
    with contextlib.closing(sqlite3.connect(present, timeout=30)) as connection:
        gone = {
            row[0] for row in connection.execute("SELECT subject FROM subject_keys WHERE wrapped IS NULL")
        }
    keys = SubjectKeys.open(staging / "record", wrapper)
    vault = SqliteVault.open(staging / "vault.db", keys)
    try:
        for subject in sorted(gone):
            vault.forget(subject)
    finally:
        vault.close()
        keys.close()
    return len(gone)


def _make_writable(log: Path, before: Path, verifier: LogVerifier, random: RandomBytes) -> None:
    """Give a published log the write-ahead log and the epoch that a writer opens it by; the epoch is later than any before."""
    directory = FileLogDirectory(log)
    published = PublishedLog(directory.read, verifier)
    size = published.checkpoint.size
    first = size - size % TILE_WIDTH
    try:
        last = read_epoch(FileLogDirectory(before))
    except LogCorrupt:
        last = None
    epoch = Epoch((last.number if last else 0) + 1, os.getpid())
    if not directory.acquire():
        raise LogUnavailable("the restored log is in use", field=str(log))
    try:
        segments = SegmentWriter(
            directory, origin=verifier.name, epoch=epoch.number, segment_bytes=1 << 26, random=random
        )
        segments.start(first, list(published.entries(first, size)), durable=size)
        segments.close()
        replace_file(directory, EPOCH, epoch.encode())
    finally:
        directory.release()


def _exchange(staging: Path, data: Path, made_at: int) -> str:
    kept = data.with_name(f"{data.name}.replaced-{made_at}")
    number = 0
    while kept.exists():
        number += 1
        kept = data.with_name(f"{data.name}.replaced-{made_at}.{number}")
    # Between the two there is no data directory; a crash leaves both under names that say what they are.
    data.rename(kept)
    staging.rename(data)
    return str(kept)


def _sync_parent(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_known(path: Path) -> Checkpoint:
    """A checkpoint that somebody kept, from a file. Raises InvalidInput."""
    try:
        return parse_checkpoint(path.read_bytes())
    except (OSError, VerificationFailed) as error:
        raise InvalidInput(f"not a checkpoint: {error}", field=str(path)) from None
