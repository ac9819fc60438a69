"""The score explains itself, facts beside the name never cross a band, and weights are data with a digest."""

import msgspec
import pytest

from safeconduct.identity.screening.entry import (
    EntryKind,
    ListedDate,
    ListedIdentifier,
    ListedName,
    ListEntry,
    NameKind,
)
from safeconduct.identity.screening.name import analyse
from safeconduct.identity.screening.score import Band, Facts, as_score, band_of, explain, log_odds, shifted
from safeconduct.identity.screening.weights import read_weights, shipped
from safeconduct.kernel.errors import InvalidInput

ENTRY = ListEntry(
    "made-up-1",
    EntryKind.PERSON,
    (ListedName("Zebulon Quartermain"),),
    birth_dates=(ListedDate("1960-05-04", "1960-05-04"),),
    countries=("KP",),
    identifiers=(ListedIdentifier("passport", "AB-123 456"),),
)


def test_the_terms_of_an_explanation_add_up_to_the_score():
    (query,), (entry,) = (
        analyse("Z. Kvartermain", person=True),
        analyse("Zebulon Amadeus Quartermain", person=True),
    )
    told = explain(query, entry, NameKind.WEAK, shipped())
    z = told.bias - sum(term.effect for term in told.terms)
    assert z == pytest.approx(log_odds(query, entry, NameKind.WEAK, shipped()), abs=0.01)
    assert told.score == as_score(log_odds(query, entry, NameKind.WEAK, shipped()))
    assert {word.reading for word in told.words} >= {"initial"}
    assert any(term.feature == "weak_alias" for term in told.terms)


@pytest.mark.parametrize("name", ["Zebulon Quartermain", "Zebulon Quartemane", "Z. Quartermain"])
@pytest.mark.parametrize(
    "facts",
    [
        Facts(born="1999"),
        Facts(born="1960-05-04", countries=("KP",), identifiers=("ab123456",)),
        Facts(born="1999-01-01", countries=("FR",)),
        Facts(countries=("FR", "DE")),
    ],
)
def test_facts_move_a_score_but_never_across_its_band(name, facts):
    (query,), (entry,) = analyse(name, person=True), analyse("Zebulon Quartermain", person=True)
    plain = as_score(log_odds(query, entry, NameKind.PRIMARY, shipped()))
    moved, shifts = shifted(plain, query, facts, ENTRY, shipped())
    bands = shipped().bands
    assert band_of(moved, query, bands) is band_of(plain, query, bands) is not Band.CLEAR
    assert shifts


def test_a_birth_date_off_by_a_year_still_speaks_for_a_match_and_none_vetoes():
    (query,) = analyse("Z. Kvartermein", person=True)
    (entry,) = analyse("Zebulon Quartermain", person=True)
    plain = as_score(log_odds(query, entry, NameKind.PRIMARY, shipped()))
    near, _ = shifted(plain, query, Facts(born="1961-05-04"), ENTRY, shipped())
    wrong, _ = shifted(plain, query, Facts(born="1999"), ENTRY, shipped())
    assert wrong < plain < near
    assert band_of(wrong, query, shipped().bands) is not Band.CLEAR


def test_a_fact_never_raises_a_clear_name():
    (query,) = analyse("Maria Garcia", person=True)
    assert shifted(0.01, query, Facts(identifiers=("AB123456",)), ENTRY, shipped()) == (0.01, ())


def test_weights_have_a_digest_that_any_change_changes():
    weights = shipped()
    other = msgspec.structs.replace(weights, bands=msgspec.structs.replace(weights.bands, review=0.51))
    assert weights.digest() != other.digest()
    assert weights.digest() == read_weights(msgspec.json.encode(weights)).digest()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda raw: raw["person"]["weights"].pop("spelling"), "weights.person"),
        (lambda raw: raw["person"]["weights"].update(magic=1.0), "weights.person"),
        (lambda raw: raw["organisation"]["weights"].update(spelling=-1.0), "weights.organisation"),
        (lambda raw: raw["bands"].update(review=0.999), "weights.bands"),
        (lambda raw: raw.update(compared=99), "weights.candidates"),
        (lambda raw: raw.update(surprise=1), "weights"),
    ],
)
def test_weights_that_make_no_sense_are_refused(change, field):
    raw = msgspec.json.decode(msgspec.json.encode(shipped()))
    change(raw)
    with pytest.raises(InvalidInput) as refused:
        read_weights(msgspec.json.encode(raw))
    assert refused.value.field == field


def test_names_in_another_script_are_reviewed_from_a_lower_score_on():
    bands = shipped().bands
    assert bands.review_non_latin < bands.review
    (latin,), (cyrillic,) = analyse("Ivan", person=True), analyse("Иван", person=True)
    assert band_of(bands.review_non_latin, latin, bands) is Band.CLEAR
    assert band_of(bands.review_non_latin, cyrillic, bands) is Band.REVIEW
