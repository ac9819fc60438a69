"""Opening an SQLite database so that a commit is durable and what is deleted is overwritten, and bringing it up to date."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from safeconduct.kernel.errors import UnsafeConfiguration

# branch label of the migrations -> its newest revision. A database already there is opened without loading Alembic.
HEADS = {"vault": "vault_0001", "subject_keys": "subject_keys_0001", "responses": "responses_0001"}


def open_database(path: Path, branch: str) -> sa.Engine:
    """Create or open a database and migrate it to the newest revision of `branch`.

    Raises UnsafeConfiguration when a newer release made it.
    """
    if not path.exists():
        # Mode 0600 from the first byte on: SQLite would create it readable by the group.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": 10})
    sa.event.listen(engine, "connect", _pragmas)
    try:
        _migrate(engine, path, branch)
    except BaseException:
        engine.dispose()
        raise
    return engine


def open_read_only(path: Path) -> sa.Engine:
    """Open without ever writing; also from a read-only copy of the directory."""
    uri = f"file:{quote(str(path.resolve()))}"

    def connect() -> sqlite3.Connection:
        # A write-ahead log that is in use needs its shared memory; a plain copy in a read-only place has none and is
        # opened as immutable.
        live = path.with_name(path.name + "-wal").exists()
        mode = "?mode=ro" if live else "?mode=ro&immutable=1"
        return sqlite3.connect(uri + mode, uri=True, check_same_thread=False)

    return sa.create_engine("sqlite://", creator=connect)


def _pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
        "trusted_schema=OFF",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        made = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
        if made.first() is None:
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _migrate(engine: sa.Engine, path: Path, branch: str) -> None:
    if _revision(engine) == HEADS[branch]:
        return
    from alembic import command  # noqa: PLC0415 - only the first start needs it, and it is slow to load
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    # Alembic reads its options with ConfigParser, to which a percent sign means something.
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["engine"] = engine
    try:
        command.upgrade(config, f"{branch}@head")
    except CommandError as error:
        raise UnsafeConfiguration(
            f"{path.name} was made by another release: {error}",
            field=str(path),
            remedy="run the release that made it, or a newer one",
        ) from None
