"""Files that are cut, empty, of another kind or meant to harm: each is refused whole, with what is wrong and where."""

import io
import json
import zipfile

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
    ftm_lines,
    ofac_csv,
    ofac_people,
    ofac_row,
    ofac_xml,
    un_people,
    un_person,
    un_xml,
    zipped,
)

from safeconduct.identity.screening.sources import archive, reading, xml_records
from safeconduct.identity.screening.sources.archive import unpack
from safeconduct.identity.screening.sources.formats import FILE, ListFormat, read_list
from safeconduct.identity.screening.sources.ofac_csv import read_ofac_csv
from safeconduct.identity.screening.sources.reading import MAX_NAME, Defect, Reading
from safeconduct.identity.screening.sources.un_xml import read_un_xml
from safeconduct.kernel.errors import InvalidInput

ONE_FILE = {
    ListFormat.OFAC_XML: ofac_xml(),
    ListFormat.UN_XML: UN_FULL,
    ListFormat.EU_XML: EU_XML,
    ListFormat.UK_XML: UK_XML,
    ListFormat.UK_CSV: UK_CSV,
    ListFormat.CSL_JSON: CSL_JSON,
    ListFormat.CSL_CSV: CSL_CSV,
    ListFormat.FTM: FTM,
}
END_MARKED = tuple(
    each for each in ONE_FILE if each not in {ListFormat.UK_CSV, ListFormat.CSL_CSV, ListFormat.FTM}
)
XML = (ListFormat.OFAC_XML, ListFormat.UN_XML, ListFormat.EU_XML, ListFormat.UK_XML)


def read(format, data):
    return list(read_list(format, {FILE: chunks(data, 4_096)}, Reading()))


def cuts(data, count=20):
    return [len(data) * part // (count + 1) for part in range(1, count + 1)]


@pytest.mark.parametrize("format", END_MARKED)
def test_a_file_cut_at_any_of_twenty_places_is_refused(format):
    data = ONE_FILE[format]
    assert read(format, data)
    for place in cuts(data.rstrip()):
        with pytest.raises(InvalidInput):
            read(format, data[:place])


@pytest.mark.parametrize("format", [ListFormat.UK_CSV, ListFormat.CSL_CSV, ListFormat.FTM])
def test_a_file_without_an_end_mark_is_refused_when_it_is_cut_inside_of_a_record(format):
    data = ONE_FILE[format]
    refused = 0
    for place in cuts(data):
        if data[:place].endswith(b"\n"):
            continue
        refused += 1
        with pytest.raises(InvalidInput):
            read(format, data[:place])
    assert refused >= 18


@pytest.mark.parametrize("part", ["primary", "addresses", "aliases"])
def test_an_ofac_file_cut_at_any_of_twenty_places_is_refused(part):
    files = {"primary": OFAC_PRIMARY, "addresses": OFAC_ADDRESSES, "aliases": OFAC_ALIASES}
    for place in cuts(files[part]):
        cut = {**files, part: files[part][:place]}
        with pytest.raises(InvalidInput) as refused:
            list(read_list(ListFormat.OFAC_CSV, {role: [data] for role, data in cut.items()}, Reading()))
        assert part in refused.value.field


def test_half_of_the_primary_file_is_noticed_by_the_others_even_with_an_end_mark():
    lines = OFAC_PRIMARY.split(b"\r\n")
    half = b"\r\n".join([*lines[:2], b"\x1a"])
    with pytest.raises(InvalidInput, match="entries that the primary file does not hold") as refused:
        list(read_ofac_csv([half], [OFAC_ADDRESSES], [OFAC_ALIASES]))
    assert "orphan_rows" in refused.value.remedy


@pytest.mark.parametrize("format", ONE_FILE)
@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><body>Sign in</body></html>",
        b"\xef\xbb\xbf\r\n <html lang='en'><head><title>Error</title></head></html>",
    ],
)
def test_a_web_page_is_called_one(format, page):
    with pytest.raises(InvalidInput, match="web page"):
        read(format, page)


