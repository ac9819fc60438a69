"""The webhook of a provider of liveness checks: open to anybody, believed only with its signature over the very bytes."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.support.api_nodes import ApiBench

from safeconduct.app.check_liveness import LivenessDesk, open_liveness_session
from safeconduct.identity.liveness import read_vendors, sign_timestamped
from safeconduct.kernel.signing import Secret
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.application import create_application

SECRET = "made-up secret of a vendor"
VENDORS = json.dumps(
    {"vendors": [{"name": "a", "scheme": "hmac-sha256-timestamped", "header": "sig", "secrets": [SECRET]}]}
).encode()
PATH = "/api/webhooks/liveness/a"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = ApiBench(tmp_path_factory.mktemp("webhook"))
    bench.desk = LivenessDesk(bench.instance, read_vendors(VENDORS))
    bench.application = create_application(msgspec.structs.replace(bench.node, liveness=bench.desk))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def client(bench):
    with bench.client() as client:
        yield client


def opened(bench, case, vendor=None):
    return open_liveness_session(bench.desk, case=case, subject="sub-a", evidence="doc", vendor=vendor)


def message(bench, session):
    body = json.dumps(
        {
            "event": "e",
            "case": session.case,
            "nonce": session.nonce,
            "liveness": "pass",
            "selfie_match": "pass",
            "at": bench.now,
        },
        indent=3,
    ).encode()
    return body, {"sig": sign_timestamped(Secret(SECRET), body, at=bench.now)}


def test_a_signed_result_is_taken_once_and_the_answer_tells_nothing(bench, client):
    session = opened(bench, "case-1")
    body, headers = message(bench, session)
    answer = client.post(PATH, content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    again = client.post(PATH, content=body, headers=headers)
    assert again.status_code == 409
    assert session.nonce not in again.text
    assert len(bench.desk.verifications("case-1")) == 1


def test_without_its_signature_or_with_two_nothing_is_taken(bench, client):
    session = opened(bench, "case-2")
    body, headers = message(bench, session)
    refused = [
        client.post(PATH, content=body),
        client.post(PATH, content=body, headers=[("sig", headers["sig"]), ("sig", headers["sig"])]),
        client.post(PATH, content=body + b" ", headers=headers),
        client.post(PATH, content=json.dumps(json.loads(body)), headers=headers),
    ]
    assert [each.status_code for each in refused] == [400, 400, 400, 400]
    assert client.post("/api/webhooks/liveness/b", content=body, headers=headers).status_code == 404
    assert client.post(PATH, content=b"x" * 100_000, headers=headers).status_code == 413
    assert bench.desk.verifications("case-2") == ()


def test_a_role_token_does_not_stand_in_for_the_signature(bench, client):
    session = opened(bench, "case-3")
    body, _ = message(bench, session)
    answer = bench.call(client, "POST", PATH, Role.OPERATOR, body=body)
    assert answer.status_code == 400
    assert answer.json()["step"] == "structure"


def test_the_development_provider_answers_over_the_api_and_says_what_it_is(bench, client):
    session = opened(bench, "case-4", vendor="development-liveness")
    answer = bench.call(
        client, "POST", "/api/liveness/development", Role.OPERATOR, body={"nonce": session.nonce}
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "case": "case-4",
        "vendor": "development-liveness",
        "outcome": "pass",
        "development": True,
    }
