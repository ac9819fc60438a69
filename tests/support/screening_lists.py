"""Small lists in the publishers' formats. Every name, number and address in them is made up; nobody real is meant."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import pytest

END = b"\x1a"


def shared_list(*parts):
    """Bytes of a real list beside the project; skips the test when it is not there."""
    above = Path(__file__).resolve().parents[2].parent / "shared"
    path = Path(os.environ.get("SAFECONDUCT_SHARED") or above).joinpath("data", "sanctions", *parts)
    if path.is_file():
        return path.read_bytes()
    pytest.skip("no real lists beside the project: set SAFECONDUCT_SHARED")
    return b""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def chunks(data, size=37):
    """The bytes in small pieces, so that every border falls inside of something."""
    return (data[start : start + size] for start in range(0, len(data), size))


def zipped(*members, level=zipfile.ZIP_DEFLATED):
    """A ZIP archive of (name, content) pairs."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", level) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return held.getvalue()


# OFAC, comma-separated


def ofac_row(number, name, kind="individual", programme="MADEUP", remarks="-0- "):
    kind = f'"{kind}"' if kind else "-0- "
    remarks = f'"{remarks}"' if remarks != "-0- " else remarks
    return f'{number},"{name}",{kind},"{programme}",{"-0- ," * 7}{remarks}'


def ofac_csv(rows, *, end=END):
    return "".join(f"{row}\r\n" for row in rows).encode() + end


def ofac_people(count, start=1):
    """The primary file of so many made-up people."""
    return ofac_csv(
        [ofac_row(number, f"ZORVATH{number}, Quilla{number}") for number in range(start, start + count)]
    )


OFAC_PRIMARY = ofac_csv(
    [
        ofac_row(
            101,
            "ZORVATH, Quilla Ann",
            programme="MADEUP] [OTHER-EO1",
            remarks=(
                "DOB 07 Oct 1954; alt. DOB circa 1956; POB Nowhere, Cuba; nationality Iran; citizen Atlantis; "
                "Passport A1234567 (Iran) issued 01 Jan 2001 expires 01 Jan 2011; alt. Passport B7 (Cuba); "
                "a.k.a. 'GLIMM'; Digital Currency Address - XBT 1madeUpAddress9; Gender Female; Linked To: VEXXOR TRADING."
            ),
        ),
        ofac_row(
            102,
            "VEXXOR TRADING, S.A.",
            kind="",
            remarks="Tax ID No. 900-1 (Colombia); Organization Established Date 1990; f.k.a. 'OLD VEXXOR'.",
        ),
        ofac_row(
            103,
            "MV MADE UP",
            kind="vessel",
            remarks="Vessel Registration Identification IMO 1234567; MMSI 987654321.",
        ),
        ofac_row(104, "EP-XYZ", kind="aircraft", remarks="Aircraft Tail Number EP-XYZ9."),
    ]
)
OFAC_ADDRESSES = (
    b'101,1,"1 Nowhere Street, Apt. 2","Havana","Cuba",-0- \r\n'
    b'102,2,-0- ,-0- ,"Region: Crimea",-0- \r\n'
    b'102,3,"5 Calle Inventada","Bogota","Colombia","near the made-up square"\r\n' + END
)
OFAC_ALIASES = (
    b'101,11,"aka","ZORVAT, Kvilla",-0- \r\n102,12,"fka","VEXXOR LIMITADA",-0- \r\n103,13,"nka","MV NEW NAME",-0- \r\n'
    + END
)


# OFAC, advanced XML


def _values(name, pairs):
    inner = "".join(f'<{name} ID="{number}"{more}>{text}</{name}>' for number, text, more in pairs)
    return f"<{name}Values>{inner}</{name}Values>"


