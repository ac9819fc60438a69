"""A list changes: who is enrolled and named by it is stopped or reviewed, and nobody else. Every name, date and list is made up."""

import asyncio
import json
import logging
import time

import msgspec
import pytest
from tests.support.evidence import PERSON_ORGANISATION
from tests.support.instances import operator
from tests.support.screened_desks import FILLERS, LIST, ScreenedBench, listed

from safeconduct.app.assign_kyc_case import assign_kyc_case
from safeconduct.app.enrolled_index import EnrolledIndex, EnrolledParty
from safeconduct.app.erase_subject import erase_subject
from safeconduct.app.read_kyc_cases import list_open_matches, show_kyc_case
from safeconduct.app.screen_kyc_case import screen_kyc_case
from safeconduct.app.screen_name import LoadedList, NameLists, NameToScreen
from safeconduct.app.screen_organisation import (
    ClearOrganisationMatch,
    clear_organisation_match,
    screen_organisation_again,
    show_organisation_matches,
)
from safeconduct.identity.screening.entry import EntryKind, ListedName, ListEntry
from safeconduct.identity.screening.weights import shipped
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, LogUnavailable
from safeconduct.kernel.vocabulary import CaseState, ClearanceState, PassportStatus, Screening
from safeconduct.storage.screening_lists import ScreeningListFiles
from safeconduct.web.api.assembly import rescreener_of
from safeconduct.web.api.node import ListDesk
from safeconduct.web.serving import keep_screened

NAME = "Zebulon Quartermain"
ALIKE = "Zebulon Quartermaine Featherstone"
OTHER = "Ottoline Vandersloot"
REASON = "Born in another decade, and of another nationality."


@pytest.fixture
def bench(tmp_path):
    made = ScreenedBench(tmp_path)
    made.changed()
    yield made
    made.close()


def held(bench, person):
    """What of the person the open record shows beside screening."""
    known = bench.state.subjects[person.subject]
    return known.clearance.state, [bench.state.passports[name].status for name in known.passports]


def test_somebody_whom_a_new_entry_means_is_stopped_at_once_and_nobody_else(bench):
    anna, bruno = bench.enrolled(NAME), bench.enrolled(OTHER)
    anna.collect()
    done = bench.changed(listed("exact-1", NAME))
    assert (done.entries, done.people, done.reviews, done.stopped) == (1, 1, 1, 1)
    assert bench.recorded(anna.subject) is Screening.MATCH
    assert bench.recorded(bruno.subject) is Screening.CLEAR
    # Nothing but the finding, which is withheld, may tell: passport and clearance stay as they are.
    assert held(bench, anna) == (ClearanceState.GRANTED, [PassportStatus.VALID])


def test_a_hit_in_review_opens_a_review_and_stops_nobody_unless_the_operator_says_so(bench):
    anna = bench.enrolled(NAME)
    done = bench.changed(listed("alike-1", ALIKE))
    assert (done.reviews, done.stopped) == (1, 0)
    assert bench.recorded(anna.subject) is Screening.CLEAR
    (one,) = list_open_matches(bench.desk, bench.reviewer())
    assert (one["case"], one["list_change"], one["state"]) == (anna.case, True, CaseState.APPROVED)
    (bench.store.root / "lists.json").write_text(json.dumps({LIST: {"suspend_from": "review"}}))
    done = bench.changed(listed("alike-1", ALIKE, birthDate=["1950-01-01"]))
    assert done.stopped == 1
    assert bench.recorded(anna.subject) is Screening.POSSIBLE


def test_the_event_is_in_the_cases_history_and_not_in_what_its_holder_or_the_record_is_told(bench):
    anna = bench.enrolled(NAME)
    before = msgspec.to_builtins(show_kyc_case(bench.desk, anna.caller, anna.case), enc_hook=str)
    position = bench.state.position
    bench.changed(listed("exact-1", NAME))
    assert bench.file(anna.case).case.history[-1].by == "event"
    after = msgspec.to_builtins(show_kyc_case(bench.desk, anna.caller, anna.case), enc_hook=str)
    assert after == before
    # The version that came into force, and the pseudonym's screening: no state of a case, no passport.
    assert bench.state.position == position + 2


