"""The desk over HTTP: proofs count once and for one call, bodies have a limit, errors name the field and show no stack."""

import base64
import datetime as dt
import hashlib
import json

import pytest
from tests.support.api_nodes import ApiBench
from tests.support.evidence import PERSON_ORGANISATION, import_organisation

from safeconduct.cli.sample.utopia import Utopia
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Role


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = ApiBench(tmp_path_factory.mktemp("kyc"))
    import_organisation(made.embedded)
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(bench):
    with bench.client() as client:
        yield client


def send(bench, client, signer, method, path, body=None, **headers):
    given = {"dpop": bench.proof(signer, method, path), **headers}
    if body is not None:
        given["content-type"] = "application/json"
    content = json.dumps(body) if isinstance(body, (dict, list)) else body
    return client.request(method, path, headers=given, content=content)


def opened(bench, client, signer, level="C2", organisation=PERSON_ORGANISATION):
    body = {"level": level, **({"organisation": organisation} if level != "C1" else {})}
    answer = send(bench, client, signer, "POST", "/api/kyc/cases", body)
    assert answer.status_code == 201, answer.text
    return answer.json()["case"]


def test_anybody_reads_the_fields_and_nothing_else(client):
    found = client.get("/api/kyc/fields").json()["items"]
    assert {"field", "reason", "asked_from"} <= set(found[0])
    assert client.get("/api/kyc/cases").status_code == 401
    assert client.post("/api/kyc/cases", json={"level": "C1"}).status_code == 401


def test_a_proof_counts_once_and_for_its_method_and_address_only(bench, client):
    signer = FileSigner.generate()
    case = opened(bench, client, signer)
    path = f"/api/kyc/cases/{case}"
    proof = bench.proof(signer, "GET", path)
    assert client.get(path, headers={"dpop": proof}).status_code == 200
    again = client.get(path, headers={"dpop": proof})
    assert again.status_code == 401
    assert again.json()["field"] == "dpop.jti"
    wrong = bench.proof(signer, "GET", path)
    assert client.post(f"{path}/submit", headers={"dpop": wrong}).status_code == 401
    elsewhere = bench.proof(signer, "GET", "/api/kyc/own")
    assert client.get(path, headers={"dpop": elsewhere}).status_code == 401
    two = [("dpop", bench.proof(signer, "GET", path)), ("dpop", bench.proof(signer, "GET", path))]
    assert client.get(path, headers=two).status_code == 401


def test_a_role_key_is_no_applicant_and_an_applicant_no_reviewer(bench, client):
    answer = send(bench, client, bench.embedded.key("analyst"), "POST", "/api/kyc/cases", {"level": "C1"})
    assert answer.status_code == 403
    signer = FileSigner.generate()
    case = opened(bench, client, signer)
    for verb in ("assign", "screen", "rate", "decide", "end", "clear-match", "resolve-alert", "affiliation"):
        refused = send(bench, client, signer, "POST", f"/api/kyc/cases/{case}/{verb}", {})
        assert (refused.status_code, refused.json()["type"].rsplit(":", 1)[1]) == (403, "role_not_permitted")


def test_somebody_elses_case_does_not_exist(bench, client):
    case = opened(bench, client, FileSigner.generate())
    stranger = FileSigner.generate()
    for method, verb, body in (
        ("GET", "", None),
        ("PUT", "/application", {"legal_name": "X", "email": "x@example.org", "purpose": "x"}),
        ("POST", "/documents", {"kind": "zone", "content": "x"}),
        ("POST", "/documents/lost", {"document": "x"}),
        ("POST", "/authenticators/options", None),
        ("POST", "/authenticators", {"credential": {}}),
        ("POST", "/liveness", {"document": "x"}),
        ("POST", "/submit", None),
        ("POST", "/withdraw", None),
        ("POST", "/appeal", {"grounds": "x"}),
        ("POST", "/passport", {}),
    ):
        answer = send(bench, client, stranger, method, f"/api/kyc/cases/{case}{verb}", body)
        missing = send(bench, client, stranger, method, f"/api/kyc/cases/kyc_nothing{verb}", body)
        assert answer.status_code == missing.status_code == 404, (verb, answer.text)
        assert answer.json()["detail"].replace(case, "") == missing.json()["detail"].replace(
            "kyc_nothing", ""
        )


