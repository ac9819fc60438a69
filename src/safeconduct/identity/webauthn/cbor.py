"""CBOR as authenticators write it (RFC 8949; CTAP 2.1 section 8): a small strict reader, and the writer a test double needs.

Owns what is refused: indefinite lengths, tags, floats, integers not in their shortest form, duplicate keys, keys that are not
text or integers, depth beyond four (CTAP 2.1 8), bytes left over. Order of keys is not checked: browsers write the outer map.
"""

from __future__ import annotations

from typing import Any

from safeconduct.kernel.errors import InvalidInput

# CTAP 2.1 8 allows four levels; the attestation object adds one around an attestation statement.
MAX_DEPTH = 5
_MAX_ITEMS = 256


def decode(data: bytes, *, what: str) -> Any:
    """One value that fills `data`. Raises InvalidInput, field `what`."""
    value, end = decode_first(data, what=what)
    if end != len(data):
        raise _bad(what, f"{len(data) - end} bytes follow the value")
    return value


def decode_first(data: bytes, *, what: str, start: int = 0) -> tuple[Any, int]:
    """The value at `start` and where it ends. Raises InvalidInput, field `what`."""
    return _Reader(data, what).value(start, 0)


def _bad(what: str, message: str) -> InvalidInput:
    return InvalidInput(f"not the CBOR of CTAP 2: {message}", field=what)


class _Reader:
    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        if depth > MAX_DEPTH:
            raise _bad(self._what, "nested too deeply")
        major, number, at = self._head(at)
        if major == 0:
            return number, at
        if major == 1:
            return -1 - number, at
        if major == 2:
            return self._take(at, number), at + number
        if major == 3:
            try:
                return self._take(at, number).decode("utf-8", "strict"), at + number
            except UnicodeDecodeError:
                raise _bad(self._what, "a text is not UTF-8") from None
        if major == 4:
            return self._array(at, number, depth)
        if major == 5:
            return self._map(at, number, depth)
        if major == 7 and number in (20, 21, 22):
            return {20: False, 21: True, 22: None}[number], at
        raise _bad(self._what, "a tag or a float" if major == 6 else "an unassigned simple value")

    def _array(self, at: int, count: int, depth: int) -> tuple[list[Any], int]:
        items = []
        for _ in range(self._few(count)):
            item, at = self.value(at, depth + 1)
            items.append(item)
        return items, at

    def _map(self, at: int, count: int, depth: int) -> tuple[dict[Any, Any], int]:
        found: dict[Any, Any] = {}
        for _ in range(self._few(count)):
            key, at = self.value(at, depth + 1)
            if isinstance(key, bool) or not isinstance(key, (int, str)):
                raise _bad(self._what, "a key is neither text nor an integer")
            if key in found:
                raise _bad(self._what, f"key {str(key)[:40]!r} stands twice")
            found[key], at = self.value(at, depth + 1)
        return found, at

    def _few(self, count: int) -> int:
        if count > _MAX_ITEMS:
            raise _bad(self._what, f"more than {_MAX_ITEMS} items")
        return count

    def _take(self, at: int, size: int) -> bytes:
        if at + size > len(self._data):
            raise _bad(self._what, "cut off")
        return self._data[at : at + size]

    def _head(self, at: int) -> tuple[int, int, int]:
        first = self._take(at, 1)[0]
        major, short = first >> 5, first & 31
        at += 1
        if short < 24:
            return major, short, at
        if short > 27:
            raise _bad(self._what, "an indefinite length")
        if major == 7:
            raise _bad(self._what, "a tag or a float")
        size = 1 << (short - 24)
        number = int.from_bytes(self._take(at, size), "big")
        # CTAP 2.1 8: integers are as short as possible, so that one value has one spelling.
        if number < (24 if size == 1 else 1 << (4 * size)):
            raise _bad(self._what, "an integer longer than it needs to be")
        return major, number, at + size


def encode(value: Any) -> bytes:
    """Canonical CTAP 2 CBOR of bytes, text, integers, booleans, None, lists and maps. Raises TypeError for others."""
    if value is None or isinstance(value, bool):
        return bytes([0xE0 | {False: 20, True: 21, None: 22}[value]])
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return _head(3, len(text)) + text
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        # CTAP 2.1 8: by major type, then shorter first, then bytewise.
        pairs = sorted((encode(key), encode(item)) for key, item in value.items())
        pairs.sort(key=lambda pair: (pair[0][0] >> 5, len(pair[0]), pair[0]))
        return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    raise TypeError(f"{type(value).__name__} has no place in CTAP 2")


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for power in range(4):
        if number < 1 << (8 << power):
            return bytes([major << 5 | 24 + power]) + number.to_bytes(1 << power, "big")
    raise TypeError("an integer of more than 64 bits")
