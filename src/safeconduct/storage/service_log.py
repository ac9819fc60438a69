"""The service's own log: one JSON object a line in `<data>/logs/`, with everything that looks like a credential taken out.

Owns redaction. It is the last line of defence, not the first: code does not log credentials. It errs towards taking out too
much, because a log line is copied into tickets and other systems where nobody can take it back.
"""

from __future__ import annotations

import datetime as dt
import logging
import logging.handlers
import os
import re
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import msgspec

FILE_NAME = "safeconduct.log"
MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 5
REDACTED = "[redacted]"

_TELLING = (
    "authorization|proxy-authorization|x-api-key|api[-_]?key|dpop|cookie|set-cookie|password|passwd|secret|"
    "client[-_]?secret|access[-_]?token|refresh[-_]?token|subject[-_]?token|actor[-_]?token|id[-_]?token|root[-_]?key|"
    "private[-_]?key|credential"
)
_SECRET_NAME = re.compile(rf"(?:{_TELLING})", re.IGNORECASE)

# Ordered: whole blocks first, then values by their look, then values by the name before them.
_PATTERNS: tuple[re.Pattern[str], ...] = (
    re.compile(r"-----BEGIN [^-]{1,60}-----.*?(?:-----END [^-]{1,60}-----|\Z)", re.DOTALL),
    # Our gateway keys: sc_<env>_<id>_<secret>, also cut short.
    re.compile(r"\bsc_[A-Za-z0-9]+_[A-Za-z0-9_-]+"),
    # Vendors' keys.
    re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}"),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    # JWS, JWT, SD-JWT with its disclosures and key binding: `{"` in base64url is `eyJ`.
    re.compile(r"eyJ[A-Za-z0-9_-]{6,}(?:[.~][A-Za-z0-9_~.-]*)?"),
    # A disclosure by itself: `["` in base64url is `WyJ`.
    re.compile(r"\bWyJ[A-Za-z0-9_-]{8,}"),
    # 32 bytes in base64: a root or data key.
    re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}="),
    # The private member of a JWK.
    re.compile(r"""["']d["']\s*:\s*["'][A-Za-z0-9_-]{16,}["']"""),
    re.compile(r"\b(?:bearer|dpop|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE),
)
# name: value | name=value | "name": "value" | (b'name', b'value')
_NAMED = re.compile(
    rf"""(?P<name>\b(?:{_TELLING}))(?P<between>["']?\s*[:=]\s*b?["']?|["'],\s*b?["'])(?P<value>[^"'\r\n]+)""",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """The text without anything that looks like a credential."""
    for pattern in _PATTERNS:
        text = pattern.sub(REDACTED, text)
    return _NAMED.sub(rf"\g<name>\g<between>{REDACTED}", text)


def _clean(value: Any, depth: int = 0) -> Any:
    """A JSON value without credentials, by content and by member name."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return redact(bytes(value).decode("utf-8", "replace"))
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= 8:
        return "..."
    if isinstance(value, Mapping):
        return {
            redact(str(name)): REDACTED if _SECRET_NAME.search(str(name)) else _clean(member, depth + 1)
            for name, member in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(member, depth + 1) for member in value]
    return redact(str(value))


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, exception and whatever `extra` carried."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, redacted member by member."""
        moment = dt.datetime.fromtimestamp(record.created, tz=dt.UTC)
        line: dict[str, Any] = {
            "time": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(_message(record)),
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = redact(self.formatStack(record.stack_info))
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in line:
                line[name] = REDACTED if _SECRET_NAME.search(name) else _clean(value)
        return msgspec.json.encode(line).decode()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a wrong format string must not lose the line, or raise in a request
        return f"{record.msg} {record.args!r}"


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A rotated file of mode 0600: a log says who asked for what."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(
            self.baseFilename, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        return TextIOWrapper(os.fdopen(descriptor, "ab"), encoding="utf-8", write_through=True)


def start_service_log(
    directory: Path, *, level: str = "info", stream: IO[str] | None = None
) -> Callable[[], None]:
    """Send every logger of the process to `directory/safeconduct.log`, and to `stream` when given; returns the undo.

    level: debug, info, warning or error. The file is turned over at 10 MiB, five are kept.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        _PrivateFile(directory / FILE_NAME, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
    ]
    if stream is not None:
        handlers.append(logging.StreamHandler(stream))
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    for handler in handlers:
        handler.setFormatter(JsonFormatter())
    # Replaced, not added to: a handler that somebody else installed would write the line unredacted.
    root.handlers[:] = handlers
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)

    def stop() -> None:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
        logging.captureWarnings(capture=False)
        for handler in handlers:
            handler.close()

    return stop