@pytest.mark.parametrize("format", ONE_FILE)
@pytest.mark.parametrize("data", [b"", b"  \r\n ", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(format, data):
    with pytest.raises(InvalidInput):
        read(format, data)


@pytest.mark.parametrize("format", ONE_FILE)
def test_binary_rubbish_is_refused(format):
    with pytest.raises(InvalidInput):
        read(format, bytes(range(256)) * 40)


LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "haha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
OUTSIDE = '<!DOCTYPE x [<!ENTITY leak SYSTEM "file:///etc/passwd">]>'
PARAMETER = '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/made-up.dtd">'


@pytest.mark.parametrize(
    "head", [LAUGHS, OUTSIDE, PARAMETER], ids=["billion-laughs", "external-entity", "external-dtd"]
)
@pytest.mark.parametrize("format", XML)
def test_xml_that_declares_anything_is_refused_before_it_is_read(format, head):
    data = ONE_FILE[format].decode()
    start = data.index("?>") + 2
    with pytest.raises(InvalidInput, match="which no list needs"):
        read(format, (data[:start] + head + data[start:]).encode())


def test_an_entity_that_nobody_declared_is_refused():
    with pytest.raises(InvalidInput, match="not well-formed"):
        list(read_un_xml([un_xml([un_person(1, name="&leak;")])]))


def test_deep_nesting_is_refused():
    deep = "<A>" * 5_000 + "</A>" * 5_000
    with pytest.raises(InvalidInput, match="nested deeper"):
        list(read_un_xml(chunks(un_xml([un_person(1, more=deep)]), 4_096)))


def test_a_record_of_very_many_elements_is_refused(monkeypatch):
    monkeypatch.setattr(xml_records, "MAX_NODES_OF_RECORD", 50)
    with pytest.raises(InvalidInput, match="a record of more than 50 elements"):
        list(read_un_xml([un_xml([un_person(1, more="<A/>" * 60)])]))


def test_text_without_end_is_refused():
    with pytest.raises(InvalidInput, match="characters in one element"):
        list(read_un_xml(chunks(un_xml([un_person(1, name="Q" * 70_000)]), 4_096)))


def test_an_encoding_other_than_utf8_is_refused():
    text = un_people(1).decode()
    with pytest.raises(InvalidInput, match="UTF-16"):
        list(read_un_xml([text.replace("UTF-8", "UTF-16").encode("utf-16")]))
    with pytest.raises(InvalidInput, match="ISO-8859-1"):
        list(read_un_xml([text.replace("UTF-8", "ISO-8859-1").encode("latin-1")]))
    with pytest.raises(InvalidInput):
        list(read_un_xml([un_people(1).replace(b"QUILLA", b"QUILL\xc4")]))


def test_a_file_of_another_list_is_refused_by_its_root():
    with pytest.raises(InvalidInput, match="not 'CONSOLIDATED_LIST'"):
        list(read_un_xml([EU_XML]))


def test_deep_json_is_refused():
    data = (
        b'{"results":[{"id":"a","source":"(EL)","name":"x","remarks":'
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}]}"
    )
    with pytest.raises(InvalidInput):
        read(ListFormat.CSL_JSON, data)
    unknown = b'{"results":[],"extra":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(InvalidInput):
        read(ListFormat.CSL_JSON, unknown)


def test_a_count_that_the_file_itself_contradicts_is_refused():
    value = json.loads(CSL_JSON)
    value["results"].pop()
    with pytest.raises(InvalidInput, match="says 3 entries and holds 2"):
        read(ListFormat.CSL_JSON, json.dumps(value).encode())


@pytest.mark.parametrize("format", [ListFormat.OFAC_CSV, ListFormat.UN_XML, ListFormat.FTM])
def test_a_name_of_five_thousand_characters_is_refused_with_its_entry(format):
    long = "Q" * 5_000
    if format is ListFormat.OFAC_CSV:
        data, place = ofac_csv([ofac_row(7, long)]), "primary row 1"
    elif format is ListFormat.UN_XML:
        data, place = un_xml([un_person(7, name=long)]), "MUi.007"
    else:
        data, place = ftm_lines({"id": "a", "schema": "Person", "properties": {"name": [long]}}), "line 1"
    call = (
        (lambda: list(read_ofac_csv([data])))
        if format is ListFormat.OFAC_CSV
        else (lambda: read(format, data))
    )
    with pytest.raises(InvalidInput, match=r"a name of 5,\d+ characters") as refused:
        call()
    assert place in refused.value.field
    assert MAX_NAME == 1_000


def test_a_letter_lost_in_one_of_several_names_is_kept_and_told():
    more = "<NAME_ORIGINAL_SCRIPT>كو\ufffd\ufffdلا</NAME_ORIGINAL_SCRIPT>"
    found = Reading()
    (entry,) = read_un_xml([un_xml([un_person(1, more=more)])], reading=found)
    assert len(entry.names) == 2
    assert found.damaged == ["file entry MUi.001"]
    assert not found.defects


def test_an_entry_whose_every_name_lost_letters_is_refused_unless_confirmed():
    data = un_xml([un_person(1, name="QU\ufffdLLA")])
    with pytest.raises(InvalidInput, match=r"every name of the entry holds U\+FFFD") as refused:
        list(read_un_xml([data]))
    assert "replacement_character" in refused.value.remedy
    found = Reading((Defect.REPLACEMENT_CHARACTER,))
    assert len(list(read_un_xml([data], reading=found))) == 1
    assert Defect.REPLACEMENT_CHARACTER in found.defects


