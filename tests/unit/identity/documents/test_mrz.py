"""Machine readable zones: the specimens of ICAO 9303, every check digit, odd codes, and what a zone cannot prove."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconduct.identity.documents.mrz import Format, PartialDate, check_digit, read_mrz
from safeconduct.identity.documents.nationality_codes import nationality_code, same_state
from safeconduct.kernel.errors import InvalidInput

# The specimens printed in ICAO 9303 parts 4 to 7 (Utopia does not exist).
TD3 = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"
TD2 = "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nD231458907UTO7408122F1204159<<<<<<<6"
TD1 = "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\nERIKSSON<<ANNA<MARIA<<<<<<<<<<"
MRV_A = "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL8988901C4XXX4009078F96121096ZE184226B<<<<<<"
MRV_B = "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nL8988901C4XXX4009078F9612109<<<<<<<<"
SPECIMENS = {Format.TD3: TD3, Format.TD2: TD2, Format.TD1: TD1, Format.MRV_A: MRV_A, Format.MRV_B: MRV_B}
YEAR = 2026


def passport(**changes):
    """A TD3 zone with right digits."""
    facts = {
        "code": "P<",
        "issuer": "UTO",
        "names": "ERIKSSON<<ANNA<MARIA",
        "number": "L898902C3",
        "nationality": "UTO",
        "birth": "740812",
        "sex": "F",
        "expires": "320415",
        "personal": "",
    } | changes
    number, personal = facts["number"].ljust(9, "<"), facts["personal"].ljust(14, "<")
    digits = {name: check_digit(value) for name, value in (("n", number), ("p", personal))}
    first = number + digits["n"]
    birth = facts["birth"] + check_digit(facts["birth"])
    rest = facts["expires"] + check_digit(facts["expires"]) + personal + digits["p"]
    composite = check_digit(first + birth + rest)
    head = facts["code"] + facts["issuer"].ljust(3, "<") + facts["names"]
    return (
        head.ljust(44, "<")[:44]
        + "\n"
        + first
        + facts["nationality"].ljust(3, "<")
        + birth
        + facts["sex"]
        + rest
        + composite
    )


@pytest.mark.parametrize("shape", list(Format))
def test_the_specimens_of_the_standard_are_read(shape):
    zone = read_mrz(SPECIMENS[shape], year=YEAR)
    assert zone.format is shape
    assert (zone.surname, zone.given_names) == ("ERIKSSON", "ANNA MARIA")
    assert zone.consistent, zone.failed()
    assert zone.issuer.code == "UTO"
    assert (zone.sex, zone.truncated) == ("F", False)


def test_a_zone_in_one_line_is_read_as_well():
    assert read_mrz(TD3.replace("\n", ""), year=YEAR) == read_mrz(TD3, year=YEAR)
    assert read_mrz(TD1.replace("\n", ""), year=YEAR) == read_mrz(TD1, year=YEAR)


@pytest.mark.parametrize(
    ("place", "covers"),
    [(0, "document_number"), (14, "birth_date"), (22, "expires"), (28, "personal_number"), (43, "composite")],
)
def test_a_wrong_character_is_found_where_its_digit_covers_it(place, covers):
    first, second = TD3.split("\n")
    wrong = second[:place] + ("7" if second[place] != "7" else "8") + second[place + 1 :]
    zone = read_mrz(f"{first}\n{wrong}", year=YEAR)
    assert covers in zone.failed()
    assert not zone.consistent


def test_some_wrong_characters_pass_every_digit_so_a_zone_proves_nothing():
    first, second = passport().split("\n")
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    passed = tried = 0
    for place in range(9):
        for letter in letters:
            if letter != second[place]:
                tried += 1
                wrong = second[:place] + letter + second[place + 1 :]
                passed += read_mrz(f"{first}\n{wrong}", year=YEAR).consistent
    assert 0.05 < passed / tried < 0.15


def test_a_document_number_longer_than_its_field_goes_on_in_the_optional_data():
    # 9303-5 4.2.2, note j: D23145890 7349 with digit 6.
    digit = check_digit("D231458907349")
    upper = f"I<UTOD23145890<7349{digit}<".ljust(30, "<")
    lower = "7408122F1204159UTO<<<<<<<<<<<"
    composite = check_digit(upper[5:30] + lower[:7] + lower[8:15] + lower[18:29])
    zone = read_mrz(f"{upper}\n{lower}{composite}\n{'ERIKSSON<<ANNA<MARIA'.ljust(30, '<')}", year=YEAR)
    assert zone.document_number == "D231458907349"
    assert zone.consistent, zone.failed()


@pytest.mark.parametrize(
    ("names", "surname", "given_names", "truncated"),
    [
        ("ARKFREITHOO<<", "ARKFREITHOO", "", False),
        ("SMITH<JONES<<SUSIE<MARGARET", "SMITH JONES", "SUSIE MARGARET", False),
        (
            "NILAVADHANANANDA<<CHAYAPA<DEJTHAMRONG<KR"[:39],
            "NILAVADHANANANDA",
            "CHAYAPA DEJTHAMRONG K",
            True,
        ),
    ],
)
def test_names(names, surname, given_names, truncated):
    zone = read_mrz(passport(names=names), year=YEAR)
    assert (zone.surname, zone.given_names[: len(given_names)], zone.truncated) == (
        surname,
        given_names,
        truncated,
    )


@pytest.mark.parametrize(
    ("birth", "expected"),
    [
        ("740812", "1974-08-12"),
        ("260101", "2026-01-01"),
        ("270101", "1927-01-01"),
        ("000229", "2000-02-29"),
        ("74<<<<", "1974------"),
        ("740000", "1974------"),
        ("<<<<<<", "----------"),
    ],
)
def test_birth_dates_lie_in_the_past_and_may_be_incomplete(birth, expected):
    assert read_mrz(passport(birth=birth), year=YEAR).birth_date.text() == expected


def test_dates_of_expiry_lie_within_fifty_years():
    assert read_mrz(passport(expires="320415"), year=YEAR).expires == PartialDate(2032, 4, 15)
    assert read_mrz(passport(expires="990415"), year=YEAR).expires == PartialDate(1999, 4, 15)
    assert read_mrz(passport(expires="<<<<<<"), year=YEAR).expires is None


@pytest.mark.parametrize(
    ("code", "country", "citizen"),
    [
        ("D", "DE", True),
        ("D<<", "DE", True),
        ("FRA", "FR", True),
        ("GBN", "GB", False),
        ("RKS", "XK", True),
        ("UTO", None, False),
        ("XXA", None, False),
        ("XXB", None, False),
        ("XXC", None, False),
        ("EUE", None, False),
        ("QQQ", None, False),
    ],
)
def test_nationality_codes_outside_iso_3166(code, country, citizen):
    found = nationality_code(code)
    assert (found.country, found.citizen) == (country, citizen)
    assert found.known is (code != "QQQ")


def test_states_are_the_same_under_codes_of_either_length():
    assert same_state("D<<", "DE")
    assert same_state("FRA", "FR")
    assert same_state("UTO", "UTO")
    assert not same_state("FRA", "DE")
    assert not same_state("", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P<UTO",
        TD3.split("\n", maxsplit=1)[0],
        TD3.replace("ERIKSSON", "ERIKSSÖN"),
        TD3.lower(),
        TD3[:-1],
        TD3.replace("7408122F", "7413322F"),
        TD3.replace("7408122F", "74081A2F"),
        TD3.replace("2F1", "2Q1"),
        TD3.replace("ANNA<MARIA", "ANNA<<MARIA"),
        "\u202e" + TD3,
        "P<" * 10_000,
        "\n" * 400,
    ],
)
def test_what_is_no_zone_is_refused_with_a_remedy(text):
    with pytest.raises(InvalidInput) as caught:
        read_mrz(text, year=YEAR)
    assert caught.value.field == "mrz"
    assert caught.value.remedy


@given(st.text(alphabet="0123456789ABCXYZ<\n", max_size=100))
def test_nothing_but_a_refusal_comes_of_any_text(text):
    try:
        read_mrz(text, year=YEAR)
    except InvalidInput:
        return


def test_reading_is_the_inverse_of_writing():
    source = random.Random(9303)
    for _ in range(300):
        number = "".join(source.choice("0123456789ABCDEFGHIJ") for _ in range(source.randint(5, 9)))
        birth = f"{source.randint(0, 99):02d}{source.randint(1, 12):02d}{source.randint(1, 28):02d}"
        zone = read_mrz(passport(number=number, birth=birth, nationality="FRA"), year=YEAR)
        assert zone.consistent
        assert zone.document_number == number
        assert zone.birth_date.text()[2:].replace("-", "") == birth
        assert zone.birth_date.year <= YEAR