def test_a_reviewer_brings_back_whom_the_entry_does_not_mean(bench):
    anna = bench.enrolled(NAME)
    bench.changed(listed("exact-1", NAME))
    with pytest.raises(Forbidden):
        bench.clear_match(anna.case, REASON)
    assign_kyc_case(bench.desk, bench.reviewer("adjudicator-2"), anna.case)
    bench.clear_match(anna.case, REASON, party="adjudicator-2")
    assert bench.recorded(anna.subject) is Screening.CLEAR
    # The same entry in the next version changes nothing; a changed one brings it back.
    assert bench.changed(listed("exact-1", NAME), listed("new-1", "Drusilla Bezukladov")).stopped == 0
    assert bench.recorded(anna.subject) is Screening.CLEAR
    assert bench.changed(listed("exact-1", NAME, country=["fr"])).stopped == 1
    assert bench.recorded(anna.subject) is Screening.MATCH


def test_a_list_that_lets_go_of_somebody_brings_nobody_back_without_a_reviewer(bench):
    anna = bench.enrolled(NAME)
    bench.changed(listed("exact-1", NAME))
    bench.changed()
    assert bench.screening(anna).hits == ()
    assert bench.recorded(anna.subject) is Screening.MATCH
    screen_kyc_case(bench.desk, bench.reviewer(), anna.case, version=bench.version(anna.case))
    assert bench.recorded(anna.subject) is Screening.CLEAR


def test_screening_what_stands_against_an_old_list_takes_nothing_away(bench):
    anna = bench.enrolled(NAME)
    bench.later(40 * 86_400)
    with pytest.raises(Conflict, match="past its age"):
        screen_kyc_case(bench.desk, bench.reviewer(), anna.case, version=bench.version(anna.case))
    assert bench.recorded(anna.subject) is Screening.CLEAR


def test_an_unchanged_list_is_not_searched_again(bench):
    assert bench.rescreener.due() == []
    bench.put_in_force(listed("exact-1", NAME))
    assert bench.rescreener.due() == [LIST]
    assert bench.rescreener.run(LIST).entries == 1
    assert bench.rescreener.due() == []


def test_a_process_that_was_killed_begins_again(bench):
    anna = bench.enrolled(NAME)
    bench.put_in_force(listed("exact-1", NAME))
    again = rescreener_of(bench.desk, bench.store)
    assert again.due() == [LIST]
    assert again.run(LIST).stopped == 1
    assert bench.recorded(anna.subject) is Screening.MATCH
    # What was searched is kept: another process has nothing to do.
    assert rescreener_of(bench.desk, bench.store).due() == []


def test_versions_that_nobody_searched_are_not_skipped(bench):
    anna = bench.enrolled(NAME)
    bench.put_in_force(listed("exact-1", NAME))
    bench.put_in_force(listed("exact-1", NAME), listed("new-1", "Drusilla Bezukladov"))
    assert bench.rescreener.run(LIST).entries == 2
    assert bench.recorded(anna.subject) is Screening.MATCH


def test_without_the_version_before_everything_is_searched(bench, monkeypatch):
    anna = bench.enrolled(NAME)
    before = bench.state.screening_lists[LIST].sha256
    bench.put_in_force(listed("exact-1", NAME))
    entries = ScreeningListFiles.entries

    def lost(self, name, sha256):
        if sha256 == before:
            raise Conflict("lost")
        return entries(self, name, sha256)

    monkeypatch.setattr(ScreeningListFiles, "entries", lost)
    assert bench.rescreener.run(LIST).entries == len(FILLERS) + 1
    assert bench.recorded(anna.subject) is Screening.MATCH


def test_a_large_change_is_searched_person_by_person(bench, monkeypatch):
    monkeypatch.setattr("safeconduct.app.rescreen_enrolled.MANY", 0)
    anna, bruno = bench.enrolled(NAME), bench.enrolled(OTHER)
    done = bench.changed(listed("exact-1", NAME))
    assert (done.people, done.stopped) == (2, 1)
    assert bench.recorded(anna.subject) is Screening.MATCH
    assert bench.recorded(bruno.subject) is Screening.CLEAR


