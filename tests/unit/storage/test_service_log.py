import json
import logging
import stat
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import FileSigner
from safeconduct.storage.service_log import JsonFormatter, redact, start_service_log

SIGNER = FileSigner.generate()
JWT = sign_jwt({"sub": "sub_1", "exp": 1}, typ="at+jwt", signer=SIGNER)
PEM = SIGNER.to_pem().decode()
GATEWAY_KEY = "sc_dev_k7f3a_CANARYsecretCANARYsecret"
DISCLOSURE = "WyJzYWx0IiwgImNpdGl6ZW5zaGlwcyIsIFsiRlIiXV0"
ROOT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

# name -> (text to be logged, what must not be found in the line)
CANARIES = {
    "gateway key": (f"key {GATEWAY_KEY} refused", "CANARYsecret"),
    "gateway key in a URL": (f"GET /v1/models?key={GATEWAY_KEY}&x=1", "CANARYsecret"),
    "access token": (f"token {JWT}", JWT.split(".")[2]),
    "access token without signature": (JWT.rsplit(".", 1)[0], JWT.split(".")[1]),
    "presentation": (f"{JWT}~{DISCLOSURE}~{JWT}", DISCLOSURE),
    "disclosure": (f"unreferenced disclosure {DISCLOSURE}", DISCLOSURE),
    "private key": (f"could not read {PEM}", PEM.splitlines()[1]),
    "private key cut short": (PEM[:100], PEM.splitlines()[1][:40]),
    "private key with escaped newlines": (json.dumps(PEM), PEM.splitlines()[1]),
    "bearer": ("Authorization: Bearer CANARY-opaque", "CANARY"),
    "lower case": ("authorization: bearer CANARYopaque", "CANARY"),
    "dpop scheme": ("sent DPoP CANARYopaque", "CANARY"),
    "basic": ("Authorization: Basic Q0FOQVJZOnB3", "Q0FOQVJZ"),
    "raw headers": ("[(b'authorization', b'Bearer CANARY'), (b'host', b'x')]", "CANARY"),
    "dict of headers": ("{'x-api-key': 'CANARY', 'accept': '*/*'}", "CANARY"),
    "json of headers": ('{"X-Api-Key":"CANARY"}', "CANARY"),
    "cookie": ("Cookie: session=CANARY; a=b", "CANARY"),
    "vendor key": ("upstream said: invalid key sk-CANARY0123456789", "CANARY"),
    "form": ("grant_type=x&subject_token=CANARY&audience=y", "CANARY"),
    "root key": (f"read {ROOT}", ROOT[:20]),
    "private jwk": ('{"kty":"EC","d":"CANARYcanaryCANARY00","x":"a"}', "CANARY"),
    "password": ("password=CANARY", "CANARY"),
}


def line_of(message, *args, exc_info=False, extra=None):
    caught = sys.exc_info() if exc_info else None
    logger = logging.getLogger("test")
    record = logger.makeRecord("test", logging.ERROR, __file__, 1, message, args, caught, extra=extra)
    return JsonFormatter().format(record)


@pytest.mark.parametrize("name", CANARIES)
def test_no_credential_reaches_a_log_line_by_any_way(name):
    text, canary = CANARIES[name]
    try:
        raise ValueError(text)
    except ValueError:
        lines = [
            line_of(text.replace("%", "%%")),
            line_of("%s", text),
            line_of("failed", exc_info=True),
            line_of("extra", extra={"detail": text, "nested": {"list": [text, text.encode()]}}),
            line_of("object", extra={"error": ValueError(text)}),
        ]
    for line in lines:
        assert canary not in line
        assert "redacted" in line
        json.loads(line)


def test_a_member_with_a_telling_name_is_taken_out_whatever_it_holds():
    line = line_of(
        "x", extra={"headers": {"Authorization": "CANARY", "Accept": "text/plain"}, "api_key": "CANARY"}
    )
    assert "CANARY" not in line
    assert "text/plain" in line


def test_ordinary_lines_stay_readable():
    text = "organisation sample-works verified until 2027-01-01, subject sub_abcd2345, decision dec_7, 17 ms"
    assert json.loads(line_of(text))["message"] == text
    line = json.loads(line_of("started on %s:%d", "127.0.0.1", 8780, extra={"position": 7}))
    assert (line["message"], line["position"], line["level"]) == ("started on 127.0.0.1:8780", 7, "error")


def test_a_wrong_format_string_loses_nothing_and_raises_nothing():
    assert "CANARY" not in line_of("%d items for sc_dev_a_CANARY", "many")
    assert "many" in line_of("%d items", "many")


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab \n\"'{}:=,", max_size=30), st.text(alphabet="ab \n\"'{}:=,", max_size=30))
def test_whatever_stands_around_it_a_key_is_found(before, after):
    assert "CANARYsecret" not in redact(f"{before} {GATEWAY_KEY} {after}")
    assert JWT.split(".")[2] not in redact(f"{before} {JWT} {after}")


def test_the_service_log_is_private_and_takes_every_logger(tmp_path):
    stop = start_service_log(tmp_path / "logs", level="info")
    try:
        logging.getLogger("a.library").info("listening")
        logging.getLogger("safeconduct.web").warning("refused %s", GATEWAY_KEY)
        logging.getLogger("anything").debug("not at this level")
    finally:
        stop()
    path = tmp_path / "logs" / "safeconduct.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["logger"] for line in lines] == ["a.library", "safeconduct.web"]
    assert "CANARY" not in path.read_text()
