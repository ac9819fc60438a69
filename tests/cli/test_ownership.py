"""`ownership` against a running instance."""

import json

import pytest
from tests.support.running_api import running_api

from safeconduct.cli.application import run
from safeconduct.policy.packs import load_regimes

EDGES = """owner,owned,percent,kind,as_of,source
entry:us.ofac.sdn:1,org:org-a,50,equity,2026-01-01,made up
"""
LISTED = """node,list,version,entry
entry:us.ofac.sdn:1,us.ofac.sdn,v1,1
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("ownership")) as bench:
        bench.record.commit(load_regimes(bench.now))
        yield bench


@pytest.fixture
def cli(bench, capsys):
    def call(*words, status=0):
        assert run([*words, "--data", str(bench.home)]) == status
        told = capsys.readouterr()
        return told.out if status == 0 else told.err

    return call


def test_files_are_imported_explained_and_drawn(cli, bench, tmp_path):
    edges, listed = tmp_path / "edges.csv", tmp_path / "listed.csv"
    edges.write_text(EDGES)
    listed.write_text(LISTED)
    assert "imported 1 edges" in cli("ownership", "import", str(edges))
    found = json.loads(cli("ownership", "designate", str(listed), "--json"))
    assert found["assessed"]["org-a"]["us.ofac50"] == "blocked"
    assert bench.record.state.organisations["org-a"].ownership is not None
    told = cli("ownership", "explain", "org-a")
    assert "org:org-a under us.ofac50 version 1" in told
    assert "BLOCKED" in told
    picture = tmp_path / "org-a.svg"
    cli("ownership", "explain", "org-a", "--regime", "us.ofac50", "--svg", str(picture))
    assert picture.read_text().startswith("<svg ")
    (one,) = json.loads(
        cli("ownership", "explain", "org-a", "--regime", "us.ofac50", "--on", "2025-12-31", "--json")
    )
    assert one["outcome"] == "clear"
    assert "us.bis.affiliates" in cli("ownership", "regimes")


def test_a_regime_is_confirmed_with_its_source(cli):
    words = ("--status", "suspended", "--from", "2026-11-10", "--source", "made up for a test")
    assert "us.bis.affiliates version 2" in cli("ownership", "confirm", "us.bis.affiliates", *words)


def test_what_is_wrong_is_said_with_the_line(cli, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text(EDGES.replace("equity", "equities"))
    told = cli("ownership", "import", str(bad), status=1)
    assert "line 2.kind" in told
    assert "equity" in told
    assert "--regime" in cli("ownership", "explain", "org-a", "--svg", str(tmp_path / "x.svg"), status=2)