def test_a_file_that_went_through_a_wrong_encoding_is_refused():
    people = [
        un_person(n, more=f"<NAME_ORIGINAL_SCRIPT>\ufffd{n}</NAME_ORIGINAL_SCRIPT>") for n in range(1, 9)
    ]
    with pytest.raises(InvalidInput, match="went through a wrong encoding"):
        list(read_un_xml([un_xml(people)]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ofac_csv([ofac_row(1, "A"), ofac_row(1, "B")]), "used twice"),
        (ofac_csv([ofac_row(1, "A") + ',"more"']), "13 fields where 12"),
        (ofac_csv([ofac_row("one", "A")]), "not an entry's number"),
        (ofac_csv([ofac_row(1, "A", kind="robot")]), "no type of entry"),
        (ofac_csv([ofac_row(1, "")]), "without a name"),
        (ofac_csv([ofac_row(1, "A\x07B")]), "control character"),
        (ofac_csv([]), "no entry"),
        (ofac_people(2) + b"9,8,7\r\n", "after the end-of-file mark"),
        (ofac_people(1).replace(b'"MADEUP"', b'"MADEUP'), "fields"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_place(data, message):
    with pytest.raises(InvalidInput, match=message) as refused:
        list(read_ofac_csv([data]))
    assert refused.value.field.startswith("primary")
    assert refused.value.remedy


def test_an_alias_of_an_unknown_kind_is_refused():
    with pytest.raises(InvalidInput, match="no type of alias"):
        list(read_ofac_csv([ofac_people(1)], None, [b'1,2,"alias?","X",-0- \r\n\x1a']))


def test_a_missing_file_of_several_is_refused_unless_confirmed():
    files = {"primary": [OFAC_PRIMARY], "aliases": [OFAC_ALIASES]}
    with pytest.raises(InvalidInput, match="'addresses' is missing"):
        read_list(ListFormat.OFAC_CSV, files, Reading())
    assert len(list(read_list(ListFormat.OFAC_CSV, files, Reading((Defect.MISSING_FILE,))))) == 4


def test_a_file_beyond_the_limit_is_refused_while_it_comes(monkeypatch):
    pulled = []

    def endless():
        while True:
            pulled.append(1)
            yield b"x" * 1_000

    with pytest.raises(InvalidInput, match="more than 10,000 bytes"):
        list(reading.bounded(endless(), 10_000, field="file"))
    assert len(pulled) == 11


def test_a_zip_archive_of_one_file_is_read():
    assert b"".join(unpack(io.BytesIO(zipped(("sdn.csv", OFAC_PRIMARY))))) == OFAC_PRIMARY


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped(("a", b"1"), ("b", b"2")), "2 members"),
        (zipped(), "0 members"),
        (zipped(("a/", b"")), "where one file belongs"),
        (zipped(("bomb", bytes(60 << 20))), "ZIP bomb"),
        (zipped(("a", b"1" * 100))[:-30], "not a whole ZIP"),
        (b"PK\x03\x04" + bytes(50), "not a whole ZIP"),
    ],
    ids=["two", "none", "directory", "bomb", "cut", "rubbish"],
)
def test_a_hostile_archive_is_refused(data, message):
    with pytest.raises(InvalidInput, match=message):
        for _ in unpack(io.BytesIO(data)):
            pass


def test_an_archive_that_lies_about_its_size_is_stopped_by_what_comes_out():
    packed = bytearray(zipped(("a", bytes(30 << 20))))
    # The size in the directory and in the local header, little-endian: say that it is small.
    honest = (30 << 20).to_bytes(4, "little")
    assert packed.count(honest) == 2
    lying = bytes(packed).replace(honest, (1_000).to_bytes(4, "little"))
    seen = []
    with pytest.raises(InvalidInput):
        seen.extend(map(len, unpack(io.BytesIO(lying))))
    assert sum(seen) <= archive.MAX_RATIO * len(packed) + (1 << 20)


def test_an_archive_larger_than_the_limit_or_damaged_inside_is_refused():
    stored = zipped(("a", b"made up " * 500), level=zipfile.ZIP_STORED)
    with pytest.raises(InvalidInput, match="more than 1,000 bytes unpacked"):
        list(unpack(io.BytesIO(stored), limit=1_000))
    with pytest.raises(InvalidInput, match="not a whole ZIP"):
        list(unpack(io.BytesIO(stored.replace(b"made up made", b"made-up made", 1))))
