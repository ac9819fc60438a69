"""What each format's reader takes from a list: everything its publisher says, in one shape. Every name here is made up."""

import msgspec
import pytest
from tests.support.screening_lists import (
    CSL_CSV,
    CSL_JSON,
    EU_XML,
    FTM,
    OFAC_ADDRESSES,
    OFAC_ALIASES,
    OFAC_PRIMARY,
    UK_CSV,
    UK_XML,
    UN_FULL,
    chunks,
    ofac_xml,
    shared_list,
)

from safeconduct.identity.screening.entry import EntryKind, ListedDate, ListedIdentifier, NameKind
from safeconduct.identity.screening.sources.countries import country_code
from safeconduct.identity.screening.sources.csl import read_csl_csv, read_csl_json
from safeconduct.identity.screening.sources.dates import read_date, read_day
from safeconduct.identity.screening.sources.eu_xml import read_eu_xml
from safeconduct.identity.screening.sources.ftm_lines import read_ftm_lines
from safeconduct.identity.screening.sources.ofac_csv import read_ofac_csv
from safeconduct.identity.screening.sources.ofac_xml import read_ofac_xml
from safeconduct.identity.screening.sources.reading import Defect, Reading
from safeconduct.identity.screening.sources.uk_csv import read_uk_csv
from safeconduct.identity.screening.sources.uk_xml import read_uk_xml
from safeconduct.identity.screening.sources.un_xml import read_un_xml


def names(entry, kind=None):
    return [name.text for name in entry.names if kind is None or name.kind is kind]


def test_ofac_csv_reads_the_remarks_that_have_no_column():
    reading = Reading()
    person, body, vessel, aircraft = read_ofac_csv(
        chunks(OFAC_PRIMARY), chunks(OFAC_ADDRESSES), chunks(OFAC_ALIASES), reading=reading
    )
    assert (person.id, person.kind) == ("101", EntryKind.PERSON)
    assert names(person) == ["Quilla Ann ZORVATH", "Kvilla ZORVAT", "GLIMM"]
    assert names(person, NameKind.WEAK) == ["GLIMM"]
    assert person.names[0].parts == (("last", "ZORVATH"), ("first", "Quilla Ann"))
    assert person.birth_dates == (
        ListedDate("1954-10-07", "1954-10-07"),
        ListedDate("1956", "1956", circa=True),
    )
    assert person.birth_places == ("Nowhere, Cuba",)
    assert person.countries == ("IR", "CU")
    assert person.identifiers == (
        ListedIdentifier("passport", "A1234567", "IR"),
        ListedIdentifier("passport", "B7", "CU"),
        ListedIdentifier("wallet_xbt", "1madeUpAddress9"),
    )
    assert person.programmes == ("MADEUP", "OTHER-EO1")
    assert "citizen Atlantis" in person.remarks
    assert reading.unknown_places == {"Atlantis": 1, "Region: Crimea": 1}
    assert body.kind is EntryKind.ORGANISATION
    assert names(body, NameKind.FORMER) == ["VEXXOR LIMITADA", "OLD VEXXOR"]
    assert body.names[0].text == "VEXXOR TRADING, S.A."
    assert body.birth_dates == (ListedDate("1990", "1990"),)
    assert body.countries == ("CO",)
    assert "Region: Crimea" in body.remarks
    assert "near the made-up square" in body.remarks
    assert [each.kind for each in vessel.identifiers] == ["imo", "mmsi"]
    assert (vessel.kind, aircraft.kind) == (EntryKind.VESSEL, EntryKind.AIRCRAFT)
    assert aircraft.identifiers == (ListedIdentifier("aircraft_tail_number", "EP-XYZ9"),)


def test_ofac_csv_is_read_in_the_encoding_that_fits_the_whole_file():
    row = OFAC_PRIMARY.replace(b"VEXXOR TRADING", "VEXXÖR TRADING".encode("cp1252"))
    reading = Reading()
    found = list(read_ofac_csv([row], None, None, reading=reading))
    assert found[1].names[0].text.startswith("VEXXÖR")
    assert reading.encoding == "cp1252"


def test_ofac_comments_go_on_where_the_remarks_are_full():
    more = b"102,\"; Website www.vexxor.example; a.k.a. 'VEX'.\"\r\n\x1a"
    body = list(read_ofac_csv([OFAC_PRIMARY], None, None, [more]))[1]
    assert ListedIdentifier("website", "www.vexxor.example") in body.identifiers
    assert names(body, NameKind.WEAK) == ["VEX"]


