"""Metrics: what is counted is told in Prometheus text, names nobody, and the dashboard asks for nothing else."""

import json
import re
import socket
from pathlib import Path

import pytest
from tests.support.gateways import KEY, RunningGateway, principal_of, read_answers, request

from safeconduct.gateway.http_messages import Head
from safeconduct.gateway.measures import GatewayMeasures, Histogram
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.vocabulary import Binding
from safeconduct.record.events import GrantEnded, ProviderRegistered

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "gateway.json"
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.e+-]+|\+Inf)')


def samples(text):
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            found[match[1], match[2] or ""] = float(match[3])
    return found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("metrics")) as running:
        yield running


def ended(gateway):
    return sum(
        value
        for (name, _), value in samples(gateway.node.metrics()).items()
        if name == "safeconduct_requests_total"
    )


def test_an_answer_is_counted_with_its_tokens_and_says_what_the_gateway_added(gateway):
    before = ended(gateway)
    answer = gateway.post()
    assert answer.status == 200
    assert re.fullmatch(r"safeconduct;dur=\d+\.\d{3}", answer.headers["server-timing"])
    gateway.until(lambda: ended(gateway) == before + 1)
    told = samples(gateway.on_loop(gateway.node.metrics))
    model = 'gen_ai_operation_name="chat",gen_ai_provider_name="lab",gen_ai_request_model="model-x"'
    models = {labels for name, labels in told if name == "gen_ai_client_operation_duration_seconds_count"}
    assert len(models) == 1
    assert re.fullmatch(re.sub('"lab"', '"[^"]+"', model), models.pop())
    tokens = {
        labels: value for (name, labels), value in told.items() if name == "gen_ai_client_token_usage_sum"
    }
    assert len(tokens) == 2
    assert all(value > 0 for value in tokens.values())
    assert told["safeconduct_overhead_seconds_count", ""] >= 1
    assert told["safeconduct_ready", ""] == 1


def test_denials_and_failed_authentication_are_counted_as_callers_are_told(gateway):
    before = samples(gateway.node.metrics())
    assert gateway.post(model="no-such-model").status == 404
    assert gateway.post(key="wrong").status == 401
    told = samples(gateway.node.metrics())
    denied = ("safeconduct_denials_total", 'code="MODEL_UNKNOWN"')
    assert told[denied] == before.get(denied, 0) + 1
    failed = ("safeconduct_failed_authentications_total", "")
    assert told[failed] == before[failed] + 1


def test_no_label_names_a_person_an_organisation_a_key_or_an_address(gateway):
    gateway.post(text="the canary in the coal mine")
    text = gateway.node.metrics()
    for secret in (KEY, "ann", "canary", "127.0.0.1", "org-", "pass-"):
        assert secret not in text


def test_a_label_cannot_break_out_of_its_quotes():
    measures = GatewayMeasures()
    measures.ended(("chat", 'a"b\\', "x\ny"), "complete", 0.1, None, None)
    assert any(
        '"a\\"b\\\\"' in labels and '"x\\ny"' in labels for _, labels in samples(measures.exposition())
    )


def test_a_histograms_bounds_are_inclusive_and_cumulative():
    histogram = Histogram((1, 4))
    for value in (0, 1, 2, 4, 5):
        histogram.add(value)
    assert list(histogram.lines("h")) == [
        'h_bucket{le="1"} 2',
        'h_bucket{le="4"} 4',
        'h_bucket{le="+Inf"} 5',
        "h_sum 12",
        "h_count 5",
    ]


def test_the_dashboard_has_the_shape_that_grafana_loads_and_names_only_metrics_that_exist(gateway):
    gateway.post()
    gateway.post(model="no-such-model")
    gateway.until(lambda: ended(gateway) > 0)
    exist = {name for name, _ in samples(gateway.node.metrics())}
    board = json.loads(DASHBOARD.read_text())
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(board)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    named = set()
    for panel in board["panels"]:
        assert {"id", "title", "type", "gridPos", "targets"} <= set(panel)
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel["targets"]:
            assert target["refId"]
            named |= set(re.findall(r"\b(?:safeconduct|gen_ai_client)_[a-z_]+\b(?!=)", target["expr"]))
    labels = {"gen_ai_request_model", "gen_ai_token_type"}
    assert named - labels <= exist
    assert named - labels


def test_a_key_that_was_verified_is_verified_again_when_state_source_or_time_differ(gateway):
    node, credentials = gateway.node, gateway.credentials
    credentials.principals["a-key"] = principal_of(
        gateway.world, "ann", binding=Binding.KEY, expires=gateway.world.now + 60
    )
    head = Head()
    head.method, head.path = b"POST", b"/v1/messages"
    head.headers = {b"x-api-key": b"a-key"}
    head.facts = {}
    before = credentials.asked
    first = node.authenticate(head, "192.0.2.1")
    assert node.authenticate(head, "192.0.2.1") is first
    assert credentials.asked == before + 1
    node.authenticate(head, "192.0.2.2")
    assert credentials.asked == before + 2
    gateway.clock.move_to(gateway.world.now + 60)
    node.authenticate(head, "192.0.2.2")
    assert credentials.asked == before + 3
    credentials.principals["a-key"] = principal_of(
        gateway.world, "ann", binding=Binding.KEY, expires=gateway.world.end
    )
    node.authenticate(head, "192.0.2.2")
    state = node.state
    del credentials.principals["a-key"]
    gateway.change(ProviderRegistered(provider="another", organisation="org-another", jurisdiction="XX"))
    assert node.state.position > state.position
    with pytest.raises(VerificationFailed, match="not known"):
        node.authenticate(head, "192.0.2.2")


def test_a_bound_token_is_verified_on_every_request(gateway):
    head = Head()
    head.method, head.path = b"POST", b"/v1/messages"
    head.headers = {b"authorization": b"DPoP " + KEY.encode()}
    head.facts = {}
    before = gateway.credentials.asked
    for _ in range(3):
        gateway.node.authenticate(head, "192.0.2.1")
    assert gateway.credentials.asked == before + 3


def test_the_same_head_on_one_connection_is_decided_by_the_newest_state(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        body = b'{"model":"model-x","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}'
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            for _ in range(3):
                connection.sendall(request("POST", "/v1/messages", body))
                assert read_answers(connection)[0].status == 200
            for grant in list(gateway.world.state.grants):
                gateway.change(GrantEnded(grant=grant, by="lab", at=gateway.world.now))
            connection.sendall(request("POST", "/v1/messages", body))
            assert read_answers(connection)[0].status == 403
