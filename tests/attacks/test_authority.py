"""Attacks on who somebody is and what they may: at the listener, with the real credential check.

That a role is asked of every operation of the API, and that an operation without a row in the matrix fails, stands in
tests/web/test_authorization_matrix.py; that a failed log denies in tests/web/test_proxy_durability.py.
"""

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.support.gateways import chat, request
from tests.support.real_credentials import AUDIENCE, PATH, RealCredentials
from tests.support.recording_upstreams import Nobody, RecordingUpstream, gateway_before
from tests.support.worlds import plain_world

from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Level, PassportStatus
from safeconduct.record.events import GatewayKeyRevoked

SOURCE = Path(__file__).parents[2] / "src" / "safeconduct"


def world():
    made = plain_world()
    made.variant("model-secret", "lab", level=Level.C3)
    made.person("eve", "org-a")  # a colleague to whom nothing was granted
    return made


@pytest.fixture(scope="module")
def upstream():
    with RecordingUpstream() as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(upstream):
    upstream.clear()


@pytest.fixture(scope="module")
def credentials(tmp_path_factory, upstream):
    with gateway_before(tmp_path_factory.mktemp("gateway"), upstream, world=world()) as running:
        yield RealCredentials(running)
        assert running.reported == []


@pytest.fixture
def alone(tmp_path, upstream):
    """A gateway of the test's own, which it may break."""
    with gateway_before(tmp_path, upstream, world=world()) as running:
        yield RealCredentials(running)


def refused(answer, *statuses):
    return answer.status in (statuses or (401,))


# -- SQL in the bearer

SQL = [
    "' OR '1'='1",
    "sc_dev_' OR 1=1 --_secret",
    'sc_dev_"; DROP TABLE keys; --_x',
    "sc_dev_%_%",
    "sc_dev_*_*",
    "sc_dev__",
    "sc_dev_KEY' UNION SELECT 1 --_x",
    "1; SELECT pg_sleep(10)",
    "$(id)",
    "`id`",
    "${jndi:ldap://127.0.0.1/x}",
    "{{7*7}}",
    "../../etc/passwd",
    "null",
    "undefined",
    "true",
    "0",
    "[]",
    "{}",
    "Bearer",
    "a b",
    "\t",
    "\xff\xfe",
]


@pytest.mark.parametrize("text", SQL)
def test_sql_and_other_languages_in_the_bearer_are_a_wrong_credential(credentials, upstream, text):
    key = credentials.key()
    text = text.replace("KEY", key.id)
    for headers in (
        [f"Authorization: Bearer {text}"],
        [f"Authorization: DPoP {text}", "DPoP: x"],
        [f"x-api-key: {text}"],
        [f"Authorization: {text}"],
    ):
        answer = credentials.post(*headers)
        assert answer.status == 401
        assert answer.code in ("PASSPORT_INVALID", "BINDING_MISSING")
        assert len(text) < 5 or text.strip() not in answer.body.decode()
    assert upstream.raw == b""
    assert credentials.post(f"x-api-key: {key.text}").status == 200


# -- the Host header


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "gateway.test:80",
        "gateway.test/../",
        "gateway.test@evil.example",
        "127.0.0.1",
        "",
        "gateway.test, evil.example",
    ],
)
def test_the_host_header_changes_neither_what_a_proof_is_for_nor_the_route(credentials, upstream, host):
    assert credentials.post(*credentials.bound(), host=host).status == 200
    # A proof for the host that the header names is a proof for somewhere else.
    for url in ("http://evil.example/v1/chat/completions", AUDIENCE + "/v1/messages"):
        assert refused(credentials.post(*credentials.bound(url=url), host=host))
    upstream.check(1)


@pytest.mark.parametrize(
    "header",
    [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Path",
        "X-Forwarded-Prefix",
        "X-Original-URI",
        "X-Envoy-Original-Path",
        "X-HTTP-Method-Override",
        "X-Method-Override",
        "X-Forwarded-Host",
    ],
)
def test_a_header_that_rewrites_the_path_or_the_method_elsewhere_does_nothing_here(
    credentials, upstream, header
):
    value = {"X-HTTP-Method-Override": "GET", "X-Method-Override": "GET"}.get(header, "/v1/models")
    answer = credentials.post(*credentials.bound(), f"{header}: {value}")
    assert answer.json == {"id": "x"}
    answer = credentials.post(f"{header}: /healthz")
    assert answer.status == 401
    answer = credentials.post(
        *credentials.bound(url=AUDIENCE + "/v1/files"), f"{header}: {PATH}", path="/v1/files"
    )
    assert answer.code == "ROUTE_UNKNOWN"
    upstream.check(1)


