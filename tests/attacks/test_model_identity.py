"""Attacks on which model is decided on: what the gateway reads, decides and sends upstream is one and the same model.

Lines of the list that live elsewhere: the query, the media type, duplicate members and steering members stand in
tests/web/test_proxy_hostile.py; ambiguous framing in test_request_smuggling.py; long and compressed bodies in
test_exhaustion.py.
"""

import json

import msgspec
import pytest
from tests.support.gateways import chat, request
from tests.support.recording_upstreams import Nobody, RecordingUpstream, gateway_before, served
from tests.support.worlds import plain_world

from safeconduct.kernel.vocabulary import Level, Stage
from safeconduct.record.events import StageChanged

WIRES = ["/v1/chat/completions", "/v1/messages"]


@pytest.fixture(scope="module")
def upstream():
    with RecordingUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    world = plain_world()
    # Another model at the same upstream, which ann may not use.
    world.variant("model-secret", "lab", level=Level.C3)
    with gateway_before(tmp_path_factory.mktemp("gateway"), upstream, world=world) as running:
        yield running
        assert running.reported == []


@pytest.fixture(autouse=True)
def _only_the_permitted_model_reaches_the_upstream(upstream):
    upstream.clear()
    yield
    for each in upstream.requests:
        assert each.json["model"] == "model-x-upstream"
    assert b"secret" not in upstream.raw


def check_denied(answer, upstream, code="MODEL_UNKNOWN"):
    assert answer.code == code, answer.body
    assert upstream.raw == b""


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize(
    "name",
    [
        "model-x-upstream",  # the upstream's own name for a permitted model
        "model-secret-upstream",
        "model-x-1",  # a deployment's id
        "model-model-x",  # the model whose variant it is
        "lab/model-x",
        "openai/model-x",
        "azure/model-x",
        "model-x:latest",
        "model-x@2026",
        "model-x ",
        " model-x",
        "model-x\n",
        "model-x\u0000",
        "model\u2010x",
        "MODEL-X",
        "model-\uff58",
        "./model-x",
        "model-x/../model-secret",
        "model-x,model-secret",
        "model-x|model-secret",
        '["model-x","model-secret"]',
    ],
)
def test_an_alias_or_another_spelling_of_a_model_is_no_model(gateway, upstream, path, name):
    check_denied(gateway.post(path, model=name), upstream)


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize(
    "name", ["*", "model-*", "%", "model-?", ".*", "model-x*", "all", "default", "auto", "null"]
)
def test_a_wildcard_names_no_model(gateway, upstream, path, name):
    check_denied(gateway.post(path, model=name), upstream)
    assert gateway.send(request("GET", "/v1/models/" + name.replace("?", "%3f")))[0].status == 404


def test_a_list_that_a_client_keeps_is_not_what_is_decided_on(tmp_path):
    """A wildcard or a cached list against what changed since: the model listed a moment ago is denied now."""
    with RecordingUpstream() as upstream, gateway_before(tmp_path, upstream) as gateway:
        listed = [each["id"] for each in gateway.send(request("GET", "/v1/models"))[0].json["data"]]
        assert listed == ["model-x"]
        assert gateway.post(model="model-x").status == 200
        upstream.clear()
        gateway.change(
            StageChanged(
                variant="model-x", stage=Stage.INTERNAL, org_list=None, by="lab", at=gateway.world.now
            )
        )
        answer = gateway.post(model="model-x")
        assert (answer.status, answer.code) == (403, "STAGE")
        assert gateway.send(request("GET", "/v1/models"))[0].json["data"] == []
        assert upstream.raw == b""


def test_a_fallback_is_not_the_callers_to_name_and_none_is_taken(tmp_path):
    """The permitted model fails: nothing else is asked instead, whatever the body wishes."""
    world = plain_world()
    world.variant("model-secret", "lab", level=Level.C3)

    def broken(_, connection):
        connection.close()

    with RecordingUpstream(broken) as upstream, gateway_before(tmp_path, upstream, world=world) as gateway:
        for wish in (
            {"fallbacks": ["model-secret"]},
            {"models": ["model-secret"]},
            {"model_group": "model-secret"},
            {"route": "fallback"},
            {"context_window_fallback_dict": {"model-x": "model-secret"}},
        ):
            answer = gateway.post(**wish)
            assert (answer.status, answer.code) == (400, "member_refused")
        assert upstream.raw == b""
        assert gateway.post().status == 502
        assert {each.json["model"] for each in upstream.requests} == {"model-x-upstream"}


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize(
    "name",
    [
        "model_id",
        "modelId",
        "model_name",
        "modelName",
        "deployment",
        "deployment_id",
        "engine",
        "model_version",
        "ModelId",
        "model-id",
        "target_model",
        "override_model",
    ],
)
def test_the_model_in_another_field_is_refused_or_changes_nothing(gateway, upstream, path, name):
    answer = gateway.post(path, **{name: "model-secrecy"})
    if answer.status == 200:
        assert upstream.requests[0].json["model"] == "model-x-upstream"
        assert upstream.requests[0].json[name] == "model-secrecy"
    else:
        assert (answer.status, answer.code) == (400, "member_refused")
        assert upstream.raw == b""


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments/model-secret/chat/completions",
        "/openai/deployments/model-x/chat/completions?api-version=2024-10-21",
        "/v1/models/model-secret/chat/completions",
        "/v1/engines/model-secret/completions",
        "/v1beta/models/model-secret:generateContent",
        "/v1/models/model-secret:predict",
        "/model/model-secret/invoke",
        "/model/model-secret/converse",
        "/v1/projects/p/locations/l/publishers/anthropic/models/model-secret:rawPredict",
        "/engines/model-secret/chat/completions",
        "/lab/v1/chat/completions",
        "/v1/chat/completions/model-secret",
    ],
)
def test_the_model_in_the_path_is_no_route(gateway, upstream, path):
    answer = gateway.send(request("POST", path, msgspec.json.encode(chat())))[0]
    assert (answer.status, answer.code) == (404, "ROUTE_UNKNOWN")
    assert upstream.raw == b""


