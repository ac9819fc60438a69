"""Nobody without a credential fills the disk: 20,000 bad credentials over the wire, at every door that asks for one."""

import asyncio
import socket

import msgspec
import pytest
from tests.support.api_nodes import ApiBench
from tests.support.bad_credentials import bad_credential
from tests.support.gateways import read_answers, request
from tests.support.instance_gateways import InstanceGateway
from tests.support.instances import make_instance

from safeconduct.app import decision_log
from safeconduct.app.decision_log import (
    FAILURES_BEFORE_CLOSE,
    MAX_SOURCES,
    NAMED_SOURCES,
    DecisionLog,
    FailedAuthentication,
)
from safeconduct.decision.entry import FAILED_AUTHENTICATION_TYPE
from safeconduct.record.envelope import open_body, read_entry
from safeconduct.web.serving import count_failures

ALLOWED = 1_000_000
FROM_EACH = 250


def bytes_under(directory):
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def aggregates(log):
    if log.size:
        log.wait_durable_sync(log.size - 1, 20)
    envelopes = [read_entry(entry) for entry in log.read(0, log.size)]
    return [
        msgspec.json.decode(open_body(one), type=FailedAuthentication)
        for one in envelopes
        if one.type == FAILED_AUTHENTICATION_TYPE
    ]


def flood(gateway, source, numbers):
    """All on one connection from one loopback address, many under way at once. Returns the answers."""
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0)) as connection:
        connection.sendall(b"".join(request("GET", "/v1/models", key=bad_credential(one)) for one in numbers))
        return read_answers(connection, count=len(numbers))


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path) as embedded:
        yield embedded


def test_20_000_bad_credentials_over_the_wire_add_less_than_a_megabyte_to_all_logs(embedded, tmp_path):
    log = embedded.opened.decision_log
    entries = log.size
    before = bytes_under(tmp_path)
    refused = 0
    with InstanceGateway(embedded, credential=None) as gateway:
        for place in range(20_000 // FROM_EACH):
            answers = flood(gateway, f"127.0.1.{place + 1}", range(refused, refused + FROM_EACH))
            assert [each.status for each in answers] == [401] * FROM_EACH
            refused += FROM_EACH
    assert refused == 20_000
    written = aggregates(log)
    # The clock stood still, so the node's end wrote the one entry.
    assert log.size - entries == len(written) == 1
    (entry,) = written
    assert sum(entry.codes.values()) == 20_000
    assert len(entry.sources) == NAMED_SOURCES
    assert (entry.others, entry.other_sources) == (20_000 - NAMED_SOURCES * FROM_EACH, 80 - NAMED_SOURCES)
    embedded.close()
    assert bytes_under(tmp_path) - before < ALLOWED


def test_a_source_that_fails_too_often_loses_its_connection_each_time_and_others_do_not(embedded):
    with InstanceGateway(embedded, credential=None) as gateway:
        answers = flood(gateway, "127.0.2.1", range(FAILURES_BEFORE_CLOSE + 100))
        assert len(answers) == FAILURES_BEFORE_CLOSE + 1
        assert len(flood(gateway, "127.0.2.1", range(20))) == 1
        assert len(flood(gateway, "127.0.2.2", range(20))) == 20


def test_bad_credentials_at_the_api_and_the_token_endpoint_are_one_entry_too(tmp_path):
    bench = ApiBench(tmp_path)
    entries, before = bench.log.size, bytes_under(tmp_path)
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:safeconduct:token-type:passport",
    }
    types = []
    with bench.client() as client:
        metadata = client.get("/.well-known/safeconduct").json()
        form["subject_token_type"] = metadata["subject_token_types_supported"][0]
        for number in range(400):
            credential = bad_credential(number)
            answer = client.get("/api/status", headers={"authorization": f"Bearer {credential}"})
            assert answer.status_code == 401
            types.append(answer.headers.get("connection"))
            answer = client.post("/oauth/token", data={**form, "subject_token": credential})
            assert answer.status_code == 400
            assert answer.json()["code"] in {"PASSPORT_INVALID", "BINDING_MISSING"}
            types.append(answer.headers.get("connection"))
    assert types[: FAILURES_BEFORE_CLOSE - 2] == [None] * (FAILURES_BEFORE_CLOSE - 2)
    assert types[FAILURES_BEFORE_CLOSE + 2 :] == ["close"] * (800 - FAILURES_BEFORE_CLOSE - 2)
    assert bench.ledger.flush(bench.now + 60) == 1
    (entry,) = aggregates(bench.log)
    assert bench.log.size == entries + 1
    assert sum(entry.codes.values()) == 800
    bench.close()
    assert bytes_under(tmp_path) - before < ALLOWED


def test_where_no_gateway_runs_the_count_is_written_too(tmp_path):
    async def control(decisions, clock):
        counting = asyncio.create_task(count_failures(decisions, clock, every=0.001))
        decisions.failed_authentication("192.0.2.1", "unauthenticated", int(clock.now()))
        clock.move_to(clock.now() + decision_log.AGGREGATE_SECONDS)
        size = decisions.log.size
        for _ in range(5_000):
            if decisions.log.size > size:
                break
            await asyncio.sleep(0.001)
        counting.cancel()

    with make_instance(tmp_path) as embedded:
        opened = embedded.opened
        decisions = DecisionLog(opened.decision_log, opened.instance.vault, embedded.clock, node="control")
        asyncio.run(control(decisions, embedded.clock))
        assert [entry.codes for entry in aggregates(opened.decision_log)] == [{"unauthenticated": 1}]


class _Entries:
    """A log that only counts what it is given."""

    failed = None

    def __init__(self):
        self.sizes = []

    @property
    def size(self):
        return len(self.sizes)

    def submit(self, entry):
        self.sizes.append(len(entry))
        return len(self.sizes) - 1


@pytest.mark.parametrize("sources", [1, 20, MAX_SOURCES + 5_000])
def test_a_minute_is_one_small_entry_from_however_many_addresses(embedded, sources):
    log = _Entries()
    ledger = DecisionLog(log, embedded.opened.instance.vault, embedded.clock, node="n")
    now = embedded.now
    for number in range(20_000):
        # An address that a proxy made up is no way to write more.
        ledger.failed_authentication(
            f"2001:db8::{number % sources:x}" + " and so on" * 1_000, "PASSPORT_INVALID", now
        )
    assert len(ledger._failures) <= MAX_SOURCES + 1
    assert ledger.flush(now + decision_log.AGGREGATE_SECONDS - 1) == 0
    assert ledger.flush(now + decision_log.AGGREGATE_SECONDS) == 1
    assert ledger.flush(now + 10 * decision_log.AGGREGATE_SECONDS) == 0
    assert len(log.sizes) == 1
    assert log.sizes[0] < 8_192