def test_one_who_cannot_be_brought_up_to_date_is_tried_again(bench, monkeypatch):
    anna = bench.enrolled(NAME)
    bench.put_in_force(listed("exact-1", NAME))

    def refused(*_args, **_more):
        raise Conflict("somebody writes all the time")

    with monkeypatch.context() as patched:
        patched.setattr("safeconduct.app.rescreen_enrolled.save", refused)
        assert bench.rescreener.run(LIST).failed == 1
    # Stopped all the same, before anything else; and the search is still due.
    assert bench.recorded(anna.subject) is Screening.MATCH
    assert bench.rescreener.due() == [LIST]
    assert bench.rescreener.run(LIST).failed == 0
    assert bench.screening(anna).hits


def test_when_the_record_cannot_write_the_search_says_so_and_stays_due(bench, monkeypatch):
    bench.enrolled(NAME)
    bench.put_in_force(listed("exact-1", NAME))

    def ended(*_args, **_more):
        raise LogUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("safeconduct.app.rescreen_enrolled.record_screening", ended)
        with pytest.raises(LogUnavailable):
            bench.rescreener.run(LIST)
    assert bench.rescreener.due() == [LIST]


def test_the_log_names_nobody(bench, caplog):
    caplog.set_level(logging.DEBUG)
    anna = bench.enrolled(NAME)
    bench.changed(listed("exact-1", NAME))
    written = caplog.text
    assert "1 stopped" in written
    for secret in (NAME, NAME.split()[1], NAME.lower(), anna.subject, anna.case, "exact-1"):
        assert secret not in written


def test_names_added_later_and_people_erased_are_noticed_by_the_index(bench):
    anna = bench.enrolled(NAME)
    bench.changed(listed("new-1", "Drusilla Bezukladov"))
    assert any(NAME in party.names for part in bench.rescreener.names.people() for party in part.parties)
    erase_subject(bench.desk, operator(), anna.subject)
    bench.rescreener.tidy()
    parts = bench.rescreener.names._parts.values()
    assert not any(NAME in party.names for part in parts for party in part.index.parties)
    bench.enrolled(OTHER)
    assert bench.changed(listed("exact-2", OTHER)).stopped == 1


def test_a_vote_on_what_was_found_before_falls(bench):
    anna = bench.reviewed(NAME)
    bench.changed(listed("exact-1", NAME))
    with pytest.raises(Conflict) as refused:
        bench.decide(anna.case)
    assert refused.value.field == "screening"


def test_an_organisation_that_a_new_entry_names_is_stopped_with_all_its_people(bench):
    anna = bench.enrolled(OTHER)
    legal_name = bench.state.organisations[PERSON_ORGANISATION].registered.legal_name
    done = bench.changed(listed("firm-1", legal_name, schema="Company"))
    assert (done.organisations, done.stopped) == (1, 1)
    standing = bench.state.organisations[PERSON_ORGANISATION].standing
    assert (standing.screening, standing.suspended) == (Screening.MATCH, False)
    assert bench.recorded(anna.subject) is Screening.CLEAR
    found = show_organisation_matches(bench.desk, bench.reviewer(), PERSON_ORGANISATION)
    assert len(found["open_hits"]) == 1
    ask = ClearOrganisationMatch(version=found["version"], rationale=REASON)
    with pytest.raises(Forbidden, match="tied"):
        clear_organisation_match(bench.desk, bench.reviewer("tied-analyst"), PERSON_ORGANISATION, ask)
    with pytest.raises(Forbidden, match="block"):
        clear_organisation_match(bench.desk, bench.reviewer(), PERSON_ORGANISATION, ask)
    with pytest.raises(InvalidInput):
        clear_organisation_match(
            bench.desk,
            bench.reviewer("adjudicator-2"),
            PERSON_ORGANISATION,
            msgspec.structs.replace(ask, rationale="no"),
        )
    clear_organisation_match(bench.desk, bench.reviewer("adjudicator-2"), PERSON_ORGANISATION, ask)
    assert bench.state.organisations[PERSON_ORGANISATION].standing.screening is Screening.CLEAR
    with pytest.raises(Conflict):
        clear_organisation_match(bench.desk, bench.reviewer("adjudicator-2"), PERSON_ORGANISATION, ask)


