"""FollowTheMoney entities as JSON lines (`entities.ftm.json`), as OpenSanctions and others publish them.

Only who can be searched becomes an entry: people, organisations, vessels and aircraft. Addresses, sanctions, ownerships and the like are
counted as skipped, and so are entities that the data set itself calls no target.
"""

from __future__ import annotations

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

MAX_FTM_BYTES = 8 << 30
MAX_LINE = 16 << 20
_KINDS = {
    "Person": EntryKind.PERSON,
    "Organization": EntryKind.ORGANISATION,
    "Company": EntryKind.ORGANISATION,
    "LegalEntity": EntryKind.UNKNOWN,
    "PublicBody": EntryKind.ORGANISATION,
    "Vessel": EntryKind.VESSEL,
    "Airplane": EntryKind.AIRCRAFT,
    "CryptoWallet": EntryKind.UNKNOWN,
}
_NAMES = (
    ("name", NameKind.PRIMARY),
    ("alias", NameKind.ALIAS),
    ("abbreviation", NameKind.ALIAS),
    ("previousName", NameKind.FORMER),
    ("weakAlias", NameKind.WEAK),
)
_COUNTRIES = ("nationality", "citizenship", "country", "jurisdiction", "mainCountry", "flag")
_IDENTIFIERS = {
    "passportNumber": "passport",
    "idNumber": "national_id",
    "socialSecurityNumber": "ssn",
    "registrationNumber": "registration_number",
    "taxNumber": "tax_id",
    "vatCode": "vat",
    "innCode": "inn",
    "ogrnCode": "ogrn",
    "leiCode": "lei",
    "dunsCode": "duns",
    "swiftBic": "bic",
    "uscCode": "uscc",
    "uniqueEntityId": "uei",
    "npiCode": "npi",
    "imoNumber": "imo",
    "mmsi": "mmsi",
    "callSign": "call_sign",
    "serialNumber": "aircraft_serial_number",
    "publicKey": "wallet",
    "email": "email",
    "website": "website",
}


class _Entity(msgspec.Struct):
    id: str
    schema: str
    properties: dict[str, list[str | dict[str, msgspec.Raw]]]
    caption: str = ""
    datasets: list[str] = msgspec.field(default_factory=list)
    target: bool | None = None
    last_seen: str | None = None


def _lines(chunks: Chunks) -> Iterator[tuple[int, bytes]]:
    held = bytearray()
    number = 0
    for chunk in bounded(chunks, MAX_FTM_BYTES, field="file"):
        held += chunk
        *whole, rest = held.split(b"\n")
        for line in whole:
            number += 1
            if line.strip():
                yield number, bytes(line)
        held = bytearray(rest)
        if len(held) > MAX_LINE:
            raise refuse(f"more than {MAX_LINE:,} bytes in one line", field=f"file line {number + 1}")
    if held.strip():
        raise refuse("the last line does not end: the file was cut off", field=f"file line {number + 1}")


def read_ftm_lines(chunks: Chunks, *, reading: Reading | None = None) -> Iterator[ListEntry]:
    """Entries in the file's order. The format has no mark of its end. Errors: InvalidInput with the line."""
    reading = reading or Reading()
    reading.end_marked = False
    decoder = msgspec.json.Decoder(_Entity)
    seen: set[str] = set()
    for number, line in _lines(chunks):
        field = f"file line {number}"
        try:
            entity = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise refuse(f"not an entity in JSON: {str(error)[:200]}", field=field) from None
        except RecursionError:
            raise refuse("JSON nested too deep", field=field) from None
        if entity.last_seen and (reading.published is None or entity.last_seen > reading.published):
            reading.published = entity.last_seen
        if entity.schema not in _KINDS:
            reading.skipped[entity.schema[:60]] += 1
            continue
        if entity.target is False:
            reading.skipped["not a target"] += 1
            continue
        yield _entry(once(entity.id, seen, field=field), entity, reading, field)
    if not seen:
        raise refuse("the file holds no entry", field="file")
    reading.finish()


def _entry(identifier: str, entity: _Entity, reading: Reading, field: str) -> ListEntry:
    def values(name: str) -> list[str]:
        # Nested entities (an address, a sanction) stand where a plain file has their ids.
        return [
            text
            for value in entity.properties.get(name, ())
            if isinstance(value, str) and (text := clean(value, field=field))
        ]

    kind = _KINDS[entity.schema]
    names: list[ListedName] = []
    for name, name_kind in _NAMES:
        for text in values(name):
            latin = text.isascii() or all(ord(letter) < 0x250 for letter in text if letter.isalpha())
            actual = NameKind.ALIAS if name_kind is NameKind.PRIMARY and names else name_kind
            names.append(reading.name(text, actual, field=field, original_script=not latin))
    if not names and entity.caption.strip():
        names.append(reading.name(entity.caption, NameKind.PRIMARY, field=field))
    if not names:
        raise refuse(f"the entity {identifier[:60]} has no name", field=field)
    reading.check_names(names, field=field)
    first, last = values("firstName"), values("lastName")
    if kind is EntryKind.PERSON and len(first) == 1 and len(last) == 1:
        names[0] = msgspec.structs.replace(names[0], parts=(("first", first[0]), ("last", last[0])))
    countries: list[str] = []
    unknown: list[str] = []
    for name in _COUNTRIES:
        for text in values(name):
            found = reading.country(text.upper() if len(text) == 2 else text)
            (countries if found else unknown).append(found or text)
    dates: list[ListedDate] = []
    for text in (*values("birthDate"), *values("incorporationDate")):
        date = read_date(text)
        if date is not None:
            dates.append(date)
        else:
            unknown.append(text)
    listed = sorted(day for text in values("listingDate") if (day := read_day(text)))
    return ListEntry(
        id=identifier,
        kind=kind,
        names=unique(names),
        birth_dates=unique(dates),
        birth_places=unique(values("birthPlace")),
        countries=unique(countries),
        identifiers=unique(
            ListedIdentifier(label, text) for name, label in _IDENTIFIERS.items() for text in values(name)
        ),
        addresses=unique(values("address")),
        programmes=unique((*values("programId"), *values("program"), *values("topics"), *entity.datasets)),
        remarks=bundle(
            *values("notes"), *(f"Position: {text}" for text in values("position")), ", ".join(unknown)
        ),
        listed_on=listed[0] if listed else None,
    )