def test_fifty_megabytes_are_refused_before_they_are_read(bench, client):
    signer = FileSigner.generate()
    case = opened(bench, client, signer)
    body = json.dumps({"kind": "chip", "content": "A" * (50 << 20)})
    answer = send(bench, client, signer, "POST", f"/api/kyc/cases/{case}/documents", body)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"level": "C9"}, 400, "level"),
        ({"level": "C0"}, 400, "level"),
        ({"level": "C2"}, 400, "organisation"),
        ({"level": "C1", "compartments": ["CYB"]}, 400, "compartments"),
        ({"level": "C2", "organisation": "nobody-knows-it"}, 404, "organisation"),
        ({"level": "C1", "ial": 3}, 400, "ial"),
        ([], 400, ""),
        (b"{", 400, None),
        (b'{"level": "C1", "level": "C3"}', 400, None),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_field(bench, client, body, status, field):
    answer = send(bench, client, FileSigner.generate(), "POST", "/api/kyc/cases", body)
    assert answer.status_code == status, answer.text
    if field is not None:
        assert answer.json().get("field", "") == field
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("member", ["ial", "aal", "clearance", "us_person", "verified", "screening"])
def test_nobody_types_in_what_is_computed(bench, client, member):
    signer = FileSigner.generate()
    case = opened(bench, client, signer)
    body = {"legal_name": "Anna Example", "email": "a@example.org", "purpose": "x", member: 3}
    answer = send(bench, client, signer, "PUT", f"/api/kyc/cases/{case}/application", body)
    assert answer.status_code == 400
    assert answer.json()["field"] == member


def test_nothing_is_handed_in_while_something_is_lacking(bench, client):
    signer = FileSigner.generate()
    case = opened(bench, client, signer)
    answer = send(bench, client, signer, "POST", f"/api/kyc/cases/{case}/submit")
    assert answer.status_code == 409
    for what in ("application", "document", "authenticator", "organisation"):
        assert what in answer.json()["detail"]


def test_a_forged_chip_is_refused_at_its_step(bench, client):
    utopia = Utopia(now=bench.now)
    authority = {
        "file": base64.b64encode(utopia.authority).decode(),
        "sha256": hashlib.sha256(utopia.authority).hexdigest(),
    }
    assert bench.call(client, "POST", "/api/kyc/authorities", Role.OPERATOR, authority).status_code == 201
    signer = FileSigner.generate()
    case = opened(bench, client, signer)
    export = json.loads(utopia.export(surname="Example", given_names="Anna", birth=dt.date(1990, 1, 1)))
    forged = bytearray(base64.b64decode(export["dg1"]))
    forged[forged.index(b"EXAMPLE")] = ord("X")
    export["dg1"] = base64.b64encode(bytes(forged)).decode()
    content = base64.b64encode(json.dumps(export).encode()).decode()
    answer = send(
        bench,
        client,
        signer,
        "POST",
        f"/api/kyc/cases/{case}/documents",
        {"kind": "chip", "content": content},
    )
    assert (answer.status_code, answer.json()["step"]) == (400, "data_group")


def test_an_applicants_answers_never_name_a_reviewer_or_a_list(bench, client):
    signer = FileSigner.generate()
    case = opened(bench, client, signer)
    shown = send(bench, client, signer, "GET", f"/api/kyc/cases/{case}").json()
    assert not {"votes", "screening", "alerts", "assigned", "rating", "risk", "history"} & set(shown)
