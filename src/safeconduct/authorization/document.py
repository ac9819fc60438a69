"""The members of a signed document, read one by one; whatever was not read is refused.

A member that this build does not understand could be the one that narrows an order, so it is never passed over.
"""

from __future__ import annotations

import enum
import re
from typing import Any, TypeVar

from safeconduct.kernel.clock import parse_instant
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.suggest import did_you_mean

LATEST = 1 << 40
MAX_TEXT = 2_000

_DIGEST = re.compile(r"[0-9a-f]{64}")
_Choice = TypeVar("_Choice", bound=enum.StrEnum)


class Members:
    """A JSON object whose members are taken out by name and type. Every method raises InvalidInput naming the member.

    where: JSON path prefix used in errors, e.g. `add[0].`.
    """

    __slots__ = ("_known", "_left", "_where")

    def __init__(self, value: Any, where: str = "") -> None:
        if not isinstance(value, dict):
            raise InvalidInput("not a JSON object", field=where.rstrip(".") or "document")
        self._left = dict(value)
        self._known: list[str] = []
        self._where = where

    def path(self, name: str) -> str:
        """The member's JSON path."""
        return f"{self._where}{name}"

    def take(self, name: str, default: Any = ...) -> Any:
        """The raw value; without a default the member must be there. JSON null counts as absent."""
        self._known.append(name)
        value = self._left.pop(name, None)
        if value is not None:
            return value
        if default is ...:
            raise InvalidInput("the member is missing", field=self.path(name), remedy=f"give {name}")
        return default

    def text(self, name: str, *, limit: int = MAX_TEXT) -> str:
        """Text that is not empty."""
        return self._text(name, self.take(name), limit)

    def text_or(self, name: str, default: str, *, limit: int = MAX_TEXT) -> str:
        """Text, or a default when the member is absent."""
        value = self.take(name, None)
        return default if value is None else self._text(name, value, limit)

    def _text(self, name: str, value: Any, limit: int) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > limit:
            raise InvalidInput(f"not text of 1 to {limit} characters", field=self.path(name))
        if any(character < " " or "\x7f" <= character <= "\x9f" for character in value):
            raise InvalidInput("control characters are not accepted", field=self.path(name))
        return value

    def number(self, name: str, *, least: int = 1, default: Any = ...) -> int:
        """A whole number."""
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < LATEST:
            raise InvalidInput(f"not a whole number of at least {least}", field=self.path(name))
        return value

    def flag(self, name: str) -> bool:
        """True or false; false when absent."""
        value = self.take(name, False)
        if not isinstance(value, bool):
            raise InvalidInput("neither true nor false", field=self.path(name))
        return value

    def instant(self, name: str) -> int:
        """RFC 3339 text with an offset, or a NumericDate in whole seconds (RFC 7519 2)."""
        return self._instant(name, self.take(name))

    def instant_or_none(self, name: str) -> int | None:
        """The same, or None when absent."""
        value = self.take(name, None)
        return None if value is None else self._instant(name, value)

    def _instant(self, name: str, value: Any) -> int:
        remedy = "write 2026-06-12T00:00:00Z, or whole seconds since 1970-01-01T00:00:00Z"
        if isinstance(value, str) and len(value) <= 40:
            try:
                value = parse_instant(value)
            except (ValueError, OverflowError) as error:
                raise InvalidInput(f"not an instant: {error}", field=self.path(name), remedy=remedy) from None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LATEST:
            raise InvalidInput("not an instant", field=self.path(name), remedy=remedy)
        return value

    def choice(self, name: str, kinds: type[_Choice], default: Any = ...) -> _Choice:
        """One value of an enumeration."""
        return self._choice(self.path(name), kinds, self.take(name, default))

    def choices(self, name: str, kinds: type[_Choice]) -> tuple[_Choice, ...]:
        """A list of values of an enumeration; empty when absent."""
        values = self.items(name)
        return tuple(
            self._choice(f"{self.path(name)}[{place}]", kinds, value) for place, value in enumerate(values)
        )

    @staticmethod
    def _choice(path: str, kinds: type[_Choice], value: Any) -> _Choice:
        try:
            return kinds(value)
        except ValueError:
            known = [member.value for member in kinds]
            raise InvalidInput(
                f"{str(value)[:60]!r} is not known here{did_you_mean(str(value)[:60], known)}",
                field=path,
                remedy=f"use one of {', '.join(known)}",
            ) from None

    def items(self, name: str, *, limit: int = 10_000) -> list[Any]:
        """A list; empty when absent."""
        value = self.take(name, [])
        if not isinstance(value, list) or len(value) > limit:
            raise InvalidInput(f"not a list of at most {limit}", field=self.path(name))
        return value

    def texts(self, name: str, *, needed: bool = False) -> tuple[str, ...]:
        """A list of texts, each once; not empty when `needed`."""
        values = self.items(name)
        if needed and not values:
            raise InvalidInput("the list is empty or missing", field=self.path(name))
        for place, value in enumerate(values):
            self._text(f"{name}[{place}]", value, 200)
        if len(set(values)) != len(values):
            raise InvalidInput("an entry stands twice", field=self.path(name))
        return tuple(values)

    def digest(self, name: str) -> str:
        """SHA-256 as 64 lower-case hexadecimal digits."""
        value = self.take(name)
        if not isinstance(value, str) or not _DIGEST.fullmatch(value):
            raise InvalidInput(
                "not a SHA-256", field=self.path(name), remedy="give 64 lower-case hexadecimal digits"
            )
        return value

    def finish(self) -> None:
        """Refuse every member that was not taken."""
        if self._left:
            name = min(self._left)
            raise InvalidInput(
                f"member {name[:80]!r} is not understood by this build, so the document is refused"
                f"{did_you_mean(name[:80], self._known)}",
                field=self.path(name[:80]),
                remedy=f"use only {', '.join(self._known)}",
            )