NESTED = [
    {"metadata": {"api_base": "HERE", "model": "model-y"}},
    {"metadata": {"litellm_params": {"api_base": "HERE"}}},
    {"tools": [{"type": "function", "function": {"name": "f", "api_base": "HERE"}}]},
    {"tools": [{"type": "mcp", "server_url": "HERE"}]},
    {"response_format": {"type": "json_schema", "json_schema": {"base_url": "HERE"}}},
    {"x": {"extra_body": {"api_base": "HERE"}}},
    {"messages": [{"role": "user", "content": "hi", "api_base": "HERE", "model": "model-y"}]},
    {"stream_options": {"api_base": "HERE"}},
    {"provider_options": {"base_url": "HERE"}},
]


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize("member", NESTED, ids=lambda each: next(iter(each)))
def test_a_nested_api_base_leads_nowhere(gateway, upstream, path, member):
    with Nobody() as elsewhere:
        text = json.dumps(member).replace("HERE", f"http://127.0.0.1:{elsewhere.port}/v1")
        answer = gateway.post(path, **json.loads(text))
        assert answer.status in (200, 400)
        assert elsewhere.called == []
    if answer.status == 200:
        upstream.check(1)


@pytest.mark.parametrize(
    "path", ["/v1/batches", "/v1/messages/batches", "/v1/files", "/v1/batch", "/v1/fine_tuning/jobs"]
)
def test_a_batch_with_a_line_for_another_model_has_no_route_yet(gateway, upstream, path):
    lines = [
        {"custom_id": "1", "method": "POST", "url": WIRES[0], "body": chat()},
        {"custom_id": "2", "method": "POST", "url": WIRES[0], "body": chat(model="model-secret")},
    ]
    bodies = [
        b"\n".join(map(msgspec.json.encode, lines)),
        msgspec.json.encode({"requests": [{"custom_id": "1", "params": chat(model="model-secret")}]}),
        msgspec.json.encode({"input_file_id": "file-1", "endpoint": WIRES[0], "completion_window": "24h"}),
    ]
    if served("POST", path):
        pytest.skip("served by now")
    for body in bodies:
        for media in ("application/json", "application/jsonl", "multipart/form-data; boundary=x"):
            answer = gateway.send(request("POST", path, body, content_type=media))[0]
            assert (answer.status, answer.code) == (404, "ROUTE_UNKNOWN")
    assert upstream.raw == b""


@pytest.mark.parametrize(
    "header",
    [
        "X-Model: model-secret",
        "X-LiteLLM-Model: model-secret",
        "X-Portkey-Config: {}",
        "Azureml-Model-Deployment: model-secret",
        "X-Safeconduct-Model: model-secret",
        "X-Safeconduct-Variant: model-secret",
        "X-Safeconduct-Deployment: model-secret-1",
        "X-Amzn-Bedrock-Model: model-secret",
        "X-Goog-User-Project: other",
        "OpenAI-Model: model-secret",
        "X-Original-Model: model-secret",
    ],
)
@pytest.mark.parametrize("path", WIRES)
def test_a_spoofed_internal_header_chooses_no_model_and_does_not_travel(gateway, upstream, path, header):
    assert gateway.post(path, headers=[header]).status == 200
    upstream.check(1)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/passthrough",
        "/anthropic/v1/messages",
        "/openai/v1/chat/completions",
        "/proxy/http://evil.example/",
        "/v1/chat/completions/passthrough",
        "/vertex_ai/x",
        "/bedrock/x",
        "/mcp",
        "/v1/realtime",
        "/v1/audio/speech",
        "/v1/images/generations",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_passthrough_without_a_model_has_no_route(gateway, upstream, path, method):
    body = b'{"input":"no model"}' if method in ("POST", "PUT", "PATCH") else b""
    answer = gateway.send(request(method, path, body))[0]
    assert (answer.status, answer.code) == (404, "ROUTE_UNKNOWN")
    assert upstream.raw == b""


def test_a_body_without_a_model_is_refused_whatever_else_names_one(gateway, upstream):
    body = msgspec.json.encode({"messages": [], "metadata": {"model": "model-x"}})
    for path in (*WIRES, WIRES[0] + "?model=model-x"):
        answer = gateway.post(path, body=body, headers=["X-Model: model-x"])
        assert (answer.status, answer.code) == (400, "model_missing")
    assert upstream.raw == b""
