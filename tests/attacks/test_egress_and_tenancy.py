"""Attacks on where requests go, and on what belongs to others: one upstream per deployment, fixed by the record.

That a redirect is not followed stands in test_hostile_upstreams.py; that no credential means no call in
tests/web/test_proxy_upstreams.py.
"""

import json
import socket

import msgspec
import pytest
from tests.support.gateways import KEY, UPSTREAM_KEY, chat, principal_of, read_answers, request
from tests.support.recording_upstreams import Nobody, RecordingUpstream, answer_of, gateway_before, served
from tests.support.worlds import plain_world

from safeconduct.gateway.upstream import parse_target
from safeconduct.kernel.errors import InvalidInput

PATH = "/v1/chat/completions"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture(scope="module")
def upstream():
    with RecordingUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    world = plain_world()
    world.organisation("org-b")
    world.person("bob", "org-b")
    world.admit("lab", "org-b", ["bob"], ["model-x"])
    with gateway_before(tmp_path_factory.mktemp("gateway"), upstream, world=world) as running:
        running.credentials.principals["bob-key"] = principal_of(world, "bob")
        yield running
        assert running.reported == []


@pytest.fixture(autouse=True)
def _clean(upstream):
    upstream.clear()


# -- where a request goes

STEERING_HEADERS = [
    "X-Upstream-URL",
    "X-Target-Host",
    "X-Forwarded-Host",
    "X-Portkey-Custom-Host",
    "X-Portkey-Base-Url",
    "X-LiteLLM-Api-Base",
    "Api-Base",
    "OpenAI-Base-Url",
    "X-Base-Url",
    "X-Proxy-To",
    "X-Original-Host",
    "X-Real-Host",
    "Forwarded",
    "Destination",
    "Location",
    "Referer",
]


@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
@pytest.mark.parametrize("header", STEERING_HEADERS)
def test_a_host_that_the_caller_chooses_is_never_called(gateway, upstream, header, path):
    with Nobody() as elsewhere:
        host = f"127.0.0.1:{elsewhere.port}"
        value = f"host={host}" if header == "Forwarded" else f"http://{host}/v1"
        assert gateway.post(path, headers=[f"{header}: {value}"]).status == 200
        assert (
            gateway.post(path + f"?api_base=http://{host}&base_url=http://{host}&target=http://{host}").status
            == 200
        )
        for name in ("api_base", "base_url", "endpoint", "azure_endpoint", "API_BASE", "apI_base"):
            assert gateway.post(path, **{name: f"http://{host}/v1"}).status == 400
        gateway.send(request("POST", f"http://{host}{path}", msgspec.json.encode(chat())))
        gateway.send(request("POST", path, msgspec.json.encode(chat()), host=host))
        assert elsewhere.called == []
        upstream.check(3)
        assert host.encode() not in upstream.raw


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "TRACK"])
def test_the_gateway_is_no_proxy_for_other_hosts(gateway, upstream, method):
    with Nobody() as elsewhere:
        data = request(method, f"127.0.0.1:{elsewhere.port}")
        answers = gateway.send(data, until_close=True)
        assert all(each.status in (400, 404) for each in answers)
        assert KEY.encode() not in b"".join(each.body for each in answers)
        assert elsewhere.called == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "ftp://example.com/",
        "http://user:pw@example.com/v1",
        "http://example.com/v1?x=1",
        "http://example.com/v1#x",
        "http://example.com/v1\r\nX: a",
        "http://exam ple.com/",
        "http://",
        "//example.com",
        "http://example.com:99999/",
        "http://ex\u00e4mple.com/",
    ],
)
def test_an_upstreams_address_that_could_mean_something_else_is_refused(url):
    with pytest.raises(InvalidInput):
        parse_target(url)


# -- routes beside the served ones

SIBLINGS = [
    "/v1/chat/completions/",
    "/v1/chat/completions/chatcmpl-1",
    "/v1/chat/completions/chatcmpl-1/messages",
    "/v1/chat",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/moderations",
    "/v1/edits",
    "/v1/messages/",
    "/v1/messages/count_tokens",
    "/v1/messages/batches",
    "/v1/complete",
    "/v1/images/generations",
    "/v1/audio/transcriptions",
    "/v1/realtime/sessions",
    "/v1/assistants",
    "/v1/threads",
    "/v1/threads/runs",
    "/v1/vector_stores",
    "/v1/uploads",
    "/v1/fine_tuning/jobs",
    "/v1/evals",
    "/v1/containers",
    "/v1/organizations/api_keys",
    "/v2/chat/completions",
    "/chat/completions",
    "/messages",
    "/v1",
    "/v1/",
    "/v1/rerank",
    "/v1/skills",
    "/api/generate",
    "/api/chat",
]


@pytest.mark.parametrize("path", SIBLINGS)
def test_a_sibling_of_a_served_route_is_not_served(gateway, upstream, path):
    for method in ("POST", "GET"):
        if served(method, path):
            continue
        body = msgspec.json.encode(chat()) if method == "POST" else b""
        answer = gateway.send(request(method, path, body))[0]
        assert (answer.status, answer.code) == (404, "ROUTE_UNKNOWN")
    assert upstream.raw == b""


