"""Credentials where they could end up: logs, audit entries, error texts, tracebacks, files; and what the product is built from.

How a line of the service's log is redacted stands in tests/unit/storage/test_service_log.py.
"""

import base64
import logging
import re
import tomllib
import urllib.parse
from pathlib import Path

import msgspec
import pytest
from tests.support.gateways import UPSTREAM_KEY, chat, request
from tests.support.real_credentials import PATH, RealCredentials
from tests.support.recording_upstreams import RecordingUpstream, answer_of, gateway_before

from safeconduct.storage.service_log import FILE_NAME, start_service_log

ROOT = Path(__file__).parents[2]


def forms(secret):
    """How a secret could stand in a file."""
    raw = secret.encode() if isinstance(secret, str) else secret
    found = {raw, urllib.parse.quote(raw, safe="").encode(), raw[:12] if len(raw) > 16 else raw}
    # base64 at each of the three places it can begin at.
    for offset in range(3):
        found.add(base64.b64encode(b"\0" * offset + raw)[4:-4])
    found.add(raw.hex().encode())
    return {each for each in found if len(each) >= 8}


@pytest.fixture
def upstream():
    with RecordingUpstream() as running:
        yield running


@pytest.fixture
def gateway(tmp_path, upstream):
    with gateway_before(tmp_path, upstream) as running:
        yield running


def everything_written(gateway):
    """Bytes of every file of the instance, the service's log and the durable entries."""
    gateway.on_loop(gateway.decisions.flush, int(gateway.clock.now()) + 61)
    gateway.entries()
    return b"\n".join(
        each.read_bytes() for each in sorted(gateway.directory.rglob("*")) if each.is_file()
    ) + b"".join(gateway.log.read(0, gateway.log.size))


def test_a_credential_is_found_in_no_log_entry_answer_or_file_wherever_it_was_put(gateway, upstream, caplog):
    stop = start_service_log(gateway.directory / "logs", level="debug")
    try:
        credentials = RealCredentials(gateway)
        key, token = credentials.key(), credentials.token()
        # The secret part: a key's id is no secret and stands in its decisions.
        secret = key.text.rsplit("_", 1)[1]
        proof = credentials.proof(token)
        with caplog.at_level(logging.DEBUG):
            answers = [
                credentials.post(f"x-api-key: {key.text}"),
                credentials.post(f"Authorization: DPoP {token}", f"DPoP: {proof}"),
                credentials.post(f"Authorization: DPoP {token}", f"DPoP: {proof}"),
                credentials.post(f"Authorization: Bearer {token}"),
                credentials.post(f"x-api-key: {key.text}x"),
                credentials.post(f"Authorization: {key.text}"),
                credentials.post(f"x-api-key: {key.text}", path=PATH + f"?api_key={key.text}&key={token}"),
                credentials.post(f"x-api-key: {key.text}", path=PATH + f"?model={key.text}"),
                credentials.post(f"x-api-key: {key.text}", path=f"/v1/{key.text}"),
                credentials.post(
                    f"x-api-key: {key.text}", path=f"/v1/files/{key.text}/content", method="GET", body=b""
                ),
                credentials.post(f"x-api-key: {key.text}", path=f"/{key.text}/chat/completions"),
                credentials.post(
                    f"x-api-key: {key.text}", path=f"/v1/models/{key.text}", method="GET", body=b""
                ),
                credentials.post(path=f"/v1/files/{token}", method="GET", body=b""),
                credentials.post(f"x-api-key: {key.text}", model=key.text),
                credentials.post(f"x-api-key: {key.text}", model=token[:190]),
                credentials.post(f"x-api-key: {key.text}", api_key=key.text),
                credentials.post(f"x-api-key: {key.text}", **{key.text: 1}),
                credentials.post(
                    f"x-api-key: {key.text}",
                    body=b'{"' + key.text.encode() + b'":1,"' + key.text.encode() + b'":2}',
                ),
                credentials.post(f"x-api-key: {key.text}", body=key.text.encode()),
                credentials.post(
                    f"x-api-key: {key.text}",
                    text=f"my key is {key.text}",
                    user=key.text,
                    metadata={"user_id": key.text},
                ),
                credentials.post(f"x-api-key: {key.text}", f"X-Safeconduct-Project: {key.text}"),
                credentials.post(f"x-api-key: {key.text}", f"X-Safeconduct-Purpose: {key.text}"),
                credentials.post(f"x-api-key: {key.text}", f"Content-Encoding: {key.text}"),
                credentials.post(
                    f"x-api-key: {key.text}", f"Cookie: key={key.text}", f"X-Request-Id: {key.text}"
                ),
                credentials.post(f"x-api-key: {key.text}", host=key.text),
                credentials.post(f"x-api-key: {key.text}", f"Expect: {key.text}"),
                *gateway.send(
                    f"GET {key.text} HTTP/1.1\r\nHost: a\r\nx-api-key: {key.text}\r\n\r\n".encode(),
                    until_close=True,
                ),
                *gateway.send(f"{key.text}\r\n\r\n".encode(), until_close=True),
                *gateway.send(f"GET / HTTP/1.1\r\nHost: a\r\n{key.text}\r\n\r\n".encode(), until_close=True),
            ]
        assert {each.status for each in answers} >= {200, 400, 401, 404}
        told = b"".join(each.body + str(each.headers).encode() for each in answers)
        written = everything_written(gateway)
        assert b"decision" in written
        logged = "\n".join(f"{each.getMessage()} {each.__dict__}" for each in caplog.records).encode()
        assert (gateway.directory / "logs" / FILE_NAME).exists()
        for what in (
            secret,
            token.rsplit(".", 1)[1],
            token.split(".")[1],
            proof.rsplit(".", 1)[1],
            UPSTREAM_KEY,
        ):
            for form in forms(what):
                for where, text in (("an answer", told), ("a file", written), ("a log record", logged)):
                    assert form not in text, (where, form)
        # What reached the upstream: the prompt is the caller's own; nothing else of it carries the key.
        carried = [each for each in upstream.requests if secret.encode() in each.raw]
        assert all(
            each.raw.count(secret.encode()) == each.raw.count(b"my key is") + each.raw.count(b'"sc_')
            for each in carried
        )
    finally:
        stop()


