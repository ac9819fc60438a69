"""An entry of a list in one shape, whatever file it came from. What the source says is kept; nothing is guessed here."""

from __future__ import annotations

import enum

import msgspec


class EntryKind(enum.StrEnum):
    """What a list names."""

    PERSON = "person"
    ORGANISATION = "organisation"
    VESSEL = "vessel"
    AIRCRAFT = "aircraft"
    UNKNOWN = "unknown"


class NameKind(enum.StrEnum):
    """How a name stands in the list. WEAK: the list itself calls the alias weak or low quality."""

    PRIMARY = "primary"
    ALIAS = "alias"
    WEAK = "weak"
    FORMER = "former"


class ListedName(msgspec.Struct, frozen=True, omit_defaults=True):
    """One name of an entry, as written.

    text: the whole name in reading order, at most 1,000 characters. parts: its parts where the source tells them apart, e.g.
    `(("first", "Ivan"), ("last", "Petrov"))`. original_script: the source marks it as the name in its own script.
    """

    text: str
    kind: NameKind = NameKind.PRIMARY
    parts: tuple[tuple[str, str], ...] = ()
    original_script: bool = False


class ListedDate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A birth or founding date as far as it is known.

    first, last: ISO 8601, `YYYY`, `YYYY-MM` or `YYYY-MM-DD`; equal unless the source gives a range. circa: about.
    """

    first: str
    last: str
    circa: bool = False


class ListedIdentifier(msgspec.Struct, frozen=True, omit_defaults=True):
    """A passport, registry, tax or ship number. kind: the source's word in snake_case; country: ISO 3166-1 alpha-2."""

    kind: str
    value: str
    country: str | None = None


class ListEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of one list.

    id: the source's own. programmes: what it is listed under. countries: ISO 3166-1 alpha-2 in capitals of nationality, citizenship,
    registration or address; what the source writes that has no code stays in remarks. listed_on: ISO 8601 date. list_name: which list the entry is on, where one
    file holds several (`us.csl.el`); "" where the file is the list.
    """

    id: str
    kind: EntryKind
    names: tuple[ListedName, ...]
    birth_dates: tuple[ListedDate, ...] = ()
    birth_places: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    identifiers: tuple[ListedIdentifier, ...] = ()
    addresses: tuple[str, ...] = ()
    programmes: tuple[str, ...] = ()
    remarks: str = ""
    listed_on: str | None = None
    list_name: str = ""
