"""Names stay, credentials go."""

import pytest

from safeconduct.gateway.quoting import WITHHELD, quotable


@pytest.mark.parametrize(
    "text",
    [
        "model-x",
        "gpt-5.6-sol",
        "claude-opus-4-20250514",
        "GET /v1/files/file-abc/content",
        "ft:gpt-4o:org:name:id",
        "prj_k7f3a",
        "",
    ],
)
def test_a_name_stays(text):
    assert quotable(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("sc_dev_abc_secret", WITHHELD),
        ("POST /v1/sc_dev_abc_secret/content", f"POST /v1/{WITHHELD}/content"),
        ("sk-abcdefgh1234", WITHHELD),
        ("model eyJhbGciOi.eyJzdWIi.c2ln x", f"model {WITHHELD} x"),
        ("AKIA" + "A" * 16, WITHHELD),
        ("-----BEGIN PRIVATE KEY-----", f"{WITHHELD} PRIVATE KEY-----"),
        ("a" * 40, WITHHELD),
    ],
)
def test_a_credential_goes(text, left):
    assert quotable(text) == left