# -- the client's key and ours


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
def test_the_clients_key_is_not_sent_where_ours_is_missing(tmp_path, upstream, kind, path):
    with gateway_before(tmp_path, upstream, kind=kind, credential=None) as gateway:
        answer = gateway.post(path, headers=[f"x-api-key: {KEY}"])
        assert (answer.status, answer.code) == (503, "upstream_credential")
        assert upstream.connections == [] or upstream.raw == b""


def test_ours_is_sent_once_to_our_upstream_and_the_clients_never(gateway, upstream):
    for path, name in ((PATH, b"authorization"), ("/v1/messages", b"x-api-key")):
        gateway.post(
            path, headers=[f"x-api-key: {KEY}", "Api-Key: client", "Proxy-Authorization: Basic client"]
        )
        received = upstream.requests[-1]
        sent = [value for each, value in received.headers if UPSTREAM_KEY in value]
        assert len(sent) == 1
        assert dict(received.headers)[name].endswith(UPSTREAM_KEY)
    assert KEY.encode() not in upstream.raw
    assert b"client" not in upstream.raw


def test_what_the_upstream_echoes_of_our_credential_does_not_come_back(tmp_path):
    echo = answer_of(
        b'{"error":{"message":"bad key ' + UPSTREAM_KEY + b'"}}',
        f"Www-Authenticate: Bearer {UPSTREAM_KEY.decode()}",
        f"Set-Cookie: key={UPSTREAM_KEY.decode()}",
        f"X-Debug: {UPSTREAM_KEY.decode()}",
        status="401 Unauthorized",
    )
    with RecordingUpstream(echo) as upstream, gateway_before(tmp_path, upstream) as gateway:
        answer = gateway.post()
        assert answer.status == 502
        assert UPSTREAM_KEY not in answer.body
        assert UPSTREAM_KEY.decode() not in str(answer.headers)


# -- ids

IDS = [
    "..",
    "../../v1/files",
    "..%2f..%2fv1%2ffiles",
    "%2e%2e",
    "model-x?x=1",
    "model-x%3fx=1",
    "model-x#x",
    "model-x%00",
    "model-x%0d%0aX-Evil:%201",
    "model-x/../model-secret",
    "model-x;v=1",
    "%6dodel-x",
    "model-x%20",
    "a" * 5000,
    "<script>alert(1)</script>",
    "'; DROP TABLE x; --",
]


@pytest.mark.parametrize("name", IDS)
def test_an_id_that_is_not_escaped_or_escapes_something_is_no_model(gateway, upstream, name):
    answers = gateway.send(request("GET", f"/v1/models/{name}"))
    if name.startswith("model-x?"):
        assert answers[0].json["id"] == "model-x"  # a query is not part of the path
        return
    assert answers[0].status in (400, 404, 414)
    assert "x-evil" not in answers[0].headers
    assert upstream.raw == b""


@pytest.mark.parametrize(
    "name", ["model-x\r\nX-Evil: 1", 'model-x","stream":true,"x":"', "model-x\\", "model-x\x00", "</script>"]
)
def test_a_models_name_does_not_break_out_of_the_body_or_a_header(gateway, upstream, name):
    answer = gateway.post(model=name)
    assert answer.code in ("MODEL_UNKNOWN", "model_invalid")
    assert "x-evil" not in answer.headers
    answer.json  # noqa: B018 - the name is quoted where it is told
    assert upstream.raw == b""


@pytest.mark.parametrize(
    "name",
    [
        "X-Request-Id",
        "Request-Id",
        "X-Correlation-Id",
        "Traceparent",
        "X-Safeconduct-Decision",
        "Idempotency-Key",
    ],
)
def test_a_forged_request_id_is_nobodys_id(gateway, upstream, name):
    """It would let one caller's entry pass for another's, or put text of the caller's into a log."""
    forged = "dec_aaaaaaaaaaaaaaaa"
    seen = set()
    for _ in range(2):
        answer = gateway.post(headers=[f"{name}: {forged}"])
        seen.add(answer.headers["x-request-id"])
        assert forged not in str(answer.headers)
    assert len(seen) == 2
    assert forged.encode() not in upstream.raw
    assert forged not in {each["decision"] for each in gateway.entries("decision")}
    assert seen <= {each["decision"] for each in gateway.entries("decision")}


