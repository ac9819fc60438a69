"""Every operation of the API x every role, against the golden matrix."""

import json
from pathlib import Path

import pytest
from tests.support.api_nodes import ApiBench

from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.schema import described, operations

GOLDEN = Path(__file__).with_name("authorization_matrix.json")
COLUMNS = ("anonymous", *(role.value for role in Role))


def _matrix():
    return json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return ApiBench(tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="module")
def client(bench):
    with bench.client() as client:
        yield client


def test_every_operation_stands_in_the_matrix_and_nothing_else(bench):
    described_operations = {
        f"{method.upper()} {path}"
        for path, methods in described(bench.application)["paths"].items()
        for method in methods
    }
    assert described_operations == set(_matrix())
    assert {
        f"{method} {path}" for path, methods in operations(bench.application).items() for method in methods
    } == described_operations


def test_every_row_says_allow_or_deny_for_every_role():
    for operation, row in _matrix().items():
        assert tuple(row) == COLUMNS, operation
        assert set(row.values()) <= {"allow", "deny"}, operation
        if row["anonymous"] == "allow":
            assert set(row.values()) == {"allow"}, operation


@pytest.mark.parametrize("operation", sorted(_matrix()))
def test_the_server_answers_as_the_matrix_says(operation, bench, client):
    method, path = operation.split(" ")
    concrete = path.replace("{number}", "0").replace("{", "").replace("}", "")
    if concrete == "/events":
        concrete = "/events?once=true"
    if concrete == "/api/gateway/follow":
        concrete = "/api/gateway/follow?once=true&nonce=0123456789abcdef"
    for column, verdict in _matrix()[operation].items():
        role = None if column == "anonymous" else Role(column)
        answer = bench.call(client, method, concrete, role, body={} if method in {"POST", "PUT"} else None)
        media_type = answer.headers.get("content-type", "")
        kind = answer.json().get("type", "") if media_type.endswith("json") and "nd" not in media_type else ""
        refused = answer.status_code == 401 or kind == "urn:safeconduct:problem:role_not_permitted"
        assert answer.status_code < 500 or answer.status_code == 503, (operation, column, answer.text)
        assert refused == (verdict == "deny"), (operation, column, answer.status_code, answer.text[:300])
        if verdict == "deny":
            assert answer.status_code == (401 if role is None else 403), (operation, column, answer.text)


def test_a_denied_call_changes_nothing(bench, client):
    before = bench.record.state.position
    for operation, row in _matrix().items():
        method, path = operation.split(" ")
        if method == "GET":
            continue
        for column, verdict in row.items():
            if verdict == "deny":
                role = None if column == "anonymous" else Role(column)
                bench.call(client, method, path.replace("{", "").replace("}", ""), role, body={})
    assert bench.record.state.position == before
