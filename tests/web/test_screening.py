"""The routes about screening lists: who may, what is refused, and that nothing of a refusal stays. Every name is made up."""

import json

import pytest
from tests.support.api_nodes import ApiBench
from tests.support.screening_lists import sha256, un_people

from safeconduct.kernel.vocabulary import Role

OCTETS = {"content-type": "application/octet-stream"}
LIST = "/api/screening/lists/un.sc"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = ApiBench(tmp_path_factory.mktemp("screening"))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def client(bench):
    with bench.client() as client:
        yield client


def send(bench, client, data, *, digest=None, role=Role.OPERATOR, headers=OCTETS):
    return bench.call(
        client, "PUT", f"/api/screening/files/{digest or sha256(data)}", role, body=data, headers=headers
    )


def load(bench, client, data, role=Role.OPERATOR, **more):
    assert send(bench, client, data).status_code == 200
    body = {"files": [{"name": "file", "sha256": sha256(data)}], **more}
    return bench.call(client, "POST", f"{LIST}/import", role, body=body)


def test_a_list_goes_through_the_api_from_file_to_rollback(bench, client):
    answer = load(bench, client, un_people(10))
    assert answer.status_code == 200, answer.text
    assert answer.json()["event"]["entries"] == 10
    assert load(bench, client, un_people(11, generated="2026-03-01T00:00:00Z")).status_code == 200
    changes = bench.call(client, "GET", f"{LIST}/changes", Role.AUDITOR).json()
    assert changes["counts"] == {"added": 1, "removed": 0, "changed": 0}
    versions = bench.call(client, "GET", f"{LIST}/versions", Role.ADJUDICATOR).json()["items"]
    assert len(versions) == 2
    answer = bench.call(client, "POST", f"{LIST}/roll-back", Role.OPERATOR, body={"reason": "made up"})
    assert answer.json()["act"] == "rolled_back"
    items = bench.call(client, "GET", "/api/screening/lists", Role.AUDITOR).json()["items"]
    assert [each["list"] for each in items if "in_force" in each] == ["un.sc"]


@pytest.mark.parametrize("role", [None, *(role for role in Role if role is not Role.OPERATOR)])
def test_nobody_but_an_operator_sends_a_file_and_nothing_is_kept(bench, client, role):
    data = un_people(4)
    answer = send(bench, client, data, role=role)
    assert answer.status_code == (401 if role is None else 403)
    with pytest.raises(Exception, match="uploaded"):
        bench.node.lists.store.uploaded(sha256(data))


def test_a_file_under_another_digest_is_refused(bench, client):
    answer = send(bench, client, b"made up", digest="0" * 64)
    assert (answer.status_code, answer.json()["field"]) == (400, "sha256")
    for digest in ("x" * 64, "..%2f..%2fvault.db", "0" * 63):
        assert send(bench, client, b"made up", digest=digest).status_code in (400, 404)
    answer = send(bench, client, b"made up", headers={"content-type": "application/json"})
    assert answer.json()["field"] == "content-type"
    assert not list((bench.node.lists.store.root / "uploads").glob("*"))


def test_a_file_is_not_held_to_the_limit_of_other_bodies_but_to_its_own(bench, client, monkeypatch):
    large = b"x" * (5 << 20)
    assert send(bench, client, large).status_code == 200
    bench.node.lists.store.forget_upload(sha256(large))
    # Other routes keep theirs.
    body = json.dumps({"files": [], "reason": "x" * (5 << 20)}).encode()
    assert bench.call(client, "POST", f"{LIST}/import", Role.OPERATOR, body=body).status_code == 413


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"files": []}, "files"),
        ({"files": [{"name": "file"}]}, "files"),
        ({"files": [{"name": "file", "sha256": "0" * 64}]}, "files"),
        ({"files": [{"name": "file", "sha256": "../../vault.db"}]}, "sha256"),
        ({"files": [{"name": "file", "url": "http://127.0.0.1:8781/"}]}, "url"),
        ({"files": [{"name": "file", "url": "https://127.0.0.1:8781/"}]}, "url"),
        ({"files": [{"name": "file", "path": "/etc/passwd"}]}, "files"),
        ({"files": [{"name": "file", "sha256": "0" * 64}], "confirm": ["anything"]}, "confirm"),
        ({"files": [{"name": "file", "sha256": "0" * 64}], "confirm": ["entries_lost"]}, "reason"),
        ({"files": [{"name": "file", "sha256": "0" * 64}], "reason": "x" * 2_000}, "reason"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_by_its_field(bench, client, body, field):
    before = bench.record.state.position
    answer = bench.call(client, "POST", f"{LIST}/import", Role.OPERATOR, body=body)
    assert answer.status_code in (400, 404), answer.text
    assert field in answer.json()["field"]
    assert bench.record.state.position == before


@pytest.mark.parametrize("name", ["un.sx", "..", "%2e%2e%2f%2e%2e%2frecord", "ftm.UPPER"])
def test_a_list_that_there_is_not_is_not_made(bench, client, name):
    answer = bench.call(
        client,
        "POST",
        f"/api/screening/lists/{name}/import",
        Role.OPERATOR,
        body={"files": [{"name": "file", "sha256": "0" * 64}]},
    )
    assert answer.status_code in (404, 405), answer.text
    assert {path.name for path in (bench.node.lists.store.root / "lists").iterdir()} == {"un.sc"}


def test_a_limit_beyond_what_is_shown_is_refused(bench, client):
    answer = bench.call(client, "GET", f"{LIST}/changes?limit=1001", Role.AUDITOR)
    assert (answer.status_code, answer.json()["field"]) == (400, "limit")
