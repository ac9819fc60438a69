"""The UK Sanctions List, XML, root `Designations`."""

from __future__ import annotations

from collections.abc import Iterator

from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.sources.dates import read_day
from safeconduct.identity.screening.sources.reading import Chunks, Reading, once, refuse
from safeconduct.identity.screening.sources.uk_designation import Designation, WrittenName, entry_of
from safeconduct.identity.screening.sources.xml_records import Node, read_records

_ROOT = "Designations"
_RECORDS = ((_ROOT, "Designation"), (_ROOT, "DateGenerated"))
_ADDRESS = (
    *(f"AddressLine{number}" for number in range(1, 7)),
    "AddressPostalCode",
    "PostCode",
    "AddressCountry",
)


def read_uk_xml(chunks: Chunks, *, reading: Reading | None = None) -> Iterator[ListEntry]:
    """Entries in document order. reading: filled while entries come. Errors: InvalidInput with the entry or the line."""
    reading = reading or Reading()
    seen: set[str] = set()
    for path, node in read_records(chunks, root=_ROOT, records=_RECORDS):
        if len(path) == 1:
            continue
        if node.name == "DateGenerated":
            reading.published = read_day(node.text)
            continue
        identifier = once(node.value("UniqueID"), seen, field=f"file entry {len(seen) + 1}")
        yield entry_of(_designation(identifier, node), reading)
    if not seen:
        raise refuse("the file holds no entry", field="file")
    reading.finish()


def _designation(identifier: str, node: Node) -> Designation:
    people = list(node.all("IndividualDetails", "Individual"))
    bodies = list(node.all("EntityDetails", "Entity"))
    ships = list(node.all("ShipDetails", "Ship"))
    homes = list(node.all("Addresses", "Address"))

    def of(nodes: list[Node], *path: str) -> list[str]:
        return [text for each in nodes for text in each.values(*path)]

    births = [
        ", ".join(text for text in (place.value("TownOfBirth"), place.value("CountryOfBirth")) if text)
        for person in people
        for place in person.all("BirthDetails", "Location")
    ]
    return Designation(
        id=identifier,
        kind=node.value("IndividualEntityShip"),
        names=[
            WrittenName(
                tuple(name.value(f"Name{number}") for number in range(1, 7)),
                name.value("NameType"),
                name.value("AliasStrength"),
            )
            for name in node.all("Names", "Name")
        ],
        other_scripts=node.values("NonLatinNames", "NonLatinName", "NameNonLatinScript"),
        dates=of(people, "DOBs", "DOB"),
        birth_places=births,
        countries=[
            *of(people, "Nationalities", "Nationality"),
            *of(homes, "AddressCountry"),
            *of(ships, "CurrentBelievedFlagOfShips", "CurrentBelievedFlagOfShip"),
        ],
        identifiers=[
            *(("passport", text) for text in of(people, "PassportDetails", "Passport", "PassportNumber")),
            *(
                ("national_id", text)
                for text in of(
                    people, "NationalIdentifierDetails", "NationalIdentifier", "NationalIdentifierNumber"
                )
            ),
            *(
                ("business_registration", text)
                for text in of(bodies, "BusinessRegistrationNumbers", "BusinessRegistrationNumber")
            ),
            *(("imo", text.removeprefix("IMO").strip()) for text in of(ships, "IMONumbers", "IMONumber")),
            *(("email", text) for text in node.values("EmailAddresses", "EmailAddress")),
            *(("website", text) for text in node.values("Websites", "Website")),
        ],
        addresses=[", ".join(text for name in _ADDRESS if (text := home.value(name))) for home in homes],
        regimes=node.values("RegimeName"),
        remarks=[
            node.value("OtherInformation"),
            node.value("UKStatementofReasons"),
            *(f"Sanctions: {text}" for text in node.values("SanctionsImposed")),
            *(f"Title: {text}" for text in node.values("Titles", "Title")),
            *(f"Position: {text}" for text in of(people, "Positions", "Position")),
            *(f"Gender: {text}" for text in of(people, "Genders", "Gender")),
            *(f"United Nations: {text}" for text in node.values("UNReferenceNumber")),
            *(f"OFSI group: {text}" for text in node.values("OFSIGroupID")),
        ],
        designated=node.value("DateDesignated"),
    )
