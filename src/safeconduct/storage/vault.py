"""The vault: encrypted documents in SQLite, each under its subject's data key. Implements `app.ports.Vault`.

Kind and name are readable to whoever holds the file, so a name is never a person's name or a document's number.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.dialects.sqlite import insert

from safeconduct.app.ports import StoredDocument
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.signing import seal, unseal
from safeconduct.storage.database import open_database
from safeconduct.storage.subject_keys import SubjectKeys
from safeconduct.storage.tables import documents

_MARK = 28
"""Bytes: the nonce and as many again."""


def _context(kind: str, name: str, subject: str) -> bytes:
    # Length-prefixed, so that no two (kind, name, subject) share a context.
    return b"".join(
        len(part).to_bytes(4, "big") + part for part in (kind.encode(), name.encode(), subject.encode())
    )


def _write(connection: sa.Connection, one: StoredDocument, sealed: bytes | None) -> None:
    if sealed is None:
        connection.execute(
            sa.delete(documents).where(documents.c.kind == one.kind, documents.c.name == one.name)
        )
        return
    connection.execute(
        insert(documents)
        .values(kind=one.kind, name=one.name, subject=one.subject, sealed=sealed)
        .on_conflict_do_update(
            index_elements=["kind", "name"], set_={"subject": one.subject, "sealed": sealed}
        )
    )


class SqliteVault:
    """Documents of an embedded instance. Safe to call from several threads; one process at a time."""

    def __init__(self, engine: sa.Engine, keys: SubjectKeys) -> None:
        self._engine = engine
        self._keys = keys
        # SQLite admits one writer; waiting here is fairer than its busy loop.
        self._writing = threading.Lock()
        self.erasures = 0

    @classmethod
    def open(cls, path: Path, keys: SubjectKeys) -> SqliteVault:
        """Open (or create) the database at `path`."""
        return cls(open_database(path, "vault"), keys)

    def aead(self, subject: str, *, create: bool = False) -> AESGCM:
        """The subject's data key. Raises NotFound when it was destroyed, or was never made and `create` is False."""
        return self._keys.aead(subject, create=create)

    def put(self, kind: str, name: str, subject: str, plaintext: bytes) -> None:
        """Store or replace a document, durable when this returns. Raises NotFound when the subject was erased."""
        sealed = seal(self._keys.aead(subject, create=True), plaintext, _context(kind, name, subject))
        statement = insert(documents).values(kind=kind, name=name, subject=subject, sealed=sealed)
        with self._writing, self._engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["kind", "name"], set_={"subject": subject, "sealed": sealed}
                )
            )

    def get(self, kind: str, name: str) -> bytes | None:
        """Decrypt a document; None when there is none or its subject was erased. Raises InvalidInput when altered."""
        with self._engine.connect() as connection:
            return self._read(connection, kind, name)

    def exchange(
        self, writes: Sequence[StoredDocument], *, expect: Mapping[tuple[str, str], bytes | None]
    ) -> None:
        """Write all or nothing, and only if what `expect` names is still what was read (None: absent); durable on return.

        Raises Conflict when it is not, NotFound when a subject was erased, InvalidInput when a stored document was altered.
        """
        # Keys are made before the transaction: they live in another database, and one that is never used harms nobody.
        sealed = [
            None
            if one.plaintext is None
            else seal(
                self._keys.aead(one.subject, create=True),
                one.plaintext,
                _context(one.kind, one.name, one.subject),
            )
            for one in writes
        ]
        with self._writing, self._engine.connect() as connection:
            # The write lock before the reads: another process must not write in between.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                self._check_unchanged(connection, expect)
                for one, data in zip(writes, sealed, strict=True):
                    _write(connection, one, data)
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")

    def _check_unchanged(
        self, connection: sa.Connection, expect: Mapping[tuple[str, str], bytes | None]
    ) -> None:
        for (kind, name), known in expect.items():
            if self._read(connection, kind, name) != known:
                raise Conflict(
                    "somebody else changed it meanwhile",
                    field="version",
                    remedy="look at it again, then repeat",
                )

    def _read(self, connection: sa.Connection, kind: str, name: str) -> bytes | None:
        row = connection.execute(
            sa.select(documents.c.subject, documents.c.sealed).where(
                documents.c.kind == kind, documents.c.name == name
            )
        ).first()
        if row is None:
            return None
        try:
            aead = self._keys.aead(row.subject)
        except NotFound:
            return None
        return unseal(aead, row.sealed, _context(kind, name, row.subject))

    def names(self, kind: str) -> list[str]:
        """Names of the documents of a kind, ordered."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(documents.c.name).where(documents.c.kind == kind).order_by(documents.c.name)
            )
            return [row.name for row in rows]

    def marks(self, kind: str) -> dict[str, bytes]:
        """By name, in order, the start of each sealed document: its nonce is a new one whenever it is written."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(documents.c.name, sa.func.substr(documents.c.sealed, 1, _MARK))
                .where(documents.c.kind == kind)
                .order_by(documents.c.name)
            )
            return {name: bytes(mark) for name, mark in rows}

    def delete(self, kind: str, name: str) -> None:
        """Remove a document; no error when it is not there."""
        with self._writing, self._engine.begin() as connection:
            connection.execute(sa.delete(documents).where(documents.c.kind == kind, documents.c.name == name))

    def forget(self, subject: str) -> None:
        """Destroy the subject's data key for good, then its documents, which nobody can read any more."""
        # The key goes first: a crash in between leaves documents that cannot be opened, never a key without an erasure.
        self._keys.forget(subject)
        self.erasures += 1
        with self._writing:
            with self._engine.begin() as connection:
                connection.execute(sa.delete(documents).where(documents.c.subject == subject))
            with self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the database; the subjects' keys are closed by who opened them."""
        self._engine.dispose()
