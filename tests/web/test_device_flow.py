"""A device without the passport's key signs in (RFC 8628): only its human can approve, only its key can collect."""

import json
import secrets

import pytest
from tests.support.api_nodes import ApiBench, Person

from safeconduct.app.authorize_device import INTERVAL, LIFETIME, MAX_WRONG_CODES
from safeconduct.kernel.ids import (
    GrantId,
    MandateId,
    ModelId,
    OrganisationId,
    ProjectId,
    ProviderId,
    SubjectId,
    VariantId,
    new_id,
)
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Level, Purpose, Surface
from safeconduct.passport.claims import Claims
from safeconduct.passport.dpop import make_proof
from safeconduct.passport.mandate import MANDATE_TOKEN_TYPE, Mandate, Scope, sign_mandate
from safeconduct.passport.token_requests import DEVICE_GRANT
from safeconduct.record.events.authorizations import GrantGiven
from safeconduct.record.events.registrations import ModelRegistered, ProviderRegistered, VariantRegistered

ISSUER = "http://127.0.0.1:8781"
DETAILS = {"type": "safeconduct_model_access", "models": ["swift-1"], "purpose": "coding"}


@pytest.fixture
def bench(tmp_path):
    made = ApiBench(tmp_path)
    made.record.commit(
        [
            ProviderRegistered(ProviderId("lab-a"), OrganisationId("org-a"), "US"),
            ModelRegistered(ModelId("swift"), ProviderId("lab-a")),
            VariantRegistered(VariantId("swift-1"), ModelId("swift"), Level.C2, ()),
            GrantGiven(
                grant=GrantId("grt_1"),
                by_provider=None,
                by_organisation=OrganisationId("org-a"),
                to_organisation=None,
                to_group=None,
                to_subject=SubjectId("sub-holder"),
                variants=(VariantId("swift-1"),),
                purposes=(Purpose.CODING,),
                surfaces=(Surface.API, Surface.AGENT),
                regions=(),
                valid_from=made.now,
                valid_until=made.now + 86_400,
                approved_by=("a",),
                requested_by="b",
            ),
        ]
    )
    yield made
    made.close()


@pytest.fixture
def client(bench):
    with bench.client() as made:
        yield made


class Device:
    """A device with a key of its own."""

    def __init__(self, bench, client):
        self.bench, self.client = bench, client
        self.signer = FileSigner.generate()

    def post(self, path, signer=None, proof=None, **form):
        proof = proof or make_proof(
            signer or self.signer,
            method="POST",
            url=ISSUER + path,
            now=self.bench.now,
            random=secrets.token_bytes,
        )
        return self.client.post(path, data=form, headers={"DPoP": proof})

    def begin(self, details=DETAILS, **more):
        answer = self.post(
            "/oauth/device_authorization",
            authorization_details=json.dumps([details]),
            name="laptop",
            **more,
        )
        self.told = answer.json()
        return answer

    def collect(self, **more):
        return self.post(
            "/oauth/token", grant_type=DEVICE_GRANT, device_code=self.told["device_code"], **more
        )


@pytest.fixture
def device(bench, client):
    made = Device(bench, client)
    assert made.begin().status_code == 200
    return made


def ask(client, person, action, **body):
    return client.post(
        f"/api/devices/{action}", json=body, headers={"authorization": f"SD-JWT {person.present()}"}
    )


def mandate_for(bench, person, asked, **changes):
    facts = {
        "id": MandateId(new_id("mdt")),
        "principal": SubjectId(person.subject),
        "agent": SubjectId(asked["agent"]),
        "agent_jwk": asked["jwk"],
        "signed_at": bench.now,
    }
    scope = {
        "variants": tuple(VariantId(name) for name in asked["models"]),
        "purposes": (Purpose(asked["purpose"]),),
        "surfaces": (Surface.API, Surface.AGENT),
        "valid_from": bench.now,
        "valid_until": bench.now + 3600,
        "project": ProjectId(asked["project"]) if asked.get("project") else None,
    }
    scope.update({name: changes.pop(name) for name in list(changes) if name in scope})
    mandate = Mandate(**{**facts, **changes}, scope=Scope(**scope))
    return sign_mandate(mandate, audience=ISSUER, signer=person.signer)


def test_a_device_asks_its_human_approves_and_it_gets_a_mandate_once(bench, client, device):
    assert device.collect().json()["error"] == "authorization_pending"
    code = device.told["user_code"]
    asked = ask(client, bench.holder, "describe", user_code=code.lower().replace("-", " ")).json()
    assert (asked["name"], asked["models"], asked["purpose"]) == ("laptop", ["swift-1"], "coding")
    approved = ask(
        client, bench.holder, "approve", user_code=code, mandate=mandate_for(bench, bench.holder, asked)
    )
    assert approved.status_code == 200, approved.json()
    told = device.collect().json()
    assert (told["token_type"], told["issued_token_type"]) == ("N_A", MANDATE_TOKEN_TYPE)
    assert told["agent"] == asked["agent"]
    assert device.collect().json()["error"] == "expired_token"
    state = bench.record.state
    held = state.mandates[approved.json()["mandate"]].registered
    assert (held.human, held.key) == ("sub-holder", device.signer.verifying_key().thumbprint)


