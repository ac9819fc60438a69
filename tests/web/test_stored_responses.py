"""Answers that a provider keeps: nobody reaches another's, and an answer fetched later is decided again."""

import openai
import pytest
from tests.support.gateways import KEY, RunningGateway, principal_of, request
from tests.support.worlds import order, plain_world

from safeconduct.gateway.stored_responses import MemoryStoredResponses, StoredResponse
from safeconduct.record.events import DeploymentRetired
from safeconduct.storage.stored_responses import StoredResponseTable

OTHER = "ben-key"


@pytest.fixture
def gateway(tmp_path):
    world = plain_world()
    world.person("ben", "org-a")
    world.admit("lab", "org-a", ["ben"], ["model-x"])
    with RunningGateway(tmp_path, world) as running:
        running.credentials.principals[OTHER] = principal_of(world, "ben")
        yield running
        assert running.reported == []


def made(gateway, key=KEY, **members):
    answer = gateway.post("/v1/responses", {"model": "model-x", "input": "secret words", **members}, key=key)
    assert answer.status == 200, answer.body
    return answer.json["id"]


def ask(gateway, method, path, key=KEY):
    return gateway.send(request(method, path, b"", key=key))[0]


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
@pytest.mark.parametrize(
    "shape",
    [
        "THEIRS",
        "resp_unknown",
        "THEIRS%00",
        "..",
        "%2e%2e",
        "THEIRS?x",
        "resp_" + "a" * 300,
        "'or'1'='1",
        "THEIRS.",
    ],
)
def test_an_answer_of_another_is_not_found_whatever_the_shape_of_its_id(gateway, method, shape):
    name = made(gateway, key=OTHER)
    reached = len(gateway.seen)
    path = "/v1/responses/" + shape.replace("THEIRS", name).replace("?x", "")
    answer = ask(gateway, method, path + ("/cancel" if method == "POST" else ""))
    unknown = ask(gateway, "GET", "/v1/responses/resp_nobodys")
    assert (answer.status, answer.code) == (404, "response_not_found")
    assert answer.json["error"]["message"] == unknown.json["error"]["message"]
    assert len(gateway.seen) == reached


def test_an_answer_of_another_cannot_be_continued(gateway):
    name = made(gateway, key=OTHER)
    reached = len(gateway.seen)
    for previous in (name, "resp_unknown", "../" + name):
        answer = gateway.post(
            "/v1/responses", {"model": "model-x", "input": "go on", "previous_response_id": previous}
        )
        assert (answer.status, answer.code) == (404, "response_not_found")
    assert len(gateway.seen) == reached


def test_an_answer_fetched_later_is_decided_again(gateway):
    name = made(gateway)
    assert ask(gateway, "GET", f"/v1/responses/{name}").status == 200
    gateway.change(order("7", "suspend", ["model-x"], gateway.world.now - 1))
    reached = len(gateway.seen)
    for method, path in (("GET", name), ("DELETE", name), ("POST", f"{name}/cancel")):
        answer = ask(gateway, method, f"/v1/responses/{path}")
        assert (answer.status, answer.code) == (403, "DIRECTIVE")
    assert len(gateway.seen) == reached
    entry = gateway.entries("decision")[-1]
    assert entry["route"] == "POST /v1/responses/{id}/cancel"


def test_an_answer_at_a_deployment_that_was_retired_is_denied(gateway):
    name = made(gateway)
    deployment = next(iter(gateway.world.state.deployments))
    gateway.change(DeploymentRetired(deployment=deployment, at=gateway.world.now - 1))
    answer = ask(gateway, "GET", f"/v1/responses/{name}")
    assert (answer.status, answer.code) == (404, "MODEL_UNKNOWN")


def test_an_answer_that_was_not_to_be_stored_has_no_owner(gateway):
    name = made(gateway, store=False)
    assert ask(gateway, "GET", f"/v1/responses/{name}").code == "response_not_found"


@pytest.mark.parametrize("query", ["?model=other", "?stream=true&x=1", "?include=a&limit=9"])
def test_a_query_reaches_the_provider_only_in_known_members(gateway, query):
    name = made(gateway)
    reached = len(gateway.seen)
    assert ask(gateway, "GET", f"/v1/responses/{name}{query}").status == 400
    assert ask(gateway, "DELETE", f"/v1/responses/{name}?stream=true").status == 400
    assert len(gateway.seen) == reached


