"""The United Nations Security Council's consolidated list, XML (`CONSOLIDATED_LIST`, schema `sc-sanctions.xsd`).

An entry's id is its permanent reference number (`QDi.001`). Aliases that the list calls "Low" are weak. The publisher writes several
spellings into one alias, parted by semicolons, and forms in other scripts into brackets: each becomes a name.
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
from safeconduct.identity.screening.sources.dates import iso, read_date, read_day
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

_ROOT = "CONSOLIDATED_LIST"
_KINDS = {"INDIVIDUAL": EntryKind.PERSON, "ENTITY": EntryKind.ORGANISATION}
_RECORDS = ((_ROOT, "INDIVIDUALS", "INDIVIDUAL"), (_ROOT, "ENTITIES", "ENTITY"))
_QUALITIES = {
    "": NameKind.ALIAS,
    "good": NameKind.ALIAS,
    "low": NameKind.WEAK,
    "a.k.a.": NameKind.ALIAS,
    "aka": NameKind.ALIAS,
    "f.k.a.": NameKind.FORMER,
    "fka": NameKind.FORMER,
}
_PARTS = ("FIRST_NAME", "SECOND_NAME", "THIRD_NAME", "FOURTH_NAME", "FIFTH_NAME", "SIXTH_NAME")
_SPELLINGS = re.compile(r"\s*;\s*|\s+[b-z]\)\s+")
_BRACKETS = re.compile(r"^(?P<before>[^()]+?)\s*\((?P<inside>[^()]+)\)$")
_SAID_SCRIPT = re.compile(r"^original script:\s*", re.IGNORECASE)
_IN_SCRIPT = re.compile(
    r"\b[Ii]n (?:Arabic|Russian|Persian|Urdu|Pashto|Chinese|Korean): *(?P<name>[^.;,()]+)"
)
_DOCUMENTS = {
    "passport": "passport",
    "numéro de passeport": "passport",
    "número de pasaporte": "passport",
    "national identification number": "national_id",
}


def _latin(text: str) -> bool:
    """Whether its letters are Latin ones; text without letters counts as such."""
    return all("LATIN" in unicodedata.name(letter, "LATIN") for letter in text if letter.isalpha())


def read_un_xml(chunks: Chunks, *, reading: Reading | None = None) -> Iterator[ListEntry]:
    """Entries in document order. reading: filled while entries come. Errors: InvalidInput with the entry or the line."""
    reading = reading or Reading()
    seen: set[str] = set()
    for path, node in read_records(chunks, root=_ROOT, records=_RECORDS):
        if len(path) == 1:
            reading.published = node.get("dateGenerated") or None
            continue
        reference = once(node.value("REFERENCE_NUMBER"), seen, field=f"file entry {len(seen) + 1}")
        yield _entry(reference, node, _KINDS[node.name], reading)
    if not seen:
        raise refuse("the file holds no entry", field="file")
    reading.finish()


def _spellings(written: str, kind: NameKind, reading: Reading, field: str) -> Iterator[ListedName]:
    for spelling in _SPELLINGS.split(written):
        text = spelling.strip()
        if not text:
            continue
        bracketed = _BRACKETS.match(text)
        inside = _SAID_SCRIPT.sub("", bracketed["inside"]) if bracketed else ""
        if bracketed and _latin(bracketed["before"]) and not _latin(inside):
            yield reading.name(bracketed["before"], kind, field=field)
            yield reading.name(inside, kind, field=field, original_script=True)
            continue
        yield reading.name(text, kind, field=field, original_script=not _latin(text))
        if bracketed:
            before = bracketed["before"]
            yield reading.name(before, kind, field=field, original_script=not _latin(before))


def _names(node: Node, kind: EntryKind, reading: Reading, field: str) -> Iterator[ListedName]:
    written = [(tag, node.value(tag)) for tag in _PARTS]
    parts = tuple((tag.removesuffix("_NAME").lower(), value) for tag, value in written if value)
    if not parts:
        raise refuse("an entry without a name", field=field)
    whole = " ".join(value for _, value in parts)
    if kind is EntryKind.PERSON:
        yield reading.name(whole, NameKind.PRIMARY, field=field, parts=parts)
    else:
        yield from _spellings(whole, NameKind.PRIMARY, reading, field)
    for original in node.values("NAME_ORIGINAL_SCRIPT"):
        for spelling in _SPELLINGS.split(original):
            if spelling.strip():
                yield reading.name(spelling, NameKind.PRIMARY, field=field, original_script=True)
    for alias in node.all(f"{node.name}_ALIAS"):
        quality = _QUALITIES.get(alias.value("QUALITY").lower())
        if quality is None:
            raise refuse(f"{alias.value('QUALITY')[:40]!r} is no quality of an alias", field=field)
        note = alias.value("NOTE")
        if quality is NameKind.ALIAS and note.lower().startswith(
            ("previously listed as", "formerly listed as")
        ):
            quality = NameKind.FORMER
        yield from _spellings(alias.value("ALIAS_NAME"), quality, reading, field)
        for found in _IN_SCRIPT.finditer(note):
            if not _latin(found["name"]):
                yield reading.name(found["name"], quality, field=field, original_script=True)


def _date(node: Node) -> ListedDate | None:
    about = node.value("TYPE_OF_DATE").upper() == "APPROXIMATELY"
    note = node.value("NOTE")
    first, last = node.value("FROM_YEAR"), node.value("TO_YEAR")
    year = node.value("YEAR")
    date: ListedDate | None = None
    if first.isdigit() and last.isdigit():
        low, high = iso(int(first)), iso(int(last))
        if low and high and low <= high:
            date = ListedDate(low, high)
    elif written := node.value("DATE"):
        date = read_date(written)
    elif year:
        day = (read_day(f"{note.rstrip('.')} {year}") if note else None) or read_day(year)
        date = ListedDate(day, day) if day else None
    elif note:
        date = read_date(note)
    if date is None or not (about or note.lower().startswith("approx")):
        return date
    return ListedDate(date.first, date.last, circa=True)


def _place(node: Node) -> str:
    return ", ".join(
        value
        for tag in ("STREET", "CITY", "STATE_PROVINCE", "ZIP_CODE", "COUNTRY")
        if (value := node.value(tag))
    )


def _document(node: Node, reading: Reading) -> ListedIdentifier | None:
    number = node.value("NUMBER")
    if not number:
        return None
    kind = node.value("TYPE_OF_DOCUMENT")
    country = node.value("ISSUING_COUNTRY") or node.value("COUNTRY_OF_ISSUE")
    return ListedIdentifier(
        _DOCUMENTS.get(kind.lower(), re.sub(r"\W+", "_", kind.lower()).strip("_") or "document"),
        number,
        reading.country(country) if country else None,
    )


def _entry(reference: str, node: Node, kind: EntryKind, reading: Reading) -> ListEntry:
    field = f"file entry {reference}"
    prefix = node.name
    births = list(node.all(f"{prefix}_DATE_OF_BIRTH"))
    dates = [date for birth in births if (date := _date(birth))]
    undated = [birth.value("NOTE") for birth in births if birth.value("NOTE") and _date(birth) is None]
    aliases = list(node.all(f"{prefix}_ALIAS"))
    # A birth date given with an alias is that of the papers in that name: the person may show it.
    dates += [date for alias in aliases if (date := read_date(alias.value("DATE_OF_BIRTH")))]
    places = [place for birth in node.all(f"{prefix}_PLACE_OF_BIRTH") if (place := _place(birth))]
    homes = list(node.all(f"{prefix}_ADDRESS"))
    documents = list(node.all(f"{prefix}_DOCUMENT"))
    countries, unknown = [], []
    for written in (
        *node.values("NATIONALITY", "VALUE"),
        *node.values("NATIONALITY2"),
        *(home.value("COUNTRY") for home in homes),
    ):
        code = reading.country(written)
        if code:
            countries.append(code)
        elif written:
            unknown.append(written)
    names = unique(_names(node, kind, reading, field))
    reading.check_names(names, field=field)
    return ListEntry(
        id=reference,
        kind=kind,
        names=names,
        birth_dates=unique(dates),
        birth_places=unique(places),
        countries=unique(countries),
        identifiers=unique(found for each in documents if (found := _document(each, reading))),
        addresses=unique(place for home in homes if (place := _place(home))),
        programmes=tuple(text for text in (node.value("UN_LIST_TYPE"),) if text),
        remarks=bundle(
            clean(node.value("COMMENTS1"), field=field),
            *(f"Title: {each}" for each in node.values("TITLE", "VALUE")),
            *(f"Designation: {each}" for each in node.values("DESIGNATION", "VALUE")),
            *(f"Gender: {each}" for each in node.values("GENDER")),
            *(f"Document: {_described(each)}" for each in documents if _described(each)),
            *(
                f"Alias: {alias.value('ALIAS_NAME')}: {alias.value('NOTE')}"
                for alias in aliases
                if alias.value("NOTE")
            ),
            *(f"Address: {home.value('NOTE')}" for home in homes if home.value("NOTE")),
            *(f"Born: {each}" for each in undated),
            ", ".join(unique(unknown)),
        ),
        listed_on=read_day(node.value("LISTED_ON")),
    )


def _described(document: Node) -> str:
    return ", ".join(
        value
        for tag in ("TYPE_OF_DOCUMENT2", "DATE_OF_ISSUE", "CITY_OF_ISSUE", "NOTE")
        if (value := document.value(tag))
    )