# -- caches of credentials


def test_a_credential_that_shares_all_but_its_end_with_a_known_one_is_not_it(credentials, upstream):
    key = credentials.key()
    token = credentials.token()
    assert credentials.post(f"x-api-key: {key.text}").status == 200
    assert credentials.post(*credentials.bound(token)).status == 200
    for wrong in (
        key.text[:-1] + ("A" if key.text[-1] != "A" else "B"),
        key.text + "A",
        key.text[:-1],
        key.text + " ",
    ):
        assert refused(credentials.post(f"x-api-key: {wrong}")), wrong
    head, body, _ = token.split(".")
    # The same header and claims, another signature: a cache keyed on anything less than the whole text would accept it.
    for wrong in (f"{head}.{body}.{b64u(bytes(64))}", f"{head}.{body}.", token + "A", token[:-4]):
        assert refused(credentials.post(f"Authorization: DPoP {wrong}", f"DPoP: {credentials.proof(wrong)}"))
    upstream.check(2)


def test_a_cached_principal_does_not_outlive_its_revocation(alone, upstream):
    key, other, token = alone.key(), alone.key(), alone.token()
    for _ in range(3):
        assert alone.post(f"x-api-key: {key.text}").status == 200
        assert alone.post(*alone.bound(token)).status == 200
    upstream.clear()
    alone.gateway.change(GatewayKeyRevoked(key=key.id, by="ann", at=alone.now))
    assert alone.post(f"x-api-key: {key.text}").status == 401
    assert alone.post(f"x-api-key: {other.text}").status == 200
    upstream.clear()
    alone.gateway.world.passport_status("ann", PassportStatus.INVALID, at=alone.now)
    alone.gateway.change()
    for headers in ([f"x-api-key: {other.text}"], alone.bound(token)):
        answer = alone.post(*headers)
        assert (answer.status, answer.code) == (403, "PASSPORT_REVOKED")
        listed = alone.gateway.send(request("GET", "/v1/models", key=None, headers=[headers[0]]))[0]
        assert listed.status == 401 or listed.json["data"] == []
    assert upstream.raw == b""


def test_a_cached_token_does_not_outlive_its_end(alone, upstream):
    token = alone.token()
    assert alone.post(*alone.bound(token)).status == 200
    alone.gateway.clock.move_to(alone.now + 301)
    assert refused(alone.post(*alone.bound(token)))
    upstream.check(1)


# -- somebody else's token


def test_a_token_for_another_audience_issuer_or_key_is_refused(credentials, upstream):
    other = FileSigner.generate()
    for token in (
        credentials.token(audience="http://gateway.test/"),
        credentials.token(audience="http://GATEWAY.test"),
        credentials.token(audience="https://gateway.test"),
        credentials.token(audience="http://other.test"),
        credentials.token(audience=""),
        credentials.token(issuer="https://evil.example"),
        credentials.token(signer=other),
        credentials.token(now=credentials.now + 3600),
        credentials.token(now=credentials.now - 3600),
    ):
        answer = credentials.post(*credentials.bound(token))
        assert (answer.status, answer.code) == (401, "PASSPORT_INVALID")
    assert upstream.raw == b""


def test_a_stolen_token_is_worth_nothing_without_its_key(credentials, upstream):
    thief = FileSigner.generate()
    token = credentials.token()
    for headers in (
        [f"Authorization: Bearer {token}"],
        [f"x-api-key: {token}"],
        [f"Authorization: DPoP {token}"],
        credentials.bound(token, signer=thief),
        [f"Authorization: DPoP {token}", f"DPoP: {credentials.proof(token)}, {credentials.proof(token)}"],
    ):
        answer = credentials.post(*headers)
        assert (answer.status, answer.code) == (401, "BINDING_MISSING")
    assert upstream.raw == b""


