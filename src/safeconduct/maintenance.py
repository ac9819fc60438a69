"""Keeping an instance's data: back up, put back, upgrade. Wires `storage`'s parts to an instance's settings and keys."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from safeconduct import __version__
from safeconduct.app.instance_keys import WORKER_LOG_KEY
from safeconduct.audit.checkpoint import Checkpoint, LogVerifier
from safeconduct.bootstrap import custody_of, replace_durably
from safeconduct.kernel.canonical import canonical_json, strict_json
from safeconduct.kernel.clock import Clock, SystemClock
from safeconduct.kernel.errors import Conflict, LogUnavailable, NotFound
from safeconduct.kernel.ids import RandomBytes
from safeconduct.settings import (
    FORMAT,
    IN_FILES,
    INSTANCE_FILE,
    Descriptor,
    Settings,
    check_format,
    check_places,
    format_of,
    read_descriptor,
)
from safeconduct.storage.backup import BackupReader, Manifest, Place, Progress, write_backup
from safeconduct.storage.database_url import DatabaseUrl
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.restore import Restored, not_in_use, restore_backup
from safeconduct.storage.subject_keys import SubjectKeys
from safeconduct.storage.upgrade import upgraded
from safeconduct.storage.vault import SqliteVault

Titled = Callable[[str], contextlib.AbstractContextManager[Progress]]

SETTLE_SECONDS = 0.5
"""A running instance signs its record every 0.2 s: after this, decisions copied before rest on what is copied next."""


def _place(data: Path, keys: KeyDirectory, *, record: str, decisions: str) -> Place:
    return Place(
        data,
        LogVerifier.of(record, keys.signer("record-log")),
        LogVerifier.of(decisions, keys.signer("decision-log")),
        LogVerifier.of(decisions, keys.signer(WORKER_LOG_KEY)) if keys.has(WORKER_LOG_KEY) else None,
    )


def back_up(
    settings: Settings,
    target: Path,
    *,
    progress: Titled,
    clock: Clock | None = None,
    settle: Callable[[], None] | None = None,
) -> Manifest:
    """Write a verified backup of an instance, running or not. Raises NotFound, Conflict, LogCorrupt, UnsafeConfiguration."""
    check_places(settings)
    descriptor = read_descriptor(settings)
    inside = settings.data.resolve()
    if inside == target.resolve() or inside in target.resolve().parents:
        raise Conflict(
            "a backup does not lie in the data it is of", field=str(target), remedy="name another place"
        )
    keys = KeyDirectory(settings.keys, custody_of(settings))
    place = _place(settings.data, keys, record=descriptor.record_origin, decisions=descriptor.decision_origin)
    return write_backup(
        place,
        target,
        wrapper=keys.wrapper(),
        made_at=int((clock or SystemClock()).now()),
        release=__version__,
        settle=settle or (lambda: _settle(settings)),
        progress=progress,
    )


def _settle(settings: Settings) -> None:
    try:
        with not_in_use(settings.data):
            return
    except LogUnavailable:
        time.sleep(SETTLE_SECONDS)


def put_back(
    settings: Settings,
    source: Path,
    *,
    known: Sequence[Checkpoint],
    replace: bool,
    progress: Titled,
    random: RandomBytes = secrets.token_bytes,
) -> Restored:
    """Restore a backup. known: checkpoints that somebody kept. Raises as `storage.restore` says."""
    check_places(settings)
    keys = KeyDirectory(settings.keys, custody_of(settings))
    keys.check()
    wrapper = keys.wrapper()
    with BackupReader(source) as backup:
        text = backup.verified(backup.manifest(wrapper), INSTANCE_FILE)
    found = strict_json(text, what=INSTANCE_FILE)
    check_format(found, settings)
    descriptor = msgspec.convert(found, Descriptor)
    with contextlib.suppress(NotFound):
        present = read_descriptor(settings)
        if present.record_origin != descriptor.record_origin:
            raise Conflict(
                "the data there are of another instance",
                field=str(settings.data),
                remedy="restore into another directory",
            )
    place = _place(settings.data, keys, record=descriptor.record_origin, decisions=descriptor.decision_origin)
    restored = restore_backup(
        source,
        place,
        wrapper=wrapper,
        known=known,
        replace=replace,
        random=random,
        progress=progress,
        mirrored=descriptor.record != IN_FILES,
    )
    if descriptor.record != IN_FILES:
        from safeconduct.storage.postgres_import import load_record  # noqa: PLC0415

        url = settings.record_url or DatabaseUrl.parse(descriptor.record, field=INSTANCE_FILE)
        load_record(url, FileLogDirectory(settings.record_log), place.record, wrapper, random)
    return restored


def upgrade_data(settings: Settings) -> tuple[int, int]:
    """Bring a data directory to this release's format; returns the format before and after.

    Raises NotFound, UnsafeConfiguration (made by a newer release), LogUnavailable (a process has it open).
    """
    check_places(settings)
    try:
        data = settings.instance_file.read_bytes()
    except FileNotFoundError:
        raise NotFound(
            "there is no instance here", field=str(settings.data), remedy="run `safeconduct init`"
        ) from None
    found = strict_json(data, what=INSTANCE_FILE)
    before = format_of(found)
    if before > FORMAT:
        check_format(found, settings)
    keys = KeyDirectory(settings.keys, custody_of(settings))
    with not_in_use(settings.data):
        if before < FORMAT:
            descriptor = msgspec.convert(upgraded(found, before, FORMAT, __version__), Descriptor)
            replace_durably(settings.data / f"{INSTANCE_FILE}.format-{before}", data)
        # Opening a database brings it to the newest revision.
        subject_keys = SubjectKeys.open(settings.record_directory, keys.wrapper())
        try:
            SqliteVault.open(settings.vault, subject_keys).close()
        finally:
            subject_keys.close()
        if before < FORMAT:
            # INVARIANT: last. Until then the directory is of its old format, and the upgrade can be repeated.
            replace_durably(settings.instance_file, canonical_json(descriptor))
    return before, FORMAT
