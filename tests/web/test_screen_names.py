"""Screening names over the API: who may, what is refused, and that nothing is kept or told on. Every name is made up."""

import pytest
from tests.support.api_nodes import ApiBench
from tests.support.screening_lists import sha256, un_people

from safeconduct.kernel.vocabulary import Role

OCTETS = {"content-type": "application/octet-stream"}
NAMES = "/api/screening/names"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = ApiBench(tmp_path_factory.mktemp("names"))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def client(bench):
    with bench.client() as client:
        yield client


def load(bench, client, data):
    path = f"/api/screening/files/{sha256(data)}"
    assert bench.call(client, "PUT", path, Role.OPERATOR, body=data, headers=OCTETS).status_code == 200
    body = {"files": [{"name": "file", "sha256": sha256(data)}]}
    answer = bench.call(client, "POST", "/api/screening/lists/un.sc/import", Role.OPERATOR, body=body)
    assert answer.status_code == 200, answer.text


def ask(bench, client, *names, role=Role.OPERATOR, **more):
    body = {"names": [one if isinstance(one, dict) else {"name": one} for one in names], **more}
    return bench.call(client, "POST", NAMES, role, body=body)


def test_names_are_screened_against_what_is_in_force_at_that_moment(bench, client):
    (before,) = ask(bench, client, "Whoever Madeup").json()["items"]
    assert (before["band"], before["reasons"]) == ("review", ["no list is in force"])
    first = un_people(10)
    load(bench, client, first)
    listed = _names(bench)[3]
    answer = ask(bench, client, listed, "Zebulon Quartermain", explain=True)
    assert answer.status_code == 200, answer.text
    found, other = answer.json()["items"]
    assert found["hits"][0]["name"] == listed
    assert found["hits"][0]["list_sha256"] == sha256(first)
    assert found["hits"][0]["explanation"]["words"]
    assert other["hits"] == []
    load(bench, client, un_people(12, generated="2026-03-01T00:00:00Z"))
    (after,) = ask(bench, client, listed, role=Role.ADJUDICATOR).json()["items"]
    assert after["lists"][0]["sha256"] != sha256(first)


def test_a_list_past_its_age_clears_nobody(bench, client):
    (status,) = [
        one
        for one in bench.call(client, "GET", "/api/screening/lists", Role.AUDITOR).json()["items"]
        if one["list"] == "un.sc"
    ]
    (found,) = ask(bench, client, "Zebulon Quartermain").json()["items"]
    assert found["hits"] == []
    assert found["band"] == ("clear" if status["usable"] else "review")
    assert bool(found["reasons"]) is not status["usable"]


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.PROVIDER, Role.ORGANISATION, Role.AUTHORITY])
def test_nobody_but_operators_and_adjudicators_may_look_names_up(bench, client, role):
    answer = ask(bench, client, "Zebulon Quartermain", role=role)
    assert answer.status_code == 403
    assert "Quartermain" not in answer.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"names": []}, "names"),
        ({"names": [{"name": "A"}] * 501}, "names"),
        ({"names": [{"name": "Made Up"}, {"name": "..."}]}, "names[1].name"),
        ({"names": [{"name": "Made Up", "born": "yesterday"}]}, "names[0].born"),
        ({"names": [{"name": "Made Up", "nationality": "FR"}]}, ""),
        ({"names": [{"name": ["Made Up"]}]}, ""),
    ],
)
def test_bad_input_is_refused_with_its_field(bench, client, body, field):
    answer = bench.call(client, "POST", NAMES, Role.OPERATOR, body=body)
    assert answer.status_code in {400, 422}, answer.text
    assert field in answer.text


def test_names_asked_about_are_not_in_the_record(bench, client):
    before = bench.record.state
    assert ask(bench, client, "Zebulon Quartermain").status_code == 200
    # States are immutable: any event would have made another.
    assert bench.record.state is before


def _names(bench):
    status = bench.record.state.screening_lists["un.sc"]
    return [entry.names[0].text for entry in bench.node.lists.store.entries("un.sc", status.sha256)]