# -- what belongs to others


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/file-{}",
        "/v1/files/file-{}/content",
        "/v1/batches/batch_{}",
        "/v1/batches/batch_{}/cancel",
        "/v1/responses/resp_{}",
        "/v1/responses/resp_{}/cancel",
        "/v1/responses/resp_{}/input_items",
        "/v1/messages/batches/msgbatch_{}",
        "/v1/messages/batches/msgbatch_{}/results",
        "/v1/chat/completions/chatcmpl-{}",
        "/v1/threads/thread_{}",
        "/v1/vector_stores/vs_{}/files",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_another_tenants_file_batch_or_response_is_a_404_whatever_its_id(gateway, upstream, path, method):
    if served(method, path.format("abc123")):
        pytest.skip("served by now")
    told = set()
    for key in (KEY, "bob-key"):
        for number in ("abc123", "000", "../abc123", "abc123%2f..", "*"):
            answer = gateway.send(request(method, path.format(number), key=key))[0]
            assert answer.status == 404
            told.add(json.dumps({**answer.json, "request_id": ""}, sort_keys=True))
    assert len(told) == 1, "the answer tells ids apart"
    assert upstream.raw == b""


@pytest.mark.parametrize(
    "members",
    [
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-abc"}}]}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}],
                }
            ]
        },
        {"x": {"y": [{"file_id": "file-abc"}]}},
    ],
)
def test_another_tenants_file_cannot_be_named_in_a_body(gateway, upstream, members):
    for key in (KEY, "bob-key"):
        answer = gateway.post(key=key, body=chat(**members))
        assert (answer.status, answer.code) == (400, "file_id")
    assert upstream.raw == b""


def test_two_tenants_on_one_connection_upstream_are_told_apart(gateway, upstream):
    """They share an upstream connection and our credential, never a name, an id or an idempotency key."""
    for key in (KEY, "bob-key", KEY):
        assert (
            gateway.post(
                key=key, headers=["Idempotency-Key: same", "Cookie: session=canary"], user="same"
            ).status
            == 200
        )
    upstream.check(3)
    names = [each.json["user"] for each in upstream.requests]
    assert names[0] == names[2] != names[1]
    assert all(
        each.json["safety_identifier"] == name for each, name in zip(upstream.requests, names, strict=True)
    )
    assert b"same" not in upstream.raw.lower()


def test_two_tenants_on_one_client_connection_get_their_own_answers(tmp_path):
    """A proxy before the gateway may send several callers' requests on one connection."""

    def by_name(received, _):
        return answer_of(b'{"id":"%b"}' % received.json["messages"][0]["content"].encode())

    world = plain_world()
    world.person("eve", "org-a")
    with RecordingUpstream(by_name) as upstream, gateway_before(tmp_path, upstream, world=world) as gateway:
        gateway.credentials.principals["eve-key"] = principal_of(world, "eve")
        data = b"".join(
            request("POST", PATH, msgspec.json.encode(chat(text=f"n{number}")), key=key)
            for number, key in enumerate([KEY, "eve-key", "wrong", KEY, "eve-key"])
        )
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(data)
            answers = read_answers(connection, count=5)
        assert [each.status for each in answers] == [200, 403, 401, 200, 403]
        assert [each.json.get("id") for each in answers] == ["n0", None, None, "n3", None]
        upstream.check(2)


# -- a stream that is logged as what it was not

ENDS = {
    "an error event": (
        chunk(b'data: {"error":{"message":"overloaded"}}\n\n') + b"0\r\n\r\n",
        "upstream_error",
    ),
    "an error event of the other wire": (
        chunk(b"event: error\ndata: {}\n\n") + b"0\r\n\r\n",
        "upstream_error",
    ),
    "garbage": (b"zz\r\n", "upstream_error"),
    "nothing more": (b"", "upstream_error"),
    "its end": (chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n", "complete"),
}


@pytest.mark.parametrize(("end", "logged"), ENDS.values(), ids=ENDS)
def test_a_stream_is_logged_as_it_ended(tmp_path, end, logged):
    first = chunk(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
    with (
        RecordingUpstream(STREAM + first + end, close=True) as upstream,
        gateway_before(tmp_path, upstream) as gateway,
    ):
        answer = gateway.post(stream=True)
        completion = gateway.completion()
        assert completion["ended"] == logged
        assert completion["answer_bytes"] <= len(answer.body)
        assert (b"[DONE]" in answer.body) == (logged == "complete")


def test_an_error_status_is_not_logged_as_complete(tmp_path):
    for number, status in enumerate(("500 Oops", "503 Busy", "529 Overloaded")):
        (tmp_path / str(number)).mkdir()
        with (
            RecordingUpstream(answer_of(b"{}", status=status)) as upstream,
            gateway_before(tmp_path / str(number), upstream) as gateway,
        ):
            assert gateway.post().status == int(status[:3])
            assert gateway.completion()["ended"] == "upstream_error"


def test_a_client_that_leaves_is_not_logged_as_served(tmp_path):
    def slow(_, connection):
        connection.sendall(STREAM + chunk(b'data: {"choices":[{}]}\n\n'))

    with RecordingUpstream(slow) as upstream, gateway_before(tmp_path, upstream) as gateway:
        body = msgspec.json.encode(chat(stream=True))
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(request("POST", PATH, body))
            assert b"200 OK" in connection.recv(65536)
        assert gateway.completion()["ended"] == "client_gone"