def test_ofac_advanced_xml_follows_its_references():
    reading = Reading()
    person, body = read_ofac_xml(chunks(ofac_xml()), reading=reading)
    assert reading.published == "2026-03-04"
    assert (person.id, person.kind, body.kind) == ("101", EntryKind.PERSON, EntryKind.ORGANISATION)
    assert names(person) == ["Quilla Ann ZORVATH", "Зорват", "GLIMM"]
    assert [name.original_script for name in person.names] == [False, True, False]
    assert person.names[0].parts == (("first", "Quilla Ann"), ("last", "ZORVATH"))
    assert person.birth_dates == (ListedDate("1954", "1954"),)
    assert person.countries == ("IR", "CU")
    assert person.addresses == ("1 Nowhere Street, Havana, Cuba",)
    assert person.identifiers == (
        ListedIdentifier("passport", "A1234567", "IR"),
        ListedIdentifier("wallet_xbt", "1madeUpAddress9"),
    )
    assert person.programmes == ("MADEUP",)
    assert person.listed_on == "2020-02-03"
    assert person.remarks == "made up; Gender: Female"
    assert names(body, NameKind.FORMER) == ["OLD VEXXOR"]


def test_un_xml_parts_spellings_and_scripts():
    reading = Reading()
    person, body = read_un_xml(chunks(UN_FULL), reading=reading)
    assert reading.published == "2026-02-27T00:00:09.554Z"
    assert person.id == "MUi.001"
    assert names(person) == [
        "QUILLA ZORVATH1",
        "كويلا",
        "Kvilla Zorvat",
        "Quila Sorvath",
        "Glimm",
        "Глимм",
        "Old Zorvath",
    ]
    assert names(person, NameKind.WEAK) == ["Glimm", "Глимм"]
    assert names(person, NameKind.FORMER) == ["Old Zorvath"]
    assert [name.text for name in person.names if name.original_script] == ["كويلا", "Глимм"]
    assert person.birth_dates == (
        ListedDate("1954-10-07", "1954-10-07"),
        ListedDate("1956", "1956", circa=True),
        ListedDate("1950", "1952"),
        ListedDate("1955-05-06", "1955-05-06"),
    )
    assert person.countries == ("IR", "CU")
    assert "former Atlantis" in person.remarks
    assert "Made up. Two lines." in person.remarks
    assert person.identifiers == (ListedIdentifier("passport", "A1234567", "CU"),)
    assert (person.listed_on, person.programmes) == ("2020-01-02", ("MadeUp",))
    assert names(body) == ["VEXXOR TRADING (VEXX)", "VEXXOR TRADING", "OLD VEXXOR"]
    assert body.countries == ("VN",)


def test_eu_xml_keeps_strength_and_other_calendars():
    reading = Reading()
    person, body = read_eu_xml(chunks(EU_XML), reading=reading)
    assert reading.published == "2026-03-04T10:00:00.000+01:00"
    assert [(name.text, name.kind, name.original_script) for name in person.names] == [
        ("Quilla Ann Zorvath", NameKind.PRIMARY, False),
        ("Глимм", NameKind.WEAK, True),
    ]
    assert person.names[0].parts == (("first", "Quilla"), ("middle", "Ann"), ("last", "Zorvath"))
    assert person.birth_dates == (
        ListedDate("1954-10-07", "1954-10-07", circa=True),
        ListedDate("1950", "1952"),
    )
    assert "Born: 1374 (ISLAMIC)" in person.remarks
    assert "Function: Minister of nothing" in person.remarks
    assert person.countries == ("IR", "CU")
    assert person.identifiers == (ListedIdentifier("passport", "A1234567", "CU"),)
    assert (person.programmes, person.listed_on) == (("MUP",), "2020-02-03")
    assert [name.kind for name in body.names] == [NameKind.PRIMARY, NameKind.ALIAS]


@pytest.mark.parametrize(("read", "data"), [(read_uk_csv, UK_CSV), (read_uk_xml, UK_XML)])
def test_both_formats_of_the_uk_list_say_the_same(read, data):
    reading = Reading()
    person, ship = read(chunks(data), reading=reading)
    assert reading.published == "2026-03-04"
    assert person.id == "MUP0001"
    assert [(name.text, name.kind) for name in person.names] == [
        ("Quilla Ann ZORVATH", NameKind.PRIMARY),
        ("GLIMM", NameKind.WEAK),
        ("كويلا", NameKind.ALIAS),
    ]
    assert person.names[0].parts == (("first", "Quilla Ann"), ("last", "ZORVATH"))
    assert person.birth_dates == (ListedDate("1954-10-07", "1954-10-07"), ListedDate("1956", "1956"))
    assert set(person.countries) == {"IR", "CU"}
    assert person.identifiers == (ListedIdentifier("passport", "A1234567"),)
    assert person.birth_places == ("Nowhere, Cuba",)
    assert person.programmes == ("Made-up regime",)
    assert person.listed_on == "2020-02-03"
    assert "Made up, twice" in person.remarks
    assert ship.kind is EntryKind.VESSEL
    assert ship.identifiers == (ListedIdentifier("imo", "1234567"),)
    assert reading.end_marked is (read is read_uk_xml)


