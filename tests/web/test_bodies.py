"""Bodies of calls: what is refused, which field is named, and that nothing is coerced."""

import json

import pytest
from tests.support.api_nodes import ApiBench

from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events.registrations import ModelRegistered, ProviderRegistered, VariantRegistered


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = ApiBench(tmp_path_factory.mktemp("bodies"))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def client(bench):
    with bench.client() as client:
        yield client


def _post(bench, client, body, path="/api/models", role=Role.PROVIDER, **more):
    return bench.call(client, "POST", path, role, body=body, **more)


GOOD = {"model": "m", "variants": [{"variant": "v", "level": "C2"}]}


@pytest.mark.parametrize(
    ("body", "field", "word"),
    [
        ({**GOOD, "stage": "general"}, "stage", "unknown"),
        ({"variants": []}, "model", "required"),
        ({**GOOD, "model": 7}, "model", "expected"),
        ({"model": "m", "variants": [{"variant": "v", "level": "C9"}]}, "variants[0].level", "expected"),
        ({"model": "m", "variants": [{"variant": "v", "level": "2"}]}, "variants[0].level", "expected"),
        ({"model": "m", "variants": [{"variant": "v", "level": True}]}, "variants[0].level", "expected"),
        (
            {"model": "m", "variants": [{"variant": "v", "level": 1, "minimum_age": "18"}]},
            "variants[0].minimum_age",
            "expected",
        ),
        ({"model": "m", "variants": [{"variant": "v", "level": 1, "ial": 3}]}, "variants[0].ial", "unknown"),
        ([], "", "expected"),
        ("text", "", "expected"),
        (None, "body", ""),
    ],
)
def test_a_body_that_does_not_fit_is_refused_and_the_field_is_named(bench, client, body, field, word):
    answer = _post(bench, client, body if body is not None else b"null")
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["type"] == "urn:safeconduct:problem:invalid_input"
    if body is not None:
        assert problem.get("field", "") == field
        assert word in problem["detail"]


def test_a_near_miss_is_suggested(bench, client):
    answer = _post(bench, client, {**GOOD, "provder": "x"})
    assert "did you mean 'provider'" in answer.json()["remedy"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","model":"n","variants":[]}',
        b'{"model":"m","variants":[{"variant":"a","variant":"b","level":1}]}',
        b'{"model":"m","variants":[]',
        b'{"model":"\xff","variants":[]}',
        b'{"model":NaN}',
        b"[" * 100_000,
        b"",
        b"{}{}",
    ],
)
def test_malformed_json_is_a_400_that_says_so(bench, client, raw):
    answer = _post(bench, client, raw)
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/json5"]
)
def test_another_media_type_is_refused(bench, client, media_type):
    answer = _post(bench, client, GOOD, headers={"content-type": media_type})
    assert answer.status_code == 415
    assert answer.json()["field"] == "content-type"


def test_a_compressed_body_is_refused(bench, client):
    assert _post(bench, client, GOOD, headers={"content-encoding": "gzip"}).status_code == 415


def test_a_body_beyond_the_limit_is_a_413(bench, client):
    answer = _post(bench, client, b'{"model":"' + b"x" * (4 << 20) + b'"}')
    assert answer.status_code == 413
    assert answer.json()["field"] == "body"


def test_the_body_of_a_caller_without_a_role_is_not_even_read(bench, client):
    answer = bench.call(client, "POST", "/api/models", None, body=b"not json")
    assert answer.status_code == 401


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=%21"])
def test_a_wrong_query_is_refused(bench, client, query):
    assert bench.call(client, "GET", f"/api/models?{query}", Role.OPERATOR).status_code == 400


def test_an_unknown_address_and_method_are_problems_too(bench, client):
    for method, path, status in (("GET", "/nowhere", 404), ("PUT", "/api/models", 405)):
        answer = bench.call(client, method, path, Role.OPERATOR)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_two_credentials_are_refused(bench, client):
    first = bench.credential(Role.OPERATOR)["authorization"]
    answer = client.get("/api/models", headers=[("authorization", first), ("authorization", first)])
    assert answer.status_code == 401


def test_the_schema_says_that_unknown_members_are_refused(client):
    schemas = client.get("/api/openapi.json").json()["components"]["schemas"]
    ask = next(schema for name, schema in schemas.items() if name.endswith("RegisterModel"))
    assert ask["additionalProperties"] is False


def test_a_good_call_changes_the_state_and_lists_show_it(bench, client):

    bench.record.commit([ProviderRegistered(provider="lab-a", organisation="org-a", jurisdiction="US")])
    answer = _post(bench, client, GOOD)
    assert answer.status_code == 201, answer.text
    listed = bench.call(client, "GET", "/api/models", Role.AUDITOR).json()["items"]
    assert [(row["variant"], row["required_level"], row["provider"]) for row in listed] == [
        ("v", "C2", "lab-a")
    ]
    again = _post(bench, client, GOOD)
    assert again.status_code == 409
    foreign = _post(bench, client, {**GOOD, "provider": "lab-b"})
    assert foreign.status_code == 403
    assert foreign.json()["type"] == "urn:safeconduct:problem:forbidden"


def test_an_upstream_credential_is_kept_and_never_shown(bench, client):

    bench.record.commit(
        [
            ProviderRegistered(provider="lab-a", organisation="org-a", jurisdiction="US"),
            ModelRegistered(model="mm", provider="lab-a"),
            VariantRegistered(variant="vv", model="mm", level=1, compartments=()),
        ]
    )
    secret = "upstream-canary-5f1c"
    body = {
        "deployment": "dep-1",
        "variant": "vv",
        "kind": "openai",
        "base_url": "https://up.example/v1",
        "upstream_model": "up",
        "region": "us-east",
        "jurisdiction": "US",
        "credential": secret,
    }
    answer = _post(bench, client, body, "/api/deployments")
    assert answer.status_code == 201, answer.text
    seen = answer.text
    for path in ("/api/deployments", "/api/models", "/api/status", "/"):
        seen += bench.call(client, "GET", path, Role.OPERATOR).text
    assert secret not in seen
    assert "dep-1" in seen
    wrong = _post(bench, client, {**body, "region": 7}, "/api/deployments")
    assert wrong.status_code == 400
    assert secret not in wrong.text
    assert json.loads(wrong.text)["field"] == "region"
