"""Cases screened against lists, and how a possible match is cleared. Every name, date and list is made up."""

import msgspec
import pytest
from tests.support.screened_desks import LIST, ScreenedBench, listed

from safeconduct.app.assess_case import screened_person
from safeconduct.app.assign_kyc_case import assign_kyc_case, recuse_from_kyc_case
from safeconduct.app.read_kyc_cases import list_open_matches, show_kyc_case, show_kyc_matches
from safeconduct.app.request_kyc_information import request_kyc_information
from safeconduct.app.screen_kyc_case import screen_kyc_case
from safeconduct.app.screen_name import NameScreener
from safeconduct.app.screen_party import again, screen_party
from safeconduct.identity.screening.party import open_hits, standing_band
from safeconduct.identity.screening.score import Band
from safeconduct.identity.screening.weights import SCORER, shipped
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, UnsafeConfiguration
from safeconduct.kernel.vocabulary import CaseState, Screening

NAME = "Zebulon Quartermain"
ALIKE = "Zebulon Quartermaine Featherstone"
REASON = "Born in another decade, and of another nationality."
DAY = 86_400


@pytest.fixture
def bench(tmp_path):
    made = ScreenedBench(tmp_path)
    yield made
    made.close()


def alike(bench):
    """A case with one hit in review."""
    bench.put_in_force(listed("alike-1", ALIKE))
    person = bench.reviewed(NAME)
    (hit,) = bench.screening(person).hits
    assert hit.hit.band is Band.REVIEW
    return person


def test_a_case_is_screened_against_the_lists_in_force_under_every_name(bench):
    imported = bench.put_in_force(listed("exact-1", NAME))
    anna = bench.applicant("Ottoline Vandersloot")
    anna.open()
    anna.state(other_names=(NAME,))
    anna.look(anna.hand_in())
    anna.passkey()
    anna.attest()
    anna.submit()
    bench.screen(anna.case)
    found = bench.screening(anna)
    (hit,) = found.hits
    assert (hit.hit.entry, hit.hit.band, hit.asked) == ("exact-1", Band.BLOCK, NAME)
    assert [(one.name, one.sha256) for one in found.lists] == [(LIST, imported.version.sha256)]
    assert (found.scorer, found.weights) == (SCORER, shipped().digest())
    assert hit.hit.explanation is not None
    bench.rate(anna.case)
    with pytest.raises(Conflict) as refused:
        bench.decide(anna.case)
    assert refused.value.field == "screening"


def test_who_is_on_no_list_is_approved_with_the_lists_digests_in_the_record(bench):
    imported = bench.put_in_force()
    anna = bench.enrolled("Ottoline Vandersloot")
    recorded = bench.state.subjects[anna.subject].screening
    assert (recorded.screening, recorded.list_digests) == (Screening.CLEAR, (imported.version.sha256,))


def test_the_development_provider_gives_way_once_a_list_is_in_force(bench):
    assert bench.desk.screening().development
    bench.put_in_force()
    assert not bench.desk.screening().development


def test_production_without_any_list_clears_nobody(bench):
    bench.build(profile="production")
    found = bench.desk.screening().screen(screened_person(_person(bench)), now=bench.now)
    assert found.reasons == ("no list is in force",)
    assert found.result().result is Screening.POSSIBLE
    with pytest.raises(UnsafeConfiguration):
        msgspec.structs.replace(bench.desk, lists=None).screening()


def _person(bench):
    anna = bench.applicant("Ottoline Vandersloot")
    anna.open()
    anna.state()
    return bench.file(anna.case).person


def test_a_list_past_its_age_gives_review_that_nobody_can_clear(bench):
    bench.put_in_force()
    bench.later(40 * DAY)
    anna = bench.reviewed("Ottoline Vandersloot")
    found = bench.screening(anna)
    assert (found.band, found.hits) == (Band.REVIEW, ())
    with pytest.raises(Conflict, match="past its age"):
        bench.clear_match(anna.case, REASON)
    with pytest.raises(Conflict):
        bench.decide(anna.case)
    bench.put_in_force(listed("new-1", "Drusilla Bezukladov"))
    screen_kyc_case(bench.desk, bench.reviewer(), anna.case, version=bench.version(anna.case))
    assert bench.decide(anna.case).case.state is CaseState.APPROVED


def test_screening_again_gives_the_same_result_in_another_process(bench):
    person = alike(bench)
    first = bench.screening(person)
    fresh, unusable = NameScreener(bench.instance, bench.store).in_force()
    party = screened_person(bench.file(person.case).person)
    assert screen_party(fresh, party, kind="person", at=first.at, unusable=unusable) == first
    assert again(first, fresh, party, kind="person") == first
    shuffled = msgspec.structs.replace(party, names=tuple(reversed(party.names)))
    assert shuffled.digest() == party.digest()


def test_kyc_analyst_clears_a_possible_match_only_with_a_rationale(bench):
    person = alike(bench)
    for rationale in (
        "",
        "   ",
        "ok",
        "no match",
        NAME,
        f"{NAME} {ALIKE} alike-1",
        "\u202ehidden text in it",
        "x" * 3_000,
    ):
        with pytest.raises(InvalidInput) as refused:
            bench.clear_match(person.case, rationale)
        assert refused.value.field.startswith("rationale")
    with pytest.raises(Conflict):
        bench.decide(person.case)
    bench.clear_match(person.case, REASON)
    (pair,) = bench.file(person.case).person.cleared
    (hit,) = bench.screening(person).hits
    assert (pair.list, pair.entry, pair.rationale, pair.at) == (LIST, "alike-1", REASON, bench.now)
    assert pair.by == bench.reviewer().id
    assert (pair.entry_sha256, pair.party_sha256) == (hit.entry_sha256, bench.screening(person).party_sha256)
    assert bench.decide(person.case).case.state is CaseState.APPROVED
    assert bench.recorded(person.subject) is Screening.CLEAR


