"""GLEIF's golden copy: read in a stream, strictly; and what a record's status means. Every organisation here is made up."""

from __future__ import annotations

import csv
import io
import json

import pytest

from safeconduct.identity import golden_copy
from safeconduct.identity.activity_code import ActivityCode, ActivityRevision, check_activity
from safeconduct.identity.golden_copy import read_golden_copy
from safeconduct.identity.lei_record import COLUMNS, LeiStanding, same_name
from safeconduct.kernel.errors import InvalidInput


def made_up_lei(number):
    stem = f"9999MADEUP{number:08d}"
    value = int("".join(str(int(each, 36)) for each in stem + "00"))
    return stem + f"{98 - value % 97:02d}"


LEI, OTHER = made_up_lei(1), made_up_lei(2)


def row(lei=LEI, **change):
    return {
        "LEI": lei,
        "Entity.LegalName": "Sample Works, Inc.",
        "Entity.LegalName.xmllang": "en",
        "Entity.LegalAddress.Country": "US",
        "Entity.RegistrationAuthority.RegistrationAuthorityID": "RA000602",
        "Entity.RegistrationAuthority.RegistrationAuthorityEntityID": "4711",
        "Entity.EntityStatus": "ACTIVE",
        "Registration.LastUpdateDate": "2026-05-01T00:00:00.000Z",
        "Registration.RegistrationStatus": "ISSUED",
        "Registration.NextRenewalDate": "2027-05-01T00:00:00.000Z",
        **change,
    }


def as_csv(*rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_json(*rows):
    records = []
    for one in rows:
        record = {}
        for column, value in one.items():
            if column.endswith("xmllang"):
                continue
            place = record
            for name in column.split("."):
                place = place.setdefault(name, {})
            place["$"] = value
        record["Entity"]["LegalName"]["@xml:lang"] = "en"
        record["Entity"]["OtherEntityNames"] = {"OtherEntityName": [{"@type": "x", "$": "Other"}]}
        records.append(record)
    return json.dumps({"records": records}).encode()


def read(data, *wanted):
    return read_golden_copy(io.BytesIO(data), frozenset(wanted or (LEI,)))


@pytest.mark.parametrize("form", [as_csv, as_json])
@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_both_forms_give_the_same_record_whatever_the_chunks(form, chunk, monkeypatch):
    monkeypatch.setattr(golden_copy, "_CHUNK", chunk)
    data = form(row(OTHER, **{"Entity.LegalName": 'Ünïcode\u2028 "quoted", name'}), row())
    found = read(data, LEI, OTHER)
    assert found[LEI].legal_name == "Sample Works, Inc."
    assert found[OTHER].legal_name.startswith("Ünïcode\u2028")
    assert (found[LEI].registry.authority, found[LEI].registry.number) == ("RA000602", "4711")
    assert found[LEI].standing is LeiStanding.GOOD
    assert found[LEI].renewal > found[LEI].updated > 0


@pytest.mark.parametrize("form", [as_csv, as_json])
def test_only_what_is_asked_for_is_read_and_what_is_not_there_is_not_found(form):
    assert set(read(form(row(OTHER), row()))) == {LEI}
    assert read(form(row(OTHER))) == {}


@pytest.mark.parametrize(
    ("status", "entity", "standing"),
    [
        ("ISSUED", "ACTIVE", LeiStanding.GOOD),
        ("PENDING_TRANSFER", "ACTIVE", LeiStanding.GOOD),
        ("LAPSED", "ACTIVE", LeiStanding.LAPSED),
        ("ISSUED", "INACTIVE", LeiStanding.ENDED),
        ("RETIRED", "INACTIVE", LeiStanding.ENDED),
        ("ANNULLED", "ACTIVE", LeiStanding.ENDED),
        ("DUPLICATE", "ACTIVE", LeiStanding.ENDED),
        ("MERGED", "ACTIVE", LeiStanding.ENDED),
        ("PENDING_VALIDATION", "ACTIVE", LeiStanding.UNSETTLED),
        ("ANNULLED", "NULL", LeiStanding.ENDED),
    ],
)
def test_what_the_two_statuses_come_to(status, entity, standing):
    found = read(as_csv(row(**{COLUMNS["status"]: status, COLUMNS["entity"]: entity})))
    assert found[LEI].standing is standing


@pytest.mark.parametrize(
    "change",
    [
        {COLUMNS["status"]: "GOOD"},
        {COLUMNS["entity"]: ""},
        {COLUMNS["updated"]: "yesterday"},
        {COLUMNS["updated"]: "2026-05-01T00:00:00"},
        {COLUMNS["country"]: "USA"},
        {COLUMNS["legal_name"]: ""},
        {COLUMNS["legal_name"]: "x" * 5_000},
        {COLUMNS["legal_name"]: "Sample\x00"},
    ],
)
@pytest.mark.parametrize("form", [as_csv, as_json])
def test_a_record_asked_for_that_is_wrong_refuses_the_file_and_names_the_place(form, change):
    with pytest.raises(InvalidInput) as failure:
        read(form(row(**change)))
    assert "line 2" in failure.value.field or "record 1" in failure.value.field


def test_a_number_with_wrong_check_digits_is_refused():
    bad = LEI[:-2] + f"{(int(LEI[-2:]) + 1) % 100:02d}"
    with pytest.raises(InvalidInput, match="check digits"):
        read(as_csv(row(bad)), bad)


def test_no_authority_gives_no_number_to_match_by():
    found = read(as_csv(row(**{COLUMNS["authority"]: "RA999999"})))
    assert found[LEI].registry is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04rest of an archive \xff",
        b"\xff\xfe\x00",
        b"LEI,LEI\n",
        b"a,b\n1,2\n",
        as_csv(row()) + b'"one column"\n',
        as_csv(row()) + b'"unclosed',
        as_csv(row(), row()),
        as_json(row(), row()),
        as_json(row())[:-1],
        as_json(row())[:-40],
        as_json(row()) + b"x",
        b"[",
        b"{}",
        b'{"other":[]}',
        b'{"records":[{"LEI":{"$":"a","$":"b"}}]}',
        b'{"records":[' + b"[" * 5_000 + b"]}",
        b'{"records":[1 2]}',
        b'{"records":[,]}',
    ],
)
def test_a_file_that_is_not_whole_is_refused(data):
    with pytest.raises(InvalidInput):
        read(data)