def ofac_xml():
    reference = "".join(
        (
            _values("AliasType", [(1, "Name", ""), (2, "A.K.A.", ""), (3, "F.K.A.", "")]),
            _values("AreaCode", [(1, "CU", ""), (2, "Region: Crimea", "")]),
            _values("Country", [(1, "Cuba", ""), (2, "Iran", "")]),
            _values("DetailReference", [(1, "Female", "")]),
            _values(
                "FeatureType",
                [
                    (1, "Birthdate", ""),
                    (2, "Place of Birth", ""),
                    (3, "Nationality Country", ""),
                    (4, "Location", ""),
                    (5, "Gender", ""),
                    (6, "Digital Currency Address - XBT", ""),
                    (7, "Website", ""),
                ],
            ),
            _values("IDRegDocType", [(1, "Passport", ""), (2, "Tax ID No.", "")]),
            _values("LocPartType", [(1, "ADDRESS1", ""), (2, "CITY", "")]),
            _values("NamePartType", [(1, "Last Name", ""), (2, "First Name", ""), (3, "Entity Name", "")]),
            _values(
                "PartySubType",
                [
                    (1, "Unknown", ' PartyTypeID="1"'),
                    (2, "Unknown", ' PartyTypeID="2"'),
                    (3, "Vessel", ' PartyTypeID="3"'),
                ],
            ),
            _values("PartyType", [(1, "Individual", ""), (2, "Entity", ""), (3, "Transport", "")]),
            _values("SanctionsType", [(1, "Program", ""), (2, "Block", "")]),
            _values("Script", [(1, "Latin", ""), (2, "Cyrillic", "")]),
        )
    )

    def alias(kind, parts, *, script=1, low="false", more=""):
        values = "".join(
            f'<DocumentedNamePart><NamePartValue NamePartGroupID="{group}" ScriptID="{script}">{text}'
            "</NamePartValue></DocumentedNamePart>"
            for group, text in parts
        )
        return f'<Alias AliasTypeID="{kind}" LowQuality="{low}"><DocumentedName>{values}</DocumentedName>{more}</Alias>'

    cyrillic = (
        '<DocumentedName><DocumentedNamePart><NamePartValue NamePartGroupID="11" ScriptID="2">Зорват'
        "</NamePartValue></DocumentedNamePart></DocumentedName>"
    )
    groups = (
        "<NamePartGroups>"
        '<MasterNamePartGroup><NamePartGroup ID="11" NamePartTypeID="1"/></MasterNamePartGroup>'
        '<MasterNamePartGroup><NamePartGroup ID="12" NamePartTypeID="2"/></MasterNamePartGroup></NamePartGroups>'
    )
    person = (
        '<DistinctParty FixedRef="101"><Comment>made up</Comment><Profile ID="901" PartySubTypeID="1"><Identity ID="801">'
        + alias(1, [(11, "ZORVATH"), (12, "Quilla Ann")], more=cyrillic)
        + alias(2, [(11, "GLIMM")], low="true")
        + groups
        + "</Identity>"
        '<Feature FeatureTypeID="1"><FeatureVersion><DatePeriod><Start><From><Year>1954</Year><Month>1</Month><Day>1</Day></From>'
        "</Start><End><To><Year>1954</Year><Month>12</Month><Day>31</Day></To></End></DatePeriod></FeatureVersion></Feature>"
        '<Feature FeatureTypeID="2"><FeatureVersion><VersionDetail>Nowhere, Cuba</VersionDetail></FeatureVersion></Feature>'
        '<Feature FeatureTypeID="3"><FeatureVersion><VersionLocation LocationID="71"/></FeatureVersion></Feature>'
        '<Feature FeatureTypeID="4"><FeatureVersion><VersionLocation LocationID="72"/></FeatureVersion></Feature>'
        '<Feature FeatureTypeID="5"><FeatureVersion><VersionDetail DetailReferenceID="1"/></FeatureVersion></Feature>'
        '<Feature FeatureTypeID="6"><FeatureVersion><VersionDetail>1madeUpAddress9</VersionDetail></FeatureVersion></Feature>'
        "</Profile></DistinctParty>"
    )
    body = (
        '<DistinctParty FixedRef="102"><Profile ID="902" PartySubTypeID="2"><Identity ID="802">'
        + alias(1, [(21, "VEXXOR TRADING, S.A.")])
        + alias(3, [(21, "OLD VEXXOR")])
        + '<NamePartGroups><MasterNamePartGroup><NamePartGroup ID="21" NamePartTypeID="3"/></MasterNamePartGroup></NamePartGroups>'
        "</Identity></Profile></DistinctParty>"
    )

    def entry(number, profile, programme):
        return (
            f'<SanctionsEntry ID="{number}" ProfileID="{profile}" ListID="1"><EntryEvent><Date><Year>2020</Year><Month>2</Month>'
            f'<Day>3</Day></Date></EntryEvent><SanctionsMeasure SanctionsTypeID="1"><Comment>{programme}</Comment>'
            '</SanctionsMeasure><SanctionsMeasure SanctionsTypeID="2"/></SanctionsEntry>'
        )

    return (
        '<?xml version="1.0" encoding="utf-8"?><Sanctions xmlns="urn:made-up:advanced">'
        "<DateOfIssue><Year>2026</Year><Month>3</Month><Day>4</Day></DateOfIssue>"
        f"<ReferenceValueSets>{reference}</ReferenceValueSets>"
        '<Locations><Location ID="71"><LocationCountry CountryID="2"/></Location>'
        '<Location ID="72"><LocationCountry CountryID="1"/><LocationPart LocPartTypeID="2"><LocationPartValue><Value>Havana</Value>'
        '</LocationPartValue></LocationPart><LocationPart LocPartTypeID="1"><LocationPartValue><Value>1 Nowhere Street</Value>'
        "</LocationPartValue></LocationPart></Location></Locations>"
        '<IDRegDocuments><IDRegDocument ID="1" IDRegDocTypeID="1" IdentityID="801" IssuedBy-CountryID="2">'
        "<IDRegistrationNo>A1234567</IDRegistrationNo></IDRegDocument></IDRegDocuments>"
        f"<DistinctParties>{person}{body}</DistinctParties>"
        f"<SanctionsEntries>{entry(1, 901, 'MADEUP')}{entry(2, 902, 'OTHER-EO1')}</SanctionsEntries></Sanctions>"
    ).encode()


