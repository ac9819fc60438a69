"""The record's tables in PostgreSQL, how they are made, and connections to them.

Owns all DDL of this home and the format's number. Refuses a database made by a newer release, and one of another record.
Plain SQL over asyncpg: RFD 9 says why there is no ORM in between.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec

from safeconduct.kernel.errors import LogUnavailable, NotFound, UnsafeConfiguration
from safeconduct.storage.database_url import DatabaseUrl

FORMAT = 1
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 10.0

OUTAGE = (
    OSError,
    TimeoutError,
    asyncio.TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the driver raises when a connection ends between two of its states
)
"""What a database that is away, restarting or refusing looks like; all of it may pass."""

_TABLES = """
CREATE TABLE record_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    format integer NOT NULL,
    origin text NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT '',
    size bigint NOT NULL DEFAULT 0,
    signed_size bigint NOT NULL DEFAULT -1,
    checkpoint bytea,
    sealing_key bytea NOT NULL,
    CHECK (signed_size <= size)
);
CREATE TABLE record_entry (
    seq bigint PRIMARY KEY CHECK (seq >= 0),
    uid text NOT NULL UNIQUE,
    entry bytea NOT NULL CHECK (octet_length(entry) <= 65535),
    seal bytea NOT NULL
);
CREATE UNLOGGED TABLE record_submission (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid text NOT NULL UNIQUE,
    expect bigint,
    drafts bytea NOT NULL,
    seal bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires timestamptz NOT NULL,
    placed bigint,
    refused_at bigint
);
CREATE FUNCTION record_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of the record are never changed or removed';
END $$;
CREATE TRIGGER record_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON record_entry
    FOR EACH STATEMENT EXECUTE FUNCTION record_only_grows();
"""


class Beginning(msgspec.Struct, frozen=True):
    """What a new record starts with: its first checkpoint, and the key of `postgres_seal`, wrapped."""

    checkpoint: bytes
    sealing_key: bytes


class Head(msgspec.Struct, frozen=True):
    """The one row that says how far the record is. size: entries; signed_size: of the checkpoint, -1 before the first."""

    epoch: int
    size: int
    signed_size: int
    checkpoint: bytes | None


HEAD = "SELECT epoch, size, signed_size, checkpoint FROM record_head"


def read_head(row: Any) -> Head:
    """A row of `HEAD` as a value."""
    return Head(row["epoch"], row["size"], row["signed_size"], row["checkpoint"])


def channel(url: DatabaseUrl) -> str:
    """The name under which followers of this record are woken."""
    return f"safeconduct_{url.schema}"


async def connect(url: DatabaseUrl, purpose: str, *, durable: bool = True) -> asyncpg.Connection[Any]:
    """A connection to the record's schema. durable: a commit returns only when it is on the database's disk.

    Raises one of OUTAGE.
    """
    return await asyncpg.connect(
        **url.connect_arguments(),
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        statement_cache_size=32,
        server_settings={
            "application_name": f"safeconduct {purpose} {url.schema}"[:63],
            "search_path": url.schema,
            # Said for each connection, so that a database configured otherwise does not acknowledge what it may forget.
            "synchronous_commit": "on" if durable else "off",
            "default_transaction_isolation": "read committed",
            "idle_in_transaction_session_timeout": "30s",
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        },
    )


async def prepare(
    connection: asyncpg.Connection[Any], url: DatabaseUrl, origin: str, *, first: Beginning | None
) -> bytes:
    """Find the record's tables, or make them with what is given as `first`; returns the wrapped sealing key.

    Raises NotFound, UnsafeConfiguration.
    """
    if first is not None:
        async with connection.transaction():
            # Two processes that begin together: one makes the tables, the other waits and finds them.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext($1))", f"safeconduct {url.schema}"
            )
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {url.schema}")
            if not await exists(connection, url):
                await connection.execute(_TABLES)
                await connection.execute(
                    "INSERT INTO record_head (format, origin, signed_size, checkpoint, sealing_key)"
                    " VALUES ($1, $2, 0, $3, $4)",
                    FORMAT,
                    origin,
                    first.checkpoint,
                    first.sealing_key,
                )
    elif not await exists(connection, url):
        raise NotFound(
            "there is no record in this database",
            field=url.shown,
            remedy="run `safeconduct init` with this database, or correct the URL",
        )
    found = await connection.fetchrow("SELECT * FROM record_head")
    if found is None or found["format"] != FORMAT:
        made = "nothing" if found is None else f"format {found['format']}"
        raise UnsafeConfiguration(
            f"the record's tables are of {made}, this release reads format {FORMAT}",
            field=url.shown,
            remedy="run the release that made them, or a newer one",
        )
    if found["origin"] != origin:
        raise UnsafeConfiguration(
            f"the database holds the record {found['origin']!r}, not {origin!r}",
            field=url.shown,
            remedy="use another schema, or the instance that this record belongs to",
        )
    return bytes(found["sealing_key"])


async def exists(connection: asyncpg.Connection[Any], url: DatabaseUrl) -> bool:
    """Whether the record's tables are there."""
    return await connection.fetchval("SELECT to_regclass($1)", f"{url.schema}.record_head") is not None


async def forgetful_settings(connection: asyncpg.Connection[Any]) -> list[str]:
    """Settings of the server under which a commit may not survive a power cut."""
    return [
        name
        for name in ("fsync", "full_page_writes")
        if await connection.fetchval("SELECT current_setting($1)", name) != "on"
    ]


def unavailable(error: BaseException, url: DatabaseUrl) -> LogUnavailable:
    """The error for who starts the process: says which database and why, never a password."""
    return LogUnavailable(
        f"the record's database does not answer: {reason(error)}",
        field=url.shown,
        remedy="bring the database back, or correct the URL; what was acknowledged is safe",
    )


def reason(error: BaseException) -> str:
    """One line that says what the driver or the system said."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
