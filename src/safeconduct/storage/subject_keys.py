"""One AES-256 data key per subject, wrapped by the root key. Destroying it is how a subject is erased.

The database lies beside the record's log (`<data>/record/subject-keys.db`); the root key never does.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.dialects.sqlite import insert

from safeconduct.kernel.errors import InvalidInput, NotFound, UnsafeConfiguration
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import FileKeyWrapper, KeyWrapper
from safeconduct.storage.database import open_database, open_read_only
from safeconduct.storage.key_directory import read_root_key
from safeconduct.storage.tables import subject_keys

FILE_NAME = "subject-keys.db"
_PIECE = 500


def _context(subject: str) -> bytes:
    return b"safeconduct subject key v1\x00" + subject.encode()


class SubjectKeys:
    """The data keys, with a cache of those in use. Safe to call from several threads."""

    def __init__(
        self,
        engine: sa.Engine,
        wrapper: KeyWrapper,
        *,
        older: KeyWrapper | None = None,
        random: RandomBytes = secrets.token_bytes,
        read_only: bool = False,
    ) -> None:
        """older: the root key that gives way to `wrapper`; some data keys may still be wrapped by it."""
        self._engine = engine
        self._wrapper = wrapper
        self._older = older
        self._random = random
        self._read_only = read_only
        self._cache: dict[str, AESGCM] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        directory: Path,
        wrapper: KeyWrapper,
        *,
        older: KeyWrapper | None = None,
        random: RandomBytes = secrets.token_bytes,
    ) -> SubjectKeys:
        """Open (or create) the database in the record's directory."""
        return cls(open_database(directory / FILE_NAME, "subject_keys"), wrapper, older=older, random=random)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def aead(self, subject: str, *, create: bool = False) -> AESGCM:
        """The subject's data key. Raises NotFound when it was destroyed, or was never made and `create` is False."""
        # A dict read is atomic; the lock is for making and forgetting only. This is on the gateway's path.
        known = self._cache.get(subject)
        if known is not None:
            return known
        with self._lock:
            known = self._cache.get(subject)
            if known is None:
                known = AESGCM(self._load(subject) or self._make(subject, create=create))
                self._cache[subject] = known
            return known

    def _load(self, subject: str) -> bytes | None:
        with self._engine.connect() as connection:
            row = connection.execute(
                sa.select(subject_keys.c.wrapped).where(subject_keys.c.subject == subject)
            ).first()
        if row is None:
            return None
        if row.wrapped is None:
            raise NotFound("the subject was erased", field=subject)
        return self._unwrap(subject, row.wrapped)[0]

    def _unwrap(self, subject: str, wrapped: bytes) -> tuple[bytes, bool]:
        """The data key, and whether it was wrapped by the present root key."""
        for wrapper in (self._wrapper, self._older):
            if wrapper is None:
                continue
            try:
                return wrapper.unwrap(wrapped, _context(subject)), wrapper is self._wrapper
            except InvalidInput:
                continue
        raise UnsafeConfiguration(
            "a data key does not unwrap",
            field=subject,
            remedy="use the root key that this instance was made with, or was last rotated to",
        )

    def change_root(self, wrapper: KeyWrapper) -> int:
        """Wrap every data key by another root key; returns how many. Readers go on meanwhile, under either.

        The old root key must stay at hand until this returns: a crash in between leaves keys under both.
        """
        with self._lock:
            if self._older is None:
                self._older, self._wrapper = self._wrapper, wrapper
        return self.rewrap()

    def rewrap(self) -> int:
        """Wrap by the present root key what is still wrapped by the older one; returns how many."""
        changed, last = 0, ""
        while True:
            with self._engine.connect() as connection:
                rows = connection.execute(
                    sa.select(subject_keys.c.subject, subject_keys.c.wrapped)
                    .where(subject_keys.c.subject > last, subject_keys.c.wrapped.is_not(None))
                    .order_by(subject_keys.c.subject)
                    .limit(_PIECE)
                ).all()
            if not rows:
                break
            last = rows[-1].subject
            again = []
            for row in rows:
                key, present = self._unwrap(row.subject, row.wrapped)
                if not present:
                    again.append((row, self._wrapper.wrap(key, _context(row.subject))))
            with self._lock, self._engine.begin() as connection:
                for row, wrapped in again:
                    # Only what is still as it was read: a key that was destroyed meanwhile must not come back.
                    done = connection.execute(
                        sa.update(subject_keys)
                        .where(subject_keys.c.subject == row.subject, subject_keys.c.wrapped == row.wrapped)
                        .values(wrapped=wrapped)
                    )
                    changed += done.rowcount
        with self._lock:
            self._older = None
            with self._engine.connect() as connection:
                # What the old root key had wrapped must not survive in the write-ahead log.
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return changed

    def _make(self, subject: str, *, create: bool) -> bytes:
        if not create or self._read_only:
            raise NotFound("there is no data key for this subject", field=subject)
        key = self._random(32)
        wrapped = self._wrapper.wrap(key, _context(subject))
        with self._engine.begin() as connection:
            made = connection.execute(
                insert(subject_keys)
                .values(subject=subject, wrapped=wrapped)
                .on_conflict_do_nothing(index_elements=["subject"])
            )
        if made.rowcount == 1:
            return key
        # Another worker was quicker: its key is the subject's.
        found = self._load(subject)
        assert found is not None
        return found

    def find(self, subject: str) -> AESGCM | None:
        """The data key, or None when it was destroyed or never made: for a replay, which counts those apart."""
        with contextlib.suppress(NotFound):
            return self.aead(subject)
        return None

    def forget(self, subject: str) -> None:
        """Destroy the key for good: the row stays, empty, so that no new key is made for the subject.

        The write-ahead log is folded in and cut, so that the wrapped key does not survive in it.
        """
        with self._lock:
            with self._engine.begin() as connection:
                connection.execute(sa.delete(subject_keys).where(subject_keys.c.subject == subject))
                connection.execute(subject_keys.insert().values(subject=subject, wrapped=None))
            with self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            self._cache.pop(subject, None)

    def close(self) -> None:
        """Close the database."""
        self._cache.clear()
        self._engine.dispose()


def open_subject_keys_read_only(directory: Path, root_key_file: Path) -> SubjectKeys:
    """The keys of a record directory for a process that may only read: a replay or an inspection.

    directory: the record directory (a copy will do). root_key_file: the unwrapping key, checked like any key file.
    Raises NotFound when the directory has no keys, UnsafeConfiguration for an exposed root key file.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise NotFound(f"no {FILE_NAME} there", field=str(directory), remedy="give the record directory")
    return SubjectKeys(open_read_only(path), FileKeyWrapper(read_root_key(root_key_file)), read_only=True)