def test_a_proof_whose_text_is_no_ascii_is_refused_also_when_its_key_is_known(credentials, upstream):
    token = credentials.token()
    assert credentials.post(*credentials.bound(token)).status == 200
    head, body, signature = credentials.proof(token).split(".")
    for proof in (
        f"{head}.\xe9{body}.{signature}",
        f"{head}.{body}.\xe9",
        f"{head}..",
        f"{head}.{body}.{signature}\xff",
    ):
        answer = credentials.post(f"Authorization: DPoP {token}", f"DPoP: {proof}")
        assert (answer.status, answer.code) == (401, "BINDING_MISSING")
    upstream.check(1)


def test_two_credentials_of_two_people_are_refused(credentials, upstream):
    mine, eves = credentials.key(), credentials.key("eve")
    for headers in (
        [f"Authorization: Bearer {mine.text}", f"x-api-key: {eves.text}"],
        [f"Authorization: Bearer {eves.text}", f"x-api-key: {mine.text}"],
        [f"Authorization: Bearer {mine.text}", f"Authorization: Bearer {eves.text}"],
        [f"x-api-key: {mine.text}", f"x-api-key: {eves.text}"],
        [f"Authorization: Bearer {mine.text},Bearer {eves.text}"],
    ):
        assert refused(credentials.post(*headers), 400, 401)
    assert upstream.raw == b""


# -- roles and routes of one's own choosing


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Role: admin", "X-User-Role: proxy_admin", "X-Roles: operator"],
        ["X-Safeconduct-Role: operator", "X-Safeconduct-Subject: ann", "X-Safeconduct-Level: C4"],
        ["X-Forwarded-User: ann", "X-Remote-User: ann", "Remote-User: ann", "X-Auth-Request-User: ann"],
        [
            "X-Forwarded-For: 127.0.0.1",
            "X-Real-IP: 127.0.0.1",
            "Forwarded: for=127.0.0.1",
            "True-Client-IP: 127.0.0.1",
        ],
        ["X-Forwarded-Client-Cert: Subject=ann", "X-SSL-Client-Verify: SUCCESS", "X-Client-Cert: ann"],
        ["X-LiteLLM-Allowed-Routes: *", "X-Allowed-Models: *", "X-Safeconduct-Grant: *"],
    ],
)
def test_a_role_or_route_that_a_caller_gives_itself_is_not_one(credentials, upstream, headers):
    eve = credentials.key("eve")
    assert credentials.post(*headers).status == 401
    members = {
        "role": "admin",
        "user_role": "proxy_admin",
        "allowed_routes": ["*"],
        "permissions": {"all": True},
    }
    answer = credentials.post(f"x-api-key: {eve.text}", *headers, **members)
    assert (answer.status, answer.code) == (403, "GRANT_MISSING")
    assert upstream.raw == b""


def test_a_source_address_is_the_peers_and_never_a_headers(credentials, upstream):
    far = credentials.key(networks=("10.0.0.0/8",))
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "X-Client-IP", "Via"):
        value = "for=10.0.0.1" if header == "Forwarded" else "10.0.0.1"
        answer = credentials.post(f"x-api-key: {far.text}", f"{header}: {value}")
        assert (answer.status, answer.code) == (401, "BINDING_MISSING")
    assert upstream.raw == b""


CONFIGURATION = [
    "/config",
    "/config/update",
    "/config/yaml",
    "/admin",
    "/v1/admin/users",
    "/key/generate",
    "/key/list",
    "/user/new",
    "/model/new",
    "/v1/deployments",
    "/v1/grants",
    "/api/v1/trust",
    "/get/config/callbacks",
    "/health/services",
    "/health/test_connection",
    "/debug",
    "/debug/pprof",
    "/metrics",
    "/routes",
    "/openapi.json",
    "/docs",
    "/.env",
    "/actuator/env",
    "/server-status",
    "/v1/organization/api_keys",
]


@pytest.mark.parametrize("path", CONFIGURATION)
def test_no_configuration_lies_behind_the_gateways_listener(credentials, upstream, path):
    key = credentials.key()
    for method in ("GET", "POST", "PUT", "DELETE"):
        body = b"{}" if method in ("POST", "PUT") else b""
        for headers in ([], [f"x-api-key: {key.text}"]):
            answer = credentials.post(*headers, path=path, method=method, body=body)
            assert (answer.status, answer.code) == (404, "ROUTE_UNKNOWN")
    assert upstream.raw == b""


