"""How values of the domain are shown on the wire: enumerations by name, sets in order, ids as they are.

Owns the form of answers. Refuses to choose what may be shown: that is each route's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from safeconduct.kernel.canonical import b64u, b64u_decode
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Level, PassportStatus

MAX_PAGE = 1000


class Page(msgspec.Struct, frozen=True):
    """A part of a list in the order of ids; `next` goes into `?after=` for what follows, None at the end."""

    items: tuple[Any, ...]
    next: str | None = None


def show(value: Any) -> Any:
    """A value as JSON-ready data. Levels and passport statuses appear by name, members that are None are left out."""
    if isinstance(value, (Level, PassportStatus)):
        return value.name if isinstance(value, Level) else value.name.lower()
    if isinstance(value, msgspec.Struct):
        shown = {
            name: show(getattr(value, field))
            for name, field in zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
            if getattr(value, field) is not None
        }
        tag = value.__struct_config__.tag
        if isinstance(tag, str):
            shown["type"] = tag
        return shown
    if isinstance(value, Mapping):
        return {str(name): show(item) for name, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, (set, frozenset)):
        return sorted((show(item) for item in value), key=str)
    if isinstance(value, (list, tuple)):
        return [show(item) for item in value]
    return value


def page_of(
    items: Mapping[Any, Any],
    *,
    limit: int,
    after: str,
    keep: Callable[[Any], bool] = lambda _: True,
    form: Callable[[Any], Any] = show,
) -> Page:
    """`limit` entries that `keep` admits, in the order of their keys, beginning behind the cursor `after`."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit is not within 1 to {MAX_PAGE}", field="limit", remedy="ask for fewer")
    start = b64u_decode(after, field="after").decode("utf-8", "replace") if after else ""
    chosen: list[Any] = []
    last = ""
    for key in _ordered(items):
        name = str(key)
        if name <= start or not keep(items[key]):
            continue
        if len(chosen) == limit:
            return Page(items=tuple(chosen), next=b64u(last.encode()))
        chosen.append(form(items[key]))
        last = name
    return Page(items=tuple(chosen))


def _ordered(items: Iterable[Any]) -> list[Any]:
    return sorted(items, key=str)
