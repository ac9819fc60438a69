"""OFAC's lists in the advanced XML format (`SDN_ADVANCED.XML`, `CONS_ADVANCED.XML`; ISO 20022 style, root `Sanctions`).

Everything refers to everything by number, so reference values, places and documents are kept until the parties were read, and
entries come out only when the file has ended. An entry's id is the party's `FixedRef`, the number that the other formats use too.
"""

from __future__ import annotations

from collections import defaultdict
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
from safeconduct.identity.screening.sources.dates import iso
from safeconduct.identity.screening.sources.ofac_labels import identifier_kind
from safeconduct.identity.screening.sources.reading import Chunks, Reading, bundle, once, refuse, unique
from safeconduct.identity.screening.sources.xml_records import Node, read_records

_ROOT = "Sanctions"
_REFERENCES = (
    "AliasType",
    "AreaCode",
    "Country",
    "DetailReference",
    "FeatureType",
    "IDRegDocType",
    "LocPartType",
    "NamePartType",
    "PartySubType",
    "PartyType",
    "SanctionsType",
    "Script",
)
_DATE = (_ROOT, "DateOfIssue")
_RECORDS = (
    _DATE,
    *((_ROOT, "ReferenceValueSets", f"{name}Values", name) for name in _REFERENCES),
    (_ROOT, "Locations", "Location"),
    (_ROOT, "IDRegDocuments", "IDRegDocument"),
    (_ROOT, "DistinctParties", "DistinctParty"),
    (_ROOT, "SanctionsEntries", "SanctionsEntry"),
)
_ALIASES = {
    "name": NameKind.PRIMARY,
    "a.k.a.": NameKind.ALIAS,
    "n.k.a.": NameKind.ALIAS,
    "f.k.a.": NameKind.FORMER,
}
_KINDS = {
    "individual": EntryKind.PERSON,
    "entity": EntryKind.ORGANISATION,
    "vessel": EntryKind.VESSEL,
    "aircraft": EntryKind.AIRCRAFT,
}
# Reading order of a person's name, and what the parts are called in an entry.
_PARTS = {
    "first name": (0, "first"),
    "middle name": (1, "middle"),
    "patronymic": (2, "patronymic"),
    "last name": (3, "last"),
    "matronymic": (4, "matronymic"),
    "maiden name": (5, "maiden"),
    "nickname": (6, "nickname"),
}
_LATIN = "latin"
_COUNTRY_FEATURES = ("nationality country", "citizenship country", "nationality of registration")
_CURRENCY = "digital currency address - "


class _Place(msgspec.Struct, frozen=True):
    text: str
    country: str | None
    written: str


class _Party(msgspec.Struct, frozen=True):
    entry: ListEntry
    profiles: tuple[str, ...]


