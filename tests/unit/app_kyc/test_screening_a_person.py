"""A case is screened against the lists in force as soon as there is one; the development provider only stands in for none."""

import hashlib

import pytest
from tests.support.instances import operator
from tests.support.screening_lists import un_people

from safeconduct.app.assess_case import screened_person
from safeconduct.app.import_screening_list import GivenFile, ImportScreeningList, import_screening_list
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.vocabulary import CaseState, Screening


def put_in_force(bench, data):
    lists = bench.embedded.opened.lists
    digest = hashlib.sha256(data).hexdigest()
    with lists.upload(digest) as upload:
        upload.write(data)
        upload.keep()
    ask = ImportScreeningList(files=(GivenFile("file", sha256=digest),))
    import_screening_list(bench.instance, operator(), lists, "un.sc", ask)


def test_without_a_list_a_development_profile_says_that_nothing_was_searched(bench):
    anna = bench.applicant()
    anna.complete()
    bench.screen(anna.case)
    assert bench.file(anna.case).person.screening_note == "development screening (searches no list)"


def test_with_a_list_in_force_lists_screen_and_whoever_is_on_none_is_clear(bench):
    put_in_force(bench, un_people(10, generated="2026-06-10T00:00:00Z"))
    anna = bench.applicant("Zebulon Specimen Quartermain")
    anna.complete()
    bench.screen(anna.case)
    person = bench.file(anna.case).person
    assert person.screening_note == "lists in force"
    assert person.screening.result().result is Screening.CLEAR
    assert [entry.name for entry in person.screening.lists] == ["un.sc"]
    bench.rate(anna.case)
    assert bench.decide(anna.case).case.state is CaseState.APPROVED
    recorded = bench.state.subjects[anna.subject].screening
    assert recorded.list_digests == tuple(entry.sha256 for entry in person.screening.lists)


def test_one_listed_name_among_several_is_not_clear_and_nothing_is_approved(bench):
    put_in_force(bench, un_people(10, generated="2026-06-10T00:00:00Z"))
    anna = bench.applicant("Zebulon Specimen Quartermain")
    anna.open()
    anna.state(other_names=("Quilla Zorvath3",))
    anna.look(anna.hand_in())
    anna.passkey()
    anna.attest()
    anna.submit()
    bench.screen(anna.case)
    assert bench.file(anna.case).person.screening.result().result is not Screening.CLEAR
    bench.rate(anna.case)
    with pytest.raises(Conflict) as refused:
        bench.decide(anna.case)
    assert refused.value.field == "screening"


def test_production_without_a_list_finds_nobody_clear(bench):
    anna = bench.applicant()
    anna.complete()
    bench.build(profile="production")
    result = bench.desk.screening().screen(_screened(bench, anna), now=bench.now)
    assert result.result().result is not Screening.CLEAR
    assert result.lists == ()


def _screened(bench, who):
    return screened_person(bench.file(who.case).person)
