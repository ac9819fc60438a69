"""The European Union's consolidated list of financial sanctions, XML export 1.1 (FSF), root `export`.

An entry's id is its EU reference number (`EU.1234.56`). The list marks aliases as strong or not; the first strong one in the file is
taken as the name proper, since the format marks none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from safeconduct.identity.screening.entry import (
    EntryKind,
    ListedDate,
    ListedIdentifier,
    ListedName,
    ListEntry,
    NameKind,
)
from safeconduct.identity.screening.sources.dates import iso, read_day
from safeconduct.identity.screening.sources.reading import (
    Chunks,
    Reading,
    bundle,
    clean,
    once,
    refuse,
    unique,
)
from safeconduct.identity.screening.sources.xml_records import Node, read_records

_ROOT = "export"
_KINDS = {
    "person": EntryKind.PERSON,
    "p": EntryKind.PERSON,
    "enterprise": EntryKind.ORGANISATION,
    "e": EntryKind.ORGANISATION,
}
_UNKNOWN_COUNTRY = "00"
_IDENTIFIERS = {
    "passport": "passport",
    "diplomaticpassport": "passport",
    "id": "national_id",
    "ssn": "ssn",
    "fiscalcode": "tax_id",
    "regnumber": "registration_number",
    "electionid": "electoral_registry",
    "residentperm": "residency_number",
    "birthcert": "birth_certificate",
    "drivinglicence": "drivers_licence",
    "swiftbic": "bic",
    "imo": "imo",
}


def read_eu_xml(chunks: Chunks, *, reading: Reading | None = None) -> Iterator[ListEntry]:
    """Entries in document order. reading: filled while entries come. Errors: InvalidInput with the entry or the line."""
    reading = reading or Reading()
    seen: set[str] = set()
    for path, node in read_records(chunks, root=_ROOT, records=((_ROOT, "sanctionEntity"),)):
        if len(path) == 1:
            reading.published = node.get("generationDate") or None
            continue
        identifier = node.get("euReferenceNumber") or node.get("logicalId")
        yield _entry(once(identifier, seen, field=f"file entry {len(seen) + 1}"), node, reading)
    if not seen:
        raise refuse("the file holds no entry", field="file")
    reading.finish()


def _country(node: Node, reading: Reading) -> tuple[str | None, str]:
    """A code, and else what is written."""
    code = node.get("countryIso2Code").upper()
    found = reading.country(code) if code not in {"", _UNKNOWN_COUNTRY} else None
    described = node.get("countryDescription")
    if found is None and described and described.upper() != "UNKNOWN":
        found = reading.country(described)
        return found, "" if found else described
    return found, ""


def _names(node: Node, kind: EntryKind, reading: Reading, field: str) -> Iterator[ListedName]:
    named = False
    for alias in node.all("nameAlias"):
        parts = tuple(
            (label, value)
            for label, attribute in (("first", "firstName"), ("middle", "middleName"), ("last", "lastName"))
            if (value := alias.get(attribute))
        )
        whole = alias.get("wholeName") or " ".join(value for _, value in parts)
        if not whole:
            # The list holds aliases that carry only a title or a function: no name, so nothing to find.
            continue
        if alias.get("strong").lower() == "false":
            name_kind = NameKind.WEAK
        else:
            name_kind = NameKind.ALIAS if named else NameKind.PRIMARY
            named = True
        latin = all("LATIN" in unicodedata.name(letter, "LATIN") for letter in whole if letter.isalpha())
        yield reading.name(
            whole,
            name_kind,
            field=field,
            parts=parts if kind is EntryKind.PERSON else (),
            original_script=not latin,
        )


def _date(node: Node) -> ListedDate | None:
    if node.get("calendarType").upper() not in {"", "GREGORIAN"}:
        return None
    about = node.get("circa").lower() == "true"
    if day := read_day(node.get("birthdate")):
        return ListedDate(day, day, circa=about)
    first, last = node.get("yearRangeFrom"), node.get("yearRangeTo")
    if (
        first.isdigit()
        and last.isdigit()
        and (low := iso(int(first)))
        and (high := iso(int(last)))
        and low <= high
    ):
        return ListedDate(low, high, circa=about)
    year, month, day_of_month = node.get("year"), node.get("monthOfYear"), node.get("dayOfMonth")
    if not year.isdigit():
        return None
    found = iso(
        int(year),
        int(month) if month.isdigit() else None,
        int(day_of_month) if day_of_month.isdigit() else None,
    )
    return ListedDate(found, found, circa=about) if found else None


def _place(node: Node) -> str:
    values = [node.get(name) for name in ("street", "poBox", "place", "city", "zipCode", "region")]
    country = node.get("countryDescription")
    if country.upper() == "UNKNOWN":
        country = ""
    return ", ".join(value for value in (*values, country) if value)


def _entry(identifier: str, node: Node, reading: Reading) -> ListEntry:
    field = f"file entry {identifier}"
    subject = node.first("subjectType")
    code = (
        subject.get("code").lower() or subject.get("classificationCode").lower()
        if subject is not None
        else ""
    )
    kind = _KINDS.get(code)
    if kind is None:
        raise refuse(f"{code[:40]!r} is no type of subject", field=field)
    names = unique(_names(node, kind, reading, field))
    if not names:
        raise refuse("an entry without a name", field=field)
    reading.check_names(names, field=field)
    births = list(node.all("birthdate"))
    countries: list[str] = []
    unknown: list[str] = []
    for place in (*node.all("citizenship"), *node.all("address")):
        found, written = _country(place, reading)
        if found:
            countries.append(found)
        elif written:
            unknown.append(written)
    identifiers = []
    for each in node.all("identification"):
        number = each.get("number") or each.get("latinNumber")
        if number:
            label = each.get("identificationTypeCode").lower()
            identifiers.append(
                ListedIdentifier(
                    _IDENTIFIERS.get(label, re.sub(r"\W+", "_", label).strip("_") or "document"),
                    number,
                    _country(each, reading)[0],
                )
            )
    regulations = list(node.all("regulation"))
    aliases = list(node.all("nameAlias"))
    return ListEntry(
        id=identifier,
        kind=kind,
        names=names,
        birth_dates=unique(date for birth in births if (date := _date(birth))),
        birth_places=unique(at for birth in births if (at := _place(birth))),
        countries=unique(countries),
        identifiers=unique(identifiers),
        addresses=unique(at for home in node.all("address") if (at := _place(home))),
        programmes=unique(value for each in regulations if (value := each.get("programme"))),
        remarks=bundle(
            *(clean(text, field=field) for text in node.values("remark")),
            *unique(f"Function: {value}" for alias in aliases if (value := alias.get("function"))),
            *unique(f"Title: {value}" for alias in aliases if (value := alias.get("title"))),
            *unique(f"Gender: {value}" for alias in aliases if (value := alias.get("gender"))),
            *(
                f"Regulation: {value}"
                for value in unique(each.get("numberTitle") for each in regulations)
                if value
            ),
            node.get("designationDetails"),
            node.get("unitedNationId") and f"United Nations: {node.get('unitedNationId')}",
            *(
                f"Born: {birth.get('birthdate') or birth.get('year')} ({birth.get('calendarType')})"
                for birth in births
                if _date(birth) is None and (birth.get("birthdate") or birth.get("year"))
            ),
            *(f"Document: {text}" for each in node.all("identification") for text in each.values("remark")),
            ", ".join(unique(unknown)),
        ),
        listed_on=read_day(node.get("designationDate")),
    )