def test_each_hit_is_cleared_for_itself(bench):
    bench.put_in_force(listed("alike-1", ALIKE), listed("alike-2", "Zebulon Quartermaine Abernathy"))
    person = bench.reviewed(NAME)
    assert len(bench.screening(person).hits) == 2
    with pytest.raises(InvalidInput, match="2 hits"):
        bench.clear_match(person.case, REASON)
    bench.clear_match(person.case, REASON, list=LIST, entry="alike-2")
    with pytest.raises(NotFound):
        bench.clear_match(person.case, REASON, list=LIST, entry="alike-2")
    with pytest.raises(Conflict):
        bench.decide(person.case)
    bench.clear_match(person.case, REASON, list=LIST, entry="alike-1")
    bench.decide(person.case)


def test_a_hit_in_the_block_band_is_cleared_by_an_adjudicator(bench):
    bench.put_in_force(listed("exact-1", NAME))
    person = bench.reviewed(NAME)
    with pytest.raises(Forbidden):
        bench.clear_match(person.case, REASON)
    assign_kyc_case(bench.desk, bench.reviewer("adjudicator-2"), person.case)
    bench.clear_match(person.case, REASON, party="adjudicator-2")
    assert bench.decide(person.case).case.state is CaseState.APPROVED


def test_who_is_kept_out_clears_nothing(bench):
    person = alike(bench)
    with pytest.raises(Forbidden, match="organisation"):
        bench.clear_match(person.case, REASON, party="tied-analyst")
    with pytest.raises(Forbidden, match="assigned"):
        bench.clear_match(person.case, REASON, party="analyst-2")
    with pytest.raises(Forbidden):
        show_kyc_matches(bench.desk, bench.reviewer("analyst-2"), person.case)
    assign_kyc_case(bench.desk, bench.reviewer("analyst-2"), person.case)
    recuse_from_kyc_case(bench.desk, bench.reviewer("analyst-2"), person.case)
    with pytest.raises(Forbidden, match="recused"):
        bench.clear_match(person.case, REASON, party="analyst-2")
    with pytest.raises(Forbidden):
        show_kyc_matches(bench.desk, person.caller, person.case)
    assert bench.file(person.case).person.cleared == ()


def test_a_reviewer_clears_what_they_saw_and_no_later_version(bench):
    person = alike(bench)
    seen = bench.version(person.case)
    screen_kyc_case(bench.desk, bench.reviewer(), person.case, version=seen)
    with pytest.raises(Conflict, match="version"):
        bench.clear_match(person.case, REASON, version=seen)


def test_a_cleared_pair_stays_cleared_while_neither_side_changes(bench):
    person = alike(bench)
    bench.clear_match(person.case, REASON)
    bench.put_in_force(listed("alike-1", ALIKE), listed("other-1", "Drusilla Bezukladov"))
    screen_kyc_case(bench.desk, bench.reviewer(), person.case, version=bench.version(person.case))
    file = bench.file(person.case)
    assert file.person.screening.hits
    assert standing_band(file.person.screening, file.person.cleared) is Band.CLEAR


def test_a_cleared_pair_comes_back_when_the_entry_changes(bench):
    person = alike(bench)
    bench.clear_match(person.case, REASON)
    bench.put_in_force(listed("alike-1", ALIKE, birthDate=["1990-02-28"]))
    screen_kyc_case(bench.desk, bench.reviewer(), person.case, version=bench.version(person.case))
    file = bench.file(person.case)
    assert [one.hit.entry for one in open_hits(file.person.screening, file.person.cleared)] == ["alike-1"]
    with pytest.raises(Conflict):
        bench.decide(person.case)


def test_a_cleared_pair_comes_back_when_the_persons_data_change(bench):
    person = alike(bench)
    bench.clear_match(person.case, REASON)
    request_kyc_information(
        bench.desk, bench.reviewer(), person.case, ["Every name."], version=bench.version(person.case)
    )
    person.state(other_names=("Zeb Quartermaine",))
    person.submit()
    screen_kyc_case(bench.desk, bench.reviewer(), person.case, version=bench.version(person.case))
    file = bench.file(person.case)
    assert file.person.cleared
    assert "alike-1" in {one.hit.entry for one in open_hits(file.person.screening, file.person.cleared)}
    bench.rate(person.case)
    with pytest.raises(Conflict):
        bench.decide(person.case)


def test_votes_fall_when_the_case_is_screened_again(bench):
    person = alike(bench)
    bench.clear_match(person.case, REASON)
    case = bench.file(person.case).case
    again_ = screen_kyc_case(bench.desk, bench.reviewer(), person.case, version=case.version)
    assert (again_.case.state, again_.case.votes) == (CaseState.REVIEW, ())


def test_the_applicant_sees_nothing_of_hits(bench):
    person = alike(bench)
    shown = str(msgspec.to_builtins(show_kyc_case(bench.desk, person.caller, person.case), enc_hook=str))
    for secret in ("alike-1", ALIKE, LIST, "open_hits", "screening'"):
        assert secret not in shown


def test_open_matches_are_listed_by_pseudonym(bench):
    person = alike(bench)
    (one,) = list_open_matches(bench.desk, bench.reviewer())
    assert (one["case"], one["hits"], one["band"]) == (person.case, 1, Band.REVIEW)
    assert NAME not in str(one)
    assert ALIKE not in str(one)
    bench.clear_match(person.case, REASON)
    assert list_open_matches(bench.desk, bench.reviewer()) == []
