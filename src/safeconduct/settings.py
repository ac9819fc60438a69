"""Settings: the only reader of the environment, the file that says what a data directory is, and the checks at the start.

Owns what a profile refuses. A typing mistake in a variable's name is an error, since a protection that was meant to be
switched on must not stay off unnoticed.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from safeconduct.kernel.canonical import strict_json
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import InvalidInput, NotFound, SafeconductError, UnsafeConfiguration
from safeconduct.kernel.signing import Secret, Signer
from safeconduct.kernel.suggest import did_you_mean
from safeconduct.record.state import State
from safeconduct.storage.database_url import DatabaseUrl

PREFIX = "SAFECONDUCT_"
PROFILES = ("development", "production")
INSTANCE_FILE = "instance.json"
INSTANCE_KEYS = ("issuer", "status", "token", "record-log", "decision-log")
_SECRETS = frozenset({"pkcs11_pin", "quota_redis"})
SIMULATED_SUFFIX = "/simulated"
FORMAT = 2
"""Of a data directory. 1: the record is always in files. 2: `instance.json` names the record's home and its release."""
IN_FILES = "files"
SOURCE_CONNECTIONS = 1024
"""Of one source at one process, unless the settings say otherwise: an office behind one address has that many."""


class Descriptor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`<data>/instance.json`: what this data directory is. Written once, by `init`.

    issuer: our issuer identifier; audience: the gateway's identifier in tokens; origins: names of the two logs.
    record: the record's home, `files` or a database's URL without its password. release: that wrote this file.
    """

    profile: str
    issuer: str
    audience: str
    record_origin: str
    decision_origin: str
    created_at: int
    simulated: bool = False
    record: str = IN_FILES
    release: str = ""
    format: int = FORMAT


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are and where the listeners bind. Paths are absolute.

    tls_certificate, tls_key: PEM files for both listeners. tls_proxy: a proxy in front of them ends TLS.
    tls_client_ca: authorities whose client certificates are read too (PEM), beside those that holders make themselves.
    key_*: where a key is kept, as `file:`, `pkcs11:...`, `awskms:...`, `azurekms:...` or `gcpkms:...`; what was said at `init`
    or at the last rotation when left out. pkcs11_module, pkcs11_pin(_file), kms_credentials: how keys kept elsewhere are reached.
    attestation_roots: makers of authenticators that are trusted to bind keys to hardware (JSON). liveness_vendors: providers of
    liveness checks with the keys they sign with (JSON, mode 0600).
    body_limit: bytes of a request's body at the gateway. source_connections: see `connections_per_source`.
    quota_redis: a Redis or Valkey in which gateways on several machines count use together; without one each machine counts its
    own. record_url: the database that holds the record, where it is not in files. decision_budget: bytes that the decision log
    may take, 0 for as much as the disk holds.
    """

    data: Path
    keys: Path
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8780
    api_host: str = "127.0.0.1"
    api_port: int = 8781
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_proxy: bool = False
    tls_client_ca: Path | None = None
    key_issuer: str | None = None
    key_status: str | None = None
    key_token: str | None = None
    key_record_log: str | None = None
    key_decision_log: str | None = None
    key_root: str | None = None
    pkcs11_module: Path | None = None
    pkcs11_pin: Secret | None = None
    pkcs11_pin_file: Path | None = None
    kms_credentials: Path | None = None
    attestation_roots: Path | None = None
    liveness_vendors: Path | None = None
    log_level: str = "info"
    body_limit: int = 32 * 1024 * 1024
    source_connections: int | None = None
    quota_redis: Secret | None = None
    record_url: DatabaseUrl | None = None
    decision_budget: int = 0

    def key_references(self) -> dict[str, str]:
        """The keys whose place the settings name, by key."""
        named = {
            "issuer": self.key_issuer,
            "status": self.key_status,
            "token": self.key_token,
            "record-log": self.key_record_log,
            "decision-log": self.key_decision_log,
            "root": self.key_root,
        }
        return {name: reference for name, reference in named.items() if reference is not None}

    @property
    def record_directory(self) -> Path:
        """The record's log and the subjects' data keys: with the root key, all that a replay needs beside the decisions."""
        return self.data / "record"

    @property
    def record_log(self) -> Path:
        """Directory of the record's log."""
        return self.data / "record" / "log"

    @property
    def screening(self) -> Path:
        """Directory of the screening lists' versions."""
        return self.data / "screening"

    @property
    def snapshots(self) -> Path:
        """Directory of the state's snapshots. They are made of the record and can be deleted."""
        return self.data / "record" / "snapshots"

    @property
    def decision_log(self) -> Path:
        """Directory of the decision log."""
        return self.data / "decisions" / "log"

    def worker_log(self, worker: str) -> Path:
        """Directory of one worker's decision log."""
        return self.data / "decisions" / worker / "log"

    @property
    def vault(self) -> Path:
        """The vault's database."""
        return self.data / "vault.db"

    @property
    def stored_responses(self) -> Path:
        """The database that says whose the answers are that providers keep."""
        return self.data / "responses.db"

    @property
    def logs(self) -> Path:
        """Directory of the service's own log files."""
        return self.data / "logs"

    @property
    def instance_file(self) -> Path:
        """The descriptor's file."""
        return self.data / INSTANCE_FILE


