"""Bytes: one encoding for what we write, one strict reader for what others send, base64url without padding."""

from __future__ import annotations

import binascii
import hashlib
import json
from typing import Any, NoReturn

import msgspec

from safeconduct.kernel.errors import InvalidInput

_encoder = msgspec.json.Encoder(order="sorted")

MAX_DEPTH = 64


def canonical_json(value: Any) -> bytes:
    """Compact JSON, UTF-8, members sorted by name: the same value always gives the same bytes.

    Floats are not used in anything we sign or log. Raises TypeError for values JSON cannot hold.
    """
    return _encoder.encode(value)


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInput(f"{name} is not JSON", remedy="send a number that RFC 8259 allows")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise InvalidInput(f"member {name[:80]!r} stands twice", field=name[:80], remedy="send it once")
        seen[name] = value
    return seen


_decoder = json.JSONDecoder(object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)


def strict_json(data: bytes, *, what: str = "JSON") -> Any:
    """Parse JSON refusing duplicate members at any depth, NaN and Infinity, trailing bytes, bad UTF-8 and deep nesting.

    Source: RFC 8259; RFC 7515 4 (duplicate header names must be rejected).
    Raises InvalidInput that names the member.
    """
    try:
        text = data.decode("utf-8", "strict")
        return _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{what} is not UTF-8 (byte {error.start})", remedy="encode it as UTF-8") from None
    except RecursionError:
        raise InvalidInput(f"{what} is nested too deeply", remedy="flatten it") from None
    except ValueError as error:  # json.JSONDecodeError, or an integer of over 4,300 digits
        place = (
            f" at line {error.lineno}, column {error.colno}"
            if isinstance(error, json.JSONDecodeError)
            else ""
        )
        raise InvalidInput(f"{what} is malformed{place}", remedy="send well-formed JSON") from None


_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
# By length modulo 4: the characters whose unused low bits are zero, and the padding to put back.
_ENDS = {2: (frozenset(_ALPHABET[::16]), b"=="), 3: (frozenset(_ALPHABET[::4]), b"=")}


def b64u(data: bytes) -> str:
    """base64url without padding (RFC 7515 2)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def b64u_decode(text: str | bytes, *, field: str = "") -> bytes:
    """Decode base64url strictly: no padding, no other alphabet, no stray bits in the last character.

    The last rule keeps one value from having several spellings (a token must not be replayable under another text).
    Raises InvalidInput.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    rest = len(raw) & 3
    if rest == 1 or raw.translate(None, _ALPHABET):
        raise InvalidInput("not base64url without padding", field=field)
    if rest:
        ends, padding = _ENDS[rest]
        if raw[-1] not in ends:
            raise InvalidInput("base64url with stray bits", field=field)
        return binascii.a2b_base64(raw.translate(_FROM_URL) + padding)
    return binascii.a2b_base64(raw.translate(_FROM_URL))


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()
