"""Opening the two logs of an instance where they have their home: files with a reserve and a budget, or PostgreSQL.

Owns which home the record is opened in. Refuses a database for an instance whose record is in files.
"""

from __future__ import annotations

import logging
from pathlib import Path

from safeconduct.app.record_keeper import RecordKeeper
from safeconduct.app.shared_record import SharedRecordKeeper
from safeconduct.app.snapshots import Snapshots
from safeconduct.audit.budget import BudgetedLog
from safeconduct.audit.sequencing import SEGMENT_BYTES, Log
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import UnsafeConfiguration
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import Signer
from safeconduct.settings import IN_FILES, INSTANCE_FILE, Descriptor, Settings
from safeconduct.storage.database_url import DatabaseUrl
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.postgres_record import PostgresRecordLog
from safeconduct.storage.reserve import (
    RESERVE_BYTES,
    Reserve,
    ReservedLogDirectory,
    free_bytes,
    used_bytes,
)

RecordLog = Log | PostgresRecordLog
"""The record's log in either home: read, checkpoint, `failed`, `notes`, close."""

_logger = logging.getLogger(__name__)


def open_decision_log(
    settings: Settings, descriptor: Descriptor, signer: Signer, clock: Clock, *, create: bool = False
) -> BudgetedLog:
    """The node's decision log, within the settings' budget. Raises NotFound, LogUnavailable, LogCorrupt."""
    return open_budgeted_log(
        settings.decision_log,
        descriptor.decision_origin,
        signer,
        clock,
        budget=settings.decision_budget,
        create=create,
    )


def open_budgeted_log(
    path: Path, origin: str, signer: Signer, clock: Clock, *, budget: int, create: bool
) -> BudgetedLog:
    """A decision log that leaves the disk's last bytes to the record. budget: bytes, 0 for none. Raises as `Log.open`."""
    log = BudgetedLog.open(
        FileLogDirectory(path),
        origin=origin,
        signer=signer,
        clock=clock,
        create=create,
        # The write-ahead log comes on top of the budget: two segments, an eighth of it.
        segment_bytes=min(SEGMENT_BYTES, max(1 << 16, budget // 16)) if budget else SEGMENT_BYTES,
    )
    log.limit(budget=budget, used=used_bytes(path), floor=RESERVE_BYTES, free=lambda: free_bytes(path))
    return log


def _record_directory(settings: Settings) -> ReservedLogDirectory:
    """Where the record's files are, with the reserve that lets it go on when the disk is full."""
    reserve = Reserve(settings.record_directory / "reserve")
    if not reserve.fill():
        _logger.warning("the disk has no room for the record's reserve of %d bytes", RESERVE_BYTES)
    return ReservedLogDirectory(settings.record_log, reserve)


def open_record(
    settings: Settings, descriptor: Descriptor, keys: KeyDirectory, clock: Clock, *, create: bool = False
) -> RecordLog:
    """The record in the home that the descriptor names; SAFECONDUCT_RECORD_URL says where that is now, and its password."""
    waiting = keys.pending_wrapper()
    signer = keys.signer("record-log")
    if descriptor.record == IN_FILES:
        if settings.record_url is not None:
            raise UnsafeConfiguration(
                "this instance keeps its record in files",
                field="record_url",
                remedy="unset SAFECONDUCT_RECORD_URL, or name the instance that keeps it in that database",
            )
        return Log.open(
            _record_directory(settings),
            origin=descriptor.record_origin,
            signer=signer,
            clock=clock,
            create=create,
        )
    url = settings.record_url or DatabaseUrl.parse(descriptor.record, field=INSTANCE_FILE)
    return PostgresRecordLog.open(
        url,
        _record_directory(settings),
        origin=descriptor.record_origin,
        signer=signer,
        wrapper=waiting or keys.wrapper(),
        older=keys.wrapper() if waiting is not None else None,
        clock=clock,
        create=create,
    )


def keeper_of(
    log: RecordLog, clock: Clock, random: RandomBytes, snapshots: Snapshots | None = None
) -> RecordKeeper | SharedRecordKeeper:
    """The record folded from its log; in files, from the latest snapshot on. Raises LogCorrupt."""
    if isinstance(log, PostgresRecordLog):
        return SharedRecordKeeper(log, clock=clock, random=random)
    return RecordKeeper(log, clock=clock, random=random, snapshots=snapshots)
