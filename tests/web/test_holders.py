"""What holders do at the API, and what they may not; dry runs and explanations; nobody reads of others."""

import pytest
from tests.support.api_nodes import ApiBench, Person

from safeconduct.kernel.vocabulary import Role, Screening
from safeconduct.passport.claims import Claims
from safeconduct.record.events.holders import SubjectScreened
from safeconduct.record.events.registrations import ModelRegistered, ProviderRegistered, VariantRegistered


@pytest.fixture
def bench(tmp_path):
    bench = ApiBench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def client(bench):
    with bench.client() as client:
        yield client


KEY = {"level_limit": "C1", "lifetime": 3600}


def test_a_presentation_makes_a_key_whose_text_is_shown_once(bench, client):
    answer = bench.call(client, "POST", "/api/gateway-keys", Role.HOLDER, body=KEY)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["text"].startswith("sc_")
    assert answer.headers["cache-control"] == "no-store"
    listed = bench.call(client, "GET", "/api/gateway-keys", Role.OPERATOR).text
    assert made["key"] in listed
    assert made["text"] not in listed
    assert "secret_sha256" not in listed
    ended = bench.call(client, "DELETE", f"/api/gateway-keys/{made['key']}", Role.HOLDER)
    assert ended.status_code == 200, ended.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"level_limit": "C3"}, "level_limit"),
        ({"level_limit": "C9"}, "level_limit"),
        ({"level_limit": "C2"}, "networks"),
        ({"lifetime": 31 * 86_400, "level_limit": "C1"}, "lifetime"),
        ({"level_limit": "C1", "purpose": "ransomware"}, "purpose"),
        ({"level_limit": "C1", "aal": 3}, "aal"),
    ],
)
def test_a_key_beyond_what_keys_are_good_for_is_refused(bench, client, body, field):
    answer = bench.call(client, "POST", "/api/gateway-keys", Role.HOLDER, body=body)
    assert answer.status_code == 400
    assert answer.json()["field"] == field


def test_a_presentation_serves_once(bench, client):
    headers = {"authorization": f"SD-JWT {bench.holder.present()}"}
    first = bench.call(client, "POST", "/api/gateway-keys", None, body=KEY, headers=headers)
    again = bench.call(client, "POST", "/api/gateway-keys", None, body=KEY, headers=headers)
    assert (first.status_code, again.status_code) == (201, 401)
    assert again.json()["code"] == "PASSPORT_INVALID"


def test_a_presentation_for_somebody_else_is_refused(bench, client):
    headers = {"authorization": f"SD-JWT {bench.holder.present(audience='http://elsewhere')}"}
    assert (
        bench.call(client, "POST", "/api/decide", None, body={"model": "m"}, headers=headers).status_code
        == 401
    )


def test_a_holder_ends_only_their_own(bench, client):
    other = Person(bench, "sub-other", Claims(ial=1))
    headers = {"authorization": f"SD-JWT {other.present()}"}
    made = bench.call(client, "POST", "/api/gateway-keys", None, body=KEY, headers=headers).json()
    foreign = bench.call(client, "DELETE", f"/api/gateway-keys/{made['key']}", Role.HOLDER)
    assert foreign.status_code == 403
    revoked = bench.call(
        client, "POST", f"/api/passports/{other.passport}/revoke", Role.HOLDER, body={"cause": "x"}
    )
    assert revoked.status_code == 403
    own = bench.call(
        client, "POST", f"/api/passports/{bench.holder.passport}/revoke", Role.HOLDER, body={"cause": "lost"}
    )
    assert own.status_code == 201


def test_a_holder_asks_for_themselves_only(bench, client):
    mine = bench.call(client, "POST", "/api/decide", Role.HOLDER, body={"model": "m"})
    assert mine.status_code == 200, mine.text
    assert (mine.json()["outcome"], mine.json()["codes"]) == ("deny", ["MODEL_UNKNOWN"])
    assert mine.json()["reasons"][0]["remedy"]
    other = bench.call(
        client, "POST", "/api/decide", Role.HOLDER, body={"model": "m", "subject": "sub-other"}
    )
    assert other.status_code == 400