def worker_name(number: int) -> str:
    """Name of a worker, counted from 1: of its process, its log and its entries."""
    return f"worker-{number}"


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65_535:
        raise ValueError
    return number


def _flag(text: str) -> bool:
    if text.lower() not in ("1", "0", "true", "false", "yes", "no"):
        raise ValueError
    return text.lower() in ("1", "true", "yes")


def _level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError
    return text.lower()


def _redis(text: str) -> Secret:
    parts = urlsplit(text)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError
    return Secret(text)  # it may hold a password


def _size(text: str) -> int:
    number = int(text)
    if not 1024 <= number <= 1 << 31:
        raise ValueError
    return number


def _connections(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 1_000_000:
        raise ValueError
    return number


def _budget(text: str) -> int:
    number = int(text)
    if number != 0 and number < 1 << 20:
        raise ValueError
    return number


_REFERENCES = "a reference to a key: file:, pkcs11:, awskms:, azurekms: or gcpkms:"


def _reference(text: str) -> str:
    if text.partition(":")[0] not in ("file", "pkcs11", "awskms", "azurekms", "gcpkms"):
        raise ValueError
    return text


# field -> (how its text is read, what it may be)
_FIELDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "data": (Path, "a directory"),
    "keys": (Path, "a directory"),
    "gateway_host": (str, "an address"),
    "gateway_port": (_port, "a port, 0 to 65535"),
    "api_host": (str, "an address"),
    "api_port": (_port, "a port, 0 to 65535"),
    "tls_certificate": (Path, "a PEM file"),
    "tls_key": (Path, "a PEM file"),
    "tls_proxy": (_flag, "true or false"),
    "tls_client_ca": (Path, "a PEM file"),
    "key_issuer": (_reference, _REFERENCES),
    "key_status": (_reference, _REFERENCES),
    "key_token": (_reference, _REFERENCES),
    "key_record_log": (_reference, _REFERENCES),
    "key_decision_log": (_reference, _REFERENCES),
    "key_root": (_reference, _REFERENCES),
    "pkcs11_module": (Path, "a PKCS#11 library"),
    "pkcs11_pin": (Secret, "a PIN"),
    "pkcs11_pin_file": (Path, "a file of mode 0600"),
    "kms_credentials": (Path, "a JSON file of mode 0600"),
    "attestation_roots": (Path, "a JSON file"),
    "liveness_vendors": (Path, "a JSON file of mode 0600"),
    "log_level": (_level, "debug, info, warning or error"),
    "body_limit": (_size, "bytes, 1024 to 2147483648"),
    "source_connections": (_connections, "connections, 1 to 1000000, or 0 for no such limit"),
    "quota_redis": (_redis, "a redis:// or rediss:// URL"),
    "record_url": (DatabaseUrl.parse, "a postgresql:// URL"),
    "decision_budget": (_budget, "bytes, 1048576 or more, or 0 for no budget"),
}
_HOME = "home"