@pytest.mark.parametrize("start", [b'"' + b"x", b'{"records":["' + b"x", b"x"])
def test_memory_is_bounded_by_one_record(start):
    """A line, or a value, without an end is refused long before the file is held."""

    class Endless:
        taken = 0

        def read(self, size):
            self.taken += size
            return start if self.taken == size else b"x" * size

    endless = Endless()
    with pytest.raises(InvalidInput):
        read_golden_copy(endless, frozenset({LEI}))
    assert endless.taken < 4 * golden_copy.MAX_RECORD


def test_progress_is_told():
    told = []
    data = as_csv(row())
    read_golden_copy(io.BytesIO(data), frozenset({LEI}), progress=told.append)
    assert sum(told) == len(data)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Sample Works, Inc.", "SAMPLE WORKS INC", True),
        ("Beispiel & Söhne", "beispiel & So\u0308hne", True),
        ("Sample Works, Inc.", "Sample Works Holding, Inc.", False),
        ("Sample A", "Sample \u0410", False),
    ],
)
def test_names_are_the_same_by_their_letters_only(one, other, same):
    assert same_name(one, other) is same


@pytest.mark.parametrize(
    ("revision", "code", "good"),
    [
        ("isic-4", "6201", True),
        ("isic-4", "62.01", False),
        ("isic-4", "4510", True),
        ("isic-5", "4510", False),
        ("isic-5", "62", True),
        ("nace-2", "62.01", True),
        ("nace-2", "6201", False),
        ("nace-2", "45.11", True),
        ("nace-2.1", "45.11", False),
        ("nace-2.1", "62.10", True),
        ("nace-2", "00.00", False),
        ("nace-2", "44", False),
        ("isic-4", "6", False),
        ("isic-4", "62011", False),
        ("nace-2", "62.012", False),
        ("nace-2", "٦٢", False),
    ],
)
def test_an_activity_code_has_the_shape_and_divisions_of_its_revision(revision, code, good):
    activity = ActivityCode(ActivityRevision(revision), code)
    if good:
        assert check_activity(activity, "activity") is activity
    else:
        with pytest.raises(InvalidInput):
            check_activity(activity, "activity")
