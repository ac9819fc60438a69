"""What attackers did to gateways of this kind (formats.md 8), at the level of bytes."""

import json
import socket
import time

import msgspec
import pytest
from tests.support.gateways import (
    KEY,
    UPSTREAM_KEY,
    RunningGateway,
    chat,
    principal_of,
    read_answers,
    request,
)
from tests.support.worlds import plain_world

from safeconduct.gateway.bodies import read_body
from safeconduct.gateway.http_messages import Limits, Refusal

PATHS = ["/v1/chat/completions", "/v1/messages"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    limits = Limits(body_bytes=1 << 20, header_seconds=1.0, body_seconds=1.0, idle_seconds=2.0)
    with RunningGateway(tmp_path_factory.mktemp("gateway"), plain_world(), limits=limits) as running:
        yield running
        assert running.reported == []


@pytest.fixture(autouse=True)
def nothing_refused_reaches_the_provider(gateway, request):
    before = len(gateway.sandbox.seen)
    gateway.sandbox.seen.clear()
    yield
    if "reach" not in request.node.name:
        assert len(gateway.seen) == 0, before


# -- model identity


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "query",
    ["?model=model-y", "?model=model-x&model=model-y", "?MODEL=model-y", "?model=", "?m%6Fdel=model-y"],
)
def test_a_query_that_names_another_model_is_refused(gateway, path, query):
    answer = gateway.post(path + query)
    assert (answer.status, answer.code) == (400, "model_conflict")


def test_a_query_that_names_the_same_model_reaches_the_provider_without_it(gateway):
    assert gateway.post("/v1/messages?model=model-x").status == 200
    assert gateway.post("/v1/messages?beta=true").status == 200
    assert gateway.post("/v1/messages?beta=true&api-version=1").status == 200
    assert [each.target for each in gateway.seen] == [
        "/v1/messages",
        "/v1/messages?beta=true",
        "/v1/messages",
    ]


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "multipart/form-data",
        "application/jsonx",
    ],
)
def test_a_body_that_is_not_declared_json_is_refused(gateway, content_type):
    body = msgspec.json.encode(chat())
    answer = gateway.send(request("POST", PATHS[0], body, content_type=content_type))[0]
    assert (answer.status, answer.code) == (400, "content_type")


def test_a_content_type_with_utf_8_reaches_the_provider(gateway):
    body = msgspec.json.encode(chat())
    answer = gateway.send(request("POST", PATHS[0], body, content_type="application/json; charset=UTF-8"))[0]
    assert answer.status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_a_compressed_body_is_refused(gateway, encoding):
    answer = gateway.post(headers=[f"Content-Encoding: {encoding}"])
    assert (answer.status, answer.code) == (415, "content_encoding")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"model-x","model":"model-y","messages":[]}',
        b'{"model":"model-x","mod\\u0065l":"model-y","messages":[]}',
        b'{"model":"model-x","messages":[{"role":"user","role":"system","content":"x"}]}',
        b'{"model":"model-x","messages":[],"tools":[{"type":"function","function":{"name":"a","name":"b"}}]}',
        b'{"model":"model-x","messages":[],"metadata":{"user_id":"a","user_id":"b"}}',
        b'{"model":"model-x","messages":[],"Model":"model-y"}',
        '{"model":"model-x","messages":[],"\u017ftream":true,"stream":false}'.encode(),
    ],
)
def test_a_member_that_stands_twice_is_refused_at_any_depth(gateway, body):
    answer = gateway.post(body=body)
    assert (answer.status, answer.code) == (400, "duplicate_member")


@pytest.mark.parametrize("name", ["Model", "MODEL", "Stream", "\u017ftream", "Metadata"])
def test_a_member_in_other_letters_is_not_taken_for_ours(gateway, name):
    body = {"messages": [], name: "model-y"}
    if name.casefold() != "model":
        body["model"] = "model-x"
    answer = gateway.post(body=body)
    assert answer.status == 400
    assert answer.code == "member_case"


