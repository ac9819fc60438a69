"""How hits on lists are shown and cleared by command. Everybody is made up."""

import datetime as dt
import json

import pytest
from tests.support.instances import operator
from tests.support.running_api import running_api
from tests.support.screened_desks import LIST, ScreenedBench, listed
from tests.support.screening_lists import ftm_lines, sha256

from safeconduct.app.import_screening_list import GivenFile, ImportScreeningList, import_screening_list
from safeconduct.app.read_kyc_cases import show_kyc_matches
from safeconduct.cli.application import run
from safeconduct.cli.matches import show_matches
from safeconduct.identity.screening.sources.reading import Defect
from safeconduct.web.api.assembly import rescreener_of
from safeconduct.web.api.showing import show

REASON = "Born in another decade, and of another nationality."


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("matches")) as bench:
        yield bench


@pytest.fixture
def cli(bench, capsys):
    def call(*words, status=0):
        found = run([*map(str, words), "--data", str(bench.home)])
        out, err = capsys.readouterr()
        assert found == status, (words, found, out, err)
        return out if status == 0 else err

    return call


def test_hits_are_shown_with_both_sides_the_terms_and_who_cleared_what(tmp_path, capsys):
    bench = ScreenedBench(tmp_path)
    bench.put_in_force(
        listed("alike-1", "Zebulon Quartermaine Featherstone", birthDate=["1950-01-01"], nationality=["fr"])
    )
    person = bench.reviewed("Zebulon Quartermain")
    show_matches(show(show_kyc_matches(bench.desk, bench.reviewer(), person.case)))
    text = capsys.readouterr().out
    for part in (
        "possible: 1 open hits",
        "alike-1",
        "Zebulon Quartermain",
        "born 1950-01-01",
        "FR",
        "safeconduct-names-1",
    ):
        assert part in text
    bench.clear_match(person.case, REASON)
    show_matches(show(show_kyc_matches(bench.desk, bench.reviewer(), person.case)))
    text = capsys.readouterr().out
    assert "clear: 0 open hits" in text
    assert "another decade" in text.replace("\n", " ")
    bench.close()


def test_an_organisation_is_reviewed_by_command(cli, bench):
    assert "no hit is open" in cli("kyc", "matches")
    assert "no list has named any" in cli("organisation", "matches")
    assert "no list has named it" in cli("organisation", "matches", "org-a", status=1)
    legal_name = bench.embedded.state.organisations["org-a"].registered.legal_name
    data = ftm_lines(listed("firm-1", legal_name, schema="Company"), listed("made-up-2", "Quilla Zorvath"))
    store = bench.embedded.opened.lists
    with store.upload(sha256(data)) as upload:
        upload.write(data)
        upload.keep()
    ask = ImportScreeningList(
        files=(GivenFile("entities", sha256=sha256(data)),),
        published=dt.datetime.fromtimestamp(bench.embedded.now, tz=dt.UTC).date().isoformat(),
        confirm=tuple(Defect),
        reason="made up",
    )
    import_screening_list(bench.embedded.instance, operator(), store, LIST, ask)
    desk = bench.application.state.node.kyc
    assert rescreener_of(desk, store).run(LIST).stopped >= 1
    assert "org-a" in cli("organisation", "matches")
    assert "firm-1" in cli("organisation", "matches", "org-a")
    assert "rationale" in cli("organisation", "clear-match", "org-a", "--rationale", "no", status=1)
    said = cli("organisation", "clear-match", "org-a", "--rationale", REASON, status=1)
    assert "adjudicator" in said
    found = json.loads(
        cli("organisation", "clear-match", "org-a", "--rationale", REASON, "--as", "adjudicator", "--json")
    )
    assert (found["result"], found["open_hits"]) == ("clear", [])
    assert "clear: 0 open hits" in cli("organisation", "screen", "org-a")
