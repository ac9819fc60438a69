"""The two homes of the record behind one face, for the tests of what both promise."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
from tests.support.log_directories import log_signer
from tests.support.postgres import run, tamper

from safeconduct.app.record_keeper import RecordKeeper
from safeconduct.app.shared_record import SharedRecordKeeper
from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.fsck import Report, check, verify
from safeconduct.audit.sequencing import Log
from safeconduct.audit.tile import ENTRIES, decode_bundle, encode_bundle, tile_path
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.signing import FileKeyWrapper
from safeconduct.kernel.vocabulary import SubjectKind
from safeconduct.record.events.holders import SubjectEnrolled
from safeconduct.storage.database_url import DatabaseUrl
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.postgres_record import PostgresRecordLog

ORIGIN = "test.example/record"
SIGNER = log_signer()
WRAPPER = FileKeyWrapper(b"r" * 32)
VERIFIER = LogVerifier.of(ORIGIN, SIGNER)


def enrolled(name) -> SubjectEnrolled:
    return SubjectEnrolled(subject=SubjectId(f"sub_{name}"), kind=SubjectKind.HUMAN)


class OpenHome(msgspec.Struct):
    """log: read side and proofs; record: `app.ports.Record` over it."""

    log: Log | PostgresRecordLog
    record: RecordKeeper | SharedRecordKeeper

    def entries(self) -> list[bytes]:
        return list(self.log.read(0, self.log.durable_size))

    def close(self) -> None:
        self.log.close()


class FileHome:
    """The record in files."""

    shared = False

    def __init__(self, place: Path) -> None:
        self.place = place
        self.directory = FileLogDirectory(place / "log")

    def open(self, *, origin: str = ORIGIN, signer=SIGNER, create: bool = True) -> OpenHome:
        log = Log.open(
            FileLogDirectory(self.directory.root),
            origin=origin,
            signer=signer,
            clock=SystemClock(),
            create=create,
            checkpoint_interval=0.02,
        )
        return OpenHome(log, RecordKeeper(log, clock=SystemClock()))

    def durable_entries(self) -> list[bytes]:
        """What a machine finds that starts again now: the files as they are, opened elsewhere."""
        copy = self.place / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.directory.root, copy)
        log = Log.open(FileLogDirectory(copy), origin=ORIGIN, signer=SIGNER, clock=SystemClock())
        try:
            return list(log.read(0, log.durable_size))
        finally:
            log.close()

    def report(self) -> Report:
        return check(self.directory, VERIFIER)

    def cut_to(self, size: int) -> None:
        """Bring back an older version of the home: `size` entries, but the last checkpoint is known."""
        known = self.directory.read("checkpoint")
        entries = self.durable_entries()[:size]
        shutil.rmtree(self.directory.root)
        home = self.open()
        if entries:
            first = home.log.submit_group(entries)
            home.log.wait_durable_sync(first + size - 1, 30)
        home.close()
        (self.directory.root / "checkpoint").write_bytes(known)

    def alter(self, seq: int) -> None:
        """Change one entry in all the places where the home keeps it, its hashes apart."""
        for path in self.directory.list("wal"):
            file = self.directory.root / path
            file.write_bytes(file.read_bytes().replace(b"sub_%d" % seq, b"sub_X"[: len(b"sub_%d" % seq)]))
        for path in self.directory.list("tile/entries"):
            file = self.directory.root / path
            file.write_bytes(file.read_bytes().replace(b"sub_%d" % seq, b"sub_X"[: len(b"sub_%d" % seq)]))


class PostgresHome:
    """The record in PostgreSQL, its mirror in a directory."""

    shared = True

    def __init__(self, place: Path, url: DatabaseUrl) -> None:
        self.place = place
        self.url = url
        self.directory = FileLogDirectory(place / "mirror")

    def open(
        self,
        *,
        origin: str = ORIGIN,
        signer=SIGNER,
        create: bool = True,
        mirror: str = "mirror",
        url=None,
        **options,
    ) -> OpenHome:
        log = PostgresRecordLog.open(
            url or self.url,
            FileLogDirectory(self.place / mirror),
            origin=origin,
            signer=signer,
            wrapper=WRAPPER,
            clock=SystemClock(),
            create=create,
            **{"checkpoint_interval": 0.02, "retry": 0.05, "timeout": 10.0, "stall": 1.0, **options},
        )
        return OpenHome(log, SharedRecordKeeper(log, clock=SystemClock()))

    def durable_entries(self) -> list[bytes]:
        return [row["entry"] for row in run("SELECT entry FROM record_entry ORDER BY seq", url=self.url)]

    def report(self) -> Report:
        return check(self.directory, VERIFIER)

    def cut_to(self, size: int) -> None:
        tamper(
            self.url,
            f"DELETE FROM record_entry WHERE seq >= {size}",
            f"UPDATE record_head SET size = {size}, signed_size = -1, checkpoint = NULL",
        )

    def alter(self, seq: int) -> None:
        tamper(
            self.url,
            f"UPDATE record_entry SET entry = overlay(entry placing '\\x58'::bytea"
            f" from position('sub_'::bytea in entry) + 4) WHERE seq = {seq}",
        )


def report_over(fetch) -> Report:
    """What anybody finds who reads the published log."""
    return verify(fetch, VERIFIER)


__all__ = [
    "ENTRIES",
    "ORIGIN",
    "SIGNER",
    "VERIFIER",
    "FileHome",
    "OpenHome",
    "PostgresHome",
    "decode_bundle",
    "encode_bundle",
    "enrolled",
    "report_over",
    "tile_path",
]