SPAWNING = [
    "/mcp/test/connection",
    "/test",
    "/v1/test",
    "/mcp-rest/test/tools/list",
    "/health/test",
    "/utils/exec",
    "/v1/tools/run",
    "/guardrails/test_custom_code",
]


def test_no_route_spawns_a_process(credentials, upstream):
    """Such "test" routes ran a command from the body. Here nothing that is served can: no route, and no code for it."""
    spawned = []
    watching = True

    def watch(event, arguments):
        if watching and event in (
            "subprocess.Popen",
            "os.system",
            "os.exec",
            "os.posix_spawn",
            "os.fork",
            "os.spawn",
        ):
            spawned.append((event, arguments))

    sys.addaudithook(watch)
    try:
        subprocess.run([sys.executable, "-c", ""], check=True)
        assert spawned, "the watch does not see"
        spawned.clear()
        body = msgspec.json.encode({"command": "touch", "args": ["/tmp/x"], "transport": "stdio", **chat()})
        key = credentials.key()
        for path in (*SPAWNING, PATH, "/v1/messages"):
            for headers in ([], [f"x-api-key: {key.text}"]):
                credentials.post(*headers, path=path, body=body)
        assert spawned == []
    finally:
        watching = False


def test_nothing_that_serves_imports_what_could_spawn_a_process():
    forbidden = {"subprocess", "multiprocessing", "pty", "pexpect", "pickle", "marshal", "shelve"}
    calls = {
        "system",
        "popen",
        "execv",
        "execve",
        "execvp",
        "posix_spawn",
        "fork",
        "eval",
        "exec",
        "__import__",
        "compile",
    }
    found = []
    for package in ("web", "gateway", "app", "upstreams", "decision", "passport", "storage", "kernel"):
        for path in (SOURCE / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names = {each.name.split(".")[0] for each in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = {(node.module or "").split(".")[0]}
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in calls:
                    names = {node.func.id}
                elif (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "os"
                    and node.func.attr in calls
                ):
                    names = {f"os.{node.func.attr}"}
                else:
                    continue
                found += [
                    f"{path.relative_to(SOURCE)}: {name}"
                    for name in names & (forbidden | calls | {f"os.{each}" for each in calls})
                ]
    # The supervisor starts workers, with arguments of its own, before any request is read.
    assert set(found) <= {"web/nodes/supervisor.py: subprocess"}


# -- fail-open


def test_without_the_vault_nobody_is_let_through(alone, upstream):
    known, fresh = alone.key(), alone.key()
    token = alone.token()
    assert alone.post(f"x-api-key: {known.text}").status == 200
    upstream.clear()
    alone.gateway.on_loop(alone.gateway.vault.close)
    (alone.gateway.directory / "vault.db").rename(alone.gateway.directory / "away.db")
    (alone.gateway.directory / "vault.db").mkdir()
    alone.gateway.node._credentials.clear()
    for headers in (
        [f"x-api-key: {fresh.text}"],
        [f"x-api-key: {known.text}"],
        alone.bound(token),
        ["x-api-key: sc_dev_x_y"],
    ):
        answer = alone.post(*headers)
        assert answer.status in (401, 500, 503), answer.body
    assert upstream.raw == b""
    alone.gateway.reported.clear()


def test_a_defect_in_the_decision_denies(alone, upstream):
    def defective(*_):
        raise ZeroDivisionError("person-canary in a message")

    key = alone.key()
    right, alone.gateway.node.decide_on = alone.gateway.node.decide_on, defective
    answer = alone.post(f"x-api-key: {key.text}")
    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"canary" not in answer.body
    assert b"ZeroDivision" not in answer.body
    assert upstream.raw == b""
    assert [type(each) for each in alone.gateway.reported] == [ZeroDivisionError]
    alone.gateway.reported.clear()
    alone.gateway.node.decide_on = right
    assert alone.post(f"x-api-key: {key.text}").status == 200


def test_a_defect_in_the_credential_check_denies(alone, upstream):
    class Defective:
        def verify(self, **_):
            raise MemoryError

    alone.gateway.node._verifier = Defective()
    answer = alone.post("x-api-key: anything")
    assert (answer.status, answer.code) == (500, "internal_error")
    with Nobody() as elsewhere:
        alone.post("x-api-key: anything", f"X-Upstream: http://127.0.0.1:{elsewhere.port}")
        assert elsewhere.called == []
    assert upstream.raw == b""
    alone.gateway.reported.clear()