def test_an_organisation_learns_nothing_of_other_peoples(bench, client):
    Person(bench, "sub-b", Claims(ial=1), organisation="org-b")
    own = bench.call(
        client, "POST", "/api/decide", Role.ORGANISATION, body={"model": "m", "subject": "sub-holder"}
    )
    assert own.status_code == 200
    answers = [
        bench.call(client, "POST", "/api/decide", Role.ORGANISATION, body={"model": "m", "subject": name})
        for name in ("sub-b", "sub-nobody")
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace("sub-b", "x") == answers[1].text.replace("sub-nobody", "x")
    listed = bench.call(client, "GET", "/api/organisations", Role.ORGANISATION).json()["items"]
    assert [one["organisation"] for one in listed] == ["org-a"]


def test_a_dry_run_is_recorded_and_explained(bench, client):
    asked = bench.call(
        client, "POST", "/api/decide", Role.OPERATOR, body={"model": "m", "subject": "sub-holder"}
    ).json()
    for role in (Role.OPERATOR, Role.AUDITOR, Role.ADJUDICATOR):
        found = bench.call(client, "GET", f"/api/decisions/{asked['decision']}", role)
        assert found.status_code == 200, found.text
        assert found.json()["outcome"] == "deny"
        assert any("MODEL_UNKNOWN" in line for line in found.json()["lines"])
    listed = bench.call(client, "GET", "/api/decisions?limit=5", Role.AUDITOR).json()["items"]
    assert listed[0]["id"] == asked["decision"]
    missing = bench.call(client, "GET", "/api/decisions/dec_nothing", Role.AUDITOR)
    assert missing.status_code == 404


def test_withheld_reasons_are_for_auditors_and_adjudicators(bench, client):

    bench.record.commit(
        [
            ProviderRegistered(provider="lab-a", organisation="org-b", jurisdiction="US"),
            ModelRegistered(model="mm", provider="lab-a"),
            VariantRegistered(variant="m", model="mm", level=2, compartments=()),
            SubjectScreened(
                subject="sub-holder", screening=Screening.MATCH, screened_at=bench.now, list_digests=()
            ),
        ]
    )
    asked = bench.call(client, "POST", "/api/decide", Role.HOLDER, body={"model": "m", "purpose": "general"})
    assert "ACCESS_RESTRICTED" in asked.json()["codes"]
    assert "LIST_MATCH" not in asked.text
    decision = asked.json()["decision"]
    told = bench.call(client, "GET", f"/api/decisions/{decision}", Role.OPERATOR).text
    found = bench.call(client, "GET", f"/api/decisions/{decision}", Role.AUDITOR).text
    assert "LIST_MATCH" not in told
    assert "LIST_MATCH" in found
    assert "LIST_MATCH" not in client.get("/").text
    assert "LIST_MATCH" not in bench.call(client, "GET", "/api/decisions", Role.AUDITOR).text


def test_no_one_reinstates_by_the_wrong_role(bench, client):
    path = f"/api/passports/{bench.holder.passport}"
    assert (
        bench.call(client, "POST", f"{path}/suspend", Role.OPERATOR, body={"cause": "x"}).status_code == 201
    )
    assert (
        bench.call(client, "POST", f"{path}/reinstate", Role.OPERATOR, body={"cause": "x"}).status_code == 403
    )
    assert (
        bench.call(client, "POST", f"{path}/reinstate", Role.ADJUDICATOR, body={"cause": "x"}).status_code
        == 201
    )


@pytest.mark.parametrize(
    ("role", "body"),
    [
        (Role.PROVIDER, {"by_provider": "lab-b", "to_organisation": "org-b"}),
        (Role.PROVIDER, {"by_organisation": "org-a", "to_subject": "sub-holder"}),
        (Role.ORGANISATION, {"by_organisation": "org-b", "to_subject": "sub-holder"}),
        (Role.ORGANISATION, {"by_provider": "lab-a", "to_organisation": "org-a"}),
    ],
)
def test_nobody_grants_for_another(bench, client, role, body):
    full = {"variants": ["m"], "purposes": ["general"], "duration": 3600, **body}
    answer = bench.call(client, "POST", "/api/grants", role, body=full)
    assert answer.status_code == 403, answer.text
    assert answer.json()["type"] == "urn:safeconduct:problem:forbidden"


def test_a_token_spent_on_a_change_is_good_for_nothing_more(bench, client):
    headers = {"authorization": f"Bearer {bench.token('operator')}"}
    body = {
        "project": "p1",
        "purposes": ["general"],
        "duration": 60,
        "requested_by": "somebody",
        "organisation": "org-a",
    }
    assert client.get("/api/models", headers=headers).status_code == 200
    assert bench.call(client, "POST", "/api/projects", None, body=body, headers=headers).status_code == 201
    assert (
        bench.call(
            client, "POST", "/api/projects", None, body={**body, "project": "p2"}, headers=headers
        ).status_code
        == 401
    )
    assert client.get("/api/models", headers=headers).status_code == 401
