"""Where a PostgreSQL database is, as a URL, with the password kept out of everything that is shown or stored."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from safeconduct.kernel.errors import InvalidInput

DEFAULT_SCHEMA = "safeconduct"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
_FILES = ("sslrootcert", "sslcert", "sslkey")
_REMEDY = "write postgresql://USER@HOST:PORT/DATABASE?schema=NAME"


class DatabaseUrl:
    """A parsed `postgresql://` URL. Printing, comparing and storing it never involves the password."""

    __slots__ = ("_password", "database", "host", "options", "port", "schema", "user")

    def __init__(
        self,
        *,
        host: str,
        port: int,
        user: str,
        database: str,
        schema: str,
        options: dict[str, str],
        password: str | None,
    ) -> None:
        self.host = host
        self.port = port
        self.user = user
        self.database = database
        self.schema = schema
        self.options = options
        self._password = password

    @classmethod
    def parse(cls, text: str, *, field: str = "record_url") -> DatabaseUrl:
        """Read a URL; query: `schema`, `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `host` (a socket's directory).

        Raises InvalidInput, which never repeats the URL: there may be a password in it.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or 5432
        except ValueError:
            raise InvalidInput("not a database URL", field=field, remedy=_REMEDY) from None
        if parts.scheme not in ("postgresql", "postgres") or parts.fragment:
            raise InvalidInput("not a postgresql:// URL", field=field, remedy=_REMEDY)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        schema = query.pop("schema", DEFAULT_SCHEMA)
        host = unquote(query.pop("host", parts.hostname or "127.0.0.1"))
        unknown = sorted(set(query) - {"sslmode", *_FILES})
        if unknown:
            raise InvalidInput(f"unknown option {unknown[0][:40]!r} in the URL", field=field, remedy=_REMEDY)
        if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
            raise InvalidInput(
                "a schema's name is lower-case letters, digits and underscores", field=field, remedy=_REMEDY
            )
        if query.get("sslmode", "prefer") not in _MODES:
            raise InvalidInput(f"sslmode is one of {', '.join(_MODES)}", field=field, remedy=_REMEDY)
        return cls(
            host=host,
            port=port,
            user=unquote(parts.username or "postgres"),
            database=unquote(parts.path.lstrip("/")) or "postgres",
            schema=schema,
            options=query,
            password=unquote(parts.password) if parts.password is not None else None,
        )

    @property
    def shown(self) -> str:
        """The URL without its password: what is stored and shown."""
        local = self.host.startswith("/")
        host = "" if local else f"[{self.host}]" if ":" in self.host else self.host
        options = {**({"host": self.host} if local else {}), "schema": self.schema, **self.options}
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in sorted(options.items()))
        return f"postgresql://{quote(self.user)}@{host}:{self.port}/{quote(self.database)}?{query}"

    def __repr__(self) -> str:
        return f"<DatabaseUrl {self.shown}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseUrl) and other.shown == self.shown

    def __hash__(self) -> int:
        return hash(self.shown)

    @property
    def has_password(self) -> bool:
        """Whether the URL carried a password."""
        return self._password is not None

    @property
    def is_local(self) -> bool:
        """A socket in the file system: nobody on a network is in between."""
        return self.host.startswith("/")

    @property
    def is_verified(self) -> bool:
        """Whether TLS with the server's name checked is asked for."""
        return self.options.get("sslmode") == "verify-full"

    def connect_arguments(self) -> dict[str, Any]:
        """Arguments of `asyncpg.connect`. Without a password in the URL, PGPASSWORD and the password file are used."""
        options = {name: value for name, value in self.options.items() if name != "sslmode"}
        # With a `prefer` the driver would go on in clear where TLS fails: only an explicit choice is passed on.
        query = "&".join(
            f"{name}={quote(value, safe='/')}"
            for name, value in {**options, "sslmode": self.options.get("sslmode", "prefer")}.items()
        )
        return {
            "dsn": f"postgresql:///?{query}",
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "database": self.database,
            **({"password": self._password} if self._password is not None else {}),
        }
