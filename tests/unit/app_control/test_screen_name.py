"""Names against lists: hits with everything needed to run them again, the same in every process. Everybody is made up."""

import os
import subprocess
import sys
import time

import msgspec
import pytest

from safeconduct.app.name_index import NameIndex
from safeconduct.app.screen_name import IndexedNames, LoadedList, NameLists, NameToScreen
from safeconduct.identity.screening.entry import EntryKind, ListedName, ListEntry, NameKind
from safeconduct.identity.screening.name import analyse
from safeconduct.identity.screening.result import is_clear
from safeconduct.identity.screening.score import Band
from safeconduct.identity.screening.weights import SCORER, shipped
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Screening


def entry(number, *names, kind=EntryKind.PERSON, weak=()):
    listed = tuple(ListedName(name) for name in names) + tuple(
        ListedName(name, NameKind.WEAK) for name in weak
    )
    return ListEntry(f"made-up-{number}", kind, listed, programmes=("MADE-UP",))


FIRST = ["Zebulon", "Ottoline", "Ephraim", "Drusilla", "Barnabas", "Philomena", "Ignatius", "Cordelia"]
LAST = ["Quartermain", "Vandersloot", "Abernathy", "Featherstone", "Okonkwo", "Hallstrom", "Bezukladov"]
MANY = tuple(
    entry(f"{a}-{b}", f"{first} {last}") for a, first in enumerate(FIRST) for b, last in enumerate(LAST)
)
FIRM = entry("firm", "Northern Turnip Trading LLC", kind=EntryKind.ORGANISATION)
SHIP = entry("ship", "Unknown Turnip", kind=EntryKind.UNKNOWN)


def lists(**more):
    return NameLists([LoadedList("made.up", "ab" * 32, (*MANY, FIRM, SHIP), **more)])


def test_a_listed_name_is_found_with_list_version_entry_and_weights():
    found = lists().screen(NameToScreen("Quartermain, Zebulon"), at=1_700_000_000, explained=True)
    best = found.hits[0]
    assert (best.list, best.list_sha256, best.entry) == ("made.up", "ab" * 32, "made-up-0-0")
    assert (found.band, best.band) == (Band.BLOCK, Band.BLOCK)
    assert (found.scorer, found.weights, found.at) == (SCORER, shipped().digest(), 1_700_000_000)
    assert best.explanation is not None
    result = found.result()
    assert result.result is Screening.MATCH
    assert result.digests() == ("ab" * 32,)


def test_whoever_is_on_no_list_is_clear_against_these_lists():
    found = lists().screen(NameToScreen("Maria Garcia"), at=0)
    assert (found.band, found.hits, found.reasons) == (Band.CLEAR, (), ())
    assert is_clear(found.result())


def test_a_list_past_its_age_gives_review_and_never_clear():
    found = lists(unusable="past its age of 7 days").screen(NameToScreen("Maria Garcia"), at=0)
    assert (found.band, found.hits) == (Band.REVIEW, ())
    assert found.reasons == ("made.up: past its age of 7 days",)
    assert found.result().result is Screening.POSSIBLE


def test_without_any_list_nobody_is_clear():
    found = NameLists([]).screen(NameToScreen("Maria Garcia"), at=0)
    assert (found.band, found.reasons) == (Band.REVIEW, ("no list is in force",))
    assert not is_clear(found.result())


def test_a_person_is_not_compared_with_firms_nor_a_firm_with_persons():
    assert lists().screen(NameToScreen("Northern Turnip Trading", kind="person"), at=0).hits == ()
    assert lists().screen(NameToScreen("Northern Turnip Trading", kind="organisation"), at=0).hits
    assert lists().screen(NameToScreen("Zebulon Quartermain", kind="organisation"), at=0).hits == ()
    for kind in ("person", "organisation", ""):
        assert lists().screen(NameToScreen("Unknown Turnip", kind=kind), at=0).hits[0].entry == "made-up-ship"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (NameToScreen("..."), "name"),
        (NameToScreen("x" * 1_001), "name"),
        (NameToScreen("Made Up", kind="robot"), "kind"),
        (NameToScreen("Made Up", born="04.05.1960"), "born"),
        (NameToScreen("Made Up", born="1960-13"), "born"),
        (NameToScreen("Made Up", countries=("France",)), "countries"),
        (NameToScreen("Made Up", identifiers=("1" * 201,)), "identifiers"),
    ],
)
def test_bad_input_names_its_field(asked, field):
    with pytest.raises(InvalidInput) as refused:
        lists().screen(asked, at=0)
    assert refused.value.field == field


def test_every_listed_name_finds_itself_and_each_entry_once():
    index = NameIndex([MANY], person=True)
    for one in MANY:
        found = index.search(analyse(one.names[0].text, person=True), shipped(), 0.0)
        assert found[0].row.entry.id == one.id
        assert len({each.row.entry.id for each in found}) == len(found)


def test_a_canary_must_be_there_by_name_and_be_found_by_the_index():
    search = IndexedNames()
    names = ["Zebulon Quartermain", "Quartermain Ottoline", "Zebulon Quartermane", "..."]
    assert search.missing(names, MANY) == ["Zebulon Quartermane", "..."]
    assert search.missing([], MANY) == []


@pytest.mark.parametrize(
    "name",
    [
        "a " * 500,
        "A. " * 333,
        "Zebulon " * 125,
        "q" * 1_000,
        "\ufffd".join("Zebulon"),
        "习" * 1_000,
        "عبدال" * 200,
        "-".join("ab" * 200),
    ],
)
def test_a_hostile_name_costs_no_more_than_a_moment(name):
    made = lists()
    began = time.thread_time()
    made.screen(NameToScreen(name), at=0, explained=True)
    assert time.thread_time() - began < 1.0


QUESTIONS = [
    "Zebulon Quartermane",
    "Ottoline Vander Sloot",
    "Э. Абернати",
    "Филомена Безукладова",
    "I. Hallstrom",
]
SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:3]
import msgspec
from tests.unit.app_control.test_screen_name import QUESTIONS, NameToScreen, lists
made = lists()
for name in QUESTIONS:
    sys.stdout.buffer.write(msgspec.json.encode(made.screen(NameToScreen(name), at=7, explained=True)) + b"\\n")
"""


def test_the_same_question_gives_the_same_answer_in_another_process_and_hash_order():
    here = [
        msgspec.json.encode(lists().screen(NameToScreen(name), at=7, explained=True)) for name in QUESTIONS
    ]
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
    for seed in ("1", "4242"):
        answer = subprocess.run(
            [sys.executable, "-c", SCRIPT, os.path.join(root, "src"), root],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert answer.stdout.splitlines() == here
    assert any(b'"hits":[{' in one for one in here)