# United Nations


def un_person(number, name="QUILLA", more="", listed="2020-01-02"):
    return (
        f"<INDIVIDUAL><DATAID>{number}</DATAID><FIRST_NAME>{name}</FIRST_NAME><SECOND_NAME>ZORVATH{number}</SECOND_NAME>"
        f"<UN_LIST_TYPE>MadeUp</UN_LIST_TYPE><REFERENCE_NUMBER>MUi.{number:03d}</REFERENCE_NUMBER>"
        f"<LISTED_ON>{listed}</LISTED_ON>{more}</INDIVIDUAL>"
    )


def un_xml(people, *, entities="", generated="2026-02-27T00:00:09.554Z", head=""):
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{head}<CONSOLIDATED_LIST dateGenerated="{generated}">'
        f"<INDIVIDUALS>{''.join(people)}</INDIVIDUALS><ENTITIES>{entities}</ENTITIES></CONSOLIDATED_LIST>"
    ).encode()


def un_people(count, *, generated="2026-02-27T00:00:00Z", start=1, listed="2020-01-02"):
    return un_xml(
        [un_person(number, listed=listed) for number in range(start, start + count)], generated=generated
    )


UN_FULL = un_xml(
    [
        un_person(
            1,
            more=(
                "<NAME_ORIGINAL_SCRIPT>كويلا</NAME_ORIGINAL_SCRIPT>"
                "<COMMENTS1>Made up.\nTwo lines.</COMMENTS1><TITLE><VALUE>Dr</VALUE></TITLE>"
                "<NATIONALITY><VALUE>Iran (Islamic Republic of)</VALUE><VALUE>former Atlantis</VALUE></NATIONALITY>"
                "<INDIVIDUAL_ALIAS><QUALITY>Good</QUALITY><ALIAS_NAME>Kvilla Zorvat; Quila Sorvath</ALIAS_NAME></INDIVIDUAL_ALIAS>"
                "<INDIVIDUAL_ALIAS><QUALITY>Low</QUALITY><ALIAS_NAME>Glimm (Глимм)</ALIAS_NAME></INDIVIDUAL_ALIAS>"
                "<INDIVIDUAL_ALIAS><QUALITY>Good</QUALITY><ALIAS_NAME>Old Zorvath</ALIAS_NAME><NOTE>previously listed as</NOTE>"
                "<DATE_OF_BIRTH>1955-05-06</DATE_OF_BIRTH></INDIVIDUAL_ALIAS>"
                "<INDIVIDUAL_ALIAS><QUALITY/><ALIAS_NAME/></INDIVIDUAL_ALIAS>"
                "<INDIVIDUAL_ADDRESS><STREET>1 Nowhere Street</STREET><CITY>Havana</CITY><COUNTRY>Cuba</COUNTRY></INDIVIDUAL_ADDRESS>"
                "<INDIVIDUAL_DATE_OF_BIRTH><TYPE_OF_DATE>EXACT</TYPE_OF_DATE><DATE>1954-10-07</DATE></INDIVIDUAL_DATE_OF_BIRTH>"
                "<INDIVIDUAL_DATE_OF_BIRTH><TYPE_OF_DATE>APPROXIMATELY</TYPE_OF_DATE><YEAR>1956</YEAR></INDIVIDUAL_DATE_OF_BIRTH>"
                "<INDIVIDUAL_DATE_OF_BIRTH><TYPE_OF_DATE>BETWEEN</TYPE_OF_DATE><FROM_YEAR>1950</FROM_YEAR><TO_YEAR>1952</TO_YEAR>"
                "</INDIVIDUAL_DATE_OF_BIRTH>"
                "<INDIVIDUAL_PLACE_OF_BIRTH><CITY>Nowhere</CITY><COUNTRY>Cuba</COUNTRY></INDIVIDUAL_PLACE_OF_BIRTH>"
                "<INDIVIDUAL_DOCUMENT><TYPE_OF_DOCUMENT>Passport</TYPE_OF_DOCUMENT><NUMBER>A1234567</NUMBER>"
                "<ISSUING_COUNTRY>Cuba</ISSUING_COUNTRY></INDIVIDUAL_DOCUMENT><INDIVIDUAL_DOCUMENT/>"
            ),
        )
    ],
    entities=(
        "<ENTITY><DATAID>2</DATAID><FIRST_NAME>VEXXOR TRADING (VEXX)</FIRST_NAME><UN_LIST_TYPE>MadeUp</UN_LIST_TYPE>"
        "<REFERENCE_NUMBER>MUe.002</REFERENCE_NUMBER><LISTED_ON>2021-03-04</LISTED_ON>"
        "<ENTITY_ALIAS><QUALITY>f.k.a.</QUALITY><ALIAS_NAME>OLD VEXXOR</ALIAS_NAME></ENTITY_ALIAS>"
        "<ENTITY_ADDRESS><COUNTRY>Viet Nam</COUNTRY></ENTITY_ADDRESS></ENTITY>"
    ),
)


