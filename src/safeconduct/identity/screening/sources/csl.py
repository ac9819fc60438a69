"""The United States' Consolidated Screening List, JSON and CSV: several agencies' lists in one file, kept apart here.

`ListEntry.list_name` says which: `us.csl.el` (Entity List), `us.csl.dpl` (Denied Persons), `us.csl.uvl` (Unverified), `us.csl.meu`
(Military End User), `us.csl.sdn` and so on, by the code in brackets that the file itself writes after the list's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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
from safeconduct.identity.screening.sources.ofac_labels import identifier_kind
from safeconduct.identity.screening.sources.reading import (
    Chunks,
    Reading,
    bounded,
    bundle,
    clean,
    once,
    refuse,
    unique,
)
from safeconduct.identity.screening.sources.table import read_text, table_of

MAX_JSON_BYTES = 256 << 20
PREFIX = "us.csl."
_CODE = re.compile(r"\(([A-Z][A-Z-]{1,9})\)")
_KINDS = {
    "": EntryKind.UNKNOWN,
    "individual": EntryKind.PERSON,
    "entity": EntryKind.ORGANISATION,
    "vessel": EntryKind.VESSEL,
    "aircraft": EntryKind.AIRCRAFT,
}


class _Address(msgspec.Struct):
    address: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None


class _Identifier(msgspec.Struct):
    type: str | None = None
    number: str | None = None
    country: str | None = None
    issue_date: str | None = None
    expiration_date: str | None = None


class _Listed(msgspec.Struct):
    id: str
    source: str
    name: str
    type: str | None = None
    entity_number: str | int | None = None
    programs: list[str] | None = None
    title: str | None = None
    alt_names: list[str] | None = None
    addresses: list[_Address] | None = None
    citizenships: list[str] | None = None
    nationalities: list[str] | None = None
    dates_of_birth: list[str] | None = None
    places_of_birth: list[str] | None = None
    ids: list[_Identifier] | None = None
    remarks: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    federal_register_notice: str | None = None
    license_requirement: str | None = None
    license_policy: str | None = None
    standard_order: str | None = None
    call_sign: str | None = None
    vessel_flag: str | None = None
    vessel_owner: str | None = None
    vessel_type: str | None = None


class _Used(msgspec.Struct):
    source: str | None = None
    source_last_updated: str | None = None
    last_imported: str | None = None


class _File(msgspec.Struct):
    results: list[_Listed]
    sources_used: list[_Used] | None = None
    total: int | None = None


def read_csl_json(chunks: Chunks, *, reading: Reading | None = None) -> Iterator[ListEntry]:
    """Entries of `consolidated.json`. Errors: InvalidInput with the entry or the JSON path."""
    reading = reading or Reading()
    raw = b"".join(bounded(chunks, MAX_JSON_BYTES, field="file"))
    try:
        read = msgspec.json.decode(raw, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refuse(f"not the list's JSON: {str(error)[:200]}", field="file") from None
    except RecursionError:
        raise refuse("JSON nested too deep", field="file") from None
    if read.total is not None and read.total != len(read.results):
        raise refuse(f"it says {read.total:,} entries and holds {len(read.results):,}", field="file")
    days = [
        day[:10]
        for used in read.sources_used or ()
        if (day := used.last_imported or used.source_last_updated) and read_day(day[:10])
    ]
    reading.published = max(days, default=None)
    yield from _entries(read.results, reading, "file")


def read_csl_csv(chunks: Chunks, *, reading: Reading | None = None) -> Iterator[ListEntry]:
    """Entries of `consolidated.csv`. The format has no mark of its end. Errors: InvalidInput with the row or the entry."""
    reading = reading or Reading()
    reading.end_marked = False
    text = read_text(chunks, reading, field="file")
    required = ("_id", "source", "name", "type")
    yield from _entries(
        (_row(row) for _, row in table_of(text, required=required, field="file")), reading, "file"
    )


def _many(written: str | None) -> list[str]:
    return [text for part in (written or "").split(";") if (text := part.strip())]


def _row(row: dict[str, str]) -> _Listed:
    addresses = []
    for text in _many(row.get("addresses")):
        before, _, country = text.rpartition(", ")
        written = (before, country) if len(country) == 2 and country.isupper() else (text, "")
        addresses.append(_Address(address=written[0], country=written[1]))
    identifiers = []
    for text in _many(row.get("ids")):
        # "type, number, country" with further parts that some entries leave out.
        label, *parts = [part.strip() for part in text.split(",")]
        if parts:
            country = next(
                (part for part in parts if len(part) == 2 and part.isalpha() and part.isupper()), ""
            )
            rest = [part for part in parts if part and part != country]
            identifiers.append(_Identifier(type=label, number=", ".join(rest[:1]), country=country))
    return _Listed(
        id=row["_id"],
        source=row["source"],
        name=row["name"],
        type=row["type"],
        entity_number=row.get("entity_number"),
        programs=_many(row.get("programs")),
        title=row.get("title"),
        alt_names=_many(row.get("alt_names")),
        addresses=addresses,
        citizenships=_many(row.get("citizenships")),
        nationalities=_many(row.get("nationalities")),
        dates_of_birth=_many(row.get("dates_of_birth")),
        places_of_birth=_many(row.get("places_of_birth")),
        ids=identifiers,
        remarks=row.get("remarks"),
        start_date=row.get("start_date"),
        end_date=row.get("end_date"),
        federal_register_notice=row.get("federal_register_notice"),
        license_requirement=row.get("license_requirement"),
        license_policy=row.get("license_policy"),
        standard_order=row.get("standard_order"),
        call_sign=row.get("call_sign"),
        vessel_flag=row.get("vessel_flag"),
        vessel_owner=row.get("vessel_owner"),
        vessel_type=row.get("vessel_type"),
    )


def _entries(listed: Iterator[_Listed] | list[_Listed], reading: Reading, where: str) -> Iterator[ListEntry]:
    seen: set[str] = set()
    for each in listed:
        field = f"{where} entry {each.id[:60] or len(seen) + 1}"
        once(each.id, seen, field=field)
        yield _entry(each, reading, field)
    if not seen:
        raise refuse("the file holds no entry", field=where)
    reading.finish()


def _name(written: str, kind: EntryKind, name_kind: NameKind, reading: Reading, field: str) -> ListedName:
    text = clean(written, field=field)
    last, comma, first = text.partition(", ")
    if kind is EntryKind.PERSON and comma:
        parts = (("last", last), ("first", first))
        return reading.name(f"{first} {last}", name_kind, field=field, parts=parts)
    return reading.name(text, name_kind, field=field)


def _entry(listed: _Listed, reading: Reading, field: str) -> ListEntry:
    code = _CODE.search(listed.source)
    if code is None:
        raise refuse(f"{listed.source[:80]!r} names no list by a code in brackets", field=field)
    written_kind = (listed.type or "").strip().lower()
    kind = _KINDS.get(written_kind)
    if kind is None:
        raise refuse(f"{written_kind[:40]!r} is no type of entry", field=field)
    names = unique(
        (
            _name(listed.name, kind, NameKind.PRIMARY, reading, field),
            *(
                _name(each, kind, NameKind.ALIAS, reading, field)
                for each in listed.alt_names or ()
                if each.strip()
            ),
        )
    )
    reading.check_names(names, field=field)
    countries: list[str] = []
    unknown: list[str] = []
    addresses: list[str] = []
    for written in (
        *(listed.nationalities or ()),
        *(listed.citizenships or ()),
        *(each.country for each in listed.addresses or ()),
        listed.vessel_flag,
    ):
        if text := clean(written, field=field):
            found = reading.country(text)
            (countries if found else unknown).append(found or text)
    for place in listed.addresses or ():
        parts = (place.address, place.city, place.state, place.postal_code, place.country)
        if whole := ", ".join(text for part in parts if (text := clean(part, field=field))):
            addresses.append(whole)
    dates: list[ListedDate] = []
    undated: list[str] = []
    for written in listed.dates_of_birth or ():
        date = read_date(written)
        if date is not None:
            dates.append(date)
        elif written.strip():
            undated.append(f"Born: {clean(written, field=field)}")
    identifiers = [
        ListedIdentifier(
            identifier_kind(each.type or "document"),
            number,
            reading.country(each.country) if each.country else None,
        )
        for each in listed.ids or ()
        if (number := clean(each.number, field=field))
    ]
    if listed.call_sign:
        identifiers.append(ListedIdentifier("call_sign", listed.call_sign))

    def said(label: str, text: str | None) -> str:
        cleaned = clean(text, field=field)
        return f"{label}: {cleaned}" if cleaned else ""

    return ListEntry(
        id=listed.id,
        kind=kind,
        names=names,
        birth_dates=unique(dates),
        birth_places=unique(
            text for each in listed.places_of_birth or () if (text := clean(each, field=field))
        ),
        countries=unique(countries),
        identifiers=unique(identifiers),
        addresses=unique(addresses),
        programmes=unique(text for each in listed.programs or () if (text := clean(each, field=field))),
        remarks=bundle(
            clean(listed.remarks, field=field),
            said("Title", listed.title),
            said("Federal Register", listed.federal_register_notice),
            said("Licence requirement", listed.license_requirement),
            said("Licence policy", listed.license_policy),
            said("Standard order", listed.standard_order),
            said("Ends", listed.end_date),
            said("Vessel type", listed.vessel_type),
            said("Vessel owner", listed.vessel_owner),
            said("Entity number", str(listed.entity_number) if listed.entity_number is not None else None),
            *undated,
            ", ".join(unique(unknown)),
        ),
        listed_on=read_day(listed.start_date or ""),
        list_name=PREFIX + code[1].lower(),
    )