@pytest.mark.parametrize(("read", "data"), [(read_csl_csv, CSL_CSV), (read_csl_json, CSL_JSON)])
def test_the_consolidated_screening_list_keeps_its_lists_apart(read, data):
    found = {entry.id: entry for entry in read(chunks(data))}
    assert found["el-1"].list_name == "us.csl.el"
    assert found["sdn-1"].list_name == "us.csl.sdn"
    assert names(found["el-1"]) == ["Vexxor Trading", "Vexx", "Vexxor"]
    assert found["el-1"].countries == ("CU",)
    assert found["el-1"].listed_on == "2020-02-03"
    person = found["sdn-1"]
    assert person.names[0].text == "Quilla ZORVATH"
    assert person.birth_dates[0] == ListedDate("1954-10-07", "1954-10-07")
    assert person.identifiers == (ListedIdentifier("passport", "A1234567", "IR"),)
    if read is read_csl_json:
        assert found["meu-1"].list_name == "us.csl.meu"
        assert "Born: soon" in person.remarks


def test_follow_the_money_skips_what_names_nobody_and_counts_it():
    reading = Reading()
    person, body = read_ftm_lines(chunks(FTM), reading=reading)
    assert names(person) == ["Quilla Zorvath", "Зорват", "Glimm"]
    assert person.names[1].original_script
    assert person.names[0].parts == (("first", "Quilla"), ("last", "Zorvath"))
    assert person.countries == ("IR",)
    assert person.programmes == ("sanction", "made_up")
    assert body.countries == ("CU",)
    assert reading.skipped == {"Address": 1, "not a target": 1}
    assert reading.published == "2026-03-04T00:00:00"


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("Korea, North", "KP"),
        ("Democratic People's Republic of Korea", "KP"),
        ("Congo, Democratic Republic of the", "CD"),
        ("Congo", "CG"),
        ("Türkiye", "TR"),
        ("Turkey", "TR"),
        ("Cote d Ivoire", "CI"),
        ("CÔTE D’IVOIRE", "CI"),
        ("Burma", "MM"),
        ("UK", "GB"),
        ("IR", "IR"),
        ("IRN", "IR"),
        ("Viet Nam", "VN"),
        ("Palestinian", "PS"),
        ("Region: Crimea", None),
        ("former Soviet Union", None),
        ("undetermined", None),
        ("ZZ", None),
        ("", None),
    ],
)
def test_a_country_has_a_code_or_none_is_guessed(written, code):
    assert country_code(written) == code


@pytest.mark.parametrize(
    ("written", "first", "last", "circa"),
    [
        ("07 Oct 1954", "1954-10-07", "1954-10-07", False),
        ("circa 1965", "1965", "1965", True),
        ("1960 to 1962", "1960", "1962", False),
        ("Nov 1963 to Dec 1964", "1963-11", "1964-12", False),
        ("Between Aug. 1977 and Sep. 1977", "1977-08", "1977-09", False),
        ("dd/mm/1956", "1956", "1956", False),
        ("00/05/1956", "1956-05", "1956-05", False),
    ],
)
def test_dates_as_lists_write_them(written, first, last, circa):
    assert read_date(written) == ListedDate(first, last, circa)


@pytest.mark.parametrize(
    "written", ["31 Feb 1960", "1962 to 1960", "soon", "1374-13-01", "99999", "07 Okt 1954"]
)
def test_what_is_no_date_is_not_made_one(written):
    assert read_date(written) is None
    assert read_day(written) is None


def test_the_real_ofac_files_are_read_whole():
    files = [shared_list("ofac-2018", f"{name}.csv") for name in ("sdn", "add", "alt")]
    reading = Reading((Defect.END_MARKER, Defect.ORPHAN_ROWS))
    found = list(read_ofac_csv(*[[data] for data in files], reading=reading))
    assert len(found) == 7_379
    assert set(reading.defects) == {Defect.END_MARKER, Defect.ORPHAN_ROWS}
    assert sum(len(entry.names) for entry in found) > 18_000
    files = [shared_list("ofac-consolidated-2025", name) for name in ("cons_prim.csv", "cons_alt.csv")]
    assert len(list(read_ofac_csv([files[0]], None, [files[1]]))) == 442


def test_the_real_un_file_is_read_whole():
    reading = Reading()
    found = list(read_un_xml(chunks(shared_list("un-2026", "UN_consolidated.xml"), 65_536), reading=reading))
    assert len(found) == 1_003
    assert sum(entry.kind is EntryKind.PERSON for entry in found) == 730
    assert reading.published == "2026-02-27T00:00:09.554Z"
    assert msgspec.json.decode(msgspec.json.encode(found[0]), type=type(found[0])) == found[0]