class _Reader:
    """What was read so far of one file."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.reference: dict[str, dict[str, Node]] = {name: {} for name in _REFERENCES}
        self.places: dict[str, _Place] = {}
        self.documents: dict[str, list[tuple[ListedIdentifier, str]]] = defaultdict(list)
        self.parties: list[_Party] = []
        self.programmes: dict[str, list[str]] = defaultdict(list)
        self.listed: dict[str, str] = {}
        self.seen: set[str] = set()

    def text(self, reference: str, number: str) -> str:
        """The words that a reference number stands for. Errors: InvalidInput when the file does not say."""
        found = self.reference[reference].get(number)
        if found is None:
            raise refuse(
                f"{reference} {number[:20]!r} is not among the file's reference values", field="file"
            )
        return found.text

    def take(self, node: Node) -> None:
        """Read one record."""
        if node.name in self.reference:
            self.reference[node.name][node.get("ID")] = node
        elif node.name == "DateOfIssue":
            self.reading.published = _day(node)
        elif node.name == "Location":
            self.places[node.get("ID")] = self._place(node)
        elif node.name == "IDRegDocument":
            self._document(node)
        elif node.name == "DistinctParty":
            self.parties.append(self._party(node))
        else:
            self._sanctions(node)

    def _place(self, node: Node) -> _Place:
        parts: dict[str, str] = {}
        for part in node.all("LocationPart"):
            kind = self.text("LocPartType", part.get("LocPartTypeID")).lower()
            values = part.values("LocationPartValue", "Value")
            if values:
                parts[kind] = ", ".join(values)
        countries = [self.text("Country", each.get("CountryID")) for each in node.all("LocationCountry")]
        order = ("address1", "address2", "address3", "city", "state/province", "region", "postal code")
        known = [parts[kind] for kind in order if kind in parts]
        rest = [value for kind, value in parts.items() if kind not in order]
        country = countries[0] if countries else ""
        area = ", ".join(
            self.text("AreaCode", each.get("AreaCodeID")) for each in node.all("LocationAreaCode")
        )
        written = country or area
        return _Place(
            ", ".join(each for each in (*known, *rest, written) if each),
            self.reading.country(written) if written else None,
            written,
        )

    def _document(self, node: Node) -> None:
        number = node.value("IDRegistrationNo")
        if not number:
            return
        kind = self.text("IDRegDocType", node.get("IDRegDocTypeID"))
        issued = node.get("IssuedBy-CountryID")
        country = self.reading.country(self.text("Country", issued)) if issued else None
        remark = bundle(node.value("Comment"), node.value("IssuingAuthority"))
        self.documents[node.get("IdentityID")].append(
            (
                ListedIdentifier(identifier_kind(kind), number, country),
                remark and f"{kind} {number}: {remark}",
            )
        )

    def _sanctions(self, node: Node) -> None:
        profile = node.get("ProfileID")
        for measure in node.all("SanctionsMeasure"):
            if self.text("SanctionsType", measure.get("SanctionsTypeID")).lower() == "program":
                self.programmes[profile] += measure.values("Comment")
        for event in node.all("EntryEvent"):
            date = event.first("Date")
            day = _day(date) if date is not None else None
            if day and (profile not in self.listed or day < self.listed[profile]):
                self.listed[profile] = day

    def _kind(self, profile: Node) -> EntryKind:
        number = profile.get("PartySubTypeID")
        named = _KINDS.get(self.text("PartySubType", number).lower())
        if named is not None:
            return named
        kind = self.text("PartyType", self.reference["PartySubType"][number].get("PartyTypeID")).lower()
        return _KINDS.get(kind, EntryKind.UNKNOWN)

    def _party(self, node: Node) -> _Party:
        fixed = node.get("FixedRef")
        field = f"file entry {fixed}"
        once(fixed, self.seen, field=field)
        profiles = list(node.all("Profile"))
        if not profiles:
            raise refuse("an entry without a profile", field=field)
        kind = self._kind(profiles[0])
        names: list[ListedName] = []
        identifiers: list[ListedIdentifier] = []
        remarks = node.values("Comment")
        features: list[Node] = []
        for profile in profiles:
            features += profile.all("Feature")
            for identity in profile.all("Identity"):
                names += self._names(identity, kind, field)
                for identifier, remark in self.documents.get(identity.get("ID"), ()):
                    identifiers.append(identifier)
                    remarks.append(remark)
        if not names:
            raise refuse("an entry without a name", field=field)
        self.reading.check_names(names, field=field)
        read = _Features(self, features)
        return _Party(
            ListEntry(
                id=fixed,
                kind=kind,
                # The name proper first, as in the other formats.
                names=unique(sorted(names, key=lambda name: name.kind is not NameKind.PRIMARY)),
                birth_dates=unique(read.dates),
                birth_places=unique(read.birth_places),
                countries=unique(read.countries),
                identifiers=unique((*identifiers, *read.identifiers)),
                addresses=unique(read.addresses),
                remarks=bundle(*unique(remarks), *unique(read.remarks)),
            ),
            tuple(profile.get("ID") for profile in profiles),
        )

    def _names(self, identity: Node, kind: EntryKind, field: str) -> Iterator[ListedName]:
        groups = {
            group.get("ID"): self.text("NamePartType", group.get("NamePartTypeID")).lower()
            for group in identity.all("NamePartGroups", "MasterNamePartGroup", "NamePartGroup")
        }
        for alias in identity.all("Alias"):
            written = self.text("AliasType", alias.get("AliasTypeID"))
            name_kind = _ALIASES.get(written.lower())
            if name_kind is None:
                raise refuse(f"{written[:40]!r} is no type of alias", field=field)
            if alias.get("LowQuality").lower() == "true":
                name_kind = NameKind.WEAK
            for name in alias.all("DocumentedName"):
                values = list(name.all("DocumentedNamePart", "NamePartValue"))
                parts = [
                    (*_PARTS.get(groups.get(value.get("NamePartGroupID"), ""), (3, "")), value.text)
                    for value in values
                    if value.text
                ]
                if not parts:
                    raise refuse("an alias without a name", field=field)
                scripts = {
                    self.text("Script", script).lower()
                    for value in values
                    if (script := value.get("ScriptID"))
                }
                other_script = bool(scripts) and _LATIN not in scripts
                if kind is EntryKind.PERSON:
                    parts.sort(key=lambda part: part[0])
                yield self.reading.name(
                    " ".join(text for _, _, text in parts),
                    name_kind,
                    field=field,
                    parts=tuple((label, text) for _, label, text in parts if label)
                    if kind is EntryKind.PERSON
                    else (),
                    original_script=other_script,
                )


class _Features:
    """What the features of a party say."""

    def __init__(self, reader: _Reader, features: list[Node]) -> None:
        self.dates: list[ListedDate] = []
        self.birth_places: list[str] = []
        self.countries: list[str] = []
        self.addresses: list[str] = []
        self.identifiers: list[ListedIdentifier] = []
        self.remarks: list[str] = []
        for feature in features:
            written = reader.text("FeatureType", feature.get("FeatureTypeID"))
            for version in feature.all("FeatureVersion"):
                self._take(reader, written, version)

    def _take(self, reader: _Reader, written: str, version: Node) -> None:
        label = written.lower()
        places = [
            place
            for each in version.all("VersionLocation")
            if (place := reader.places.get(each.get("LocationID"))) is not None
        ]
        details = [
            reader.text("DetailReference", each.get("DetailReferenceID"))
            if each.get("DetailReferenceID")
            else each.text
            for each in version.all("VersionDetail")
        ]
        details = [each for each in details if each]
        comments = version.values("Comment")
        if label in {"birthdate", "organization established date"}:
            self.dates += [date for period in version.all("DatePeriod") if (date := _period(period))]
        elif label == "place of birth":
            self.birth_places += [*details, *(place.text for place in places)]
        elif label in _COUNTRY_FEATURES:
            for each in (*(place.written for place in places), *details):
                code = reader.reading.country(each)
                if code:
                    self.countries.append(code)
                else:
                    self.remarks.append(f"{written}: {each}")
        elif places:
            for place in places:
                if place.country:
                    self.countries.append(place.country)
                if place.text:
                    self.addresses.append(place.text)
        elif label.startswith(_CURRENCY):
            kind = f"wallet_{label.removeprefix(_CURRENCY)}"
            self.identifiers += [ListedIdentifier(kind, each) for each in details]
        elif kind := identifier_kind(written, known=True):
            self.identifiers += [ListedIdentifier(kind, each) for each in details]
        else:
            self.remarks += [f"{written}: {each}" for each in details]
        self.remarks += [f"{written}: {each}" for each in comments]


def _day(node: Node) -> str | None:
    year, month, day = (node.value(name) for name in ("Year", "Month", "Day"))
    if not year.isdigit():
        return None
    return iso(int(year), int(month) if month.isdigit() else None, int(day) if day.isdigit() else None)


def _period(period: Node) -> ListedDate | None:
    start, end = period.first("Start"), period.first("End")
    if start is None:
        return None
    first_node = start.first("From")
    last_node = (end.first("To") or end.first("From")) if end is not None else start.first("To")
    first = _day(first_node) if first_node is not None else None
    last = _day(last_node) if last_node is not None else first
    if first is None or last is None or last < first:
        return None
    about = any(node is not None and node.get("Approximate").lower() == "true" for node in (start, end))
    # The format writes a year as its first and last day, and a month likewise.
    if first[4:] == "-01-01" and last[4:] == "-12-31":
        first, last = first[:4], last[:4]
    elif first[:7] == last[:7] and first[7:] == "-01" and last[8:] >= "28" and first != last:
        first = last = first[:7]
    return ListedDate(first, last, circa=about)


def read_ofac_xml(chunks: Chunks, *, reading: Reading | None = None) -> Iterator[ListEntry]:
    """Entries in document order, once the file has ended. Errors: InvalidInput with the entry or the line."""
    reading = reading or Reading()
    reader = _Reader(reading)
    for path, node in read_records(chunks, root=_ROOT, records=_RECORDS):
        if len(path) > 1:
            reader.take(node)
    if not reader.parties:
        raise refuse("the file holds no entry", field="file")
    if not reader.programmes and not reader.listed:
        raise refuse("the file holds parties and no sanctions entry", field="file")
    reading.finish()
    for party in reader.parties:
        programmes = unique(each for profile in party.profiles for each in reader.programmes.get(profile, ()))
        listed = [reader.listed[profile] for profile in party.profiles if profile in reader.listed]
        yield msgspec.structs.replace(
            party.entry, programmes=programmes, listed_on=min(listed) if listed else None
        )
