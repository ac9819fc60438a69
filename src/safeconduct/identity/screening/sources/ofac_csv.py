"""OFAC's SDN and Consolidated lists in their legacy comma-separated files: `sdn add alt` and `cons_prim cons_add cons_alt`.

Source: OFAC, "SDN List Data Formats" (`dat_spec.txt`): no heading row, `-0-` for an empty field, 0x1A at the end. What the
format has no column for (dates and places of birth, nationalities, identifiers, weak aliases) stands in the remarks; it is read from
there where it has one of the known forms, and the remarks are kept whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from safeconduct.identity.screening.entry import (
    EntryKind,
    ListedDate,
    ListedIdentifier,
    ListedName,
    ListEntry,
    NameKind,
)
from safeconduct.identity.screening.sources.dates import read_date
from safeconduct.identity.screening.sources.ofac_labels import IDENTIFIERS
from safeconduct.identity.screening.sources.reading import (
    MAX_PARTS_OF_ENTRY,
    Chunks,
    Defect,
    Reading,
    bundle,
    clean,
    once,
    refuse,
    unique,
)
from safeconduct.identity.screening.sources.table import read_text, rows, without_end_marker

_EMPTY = "-0-"
_KINDS = {
    "": EntryKind.ORGANISATION,
    "individual": EntryKind.PERSON,
    "entity": EntryKind.ORGANISATION,
    "vessel": EntryKind.VESSEL,
    "aircraft": EntryKind.AIRCRAFT,
}
_ALIASES = {
    "aka": NameKind.ALIAS,
    "a.k.a.": NameKind.ALIAS,
    "nka": NameKind.ALIAS,
    "n.k.a.": NameKind.ALIAS,
    "fka": NameKind.FORMER,
    "f.k.a.": NameKind.FORMER,
}
_NUMBER = re.compile(r"[0-9]{1,12}\Z")
_WEAK = re.compile(r"^(a\.k\.a\.|f\.k\.a\.|n\.k\.a\.) '(.+)'$")
_ALTERNATIVE = "alt. "
_VALUE = re.compile(
    r"^(?P<value>[^()]{1,120}?)(?: \((?P<country>[^()]+)\))?(?: issued .*?)?(?: expires .*)?$", re.DOTALL
)
_CURRENCY = re.compile(r"^Digital Currency Address - (\w+) (\S+)$")


class _Remarks:
    """What was recognised in the remarks of one entry."""

    def __init__(self, remarks: str, kind: EntryKind, reading: Reading, field: str) -> None:
        self.names: list[ListedName] = []
        self.dates: list[ListedDate] = []
        self.places: list[str] = []
        self.countries: list[str] = []
        self.identifiers: list[ListedIdentifier] = []
        for piece in remarks.split(";"):
            text = piece.strip().rstrip(".").removeprefix(_ALTERNATIVE)
            if text:
                self._read(text, piece.strip(), kind, reading, field)

    def _read(self, text: str, whole: str, kind: EntryKind, reading: Reading, field: str) -> None:
        # OFAC puts the aliases that it calls weak into the remarks, in quotation marks.
        if found := _WEAK.match(whole.removesuffix(".")) or _WEAK.match(whole):
            name_kind = NameKind.FORMER if found[1] == "f.k.a." else NameKind.WEAK
            self.names.append(_name(found[2], kind, name_kind, reading, field))
        elif text.startswith(("DOB ", "Organization Established Date ")):
            if date := read_date(text.removeprefix("DOB ").removeprefix("Organization Established Date ")):
                self.dates.append(date)
        elif text.startswith("POB "):
            self.places.append(text.removeprefix("POB "))
        elif text.startswith(("nationality ", "citizen ", "Nationality of Registration ")):
            written = re.sub(r"^(?:nationality|citizen|Nationality of Registration) ", "", text)
            if code := reading.country(written):
                self.countries.append(code)
        elif found := _CURRENCY.match(text):
            self.identifiers.append(ListedIdentifier(f"wallet_{found[1].lower()}", found[2]))
        else:
            self._read_identifier(text, reading)

    def _read_identifier(self, text: str, reading: Reading) -> None:
        for label, kind in IDENTIFIERS:
            if text.startswith(label + " "):
                found = _VALUE.match(text[len(label) + 1 :])
                # Without a digit it is a sentence ("Passport stolen"), except where identifiers need none.
                if found and (re.search(r"\d", found["value"]) or kind in {"bic", "website", "email"}):
                    country = reading.country(found["country"]) if found["country"] else None
                    self.identifiers.append(ListedIdentifier(kind, found["value"].strip(), country))
                return


def _name(written: str, kind: EntryKind, name_kind: NameKind, reading: Reading, field: str) -> ListedName:
    text = clean(written, field=field)
    if kind is EntryKind.PERSON and ", " in text:
        # "LAST, First Middle" and "LAST, First Middle, Jr."
        last, *rest = text.split(", ")
        parts = (("last", last), ("first", rest[0]), *((("suffix", " ".join(rest[1:])),) if rest[1:] else ()))
        return reading.name(" ".join((rest[0], last, *rest[1:])), name_kind, field=field, parts=parts)
    return reading.name(text, name_kind, field=field)


def _table(
    chunks: Chunks, width: int, reading: Reading, *, field: str
) -> Iterator[tuple[str, int, list[str]]]:
    text = without_end_marker(
        read_text(chunks, reading, field=field, fallback="cp1252"), reading, field=field
    )
    for number, row in rows(text, width, field=field):
        values = ["" if value.strip() == _EMPTY else value for value in row]
        if not _NUMBER.match(values[0].strip()):
            raise refuse(f"{values[0][:40]!r} is not an entry's number", field=f"{field} row {number}")
        yield values[0].strip(), number, values


def _by_entry(
    chunks: Chunks | None, width: int, reading: Reading, *, field: str
) -> dict[str, list[tuple[int, list[str]]]]:
    found: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
    if chunks is None:
        return found
    for entry, number, row in _table(chunks, width, reading, field=field):
        found[entry].append((number, row))
        if len(found[entry]) > MAX_PARTS_OF_ENTRY:
            raise refuse(f"entry {entry} has more than {MAX_PARTS_OF_ENTRY:,} rows", field=field)
    return found


def read_ofac_csv(
    primary: Chunks,
    addresses: Chunks | None = None,
    aliases: Chunks | None = None,
    comments: Chunks | None = None,
    *,
    reading: Reading | None = None,
) -> Iterator[ListEntry]:
    """Entries of `sdn.csv` or `cons_prim.csv` with what the other files say about them.

    comments: `sdn_comments.csv`, where remarks longer than 1,000 characters go on. reading: filled while entries come; without it
    every defect refuses. Errors: InvalidInput with file and row.
    """
    reading = reading or Reading()
    place = _by_entry(addresses, 6, reading, field="addresses")
    alias = _by_entry(aliases, 5, reading, field="aliases")
    more = _by_entry(comments, 2, reading, field="comments")
    seen: set[str] = set()
    for entry, number, row in _table(primary, 12, reading, field="primary"):
        field = f"primary row {number}"
        once(entry, seen, field=field)
        yield _entry(
            entry,
            row,
            places=place.pop(entry, []),
            aliases=alias.pop(entry, []),
            comments=more.pop(entry, []),
            reading=reading,
            field=field,
        )
    if not seen:
        raise refuse("the file holds no entry", field="primary")
    reading.finish()
    for rest, what in ((place, "addresses"), (alias, "aliases"), (more, "comments")):
        if rest:
            count = sum(len(each) for each in rest.values())
            reading.defect(
                Defect.ORPHAN_ROWS,
                f"{count:,} rows belong to {len(rest):,} entries that the primary file does not hold (the first: {next(iter(rest))})",
                field=what,
                remedy="the files are of different days, or the primary file was cut: fetch all of them again, together",
            )


def _entry(
    entry: str,
    row: list[str],
    *,
    places: list[tuple[int, list[str]]],
    aliases: list[tuple[int, list[str]]],
    comments: list[tuple[int, list[str]]],
    reading: Reading,
    field: str,
) -> ListEntry:
    (
        _,
        written,
        sdn_type,
        programme,
        title,
        call_sign,
        vessel_type,
        tonnage,
        gross,
        flag,
        owner,
        remark,
    ) = (clean(value, field=field) for value in row)
    kind = _KINDS.get(sdn_type.lower())
    if kind is None:
        raise refuse(f"{sdn_type[:40]!r} is no type of entry", field=field)
    if not written:
        raise refuse("an entry without a name", field=field)
    given = [_name(written, kind, NameKind.PRIMARY, reading, field)]
    for number, alias in aliases:
        where = f"aliases row {number}"
        alias_kind = _ALIASES.get(alias[2].strip().lower())
        if alias_kind is None:
            raise refuse(f"{alias[2][:40]!r} is no type of alias", field=where)
        if not alias[3].strip():
            raise refuse("an alias without a name", field=where)
        given.append(_name(alias[3], kind, alias_kind, reading, where))
    remarks = " ".join((remark, *(clean(more[1], field="comments") for _, more in comments))).strip()
    read = _Remarks(remarks, kind, reading, field)
    countries = read.countries
    addresses = []
    unknown = []
    for number, address in places:
        where = f"addresses row {number}"
        _, _, street, city, country, note = (clean(value, field=where) for value in address)
        code = reading.country(country)
        if code:
            countries.append(code)
        elif country:
            unknown.append(country)
        if whole := ", ".join(part for part in (street, city, country) if part):
            addresses.append(whole)
        if note:
            unknown.append(note)
    identifiers = read.identifiers
    if call_sign:
        identifiers.append(ListedIdentifier("call_sign", call_sign))
    if flag and (code := reading.country(flag)):
        countries.append(code)
    names = unique((*given, *read.names))
    reading.check_names(names, field=field)
    return ListEntry(
        id=entry,
        kind=kind,
        names=names,
        birth_dates=unique(read.dates),
        birth_places=unique(read.places),
        countries=unique(countries),
        identifiers=unique(identifiers),
        addresses=unique(addresses),
        programmes=tuple(part for part in re.split(r"\]\s*\[|\s*;\s*", programme.strip("[] ")) if part),
        remarks=bundle(
            remarks,
            title and f"Title: {title}",
            vessel_type and f"Vessel type: {vessel_type}",
            tonnage and f"Tonnage: {tonnage}",
            gross and f"Gross tonnage: {gross}",
            flag and f"Flag: {flag}",
            owner and f"Owner: {owner}",
            ", ".join(unique(unknown)),
        ),
    )