def test_an_organisation_is_screened_again_by_the_desk_and_never_clear_against_an_old_list(bench):
    legal_name = bench.state.organisations[PERSON_ORGANISATION].registered.legal_name
    bench.changed(listed("firm-1", legal_name, schema="Company"))
    bench.changed()
    assert bench.state.organisations[PERSON_ORGANISATION].standing.screening is Screening.MATCH
    with pytest.raises(Forbidden, match="tied"):
        screen_organisation_again(bench.desk, bench.reviewer("tied-analyst"), PERSON_ORGANISATION)
    bench.later(40 * 86_400)
    with pytest.raises(Conflict, match="past its age"):
        screen_organisation_again(bench.desk, bench.reviewer(), PERSON_ORGANISATION)
    assert bench.state.organisations[PERSON_ORGANISATION].standing.screening is Screening.MATCH
    bench.put_in_force(listed("new-1", "Drusilla Bezukladov"))
    assert screen_organisation_again(bench.desk, bench.reviewer(), PERSON_ORGANISATION)["open_hits"] == []
    assert bench.state.organisations[PERSON_ORGANISATION].standing.screening is Screening.CLEAR


def test_the_reverse_search_finds_whom_screening_each_of_them_finds():
    texts = [
        f"{first} {last}"
        for first in ("Zebulon", "Ottoline", "Ephraim", "Drusilla")
        for last in ("Quartermain", "Vandersloot", "Abernathy", "Bezukladov")
    ]
    texts += ["Друзилла Безукладова", "Quartermain, Zebulon", "Z. Quartermain", "Otoline Vandersloots", "EphraimAbernathy", "Maria Garcia", "李小龙"]  # fmt: skip
    entries = [
        ListEntry(f"made-up-{number}", EntryKind.PERSON, (ListedName(text),))
        for number, text in enumerate(
            ["Zebulon Quartermain", "Ottoline Vandersloot", "Ephraim Abernathy", "Drusilla Bezukladova"]
        )
    ]
    lists = NameLists([LoadedList("made.up", "ab" * 32, tuple(entries))])
    forward = {
        (text, hit.entry, hit.band) for text in texts for hit, _ in lists.hits(NameToScreen(text, "person"))
    }
    index = EnrolledIndex([EnrolledParty(text, (text,)) for text in texts], person=True)
    assert {(hit.party, hit.entry, hit.band) for hit in index.search(entries, shipped())} == forward
    assert len(forward) > 8


def test_an_index_of_nobody_finds_nobody():
    entry = ListEntry("made-up", EntryKind.PERSON, (ListedName(NAME),))
    assert EnrolledIndex([], person=True).search([entry], shipped()) == []
    assert EnrolledIndex([EnrolledParty("a", ("...",))], person=True).search([entry], shipped()) == []
    firm = ListEntry("made-up", EntryKind.ORGANISATION, (ListedName(NAME),))
    assert EnrolledIndex([EnrolledParty("a", (NAME,))], person=True).search([firm], shipped()) == []


def test_a_running_process_stops_them_within_a_second_of_the_list(bench):
    anna = bench.enrolled(NAME)
    desk = ListDesk(bench.store, rescreener=bench.rescreener)

    async def run():
        task = asyncio.get_running_loop().create_task(keep_screened(desk))
        await asyncio.to_thread(bench.put_in_force, listed("exact-1", NAME))
        start = time.monotonic()
        while bench.recorded(anna.subject) is not Screening.MATCH and time.monotonic() - start < 10:
            await asyncio.sleep(0.01)
        took = time.monotonic() - start
        await asyncio.sleep(0.3)
        task.cancel()
        return took

    assert asyncio.run(run()) < 2.0
    assert bench.recorded(anna.subject) is Screening.MATCH
    assert bench.rescreener.due() == []
    assert desk.under_way == {}