# European Union


EU_XML = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<export xmlns="urn:made-up:export" generationDate="2026-03-04T10:00:00.000+01:00" globalFileId="1">
<sanctionEntity designationDetails="" designationDate="2020-02-03" unitedNationId="MUi.001" euReferenceNumber="EU.1.1" logicalId="13">
<remark>Made up.</remark>
<regulation programme="MUP" numberTitle="1/2020 (OJ L1)" publicationDate="2020-02-04" logicalId="1"/>
<subjectType code="person" classificationCode="P"/>
<nameAlias firstName="Quilla" middleName="Ann" lastName="Zorvath" wholeName="Quilla Ann Zorvath" function="Minister of nothing" strong="true"/>
<nameAlias firstName="" lastName="" wholeName="Глимм" nameLanguage="RU" strong="false"/>
<nameAlias wholeName="" firstName="" lastName="" title="Dr" strong="true"/>
<citizenship region="" countryIso2Code="IR" countryDescription="IRAN (ISLAMIC REPUBLIC OF)"/>
<citizenship region="" countryIso2Code="00" countryDescription="UNKNOWN"/>
<birthdate circa="true" calendarType="GREGORIAN" birthdate="1954-10-07" city="Nowhere" countryIso2Code="CU" countryDescription="CUBA"/>
<birthdate circa="false" calendarType="GREGORIAN" yearRangeFrom="1950" yearRangeTo="1952"/>
<birthdate circa="false" calendarType="ISLAMIC" year="1374"/>
<address street="1 Nowhere Street" city="Havana" countryIso2Code="CU" countryDescription="CUBA"/>
<identification number="A1234567" identificationTypeCode="passport" countryIso2Code="CU"><remark>expired</remark></identification>
</sanctionEntity>
<sanctionEntity euReferenceNumber="EU.2.2" logicalId="14">
<regulation programme="MUP" logicalId="2"/>
<subjectType code="enterprise" classificationCode="E"/>
<nameAlias wholeName="Vexxor Trading" strong="true"/><nameAlias wholeName="Vexx" strong="true"/>
</sanctionEntity>
</export>
""".encode()


# United Kingdom


UK_HEAD = (
    "Last Updated,Unique ID,OFSI Group ID,UN Reference Number,Name 6,Name 1,Name 2,Name 3,Name 4,Name 5,Name type,Alias strength,"
    "Title,Name non-latin script,Regime Name,Designation Type,Sanctions Imposed,Other Information,Address Line 1,Address Country,"
    "Date Designated,D.O.B,Nationality(/ies),Passport number,IMO number,Town of birth,Country of birth"
)
UK_CSV = (
    "Report Date: 04-Mar-2026\r\n"
    + UK_HEAD
    + "\r\n"
    + "01/03/2026,MUP0001,7,,ZORVATH,Quilla,Ann,,,,Primary Name,,Dr,كويلا,Made-up regime,Individual,Asset freeze|Travel ban,"
    '"Made up, twice",1 Nowhere Street,Cuba,03/02/2020,07/10/1954,Iran,A1234567,,Nowhere,Cuba\r\n'
    + "01/03/2026,MUP0001,7,,GLIMM,,,,,,Alias,Low,Dr,,Made-up regime,Individual,Asset freeze|Travel ban,"
    ",1 Nowhere Street,Cuba,03/02/2020,dd/mm/1956,Iran,A1234567,,Nowhere,Cuba\r\n"
    + "01/03/2026,MUP0002,8,,MADE UP STAR,,,,,,Primary Name,,,,Made-up regime,Ship,Specified,,,,03/02/2020,,,,IMO1234567,,\r\n"
).encode()
UK_XML = """<?xml version="1.0" encoding="utf-8"?>
<Designations><DateGenerated>04/03/2026</DateGenerated>
<Designation><LastUpdated>01/03/2026</LastUpdated><DateDesignated>03/02/2020</DateDesignated><UniqueID>MUP0001</UniqueID>
<Names><Name><Name1>Quilla</Name1><Name2>Ann</Name2><Name6>ZORVATH</Name6><NameType>Primary Name</NameType></Name>
<Name><Name6>GLIMM</Name6><NameType>Alias</NameType><AliasStrength>Low</AliasStrength></Name></Names>
<NonLatinNames><NonLatinName><NameNonLatinScript>كويلا</NameNonLatinScript></NonLatinName></NonLatinNames>
<RegimeName>Made-up regime</RegimeName><IndividualEntityShip>Individual</IndividualEntityShip>
<OtherInformation>Made up, twice</OtherInformation>
<Addresses><Address><AddressLine1>1 Nowhere Street</AddressLine1><AddressCountry>Cuba</AddressCountry></Address></Addresses>
<IndividualDetails><Individual><DOBs><DOB>07/10/1954</DOB><DOB>dd/mm/1956</DOB></DOBs>
<Nationalities><Nationality>Iran</Nationality></Nationalities>
<PassportDetails><Passport><PassportNumber>A1234567</PassportNumber></Passport></PassportDetails>
<BirthDetails><Location><TownOfBirth>Nowhere</TownOfBirth><CountryOfBirth>Cuba</CountryOfBirth></Location></BirthDetails>
</Individual></IndividualDetails></Designation>
<Designation><UniqueID>MUP0002</UniqueID><DateDesignated>03/02/2020</DateDesignated>
<Names><Name><Name6>MADE UP STAR</Name6><NameType>Primary Name</NameType></Name></Names>
<RegimeName>Made-up regime</RegimeName><IndividualEntityShip>Ship</IndividualEntityShip>
<ShipDetails><Ship><IMONumbers><IMONumber>IMO1234567</IMONumber></IMONumbers></Ship></ShipDetails></Designation>
</Designations>
""".encode()


# United States, Consolidated Screening List


CSL_JSON = json.dumps(
    {
        "sources_used": [{"source": "Entity List (EL)", "last_imported": "2026-03-04T00:00:00Z"}],
        "total": 3,
        "results": [
            {
                "id": "el-1",
                "source": "Entity List (EL) - Bureau of Industry and Security",
                "name": "Vexxor Trading",
                "type": None,
                "alt_names": ["Vexx", "Vexxor"],
                "addresses": [{"address": "1 Nowhere Street", "city": "Havana", "country": "CU"}],
                "federal_register_notice": "1 FR 1",
                "license_requirement": "For all items",
                "start_date": "2020-02-03",
                "a_new_member": {"of": "the publisher"},
            },
            {
                "id": "meu-1",
                "source": "Military End User (MEU) List - Bureau of Industry and Security",
                "name": "Vexxor Works",
                "type": "Entity",
            },
            {
                "id": "sdn-1",
                "source": "Specially Designated Nationals (SDN) - Treasury Department",
                "name": "ZORVATH, Quilla",
                "type": "Individual",
                "dates_of_birth": ["07 Oct 1954", "soon"],
                "nationalities": ["IR"],
                "ids": [{"type": "Passport", "number": "A1234567", "country": "IR"}],
                "programs": ["MADEUP"],
            },
        ],
    }
).encode()
CSL_CSV = (
    b"_id,source,entity_number,type,programs,name,title,addresses,federal_register_notice,start_date,end_date,alt_names,"
    b"citizenships,dates_of_birth,nationalities,places_of_birth,ids,remarks\r\n"
    b'el-1,Entity List (EL) - Bureau of Industry and Security,,,,Vexxor Trading,,"1 Nowhere Street, Havana, CU",1 FR 1,2020-02-03,,'
    b"Vexx; Vexxor,,,,,,\r\n"
    b'sdn-1,Specially Designated Nationals (SDN) - Treasury Department,101,Individual,MADEUP,"ZORVATH, Quilla",,,,,,,,'
    b'07 Oct 1954,IR,"Nowhere, Cuba","Passport, A1234567, IR",\r\n'
)


# FollowTheMoney


def ftm_lines(*entities):
    return "".join(json.dumps(entity, ensure_ascii=False) + "\n" for entity in entities).encode()


FTM = ftm_lines(
    {
        "id": "mup-1",
        "schema": "Person",
        "caption": "Quilla Zorvath",
        "properties": {
            "name": ["Quilla Zorvath", "Зорват"],
            "weakAlias": ["Glimm"],
            "firstName": ["Quilla"],
            "lastName": ["Zorvath"],
            "birthDate": ["1954-10-07"],
            "nationality": ["ir"],
            "passportNumber": ["A1234567"],
            "topics": ["sanction"],
            "addressEntity": [{"id": "addr-1", "schema": "Address", "properties": {}}],
        },
        "datasets": ["made_up"],
        "target": True,
        "last_seen": "2026-03-04T00:00:00",
    },
    {"id": "mup-2", "schema": "Company", "properties": {"name": ["Vexxor Trading"], "jurisdiction": ["cu"]}},
    {"id": "addr-1", "schema": "Address", "properties": {"full": ["1 Nowhere Street"]}},
    {"id": "mup-3", "schema": "Person", "properties": {"name": ["Bystander Madeup"]}, "target": False},
)
