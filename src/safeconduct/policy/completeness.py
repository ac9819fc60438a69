"""Computation packs about completeness: which members of a customer's file a rule asks for, and which are not there.

Owns the evaluation; the members and their sentences are the pack's data. Refuses to deny: the result is a list, and a draft
rule changes nobody's access.
"""

from __future__ import annotations

from typing import Any

import msgspec

from safeconduct.identity.customer_file import MEMBERS, CustomerFile
from safeconduct.kernel.errors import InvalidInput


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One member that is asked for. any_of: one of these will do. persons: natural persons are asked for it too."""

    sentence: str
    any_of: tuple[str, ...]
    persons: bool = True


class Completeness(msgspec.Struct, frozen=True):
    """What a pack came to. complete: nothing is missing. missing: its sentences, in the pack's order."""

    pack: str
    version: str
    status: str
    legal_source: str
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return not self.missing


def read_asked(parameters: dict[str, Any]) -> tuple[Asked, ...]:
    """The `asked` member of a pack's parameters. Raises InvalidInput when it names a member that no file has."""
    try:
        asked = msgspec.convert(parameters.get("asked"), tuple[Asked, ...])
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error), field="parameters.asked") from None
    for place, one in enumerate(asked):
        unknown = [name for name in one.any_of if name not in MEMBERS]
        if unknown or not one.any_of:
            raise InvalidInput(
                f"no file has {unknown[0]!r}" if unknown else "asks for nothing",
                field=f"parameters.asked[{place}].any_of",
            )
    return asked


def missing(asked: tuple[Asked, ...], file: CustomerFile) -> tuple[str, ...]:
    """The sentences of what is asked of this customer and is not there."""
    return tuple(
        one.sentence
        for one in asked
        if (one.persons or not file.natural_person) and not any(getattr(file, name) for name in one.any_of)
    )