def test_a_defect_writes_its_place_and_never_its_message_or_a_traceback(gateway, upstream, caplog):
    stop = start_service_log(gateway.directory / "logs", level="debug")
    try:
        secret = "sk-canary-0123456789abcdef"

        def defective(*_):
            local = secret  # a traceback with locals would show it
            raise RuntimeError(f"could not use {local}")

        gateway.node.decide_on = defective
        del gateway.server.report  # the real one
        answer = gateway.post(text=secret)
        assert answer.status == 500
        assert secret.encode() not in answer.body
        line = (gateway.directory / "logs" / FILE_NAME).read_text()
        assert "RuntimeError" in line
        assert secret not in line
        assert "Traceback" not in line
        assert secret not in caplog.text
        assert upstream.raw == b""
    finally:
        stop()


def test_no_line_is_logged_for_an_ordinary_request(gateway, caplog):
    """There is no access log whose queries could carry a key."""
    with caplog.at_level(logging.DEBUG):
        for path in (PATH, PATH + "?api_key=sk-canary-1", "/v1/models", "/nowhere?token=sk-canary-2"):
            gateway.post(path)
            gateway.send(request("GET", path))
            gateway.send(request("GET", path, key="wrong"))
    assert [each for each in caplog.records if each.name.startswith("safeconduct.web.proxy")] == []
    assert not any("canary" in each.getMessage() for each in caplog.records)


def test_an_audit_entrys_ids_are_made_by_us(gateway):
    gateway.post(headers=["X-Request-Id: sk-canary-in-an-id"])
    gateway.post(key="sk-canary-wrong")
    gateway.send(request("GET", "/v1/unknown", headers=["X-Request-Id: sk-canary-in-an-id"]))
    entries = gateway.entries()
    ids = [value for each in entries for name, value in each.items() if name in ("decision", "refusal")]
    assert ids
    assert all(re.fullmatch(r"(dec|ref)_[a-z0-9]{16}", each) for each in ids)
    assert b"canary-in-an-id" not in msgspec.json.encode(entries)


def test_an_error_of_the_upstream_that_quotes_a_key_is_not_logged(tmp_path, caplog):
    answer = answer_of(b'{"error":{"message":"bad key sk-canary-upstream"}}', status="401 Unauthorized")
    with RecordingUpstream(answer) as upstream, gateway_before(tmp_path, upstream) as gateway:
        with caplog.at_level(logging.DEBUG):
            assert b"canary" not in gateway.post().body
        assert b"sk-canary-upstream" not in everything_written(gateway)
        assert "canary" not in caplog.text


# -- what the product is built from

LOCKS = ["requirements.lock", "requirements-dev.lock"]


@pytest.mark.parametrize("name", LOCKS)
def test_every_dependency_is_pinned_to_one_version_by_hash_and_names_no_address(name):
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[A-Za-z0-9.!+_-]+( ;[^\n]*)? \\\n", entry), entry[
            :80
        ]
        hashes = re.findall(r"--hash=(\S+)", entry)
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes)
    for address in (
        "http:",
        "https:",
        "git+",
        "file:",
        "--index-url",
        "--extra-index-url",
        "--find-links",
        "-e ",
        " @ ",
    ):
        assert address not in text


def test_what_the_project_asks_for_stands_in_the_lock():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    locked = set(
        re.findall(
            r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==", (ROOT / "requirements.lock").read_text(), re.MULTILINE
        )
    )
    for each in asked:
        name = re.match(r"[A-Za-z0-9._-]+", each)[0].lower().replace("_", "-")
        assert name in locked


def test_the_set_up_installs_by_hash_only_and_builds_nothing():
    script = (ROOT / "scripts" / "set-up").read_text()
    for word in ("--require-hashes", "--only-binary :all:", "--no-deps", "--no-index"):
        assert word in script
    for word in ("curl", "wget", "--trusted-host", "--pre", "sudo"):
        assert word not in script


def test_the_running_product_fetches_no_code():
    """Nothing in the page loads from elsewhere."""
    for path in [
        *(ROOT / "src").rglob("*.html"),
        *(ROOT / "src").rglob("*.js"),
        *(ROOT / "src").rglob("*.css"),
    ]:
        text = path.read_text()
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//|@import|url\((?:https?:)?//""", text), path


def test_nothing_is_sent_upstream_that_says_what_we_run(gateway, upstream):
    gateway.post(body=chat())
    assert dict(upstream.requests[0].headers)[b"user-agent"] == b"safeconduct"
    answer = gateway.send(request("GET", "/v1/models"))[0]
    assert "server" not in answer.headers
    assert "x-powered-by" not in answer.headers
