"""Reading what commands are given: files, standard input, instants, comma lists. Errors name the option or file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from safeconduct.kernel.clock import parse_instant
from safeconduct.kernel.errors import InvalidInput, NotFound

MAX_FILE = 8 << 20


def read_bytes(path: Path, *, most: int = MAX_FILE) -> bytes:
    """A file's bytes, at most `most`; `-` is standard input. Raises NotFound, InvalidInput."""
    if str(path) == "-":
        data = sys.stdin.buffer.read(most + 1)
    else:
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except FileNotFoundError:
            raise NotFound("there is no such file", field=str(path)) from None
        except OSError as error:
            raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from None
    if len(data) > most:
        raise InvalidInput(f"larger than {most} bytes", field=str(path))
    return data


def read_text(path: Path) -> str:
    """A small text such as a JWS, without surrounding white space. Raises NotFound, InvalidInput."""
    try:
        return read_bytes(path).decode().strip()
    except UnicodeDecodeError:
        raise InvalidInput("not UTF-8 text", field=str(path)) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, read strictly. Raises NotFound, InvalidInput."""
    from safeconduct.kernel.canonical import strict_json  # noqa: PLC0415

    value = strict_json(read_bytes(path), what=str(path))
    if not isinstance(value, dict):
        raise InvalidInput("not a JSON object", field=str(path))
    return value


def write_new(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file that must not exist yet. Raises InvalidInput."""
    import os  # noqa: PLC0415

    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o644)
    except FileExistsError:
        raise InvalidInput("the file is there already", field=str(path), remedy="name another one") from None
    except OSError as error:
        raise InvalidInput(f"cannot be written: {error.strerror}", field=str(path)) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def instant(text: str, option: str) -> int:
    """Seconds since the epoch from RFC 3339 text or a date. Raises InvalidInput naming the option."""
    try:
        return parse_instant(text)
    except ValueError as error:
        raise InvalidInput(
            str(error), field=option, remedy="write 2026-06-12 or 2026-06-12T00:00:00Z"
        ) from None


def duration(text: str, option: str) -> int:
    """Seconds from `90d`, `12h`, `30m`, `60s`. Raises InvalidInput naming the option."""
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    number, unit = text[:-1], text[-1:]
    if not number.isascii() or not number.isdigit() or unit not in units or int(number) == 0:
        raise InvalidInput(f"{text!r} is not a duration", field=option, remedy="write 90d, 12h, 30m or 60s")
    return int(number) * units[unit]


def money(text: str, option: str) -> tuple[int, str]:
    """Micro-units and currency from `250.00USD` or `0.15 USD`. Raises InvalidInput naming the option."""
    import re  # noqa: PLC0415

    found = re.fullmatch(r"([0-9]{1,12})(?:\.([0-9]{1,6}))? ?([A-Z]{3})", text)
    if found is None:
        raise InvalidInput(
            f"{text[:40]!r} is not an amount of money",
            field=option,
            remedy="write 250.00USD: at most six decimals, and the currency's ISO 4217 code",
        )
    whole, decimals, currency = found.groups()
    return int(whole) * 1_000_000 + int((decimals or "").ljust(6, "0")), currency