@pytest.mark.parametrize(
    ("path", "members", "field"),
    [
        ("/v1/responses", {"conversation": "conv_1"}, "conversation"),
        ("/v1/responses", {"prompt": {"id": "pmpt_1"}}, "prompt"),
        ("/v1/responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ("/v1/responses", {"input": 7}, "input"),
        ("/v1/responses", {"tools": [{"type": "mcp", "server_url": "http://10.0.0.1"}]}, "tools"),
        ("/v1/responses", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "tools"),
        ("/v1/responses", {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "tools"),
        ("/v1/responses", {"previous_response_id": 7}, "previous_response_id"),
        ("/v1/messages", {"mcp_servers": [{"url": "http://10.0.0.1"}]}, "mcp_servers"),
        ("/v1/messages", {"container": "container_1"}, "container"),
        ("/v1/messages/count_tokens", {"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
    ],
)
def test_what_else_is_kept_at_the_provider_or_called_by_it_cannot_be_named(gateway, path, members, field):
    body = {"model": "model-x", "input": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    answer = gateway.post(path, {**body, **members})
    assert answer.status == 400
    assert field in answer.body.decode()
    assert gateway.seen == []


def test_a_file_id_is_refused_on_the_new_routes_too(gateway):
    content = [{"type": "input_file", "file_id": "file-1"}]
    answer = gateway.post(
        "/v1/responses", {"model": "model-x", "input": [{"role": "user", "content": content}]}
    )
    assert (answer.status, answer.code) == (400, "file_id")


@pytest.mark.parametrize(
    "path",
    ["/v1/responses", "/v1/embeddings", "/v1/completions", "/v1/moderations", "/v1/messages/count_tokens"],
)
def test_the_attacks_on_chat_fail_on_every_route(gateway, path):
    twice = gateway.post(path, b'{"model":"model-x","model":"other","input":"x"}')
    steered = gateway.post(path, {"model": "model-x", "input": "x", "api_base": "http://evil.example"})
    query = gateway.post(f"{path}?model=other", {"model": "model-x", "input": "x"})
    typed = gateway.send(request("POST", path, b'{"model":"model-x"}', headers=["Content-Type: text/plain"]))[
        0
    ]
    unknown = gateway.post(path, {"model": "other", "input": "x"})
    nobody = gateway.post(path, {"model": "model-x", "input": "x"}, key="wrong")
    assert [each.status for each in (twice, steered, query, unknown, nobody)] == [400, 400, 400, 404, 401]
    assert typed.status == 400
    assert gateway.seen == []


def test_a_response_stream_is_cut_with_an_error_event_and_without_a_final_one(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=20) as client:
        stream = client.responses.create(model="model-x", input="[[sandbox:endless]]", stream=True)
        events = [next(stream) for _ in range(5)]
        gateway.change(order("7", "suspend", ["model-x"], gateway.world.now - 1))
        with pytest.raises((openai.APIError, Exception)) as caught:
            events.extend(stream)
    assert "completed" not in events[-1].type
    assert caught.value is not None
    completion = gateway.completion()
    assert (completion["ended"], completion["cause"]) == ("cut", ["DIRECTIVE"])


def stored(response="resp_1", subject="ann"):
    return StoredResponse(
        response=response, subject=subject, variant="model-x", deployment="dep", created=1_000
    )


@pytest.fixture(params=["memory", "table"])
def index(request, tmp_path):
    if request.param == "memory":
        yield MemoryStoredResponses()
        return
    table = StoredResponseTable.open(tmp_path / "responses.db", now=lambda: 1_000)
    yield table
    table.close()


def test_a_provider_cannot_give_an_answer_to_somebody_else_by_repeating_its_id(index):
    index.keep(stored())
    index.keep(stored(subject="ben"))
    assert index.find("resp_1").subject == "ann"
    index.forget("resp_1")
    index.forget("resp_1")
    assert index.find("resp_1") is None


def test_owners_outlive_the_process_and_old_ones_are_purged(tmp_path):
    table = StoredResponseTable.open(tmp_path / "responses.db", now=lambda: 1_000)
    table.keep(stored())
    table.close()
    again = StoredResponseTable.open(tmp_path / "responses.db", now=lambda: 1_000 + 91 * 86_400)
    assert again.find("resp_1") == stored()
    again.keep(stored("resp_2"))
    assert again.find("resp_1") is None
    again.close()