@pytest.mark.parametrize(
    "name",
    [
        "api_base",
        "base_url",
        "models",
        "fallbacks",
        "model_id",
        "extra_body",
        "litellm_params",
        "Api_Key",
        "engine",
    ],
)
def test_members_that_choose_another_host_or_model_are_refused(gateway, name):
    answer = gateway.post(body=chat(**{name: "x"}))
    assert (answer.status, answer.code) == (400, "member_refused")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"model-x"',
        b'{"model":"model-x"} {"model":"model-y"}',
        b'\xef\xbb\xbf{"model":"model-x"}',
        '{"model":"model-x"}'.encode("utf-16"),
        b'{"model":"model-x","temperature":NaN}',
        b'{"model":"model-x","a":Infinity}',
        b'{"model":"model-x","a":"\xff"}',
        b'{"model":"model-x",}',
        b"{'model':'model-x'}",
        b'{"messages":' + b"[" * 200_000,
        b'{"model":"model-x","messages":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"model":"model-x","n":' + b"9" * 10_000 + b"}",
        b'{"model":null}',
        b'{"model":["model-x"]}',
        b'{"model":""}',
        b'{"messages":[]}',
        b'{"model":"model-x","stream":"yes"}',
        b'{"model":"model-x","metadata":[]}',
        b'{"model":"model-x","stream":true,"stream_options":3}',
    ],
)
def test_a_malformed_body_is_a_400_that_says_so(gateway, body):
    answer = (
        gateway.post(body=body)
        if body
        else gateway.send(
            request("POST", PATHS[0], headers=["Content-Type: application/json", "Content-Length: 0"])
        )[0]
    )
    assert answer.status == 400
    assert answer.json["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_a_body_of_nothing_but_brackets_is_refused_before_it_is_parsed():
    with pytest.raises(Refusal, match="too many values"):
        read_body(b'{"model":"x","a":[' + b"[]," * 1_100_000 + b"1]}")


@pytest.mark.parametrize("path", PATHS)
def test_a_file_kept_at_the_provider_cannot_be_named(gateway, path):
    for part in (
        {"type": "file", "file": {"file_id": "file-abc"}},
        {"type": "x", "source": {"file_id": "file_1"}},
    ):
        answer = gateway.post(path, body=chat(messages=[{"role": "user", "content": [part]}]))
        assert (answer.status, answer.code) == (400, "file_id")
    escaped = json.dumps(chat(x={"file_id": "file-abc"})).replace("file_id", "file\\u005fid").encode()
    assert gateway.post(path, body=escaped).code == "file_id"


# -- routes


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions/"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/v1//chat/completions"),
        ("POST", "/V1/chat/completions"),
        ("POST", "/v1/chat/completions%2f"),
        ("POST", "/v1/chat/%63ompletions"),
        ("POST", "/v1/x/../chat/completions"),
        ("POST", "/chat/completions"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/files"),
        ("POST", "/v1/batches"),
        ("GET", "/v1/responses"),
        ("POST", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("POST", "/v1/responses/resp_1/other/cancel"),
        ("POST", "/v1/images/generations"),
        ("GET", "/v1/files/file-abc/content"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/a/b"),
        ("GET", "/v1/models/..%2f..%2fconfig"),
        ("POST", "/openai/deployments/model-x/chat/completions"),
        ("POST", "http://evil.example/v1/chat/completions"),
        ("GET", "/v1/chat/completions"),
        ("PUT", "/v1/messages"),
        ("GET", "/"),
        ("GET", "/config"),
        ("OPTIONS", "*"),
        ("GET", "/admin"),
    ],
)
def test_every_other_route_is_unknown(gateway, method, path):
    body = msgspec.json.encode(chat()) if method in ("POST", "PUT") else b""
    answer = gateway.send(request(method, path, body))[0]
    assert (answer.status, answer.code) == (404, "ROUTE_UNKNOWN")


def test_an_unknown_route_without_a_credential_says_no_more(gateway):
    answer = gateway.send(request("GET", "/v1/batches", key=None))[0]
    assert (answer.status, answer.code) == (404, "ROUTE_UNKNOWN")


def test_head_of_the_root_is_tolerated_and_health_needs_no_credential(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(request("HEAD", "/", key=None, headers=["Connection: close"]))
        data = b""
        while piece := connection.recv(65536):
            data += piece
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert data.endswith(b"\r\n\r\n")
    assert gateway.send(request("GET", "/healthz", key=None))[0].json == {"status": "ok"}
    assert gateway.send(request("GET", "/readyz", key=None))[0].json == {"ready": True}


# -- framing


@pytest.mark.parametrize(
    "data",
    [
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\nHost: a\n\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_ambiguous_framing_is_refused_and_the_connection_closed(gateway, data):
    answers = gateway.send(data + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", until_close=True)
    assert len(answers) == 1
    assert answers[0].status in (400, 505)
    assert answers[0].headers["connection"] == "close"


def test_a_chunked_body_reaches_the_provider_with_a_length(gateway):
    body = msgspec.json.encode(chat())
    chunks = b"".join(
        b"%x;ext=1\r\n%b\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7)
    )
    head = request("POST", PATHS[0], headers=["Transfer-Encoding: chunked", "Content-Type: application/json"])
    trailers = b"0\r\nX-Api-Key: other\r\nX-Safeconduct-Purpose: ransomware\r\n\r\n"
    assert gateway.send(head + chunks + trailers)[0].status == 200
    seen = gateway.seen[0]
    assert b"transfer-encoding" not in seen.headers
    assert int(seen.headers[b"content-length"][0]) == len(seen.body)


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Bomb: " + "a" * 70_000],
        [f"X-{number}: 1" for number in range(150)],
        ["X: " + "b" * 1000] * 80,
    ],
)
def test_a_header_bomb_is_refused(gateway, headers):
    answer = gateway.send(request("GET", "/v1/models", headers=headers), until_close=True)[0]
    assert (answer.status, answer.code) == (431, "headers_too_large")


def _accepts(connection, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            connection.sendall(b"a" * 4096)
        except (BrokenPipeError, ConnectionResetError):
            return False
        time.sleep(0.01)
    return True


def test_a_header_that_never_ends_is_refused(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        for _ in range(20):
            connection.sendall(b"a" * 4096)
        answer = read_answers(connection)[0]
        assert (answer.status, answer.code) == (431, "headers_too_large")
        # A client that goes on regardless loses the connection soon.
        assert not _accepts(connection, seconds=20)


def test_a_long_target_is_refused(gateway):
    answer = gateway.send(request("GET", "/" + "a" * 9000), until_close=True)[0]
    assert answer.status == 414


@pytest.mark.parametrize("framing", ["Content-Length: 2000000", "Transfer-Encoding: chunked"])
def test_a_body_over_the_limit_is_refused(gateway, framing):
    head = request("POST", PATHS[0], headers=[framing, "Content-Type: application/json"])
    data = head + (b"1e8480\r\n" if "chunked" in framing else b"") + b" " * 1_500_000
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_answers(connection, until_close=True)[0]
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_a_slow_head_and_a_slow_body_time_out(gateway):
    for data in (b"GET / HTTP/1.1\r\nHost: a\r\n", request("POST", PATHS[0], b"x" * 50)[:-20]):
        answer = gateway.send(data, until_close=True)[0]
        assert (answer.status, answer.code) == (408, "request_timeout")


def test_an_idle_connection_is_closed(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(request("GET", "/healthz"))
        assert read_answers(connection)[0].status == 200
        connection.settimeout(20)
        assert connection.recv(100) == b""


def test_pipelined_requests_are_answered_in_order(gateway):
    data = b"".join(request("GET", path) for path in ["/healthz", "/nowhere", "/v1/models", "/healthz"] * 10)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(data)
        answers = read_answers(connection, count=40)
    assert [each.status for each in answers] == [200, 404, 200, 200] * 10


def test_a_refused_request_in_a_pipeline_ends_it_after_the_answers_before(gateway):
    data = request("GET", "/healthz") + b"BAD\r\n\r\n" + request("GET", "/healthz")
    answers = gateway.send(data, until_close=True)
    assert [each.status for each in answers] == [200, 400]


def test_expect_100_continue_is_honoured_and_reaches_the_provider(gateway):
    body = msgspec.json.encode(chat())
    head = request(
        "POST",
        PATHS[0],
        headers=["Expect: 100-continue", f"Content-Length: {len(body)}", "Content-Type: application/json"],
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(head)
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answers(connection)[0].status == 200


def test_expect_100_continue_with_a_wrong_key_is_refused_before_the_body(gateway):
    head = request("POST", PATHS[0], key="wrong", headers=["Expect: 100-continue", "Content-Length: 100000"])
    answer = gateway.send(head, until_close=True)[0]
    assert (answer.status, answer.code) == (401, "PASSPORT_INVALID")
    assert answer.complete


def test_another_expectation_is_refused(gateway):
    answer = gateway.send(request("GET", "/v1/models", headers=["Expect: magic"]), until_close=True)[0]
    assert answer.status == 417


def test_http_1_0_reaches_the_provider_and_closes(gateway):
    body = msgspec.json.encode(chat(stream=True))
    data = request("POST", PATHS[0], body).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    answer = gateway.send(data, until_close=True)[0]
    assert answer.status == 200
    assert "transfer-encoding" not in answer.headers
    assert answer.body.endswith(b"data: [DONE]\n\n")


# -- headers and credentials


@pytest.mark.parametrize(
    "headers", [[f"Authorization: Bearer {KEY}"], ["x-api-key: a", "x-api-key: b"], ["x-api-key: other"]]
)
def test_two_credentials_are_refused(gateway, headers):
    answer = gateway.send(request("GET", "/v1/models", headers=headers))[0]
    assert answer.status in (400, 401)


@pytest.mark.parametrize(
    "key", ["' OR 1=1 --", "ann-ke", "ann-key2", "sc_live_x_" + "y" * 2000, "ANN-KEY", "%00"]
)
def test_a_wrong_credential_is_refused_with_its_own_code_only(gateway, key):
    answer = gateway.post(body=chat(model="no-such-model"), key=key)
    assert (answer.status, answer.code) == (401, "PASSPORT_INVALID")
    assert "MODEL_UNKNOWN" not in answer.body.decode()
    assert key not in answer.body.decode()
    assert answer.headers["x-request-id"].startswith("req_")


def test_internal_headers_and_the_clients_credentials_never_reach_the_provider(gateway):
    answer = gateway.post(
        headers=[
            f"x-api-key: {KEY}",
            "DPoP: proof-canary",
            "Cookie: session=canary",
            "Forwarded: for=1.2.3.4",
            "X-Forwarded-For: 1.2.3.4",
            "X-Safeconduct-Subject: admin",
            "X-Safeconduct-Purpose: vuln_triage",
            "X-Request-Id: forged",
            "Anthropic-User-Profile-Id: someone",
            "OpenAI-Organization: org-evil",
            "OpenAI-Project: evil",
            "Idempotency-Key: shared",
            "Proxy-Authorization: Basic canary",
            "Connection: keep-alive, x-canary",
            "X-Canary: 1",
            "Azure-Api-Key: x",
        ]
    )
    assert answer.status == 200
    assert answer.headers["x-request-id"].startswith("dec_")
    seen = gateway.seen[0]
    assert set(seen.headers) == {
        b"host",
        b"content-type",
        b"content-length",
        b"accept-encoding",
        b"user-agent",
        b"authorization",
    }
    assert seen.headers[b"authorization"] == [b"Bearer " + UPSTREAM_KEY]
    assert seen.headers[b"host"] == [f"127.0.0.1:{gateway.sandbox.port}".encode()]
    assert KEY.encode() not in seen.body


def test_vendor_version_headers_reach_the_provider_byte_for_byte(gateway):
    gateway.send(
        request(
            "POST",
            "/v1/messages",
            msgspec.json.encode(chat()),
            headers=["anthropic-beta: a-1,  b-2", "Anthropic-Beta: c\xe9"],
        )
    )
    assert gateway.seen[0].headers[b"anthropic-beta"] == [b"a-1,  b-2", b"c\xe9"]
    assert gateway.seen[0].headers[b"anthropic-version"] == [b"2023-06-01"]


@pytest.mark.parametrize("path", PATHS)
def test_who_the_end_user_is_reaches_the_provider_as_a_pseudonym_only(gateway, path):
    gateway.post(
        path,
        body=chat(
            user="me",
            safety_identifier="me",
            metadata={"user_id": "me", "kept": "yes"},
            seed=12345678901234567890,
        ),
    )
    body = json.loads(gateway.seen[0].body)
    assert body["model"] == "model-x-upstream"
    assert body["metadata"]["kept"] == "yes"
    assert b'"me"' not in gateway.seen[0].body
    assert b"ann" not in gateway.seen[0].body
    pseudonym = gateway.node.pseudonyms.of("lab", "ann")
    if path == PATHS[0]:
        assert body["user"] == body["safety_identifier"] == pseudonym
        assert "user_id" not in body["metadata"]
    else:
        assert body["metadata"]["user_id"] == pseudonym
        assert "user" not in body
    assert gateway.node.pseudonyms.of("other-lab", "ann") != pseudonym


def test_raw_values_reach_the_provider_untouched(gateway):
    raw = b'{"model" : "model-x", "messages":[{"role":"user","content":"\\u00e9\\ud83d\\ude00 1.0"}], "temperature":1.0000000000000000001, "big":123456789012345678901234567890}'
    assert gateway.post(body=raw).status == 200
    assert b'"content":"\\u00e9\\ud83d\\ude00 1.0"' in gateway.seen[0].body
    assert b'"temperature":1.0000000000000000001' in gateway.seen[0].body
    assert b'"big":123456789012345678901234567890' in gateway.seen[0].body


def test_the_host_header_is_not_what_a_proof_is_checked_against(gateway):
    gateway.send(request("GET", "/v1/models", host="evil.example"))
    assert gateway.credentials.url == "http://gateway.test/v1/models"


@pytest.mark.parametrize(
    "header", ["X-Safeconduct-Purpose: world_peace", "X-Safeconduct-Project: " + "p" * 200]
)
def test_a_purpose_or_project_that_cannot_be_is_a_400(gateway, header):
    assert gateway.post(headers=[header]).status == 400


def test_a_prohibited_purpose_is_denied(gateway):
    answer = gateway.post(headers=["X-Safeconduct-Purpose: ransomware"])
    assert (answer.status, answer.code) == (403, "PURPOSE_PROHIBITED")


# -- authority


def test_an_address_outside_a_keys_networks_is_denied(gateway):
    gateway.world.key("key-1", "ann", networks=("10.0.0.0/8",))
    gateway.change()
    gateway.credentials.principals["far"] = principal_of(
        gateway.world, "ann", networks=("10.0.0.0/8",), gateway_key="key-1", binding="key"
    )
    answer = gateway.post(key="far")
    assert (answer.status, answer.code) == (401, "BINDING_MISSING")


def test_a_token_for_other_models_is_refused_and_recorded(gateway):
    gateway.credentials.principals["narrow"] = principal_of(gateway.world, "ann", variants=("model-z",))
    answer = gateway.post(key="narrow")
    assert (answer.status, answer.code) == (403, "GRANT_MISSING")
    assert gateway.entries("refusal")[-1]["codes"] == ["GRANT_MISSING"]
    listed = gateway.send(request("GET", "/v1/models", key="narrow"))[0].json
    assert listed["data"] == []


def test_the_list_of_models_shows_what_this_caller_may_use_and_no_more(gateway):
    gateway.world.variant("model-secret", "lab")
    gateway.change()
    for headers, shape in (([], "object"), (["anthropic-version: 2023-06-01"], "has_more")):
        answer = gateway.send(request("GET", "/v1/models", headers=headers))[0]
        assert [each["id"] for each in answer.json["data"]] == ["model-x"]
        assert shape in answer.json
    closed = gateway.send(request("GET", "/v1/models/model-secret"))[0]
    unknown = gateway.send(request("GET", "/v1/models/model-nothing"))[0]
    assert closed.status == unknown.status == 404
    assert closed.code == unknown.code == "MODEL_UNKNOWN"
    assert closed.body == unknown.body
    assert gateway.send(request("GET", "/v1/models/model-x"))[0].json["id"] == "model-x"


def test_failed_authentication_is_one_aggregate_entry_a_minute(gateway):
    gateway.decisions.flush(int(gateway.clock.now()), force=True)
    before = len(gateway.entries("failed_authentication"))
    for _ in range(25):
        gateway.post(key="nope")
    size = gateway.log.size
    gateway.on_loop(gateway.decisions.flush, int(gateway.clock.now()) + 61)
    added = gateway.entries("failed_authentication")[before:]
    assert [each["codes"] for each in added] == [{"PASSPORT_INVALID": 25}]
    assert added[0]["sources"] == [{"source": "127.0.0.1", "codes": {"PASSPORT_INVALID": 25}}]
    assert gateway.log.size == size + 1
