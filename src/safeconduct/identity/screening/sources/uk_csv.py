"""The UK Sanctions List, CSV: a line with the date of the report, a heading row, then one row per name, address and so on.

The rows of a designation are joined by their Unique ID. The format has no mark of its end: a file that was cut between two rows looks
whole here, and is told only by comparison with the version before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.sources.dates import read_day
from safeconduct.identity.screening.sources.reading import (
    MAX_PARTS_OF_ENTRY,
    Chunks,
    Reading,
    once,
    refuse,
)
from safeconduct.identity.screening.sources.table import read_text, table_of
from safeconduct.identity.screening.sources.uk_designation import Designation, WrittenName, entry_of

_ID = "unique id"
_REPORT_DATE = re.compile(r"\d{1,2}[-/ ](?:\d{1,2}|[A-Za-z]{3,9})[-/ ]\d{4}")
_NAMES = tuple(f"name {number}" for number in range(1, 7))
_ADDRESS = (*(f"address line {number}" for number in range(1, 7)), "address postal code", "address country")
_IDENTIFIERS = (
    ("passport", "passport number"),
    ("national_id", "national identifier number"),
    ("business_registration", "business registration number (s)"),
    ("imo", "imo number"),
    ("hull_identification_number", "hull identification number (hin)"),
    ("email", "email address"),
    ("website", "website"),
)
_REMARKS = (
    ("", "other information"),
    ("", "uk statement of reasons"),
    ("Sanctions: ", "sanctions imposed"),
    ("Title: ", "title"),
    ("Position: ", "position"),
    ("Gender: ", "gender"),
    ("Passport: ", "passport additional information"),
    ("National identifier: ", "national identifier additional information"),
    ("Type: ", "type of entity"),
    ("Subsidiaries: ", "subsidiaries"),
    ("Parent company: ", "parent company"),
    ("Owner: ", "current owner/operator (s)"),
    ("Type of ship: ", "type of ship"),
    ("United Nations: ", "un reference number"),
    ("OFSI group: ", "ofsi group id"),
)
_KIND = ("designation type", "individual, entity, ship")


def read_uk_csv(chunks: Chunks, *, reading: Reading | None = None) -> Iterator[ListEntry]:
    """Entries in the order of their first rows. Errors: InvalidInput with the row or the entry."""
    reading = reading or Reading()
    reading.end_marked = False
    text = read_text(chunks, reading, field="file")
    heading, _, rest = text.partition("\n")
    if _ID in heading.lower():
        rest = text
    else:
        date = _REPORT_DATE.search(heading)
        if date is None:
            raise refuse(f"{heading[:60]!r} is not the line with the date of the report", field="file row 1")
        reading.published = read_day(date[0]) or read_day(date[0].replace("-", " "))
    found: dict[str, Designation] = {}
    seen: set[str] = set()
    for number, row in table_of(rest, required=(_ID, "name 6", "name type"), field="file"):
        field = f"file row {number}"
        identifier = row[_ID].strip()
        known = found.get(identifier)
        if known is None:
            known = Designation(once(identifier, seen, field=field))
            found[identifier] = known
        _add(known, row, field)
    if not found:
        raise refuse("the file holds no entry", field="file")
    for designation in found.values():
        yield entry_of(designation, reading)
    reading.finish()


def _add(known: Designation, row: dict[str, str], field: str) -> None:
    kind = next((value for name in _KIND if (value := row.get(name, "").strip())), "")
    if known.kind and kind and known.kind != kind:
        raise refuse(f"entry {known.id} is {known.kind!r} and {kind!r}", field=field)
    known.kind = known.kind or kind
    name = WrittenName(
        tuple(row.get(part, "") for part in _NAMES), row.get("name type", ""), row.get("alias strength", "")
    )
    if name not in known.names:
        known.names.append(name)
    if len(known.names) > MAX_PARTS_OF_ENTRY:
        raise refuse(f"entry {known.id} has more than {MAX_PARTS_OF_ENTRY:,} names", field=field)
    place = ", ".join(
        value for part in ("town of birth", "country of birth") if (value := row.get(part, "").strip())
    )
    for where, value in (
        (known.other_scripts, row.get("name non-latin script", "")),
        (known.dates, row.get("d.o.b", "")),
        (known.birth_places, place),
        (known.countries, row.get("nationality(/ies)", "")),
        (known.countries, row.get("address country", "")),
        (known.countries, row.get("current believed flag of ship", "")),
        (known.addresses, ", ".join(value for part in _ADDRESS if (value := row.get(part, "").strip()))),
        (known.regimes, row.get("regime name", "")),
    ):
        if value.strip() and value not in where:
            where.append(value)
    for label, column in _IDENTIFIERS:
        value = row.get(column, "").strip()
        if label == "imo":
            value = value.removeprefix("IMO").strip()
        if value and (label, value) not in known.identifiers:
            known.identifiers.append((label, value))
    for prefix, column in _REMARKS:
        value = row.get(column, "").strip()
        if value and prefix + value not in known.remarks:
            known.remarks.append(prefix + value)
    known.designated = known.designated or row.get("date designated", "")
