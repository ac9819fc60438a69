"""Loading a record that was restored into an empty schema of a database.

Refuses nothing of a record that is there already: whether it is the same one, and no shorter, is checked when it is opened.
"""

from __future__ import annotations

import asyncio

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.files import LogReader
from safeconduct.audit.reader import PublishedLog
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import KeyWrapper
from safeconduct.record.envelope import read_entry
from safeconduct.storage.database_url import DatabaseUrl
from safeconduct.storage.postgres_schema import OUTAGE, Beginning, connect, exists, prepare, unavailable
from safeconduct.storage.postgres_seal import RowSeal

CHUNK = 2_048


def load_record(
    url: DatabaseUrl, source: LogReader, verifier: LogVerifier, wrapper: KeyWrapper, random: RandomBytes
) -> bool:
    """Create the tables and load every entry of the published log in `source`, in one transaction; False when there is a record.

    Raises LogUnavailable, LogCorrupt.
    """
    try:
        return asyncio.run(_load(url, PublishedLog(source.read, verifier), wrapper, random))
    except OUTAGE as error:
        raise unavailable(error, url) from None


async def _load(url: DatabaseUrl, log: PublishedLog, wrapper: KeyWrapper, random: RandomBytes) -> bool:
    connection = await connect(url, "restore")
    try:
        async with connection.transaction():
            if await exists(connection, url):
                return False
            checkpoint = log.checkpoint
            seal, wrapped = RowSeal.make(wrapper, checkpoint.origin, random)
            await prepare(connection, url, checkpoint.origin, first=Beginning(checkpoint.text, wrapped))
            for start in range(0, checkpoint.size, CHUNK):
                entries = list(log.entries(start, min(checkpoint.size, start + CHUNK)))
                await connection.execute(
                    "INSERT INTO record_entry (seq, uid, entry, seal)"
                    " SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[])",
                    list(range(start, start + len(entries))),
                    [read_entry(entry).uid for entry in entries],
                    entries,
                    [seal.of_entry(seq, entry) for seq, entry in enumerate(entries, start)],
                )
            await connection.execute("UPDATE record_head SET size = $1, signed_size = $1", checkpoint.size)
        return True
    finally:
        connection.terminate()
