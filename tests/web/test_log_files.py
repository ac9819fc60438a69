"""The logs over HTTP: what is public, what is not, what is cached, and that nothing else is served."""

import pytest
from tests.support.api_nodes import ApiBench

from safeconduct.audit.checkpoint import parse_checkpoint
from safeconduct.audit.tile import decode_bundle, tile_width
from safeconduct.kernel.vocabulary import Role


@pytest.fixture
def bench(tmp_path):
    bench = ApiBench(tmp_path)
    for number in range(300):
        index = bench.log.submit(b"entry %d" % number)
    bench.log.wait_durable_sync(index, 10)
    bench.log.checkpoint(force=True)
    yield bench
    bench.close()


@pytest.fixture
def client(bench):
    with bench.client() as client:
        yield client


def test_the_checkpoint_is_public_and_never_stale(client):
    answer = client.get("/log/decisions/checkpoint")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    assert parse_checkpoint(answer.content).size == 300


def test_hash_tiles_are_public_and_full_ones_never_change(client):
    full = client.get("/log/decisions/tile/0/000")
    assert (full.status_code, len(full.content)) == (200, 8192)
    assert "immutable" in full.headers["cache-control"]
    partial = client.get(f"/log/decisions/tile/0/001.p/{tile_width(0, 1, 300)}")
    assert (partial.status_code, len(partial.content)) == (200, 44 * 32)
    assert "immutable" not in partial.headers["cache-control"]


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
def test_entry_bundles_are_for_auditors_and_operators(bench, client, role):
    answer = bench.call(client, "GET", "/log/decisions/tile/entries/000", role)
    assert answer.status_code == 200
    assert decode_bundle(answer.content, "tile/entries/000")[7] == b"entry 7"
    assert answer.headers["cache-control"].startswith("private")


@pytest.mark.parametrize(
    "path",
    [
        "tile/entries/000",
        "tile//entries/000",
        "tile/./entries/000",
        "tile/0/../entries/000",
        "tile/%65ntries/000",
        "tile/entries%2F000",
        "tile/entries/000.p/44",
        "tile/0/%2e%2e/entries/000",
    ],
)
def test_no_spelling_of_a_bundle_is_public(client, path):
    answer = client.get(f"/log/decisions/{path}")
    assert answer.status_code in (401, 404)
    assert b"entry 7" not in answer.content


@pytest.mark.parametrize(
    "path",
    [
        "wal",
        "lock",
        "epoch",
        "tile/0/000/../../../lock",
        "tile/0/00",
        "tile/00/000",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/-1/000",
        "tile/64/000",
        "checkpoint.tmp",
        "tile/0/000.tmp",
        "tile/0/999",
    ],
)
def test_nothing_else_in_the_directory_is_served(bench, client, path):
    for role in (None, Role.AUDITOR):
        assert bench.call(client, "GET", f"/log/decisions/{path}", role).status_code in (401, 404)


@pytest.mark.parametrize("log", ["", "other", "..", "%2e%2e", "decisions%00"])
def test_an_unknown_log_is_not_found(client, log):
    assert client.get(f"/log/{log}/checkpoint").status_code in (400, 404)