def read_settings(environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings from `SAFECONDUCT_*` variables; `given` (from options) wins, None in it means not given.

    `home` (default `run`) is where `data/` and `keys/` lie unless they are named; a `keys` that is not named lies beside `data`.
    Raises InvalidInput for a value that does not fit or a variable that is nearly one of ours, UnsafeConfiguration when the
    keys would lie inside the data directory.
    """
    variables = os.environ if environment is None else environment
    known = {PREFIX + name.upper(): name for name in (*_FIELDS, _HOME)}
    values: dict[str, Any] = {}
    for variable, text in variables.items():
        if not variable.startswith(PREFIX):
            continue
        name = known.get(variable)
        if name is None:
            # Compared without the prefix, which would make any two of them look alike.
            meant = did_you_mean(variable.removeprefix(PREFIX), (one.removeprefix(PREFIX) for one in known))
            if meant:
                raise InvalidInput(
                    f"unknown variable{meant}", field=variable, remedy="correct its name or remove it"
                )
            continue
        if text:
            values[name] = _read(name, text, variable)
    for name, value in given.items():
        if value is not None:
            values[name] = _read(name, value, name) if isinstance(value, str) else value
    home = Path(values.pop(_HOME, "run"))
    data = Path(values.pop("data", home / "data")).absolute()
    keys = Path(values.pop("keys", data.parent / "keys")).absolute()
    settings = Settings(data=data, keys=keys, **values)
    check_places(settings)
    return settings


def _read(name: str, text: str, field: str) -> Any:
    if name == _HOME:
        return Path(text)
    reader, expected = _FIELDS[name]
    try:
        return reader(text)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=field, remedy=error.remedy) from None
    except ValueError:
        shown = "the value" if name in _SECRETS else repr(text[:60])
        raise InvalidInput(f"{shown} is not {expected}", field=field) from None


def check_places(settings: Settings) -> None:
    """Refuse keys inside the data directory (a backup of the data would carry them), and half a TLS configuration."""
    data, keys = settings.data.resolve(), settings.keys.resolve()
    if keys == data or data in keys.parents or keys in data.parents:
        raise UnsafeConfiguration(
            "the key directory and the data directory must not contain each other",
            field=str(settings.keys),
            remedy=f"use a directory beside {settings.data}",
        )
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise UnsafeConfiguration("TLS needs a certificate and its key", field="tls_key", remedy="give both")


def check_issuer(url: str, field: str = "issuer") -> str:
    """Return an issuer identifier: https, or http on loopback; no path beyond the host, query, fragment or trailing slash.

    Raises InvalidInput.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or parts.query or parts.fragment or parts.username:
        raise InvalidInput(f"{url[:100]!r} is not an https URL", field=field)
    if url.endswith("/"):
        raise InvalidInput("ends with a slash", field=field, remedy="leave the slash out")
    if parts.scheme == "http" and not is_loopback(host):
        raise InvalidInput("http is for loopback only", field=field, remedy="use https")
    return url


def is_loopback(host: str) -> bool:
    """True when nothing but this machine can reach a listener bound to `host`. A name other than localhost never counts."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_descriptor(settings: Settings) -> Descriptor:
    """The descriptor of a data directory. Raises NotFound when there is none, InvalidInput when it is malformed."""
    try:
        data = settings.instance_file.read_bytes()
    except FileNotFoundError:
        raise NotFound(
            "there is no instance here", field=str(settings.data), remedy="run `safeconduct init`"
        ) from None
    found = strict_json(data, what=INSTANCE_FILE)
    check_format(found, settings)
    try:
        descriptor = msgspec.convert(found, Descriptor)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error), field=str(settings.instance_file)) from None
    check_profile(descriptor.profile)
    return descriptor


def check_format(found: Any, settings: Settings) -> None:
    """Refuse a data directory of another format before anything else of it is read. Raises UnsafeConfiguration."""
    number = format_of(found)
    if number == FORMAT:
        return
    release = str(found.get("release", ""))[:40] if isinstance(found, dict) else ""
    if number > FORMAT:
        raise UnsafeConfiguration(
            f"the data directory is of format {number}, made by {f'release {release}' if release else 'a newer release'};"
            f" this one reads format {FORMAT}",
            field=str(settings.instance_file),
            remedy="run the release that made it, or a newer one",
        )
    raise UnsafeConfiguration(
        f"the data directory is of format {number}, this release reads format {FORMAT}",
        field=str(settings.instance_file),
        remedy="back it up, then run `safeconduct upgrade`",
    )


def format_of(found: Any) -> int:
    """The format a descriptor's JSON says; 1 where it says none, as the first releases did."""
    number = found.get("format", 1) if isinstance(found, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InvalidInput("not a format's number", field="format")
    return number


def check_profile(profile: str) -> str:
    """Return a known profile. Raises InvalidInput."""
    if profile not in PROFILES:
        raise InvalidInput(
            f"unknown profile {profile[:40]!r}{did_you_mean(profile, PROFILES)}",
            field="profile",
            remedy=f"use {' or '.join(PROFILES)}",
        )
    return profile


def connections_per_source(settings: Settings) -> int:
    """Connections that one source may hold at the gateway of one process, 0 for no such limit.

    Without a setting there is a limit only where addresses tell clients apart: not on loopback and not behind a proxy, where all
    clients come from one.
    """
    if settings.source_connections is not None:
        return settings.source_connections
    return 0 if settings.tls_proxy or is_loopback(settings.gateway_host) else SOURCE_CONNECTIONS


def check_listeners(settings: Settings) -> None:
    """What production asks of the listeners: beyond loopback only with TLS or a declared TLS proxy."""
    if settings.tls_proxy or settings.tls_certificate is not None:
        return
    for name, host in (("gateway_host", settings.gateway_host), ("api_host", settings.api_host)):
        if not is_loopback(host):
            raise UnsafeConfiguration(
                f"production does not listen beyond loopback ({host}) without TLS",
                field=name,
                remedy="give tls_certificate and tls_key, or declare tls_proxy when a proxy in front ends TLS",
            )


def check_database(descriptor: Descriptor, settings: Settings) -> None:
    """What production asks of the record's database: TLS with its name verified, wherever a network is in between."""
    if descriptor.record == IN_FILES:
        return
    url = settings.record_url or DatabaseUrl.parse(descriptor.record, field=INSTANCE_FILE)
    if not (url.is_local or is_loopback(url.host) or url.is_verified):
        raise UnsafeConfiguration(
            f"production does not speak to a database at {url.host} without verified TLS",
            field="record_url",
            remedy="add sslmode=verify-full (and sslrootcert=FILE) to the URL",
        )


def check_clock(descriptor: Descriptor, clock: Clock) -> None:
    """Production uses the machine's clock, and no data that were made under another."""
    if clock.simulated:
        raise UnsafeConfiguration("production refuses a simulated clock", field="clock")
    if descriptor.simulated or any(
        origin.endswith(SIMULATED_SUFFIX) for origin in (descriptor.record_origin, descriptor.decision_origin)
    ):
        raise UnsafeConfiguration(
            "production refuses data made under a simulated clock",
            field=descriptor.record_origin,
            remedy="initialise a new data directory",
        )


def check_record(descriptor: Descriptor, state: State) -> None:
    """Any profile: the record and the descriptor speak of the same instance.

    The profile that counts is the one in the record, which cannot be edited without breaking the log.
    """
    first = state.instance
    if first is None:
        raise UnsafeConfiguration(
            "the record does not say which instance it is of", remedy="run `safeconduct init` again"
        )
    for name, written, found in (
        ("profile", first.profile, descriptor.profile),
        ("issuer", first.issuer, descriptor.issuer),
        ("record_origin", first.origin, descriptor.record_origin),
        ("simulated", first.simulated, descriptor.simulated),
    ):
        if written != found:
            raise UnsafeConfiguration(
                f"{INSTANCE_FILE} says {found!r} where the record says {written!r}",
                field=name,
                remedy=f"restore {INSTANCE_FILE}; the profile of an instance never changes",
            )


def check_no_development(state: State) -> None:
    """Production refuses sandbox deployments and development keys that are still in force."""
    for name, deployment in sorted(state.deployments.items()):
        if deployment.registered.kind == "sandbox" and deployment.retired_at is None:
            raise UnsafeConfiguration(
                "production refuses the sandbox provider",
                field=name,
                remedy="retire the deployment in its own instance; do not carry it over",
            )
    for kid, entry in sorted(state.trust.items()):
        if entry.added.development and entry.revoked is None:
            raise UnsafeConfiguration(
                f"production refuses the development key of {entry.added.party}",
                field=kid,
                remedy="revoke it with a change of the trust list",
            )


class PresentKeys(Protocol):
    """What is asked of a key directory."""

    def names(self, folder: str = "") -> list[str]:
        """Names of the keys in the directory or in one of its folders."""
        ...

    def signer(self, name: str) -> Signer:
        """The key of that name. Raises UnsafeConfiguration when it is absent or exposed."""
        ...


def check_keys(keys: PresentKeys) -> None:
    """Production: every key is there, and no officer's private key is: two people hold those elsewhere."""
    for name in INSTANCE_KEYS:
        keys.signer(name)
    if keys.names("officers"):
        raise UnsafeConfiguration(
            "officers' private keys lie in the key directory",
            field="officers",
            remedy="move each to its own officer: a trust change needs two people",
        )


def check_production(
    settings: Settings, descriptor: Descriptor, *, state: State, clock: Clock, keys: PresentKeys
) -> None:
    """Everything a production profile refuses, all at once, so that one start shows every problem.

    Raises UnsafeConfiguration with one sentence per problem.
    """
    checks: tuple[Callable[[], None], ...] = (
        lambda: check_listeners(settings),
        lambda: check_database(descriptor, settings),
        lambda: check_clock(descriptor, clock),
        lambda: check_no_development(state),
        lambda: check_keys(keys),
    )
    problems = []
    for check in checks:
        try:
            check()
        except SafeconductError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise UnsafeConfiguration(
            "; ".join(str(problem) for problem in problems), field=", ".join(p.field for p in problems)
        )