def test_another_key_cannot_collect_what_was_approved(bench, client, device):
    asked = ask(client, bench.holder, "describe", user_code=device.told["user_code"]).json()
    ask(
        client,
        bench.holder,
        "approve",
        user_code=device.told["user_code"],
        mandate=mandate_for(bench, bench.holder, asked),
    )
    assert device.collect(signer=FileSigner.generate()).json()["error"] == "expired_token"
    assert device.collect().status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"agent_jwk": FileSigner.generate().public_jwk()},
        {"agent": SubjectId("agt-other")},
        {"variants": (VariantId("swift-1"), VariantId("swift-2"))},
        {"purposes": (Purpose.BROWSER,)},
        {"project": ProjectId("proj")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_mandate_for_another_key_or_for_more_is_not_taken(bench, client, device, changes):
    asked = ask(client, bench.holder, "describe", user_code=device.told["user_code"]).json()
    answer = ask(
        client,
        bench.holder,
        "approve",
        user_code=device.told["user_code"],
        mandate=mandate_for(bench, bench.holder, asked, **changes),
    )
    assert (answer.status_code, answer.json()["field"]) == (400, "mandate")
    assert device.collect().json()["error"] == "authorization_pending"
    assert not bench.record.state.mandates


def test_a_human_who_refuses_ends_the_request(bench, client, device):
    assert ask(client, bench.holder, "deny", user_code=device.told["user_code"]).status_code == 200
    assert device.collect().json()["error"] == "access_denied"
    assert ask(client, bench.holder, "describe", user_code=device.told["user_code"]).status_code == 404


def test_a_code_lives_ten_minutes(bench, client, device):
    bench.clock.move_to(bench.now + LIFETIME)
    assert ask(client, bench.holder, "describe", user_code=device.told["user_code"]).status_code == 404
    assert device.collect().json()["error"] == "expired_token"


def test_a_device_that_asks_too_often_is_slowed_down(bench, device):
    assert device.collect().json()["error"] == "authorization_pending"
    assert device.collect().json()["error"] == "slow_down"
    bench.clock.move_to(bench.now + 3 * INTERVAL)
    assert device.collect().json()["error"] == "authorization_pending"


def test_codes_cannot_be_guessed_by_somebody_with_a_passport(bench, client, device):
    thief = Person(bench, "sub-thief", Claims(ial=2), organisation="org-b")
    for _ in range(MAX_WRONG_CODES):
        assert ask(client, thief, "describe", user_code="BBBB-BBBB").status_code == 404
    assert ask(client, thief, "describe", user_code=device.told["user_code"]).status_code == 404
    assert ask(client, bench.holder, "describe", user_code=device.told["user_code"]).status_code == 200


@pytest.mark.parametrize("action", ["describe", "approve", "deny"])
def test_without_a_passport_a_code_says_nothing(client, device, action):
    body = {"user_code": device.told["user_code"]} | ({"mandate": "x"} if action == "approve" else {})
    assert client.post(f"/api/devices/{action}", json=body).status_code == 401
    spoofed = client.post(f"/api/devices/{action}", json=body, headers={"authorization": "SD-JWT a.b.c~"})
    assert spoofed.status_code == 401


@pytest.mark.parametrize(
    ("details", "field"),
    [
        ({**DETAILS, "models": []}, "authorization_details[0].models"),
        ({"type": DETAILS["type"], "models": ["swift-1"]}, "authorization_details[0].purpose"),
    ],
)
def test_a_device_names_what_it_wants(bench, client, details, field):
    answer = Device(bench, client).begin(details)
    assert answer.status_code == 400
    assert field in answer.json()["error_description"]


def test_a_device_proves_its_key_and_a_proof_serves_once(bench, client):
    device = Device(bench, client)
    proof = make_proof(
        device.signer,
        method="POST",
        url=f"{ISSUER}/oauth/device_authorization",
        now=bench.now,
        random=secrets.token_bytes,
    )
    form = {"authorization_details": json.dumps([DETAILS])}
    assert device.post("/oauth/device_authorization", proof=proof, **form).status_code == 200
    assert (
        device.post("/oauth/device_authorization", proof=proof, **form).json()["error"]
        == "invalid_dpop_proof"
    )
    bare = client.post("/oauth/device_authorization", data=form)
    assert bare.json()["error"] == "invalid_dpop_proof"


def test_a_name_cannot_carry_control_characters_to_the_humans_terminal(bench, client):
    answer = Device(bench, client).post(
        "/oauth/device_authorization", authorization_details=json.dumps([DETAILS]), name="x\x1b[2J"
    )
    assert answer.status_code == 400


def test_the_page_tells_how_and_shows_nothing_that_waits(client, device):
    page = client.get(f"/device?user_code={device.told['user_code']}")
    assert "safeconduct device approve" in page.text
    assert device.told["user_code"] not in page.text
