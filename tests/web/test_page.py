"""The page, its stream and its assets."""

import json
import re

import msgspec
import pytest
from tests.support.api_nodes import NOW, ApiBench

from safeconduct.decision.entry import Completion
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Deny, Permit, Reason
from safeconduct.kernel.vocabulary import Binding, Code, Purpose, SubjectKind
from safeconduct.passport.claims import Claims

QUESTION = DecisionRequest(
    subject="sub-1",
    holder="sub-1",
    kind=SubjectKind.HUMAN,
    passport="pas-1",
    claims=Claims(citizenships=("FR",)),
    aal=3,
    authenticated_at=NOW,
    binding=Binding.DPOP,
    purpose=Purpose.VULN_TRIAGE,
    variant="model-x",
)
REASON = Reason(
    code=Code.LICENCE_MISSING,
    rule="us/1/1",
    version="1",
    source="Order 1",
    detail="a licence is <script>alert(1)</script> needed",
    remedy="ask the authority",
)


@pytest.fixture
def bench(tmp_path):
    bench = ApiBench(tmp_path)
    yield bench
    bench.close()


def _log(bench, outcome, question=QUESTION):
    bench.vault.aead(question.holder, create=True)
    codes = tuple(code.value for code in outcome.codes) if isinstance(outcome, Deny) else ()
    decision, index = bench.ledger.decision(
        question,
        outcome,
        position=1,
        now=NOW,
        route="POST /v1/messages",
        asked="model-x",
        credential="c",
        codes=codes,
        jurisdiction="US",
    )
    bench.log.wait_durable_sync(index, 5)
    return decision


DENIED = Deny(reasons=(REASON,), valid_until=NOW + 1, position=1)
ALLOWED = Permit(valid_until=NOW + 1, position=1)


def test_the_page_shows_decisions_with_reasons_and_remedies(bench):
    decision = _log(bench, DENIED)
    _log(bench, ALLOWED)
    with bench.client() as client:
        answer = client.get("/")
    assert answer.status_code == 200
    assert decision in answer.text
    assert "LICENCE_MISSING" in answer.text
    assert "ask the authority" in answer.text
    assert answer.text.index("allowed") < answer.text.index("denied")  # newest first


def test_what_comes_from_callers_is_escaped(bench):
    _log(bench, DENIED)
    _log(bench, ALLOWED, msgspec.structs.replace(QUESTION, variant="<img src=x onerror=alert(1)>"))
    with bench.client() as client:
        page = client.get("/").text
        stream = client.get("/events?after=0&once=true").text
    for text in (page, stream):
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_the_development_profile_says_so_and_production_does_not(bench):
    with bench.client() as client:
        assert "key files are treated as hardware-bound" in client.get("/").text
    bench.rebuild(profile="production")
    with bench.client() as client:
        assert "key files" not in client.get("/").text


def test_production_shows_no_pseudonym_to_those_it_does_not_know(bench):
    decision = _log(bench, DENIED, msgspec.structs.replace(QUESTION, organisation="org-secret"))
    bench.rebuild(profile="production")
    with bench.client() as client:
        for text in (client.get("/").text, client.get("/events?after=0&once=true").text):
            assert "LICENCE_MISSING" in text
            for hidden in ("sub-1", decision, "org-secret", "vuln_triage", "Order 1"):
                assert hidden not in text


def test_the_stream_brings_new_rows_and_completions(bench):
    _log(bench, DENIED)
    with bench.client() as client:
        first = client.get("/events?after=0&once=true")
        assert first.headers["content-type"].startswith("text/event-stream")
        assert first.text.count("event: decision") == 1
        allowed = _log(bench, ALLOWED)
        second = client.get("/events?after=1&once=true").text
        assert second.count("event: decision") == 1
        assert allowed in second
        index = bench.ledger.completion(
            Completion(decision=allowed, ended="complete", status=200, output_tokens=7),
            b"{}",
            holder="sub-1",
            organisation=None,
            jurisdiction="US",
        )
        bench.log.wait_durable_sync(index, 5)
        third = client.get("/events?once=true", headers={"last-event-id": "2"}).text
        assert "7 tokens" in third


def test_a_stream_position_of_an_ended_process_starts_again(bench):
    _log(bench, DENIED)
    with bench.client() as client:
        assert client.get("/events?after=999999&once=true").text.count("event: decision") == 1


def test_an_erased_subject_leaves_the_row_without_reasons(bench):
    _log(bench, DENIED)
    bench.vault.forget("sub-1")
    bench.rebuild()
    with bench.client() as client:
        text = client.get("/").text
    assert "reasons are sealed" in text
    assert "LICENCE_MISSING" in text


def test_strict_policy_headers_and_nothing_from_elsewhere(bench):
    with bench.client() as client:
        answer = client.get("/")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)
        assert "<style" not in answer.text
        assert not re.search(r"<script(?![^>]*src=)", answer.text)
        assert not re.search(r"\son\w+=", answer.text)
        for asset in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", answer.text):
            assert client.get(asset).status_code == 200


def test_no_cross_origin_use(bench):
    with bench.client() as client:
        for method, path in (("GET", "/healthz"), ("GET", "/events?once=true"), ("OPTIONS", "/api/models")):
            answer = client.request(method, path, headers={"origin": "https://evil.example"})
            assert not [name for name in answer.headers if name.startswith("access-control-")]


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, other):
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_has_the_contrast_that_wcag_aa_asks_for(bench, theme):
    with bench.client() as client:
        style = client.get("/assets/page.css").text
    block = re.findall(r":root \{(.*?)\}", style, re.S)[theme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    for ink, paper in (
        ("ink", "paper"),
        ("soft", "paper"),
        ("yes", "paper"),
        ("no", "paper"),
        ("ink", "band"),
        ("no", "band"),
        ("notice-ink", "notice"),
        ("focus", "paper"),
    ):
        assert _contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def test_the_page_works_without_javascript(bench):
    _log(bench, DENIED)
    with bench.client() as client:
        text = client.get("/").text
    assert '<noscript><meta http-equiv="refresh"' in text
    assert text.count("<tr id=") == 1
    assert 'lang="en"' in text
    assert text.count("<h1") == 1
    assert 'scope="col"' in text


def test_readiness_tells_that_not_why(bench):
    with bench.client() as client:
        assert client.get("/readyz").status_code == 200
        bench.faults.append("the decision log: disk full at /secret")
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "secret" not in answer.text
        assert client.get("/healthz").status_code == 200
        assert json.loads(client.get("/healthz").text) == {"status": "ok"}
