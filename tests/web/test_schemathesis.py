"""Calls made from our own OpenAPI, as each role and as nobody: no failure of ours, no answer that the schema does not know.

`schemathesis` draws the calls (repeatably, a few for each operation and role) and judges the answers. That a call which fits
the schema may still be refused is not a finding: a schema does not know what is registered or signed.
"""

import copy

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    missing_required_header,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.support.api_nodes import ApiBench
from tests.support.worlds import World

from safeconduct.kernel.vocabulary import Level, Role
from safeconduct.web.api.schema import described

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
# Judged by the authorization matrix, call by call; they would make calls of their own here.
ELSEWHERE = [ignored_auth, missing_required_header, unsupported_method]
UNKNOWN = "zz_unknown_member"
JSON = "application/json"


def populated(directory):
    """An instance in which every list has something to show."""
    bench = ApiBench(directory)
    world = World(start=bench.now - 86_400, end=bench.now + 86_400, packs=True)
    world.provider("lab").organisation("org-c")
    world.org_list("listed", ["org-c"])
    world.variant("model-x", "lab", level=Level.C3, terms="t-1", certifications=("cert",))
    world.certification("model-x-1", "cert", bench.now - 10, bench.now + 10)
    world.person("ann", "org-c").project("proj", "org-c").terms("ann", "t-1")
    world.admit("lab", "org-c", ["ann"], ["model-x"])
    world.agent("bot", "ann", "org-c").mandate("m-1", "bot", "ann", ["model-x"]).key("k-1", "ann")
    world.order(
        "1", "licence_required", ["model-x"], bench.now, {"us_person": "no"}, annexes={"a": ["org-c"]}
    )
    world.licence("l-1", ["model-x"], annex=("org-c",))
    bench.record.commit(world.events)
    return bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = populated(tmp_path_factory.mktemp("schemathesis"))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def client(bench):
    with bench.client() as client:
        yield client


def _operations(application):
    schema = schemathesis.openapi.from_dict(described(application))
    schema.app = application
    return {one.ok().label: one.ok() for one in schema.get_all_operations()}


@pytest.fixture(scope="module")
def operations(bench):
    return _operations(bench.application)


@pytest.fixture(scope="module", autouse=True)
def _names_are_complete(operations):
    assert sorted(operations) == NAMES


def _names():
    # The document is the same for every instance; collecting tests needs the names only.
    from safeconduct.web.api.application import create_application  # noqa: PLC0415

    return sorted(
        f"{method.upper()} {path}"
        for path, methods in described(create_application(None))["paths"].items()
        for method in methods
    )


NAMES = _names()


def drawn(operation, examples, call):
    """Draw calls of an operation, the same ones each time, and make them."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case):
        call(case)

    run()


@pytest.mark.parametrize("name", NAMES)
def test_no_call_fails_on_our_side_and_every_answer_is_as_described(name, bench, operations):
    operation = operations[name]
    admitted = operation.definition.raw["x-roles"]
    for role in (None, *Role):
        let_in = admitted == ["anybody"] or (role is not None and role.value in admitted)

        def call(case, role=role, let_in=let_in):
            if name == "GET /events":
                # Without it the answer never ends.
                case.query["once"] = "true"
            answer = case.call(headers=bench.credential(role))
            case.validate_response(answer, checks=CHECKS, excluded_checks=ELSEWHERE)
            if not let_in:
                assert answer.status_code in {400, 401, 403, 404}, answer.text

        drawn(operation, 2 if let_in and admitted != ["anybody"] else 1, call)


def _with_unknown(value, place=()):
    """Every copy of a body in which one object has one more member, and where."""
    if isinstance(value, dict):
        yield {**value, UNKNOWN: 1}, place
        for name, inner in value.items():
            for changed, where in _with_unknown(inner, (*place, name)):
                yield {**value, name: changed}, where
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            for changed, where in _with_unknown(inner, (*place, index)):
                yield [*value[:index], changed, *value[index + 1 :]], where


def _closed(document, schema, place):
    """Whether the schema says that the object at a place takes no members that it does not name."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if not place:
        return schema.get("additionalProperties") is False
    inner = schema.get("properties", {}).get(place[0]) if isinstance(place[0], str) else schema.get("items")
    return inner is not None and _closed(document, inner, place[1:])


def test_an_unknown_member_is_refused_in_every_body_at_every_depth(bench, client, operations):
    document = described(bench.application)
    tried = 0
    for name, operation in operations.items():
        content = operation.definition.raw.get("requestBody", {}).get("content", {})
        if JSON not in content:
            continue
        role = Role(operation.definition.raw["x-roles"][0])
        method, path = name.split(" ")
        bodies = []
        drawn(operation, 2, lambda case, bodies=bodies: bodies.append(copy.deepcopy(case.body)))
        for body in bodies:
            for changed, place in _with_unknown(body):
                if not _closed(document, content[JSON]["schema"], place):
                    continue
                answer = bench.call(
                    client, method, path.replace("{", "").replace("}", ""), role, body=changed
                )
                assert answer.status_code == 400, (name, place, answer.text)
                # Whichever defect of the body was named first, nothing was taken over.
                tried += 1
        assert _closed(document, content[JSON]["schema"], ()), name
    assert tried >= 40


def test_an_unknown_member_is_named(bench, client):
    body = {"provider": "p", "organisation": "o", "jurisdiction": "XX", UNKNOWN: 1}
    answer = bench.call(client, "POST", "/api/providers", Role.OPERATOR, body=body)
    assert answer.status_code == 400
    assert UNKNOWN in answer.text


def test_every_failure_that_is_described_has_a_closed_shape(bench):
    document = described(bench.application)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    continue
                for media_type, form in answer["content"].items():
                    name = form["schema"]["$ref"].rsplit("/", 1)[1]
                    assert name == ("Problem" if "problem" in media_type else "OAuthError"), (method, path)
                    assert document["components"]["schemas"][name]["additionalProperties"] is False
