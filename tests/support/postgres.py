"""The tests' PostgreSQL: where it is, a schema for each use, direct statements, and a proxy that can fall silent.

`SAFECONDUCT_TEST_POSTGRES` names the database (default: the usual local port, user postgres, database test). Without one the
tests that need it are skipped with the reason; with CI=true its absence is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self

import asyncpg
import pytest

from safeconduct.storage.database_url import DatabaseUrl

DEFAULT = "postgresql://postgres@127.0.0.1:5432/test"
_numbers = itertools.count()


def _address() -> DatabaseUrl:
    return DatabaseUrl.parse(
        os.environ.get("SAFECONDUCT_TEST_POSTGRES") or DEFAULT, field="SAFECONDUCT_TEST_POSTGRES"
    )


@functools.cache
def _absent() -> str:
    try:
        run("SELECT 1")
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        return f"no PostgreSQL at {_address().shown}: {type(error).__name__}"
    return ""


def need_postgres() -> None:
    """Skip where there is no database, with the reason; fail under CI=true."""
    if _absent():
        if os.environ.get("CI") == "true":
            pytest.fail(_absent())
        pytest.skip(_absent())


def url_of(schema: str, *, port: int | None = None) -> DatabaseUrl:
    base = _address()
    arguments = base.connect_arguments()
    return DatabaseUrl(
        host="127.0.0.1" if port else base.host,
        port=port or base.port,
        user=base.user,
        database=base.database,
        schema=schema,
        options=base.options,
        password=arguments.get("password"),
    )


def run(*statements: str, url: DatabaseUrl | None = None) -> list[asyncpg.Record]:
    """Run statements as an administrator would, in one transaction; rows of the last one."""

    async def work() -> list[asyncpg.Record]:
        target = url or _address()
        settings = {"search_path": target.schema} if url else {}
        connection = await asyncpg.connect(
            **target.connect_arguments(), timeout=5, server_settings={"application_name": "tests", **settings}
        )
        try:
            async with connection.transaction():
                for statement in statements[:-1]:
                    await connection.execute(statement)
                return await connection.fetch(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(work())


@contextlib.contextmanager
def schema() -> Iterator[DatabaseUrl]:
    """A schema's name of this worker's own; dropped afterwards."""
    need_postgres()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"sc_test_{worker}_{os.getpid()}_{next(_numbers)}"
    try:
        yield url_of(name)
    finally:
        run(
            "SET client_min_messages = warning",
            f"SELECT pg_terminate_backend(pid) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
            f" WHERE c.relnamespace = to_regnamespace('{name}') AND pid <> pg_backend_pid()",
            f"DROP SCHEMA IF EXISTS {name} CASCADE",
        )


def tamper(url: DatabaseUrl, *statements: str) -> None:
    """What somebody does who owns the database: the guards against changing entries are taken off first."""
    run(
        "ALTER TABLE record_entry DISABLE TRIGGER USER",
        *statements,
        "ALTER TABLE record_entry ENABLE TRIGGER USER",
        url=url,
    )


@contextlib.contextmanager
def held(url: DatabaseUrl, statement: str) -> Iterator[Callable[[], None]]:
    """A transaction of somebody else that ran `statement` and stays open until the given function is called."""
    loop = asyncio.new_event_loop()

    async def begin():
        connection = await asyncpg.connect(
            **url.connect_arguments(),
            server_settings={"search_path": url.schema, "application_name": "tests"},
        )
        await connection.execute("BEGIN")
        await connection.execute(statement)
        return connection

    connection = loop.run_until_complete(begin())
    open_ = [True]

    def release() -> None:
        if open_:
            open_.clear()
            loop.run_until_complete(connection.execute("ROLLBACK"))
            loop.run_until_complete(connection.close())

    try:
        yield release
    finally:
        release()
        loop.close()


class Proxy:
    """A TCP proxy before the database: `cut` ends every connection and refuses new ones, `silence` swallows everything.

    `on_query(data)`: called with each piece on its way to the server; "drop-answers" lets it through and then nothing back.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self._target = (url.host, url.port)
        self.down = False
        self.silent = False
        self.on_query: Callable[[bytes], str | None] = lambda _data: None
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = url_of(url.schema, port=self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._server.close()

    def cut(self) -> None:
        self.down = True
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def restore(self) -> None:
        self.silent = False
        self.down = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self.down:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            mute = threading.Event()
            for source, sink, ask in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(pair, source, sink, ask, mute), daemon=True).start()

    def _pump(self, pair, source, sink, ask, mute) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if ask and self.on_query(data) == "drop-answers":
                    mute.set()
                if self.silent or (mute.is_set() and not ask):
                    continue
                sink.sendall(data)
        with self._lock:
            self._pairs.discard(pair)
        for one in pair:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
