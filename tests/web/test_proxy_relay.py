"""A permitted request reaches the provider and its answer comes back, on both wires."""

import msgspec
import pytest
from tests.support.gateways import UPSTREAM_KEY, RunningGateway


@pytest.fixture
def gateway(tmp_path):
    with RunningGateway(tmp_path) as running:
        yield running
        assert running.reported == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_an_answer_is_relayed_with_the_decision_as_its_request_id(gateway, path):
    answer = gateway.post(path)
    assert answer.status == 200, answer.body
    assert answer.json["model"] == "model-x-upstream"
    decision = gateway.entries("decision")[0]
    name = "request-id" if path == "/v1/messages" else "x-request-id"
    assert answer.headers[name] == decision["decision"]
    assert answer.headers["x-safeconduct-sandbox"] == "true"
    assert "set-cookie" not in answer.headers
    completion = gateway.entries("completion")[0]
    assert completion["decision"] == decision["decision"]
    assert completion["ended"] == "complete"
    assert completion["input_tokens"] == 2
    assert completion["output_tokens"] > 5
    assert (
        gateway.seen[0]
        .headers[b"x-api-key" if path == "/v1/messages" else b"authorization"][0]
        .endswith(UPSTREAM_KEY)
    )


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_stream_is_relayed_and_metered(gateway, path):
    answer = gateway.post(path, stream=True)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line for line in answer.body.split(b"\n\n") if line]
    assert len(events) > 10
    completion = gateway.entries("completion")[0]
    assert completion["ended"] == "complete"
    assert completion["input_tokens"] == 2
    assert completion["output_tokens"] > 5
    assert completion["answer_bytes"] == len(answer.body)


def test_the_usage_event_asked_for_on_the_clients_behalf_is_not_shown(gateway):
    silent = gateway.post(stream=True)
    assert b'"choices":[]' not in silent.body
    assert msgspec.json.decode(gateway.seen[0].body)["stream_options"] == {"include_usage": True}
    asked = gateway.post(stream=True, stream_options={"include_usage": True})
    assert b'"choices":[]' in asked.body
