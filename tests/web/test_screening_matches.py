"""Possible matches over the API: who sees and clears them, what is refused, and that nobody else is told. Everybody is made up."""

import pytest
from tests.support.api_nodes import ApiBench
from tests.support.screening_lists import ftm_lines, sha256

from safeconduct.kernel.vocabulary import Role, Screening
from safeconduct.record.events.registrations import ModelRegistered, ProviderRegistered, VariantRegistered

OCTETS = {"content-type": "application/octet-stream"}
LIST = "ftm.made_up"
FILLERS = [
    {"id": f"filler-{at}", "schema": "Person", "properties": {"name": [f"Quilla{at} Zorvath{at}"]}}
    for at in range(5)
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = ApiBench(tmp_path_factory.mktemp("matches"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(bench):
    with bench.client() as client:
        yield client


@pytest.fixture(scope="module")
def named(bench, client):
    """An organisation that a list in force names."""
    legal_name = bench.embedded.state.organisations["org-a"].registered.legal_name
    data = ftm_lines(*FILLERS, {"id": "firm-1", "schema": "Company", "properties": {"name": [legal_name]}})
    path = f"/api/screening/files/{sha256(data)}"
    assert bench.call(client, "PUT", path, Role.OPERATOR, body=data, headers=OCTETS).status_code == 200
    body = {
        "files": [{"name": "entities", "sha256": sha256(data)}],
        "published": "2026-06-10",
        "confirm": ["unmarked_end"],
        "reason": "a made-up list",
    }
    answer = bench.call(client, "POST", f"/api/screening/lists/{LIST}/import", Role.OPERATOR, body=body)
    assert answer.status_code == 200, answer.text
    assert client.app.state.node.lists.rescreener.run(LIST).stopped == 1
    return "org-a"


def test_a_named_organisation_is_shown_to_the_desk_with_both_sides_and_the_score(bench, client, named):
    items = bench.call(client, "GET", "/api/organisation-screenings", Role.ANALYST).json()["items"]
    assert (named, "match", 1) in {(one["organisation"], one["result"], one["hits"]) for one in items}
    found = bench.call(client, "GET", f"/api/organisation-screenings/{named}", Role.ANALYST).json()
    assert found["open_hits"][0]["hit"]["entry"] == "firm-1"
    assert found["open_hits"][0]["hit"]["explanation"]["words"]
    assert found["lists"][0]["name"] == LIST
    for role in (Role.OPERATOR, Role.ORGANISATION, Role.HOLDER, Role.GATEWAY, Role.AUDITOR):
        assert bench.call(client, "GET", f"/api/organisation-screenings/{named}", role).status_code == 403


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "version"),
        ({"version": 1, "rationale": ""}, 400, "rationale"),
        ({"version": 1, "rationale": "no match"}, 400, "rationale"),
        ({"version": 1, "rationale": "Another country altogether.", "band": "clear"}, 400, "band"),
        ({"version": 9, "rationale": "Another country altogether."}, 409, "version"),
        ({"version": 1, "rationale": "Another country altogether.", "entry": "firm-2"}, 404, "entry"),
        # In the block band, by an analyst.
        ({"version": 1, "rationale": "Another country altogether."}, 403, "reviewer"),
    ],
)
def test_what_clears_nothing(bench, client, named, body, status, field):
    path = f"/api/organisation-screenings/{named}/clear-match"
    answer = bench.call(client, "POST", path, Role.ANALYST, body=body)
    assert answer.status_code == status, answer.text
    assert field in answer.text
    assert bench.embedded.state.organisations[named].standing.screening is Screening.MATCH


def told(bench, client):
    """What a person of the organisation is told when they ask for a model."""
    answer = bench.call(client, "POST", "/api/decide", Role.HOLDER, body={"model": "m", "purpose": "general"})
    assert "LIST_" not in answer.text
    assert "firm-1" not in answer.text
    return set(answer.json()["codes"])


def test_a_stopped_person_is_told_access_restricted_and_no_more_and_is_back_when_it_is_cleared(
    bench, client, named
):
    bench.record.commit(
        [
            ProviderRegistered(provider="lab-a", organisation="org-b", jurisdiction="US"),
            ModelRegistered(model="mm", provider="lab-a"),
            VariantRegistered(variant="m", model="mm", level=2, compartments=()),
        ]
    )
    before = told(bench, client)
    path = f"/api/organisation-screenings/{named}/clear-match"
    body = {"version": 1, "rationale": "Another country and another register number."}
    answer = bench.call(client, "POST", path, Role.ADJUDICATOR, body=body)
    assert answer.status_code == 200, answer.text
    (pair,) = answer.json()["cleared"]
    assert pair["rationale"] == body["rationale"]
    assert len(pair["entry_sha256"]) == len(pair["party_sha256"]) == 64
    assert answer.json()["open_hits"] == []
    assert before - told(bench, client) == {"ACCESS_RESTRICTED"}
    assert told(bench, client) <= before
    assert bench.embedded.state.organisations[named].standing.screening is Screening.CLEAR


def test_matches_of_nobody_are_told_alike(bench, client):
    assert bench.call(client, "GET", "/api/kyc/matches", Role.ANALYST).json() == {"items": []}
    assert bench.call(client, "GET", "/api/kyc/cases/kyc_nobody/matches", Role.ANALYST).status_code == 404
    body = {"version": 1, "rationale": "Another country altogether."}
    path = "/api/kyc/cases/kyc_nobody/clear-match"
    assert bench.call(client, "POST", path, Role.ANALYST, body=body).status_code == 404
    assert bench.call(client, "GET", "/api/organisation-screenings/nobody", Role.ANALYST).status_code == 404
    for role in (Role.OPERATOR, Role.HOLDER, Role.ORGANISATION):
        assert bench.call(client, "POST", path, role, body=body).status_code == 403
