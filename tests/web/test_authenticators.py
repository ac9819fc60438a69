"""Passkeys over the API: a holder's own, never another's, never stronger than the session, and no personal data."""

from __future__ import annotations

import pytest
from tests.support.api_nodes import ApiBench, Person
from tests.support.passkeys import SecurityKey

from safeconduct.kernel.vocabulary import PassportStatus, Role
from safeconduct.passport.claims import Claims

MINE = "/api/subjects/sub-holder"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = ApiBench(tmp_path_factory.mktemp("authenticators"))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def client(bench):
    with bench.client() as client:
        yield client


def test_a_holder_adds_a_passkey_signs_in_with_it_and_reports_it_lost(bench, client):
    def call(path, body=None, method="POST"):
        answer = bench.call(client, method, MINE + path, Role.HOLDER, body=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    key = SecurityKey()
    added = call("/authenticators", {"credential": key.create(call("/authenticators/options"))})
    assert (added["aal"], added["hardware_bound"]) == (2, False)
    done = call("/authentications", {"credential": key.get(call("/authentications/options"))})
    assert done["aal"] == 2
    assert [each["credential"] for each in call("/authenticators", method="GET")["authenticators"]] == [
        key.id
    ]
    listed = bench.call(client, "GET", MINE + "/authenticators", Role.OPERATOR)
    assert listed.json()["authenticators"][0]["used"] == bench.now
    assert call("/authenticators/lost", {"credential": key.id})["ended"] == bench.now
    answer = bench.call(client, "POST", MINE + "/authentications/options", Role.HOLDER)
    assert answer.status_code == 404
    # The lost one held no passport.
    passports = bench.record.state.subjects["sub-holder"].passports
    assert {bench.record.state.passports[name].status for name in passports} == {PassportStatus.VALID}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/authenticators", None),
        ("POST", "/authenticators/options", None),
        ("POST", "/authenticators", {"credential": {}}),
        ("POST", "/authentications/options", None),
        ("POST", "/authentications", {"credential": {}}),
        ("POST", "/authenticators/lost", {"credential": "x"}),
    ],
)
def test_a_holder_reaches_nobody_elses_authenticators(bench, client, method, path, body):
    answer = bench.call(client, method, "/api/subjects/sub-other" + path, Role.HOLDER, body=body)
    assert answer.status_code == 403
    assert answer.json()["field"] == "subject"


def test_the_weakest_passport_bounds_what_its_holder_may_add(bench, client):
    weak = Person(bench, "sub-weak", Claims(ial=1), aal=1)
    headers = {"authorization": f"SD-JWT {weak.present()}"}
    options = bench.call(client, "POST", "/api/subjects/sub-weak/authenticators/options", headers=headers)
    headers = {"authorization": f"SD-JWT {weak.present()}"}
    answer = bench.call(
        client,
        "POST",
        "/api/subjects/sub-weak/authenticators",
        headers=headers,
        body={"credential": SecurityKey().create(options.json())},
    )
    assert answer.status_code == 403
    assert "AAL2" in answer.json()["detail"]


def test_a_refusal_names_the_step(bench, client):
    options = bench.call(client, "POST", MINE + "/authenticators/options", Role.HOLDER).json()
    key = SecurityKey(origin="http://evil.example")
    answer = bench.call(
        client, "POST", MINE + "/authenticators", Role.HOLDER, body={"credential": key.create(options)}
    )
    assert (answer.status_code, answer.json()["step"]) == (400, "origin")
