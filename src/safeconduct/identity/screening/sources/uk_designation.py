"""One designation of the UK Sanctions List, whichever of its formats it came from.

The list writes a person's family name (or an organisation's whole name) as Name 6 and given names as Names 1 to 5.
"""

from __future__ import annotations

import re

import msgspec

from safeconduct.identity.screening.entry import (
    EntryKind,
    ListedDate,
    ListedIdentifier,
    ListedName,
    ListEntry,
    NameKind,
)
from safeconduct.identity.screening.sources.dates import read_date, read_day
from safeconduct.identity.screening.sources.reading import Reading, bundle, clean, refuse, unique

_KINDS = {"individual": EntryKind.PERSON, "entity": EntryKind.ORGANISATION, "ship": EntryKind.VESSEL}
_NAMES = {
    "primary name": NameKind.PRIMARY,
    "primary name variation": NameKind.ALIAS,
    "alias": NameKind.ALIAS,
    "aka": NameKind.ALIAS,
    "fka": NameKind.FORMER,
    "previous name": NameKind.FORMER,
}
_WEAK = ("low", "weak")
_NUMBERED = re.compile(r"\s*(?:\(\d+\)|\|)\s*")


class WrittenName(msgspec.Struct, frozen=True):
    """parts: Names 1 to 6 in order, "" where there is none. type, strength: as the list writes them."""

    parts: tuple[str, ...]
    type: str
    strength: str = ""


class Designation(msgspec.Struct):
    """What the list says, as written, multiple values one by one. dates: dd/mm/yyyy, `dd` and `mm` where unknown."""

    id: str
    kind: str = ""
    names: list[WrittenName] = msgspec.field(default_factory=list)
    other_scripts: list[str] = msgspec.field(default_factory=list)
    dates: list[str] = msgspec.field(default_factory=list)
    birth_places: list[str] = msgspec.field(default_factory=list)
    countries: list[str] = msgspec.field(default_factory=list)
    identifiers: list[tuple[str, str]] = msgspec.field(default_factory=list)
    addresses: list[str] = msgspec.field(default_factory=list)
    regimes: list[str] = msgspec.field(default_factory=list)
    remarks: list[str] = msgspec.field(default_factory=list)
    designated: str = ""


def values_of(written: str) -> list[str]:
    """The values of a field that holds several: `(1) France (2) Russia` or `France|Russia`."""
    return [value for value in _NUMBERED.split(written) if value.strip()]


def entry_of(designation: Designation, reading: Reading) -> ListEntry:
    """The entry. Errors: InvalidInput that names the designation."""
    field = f"file entry {designation.id}"
    kind = _KINDS.get(designation.kind.lower())
    if kind is None:
        raise refuse(f"{designation.kind[:40]!r} is no type of designation", field=field)
    names = [_name(written, kind, reading, field) for written in designation.names if any(written.parts)]
    names.sort(key=lambda name: name.kind is not NameKind.PRIMARY)
    names += [
        reading.name(text, NameKind.ALIAS, field=field, original_script=True)
        for text in designation.other_scripts
        if text.strip()
    ]
    if not names:
        raise refuse("a designation without a name", field=field)
    reading.check_names(names, field=field)
    dates: list[ListedDate] = []
    remarks = [clean(text, field=field) for text in designation.remarks]
    for text in unique(designation.dates):
        date = read_date(text)
        if date is not None:
            dates.append(date)
        elif text.strip():
            remarks.append(f"Born: {clean(text, field=field)}")
    countries: list[str] = []
    for text in unique(designation.countries):
        for value in values_of(text):
            code = reading.country(clean(value, field=field))
            if code:
                countries.append(code)
            else:
                remarks.append(clean(value, field=field))
    return ListEntry(
        id=designation.id,
        kind=kind,
        names=unique(names),
        birth_dates=unique(dates),
        birth_places=unique(clean(text, field=field) for text in designation.birth_places if text.strip()),
        countries=unique(countries),
        identifiers=unique(
            ListedIdentifier(label, value)
            for label, text in designation.identifiers
            for part in values_of(text)
            if (value := clean(part, field=field))
        ),
        addresses=unique(clean(text, field=field) for text in designation.addresses if text.strip()),
        programmes=unique(clean(text, field=field) for text in designation.regimes if text.strip()),
        remarks=bundle(*unique(remarks)),
        listed_on=read_day(designation.designated),
    )


def _name(written: WrittenName, kind: EntryKind, reading: Reading, field: str) -> ListedName:
    # The name types are few, but the list has written them in more than one way; an unknown one is an alias, not a refusal.
    name_kind = _NAMES.get(" ".join(written.type.lower().split()), NameKind.ALIAS)
    if written.strength.lower().startswith(_WEAK):
        name_kind = NameKind.WEAK
    parts: tuple[tuple[str, str], ...] = ()
    cleaned = [clean(part, field=field) for part in written.parts]
    if kind is EntryKind.PERSON and any(cleaned[:5]):
        given = " ".join(part for part in cleaned[:5] if part)
        parts = (("first", given), *((("last", cleaned[5]),) if cleaned[5] else ()))
    return reading.name(" ".join(part for part in cleaned if part), name_kind, field=field, parts=parts)
