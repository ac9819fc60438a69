"""Whose answers are whose (`/v1/responses`), in `<data>/responses.db`: ids, subjects, deployments; no content.

A commit is in the file before the answer's id can reach the client, so it survives the end of the process; it is not
fsynced, so a power cut can lose the last moments. What is lost is denied to everybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from safeconduct.gateway.stored_responses import StoredResponse
from safeconduct.kernel.ids import DeploymentId, SubjectId, VariantId
from safeconduct.storage.database import open_database
from safeconduct.storage.tables import stored_responses

KEPT_SECONDS = 90 * 86_400
"""Longer than providers keep answers (30 days by default)."""
_PURGE_EVERY = 1_000


class StoredResponseTable:
    """Implements `gateway.stored_responses.StoredResponses`. Belongs to one thread."""

    def __init__(self, engine: sa.Engine, *, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now
        self._connection = engine.connect()
        self._connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
        self._connection.commit()
        self._kept = 0

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], float] = time.time) -> StoredResponseTable:
        """Open or create the database. Raises UnsafeConfiguration when a newer release made it."""
        return cls(open_database(path, "responses"), now=now)

    def keep(self, stored: StoredResponse) -> None:
        """See the port."""
        self._connection.execute(
            insert(stored_responses)
            .values(
                response=stored.response,
                subject=stored.subject,
                variant=stored.variant,
                deployment=stored.deployment,
                created=stored.created,
            )
            .on_conflict_do_nothing()
        )
        if self._kept % _PURGE_EVERY == 0:
            old = int(self._now()) - KEPT_SECONDS
            self._connection.execute(sa.delete(stored_responses).where(stored_responses.c.created < old))
        self._kept += 1
        self._connection.commit()

    def find(self, response: str) -> StoredResponse | None:
        """See the port."""
        row = self._connection.execute(
            sa.select(stored_responses).where(stored_responses.c.response == response)
        ).first()
        # Ends the read transaction: other processes write to the same file.
        self._connection.rollback()
        if row is None:
            return None
        return StoredResponse(
            response=row.response,
            subject=SubjectId(row.subject),
            variant=VariantId(row.variant),
            deployment=DeploymentId(row.deployment),
            created=row.created,
        )

    def forget(self, response: str) -> None:
        """See the port."""
        self._connection.execute(sa.delete(stored_responses).where(stored_responses.c.response == response))
        self._connection.commit()

    def close(self) -> None:
        """Close the database. Idempotent."""
        self._connection.close()
        self._engine.dispose()
