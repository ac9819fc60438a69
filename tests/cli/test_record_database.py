"""`init` and `serve` with the record in PostgreSQL: a served instance that is killed and comes back with all it acknowledged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from tests.support.postgres import run as run_sql
from tests.support.postgres import schema

import safeconduct
from safeconduct.cli.application import run

SOURCE = Path(safeconduct.__file__).resolve().parents[1]


class Served:
    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "safeconduct", "serve", "--data", str(home), "--api-port", "0"]
            + ["--gateway-port", "0", "--json"],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.ready = json.loads(line)["ready"]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.timeout(110)
def test_an_instance_served_from_postgresql_survives_kill_9_with_everything_acknowledged(tmp_path, capsys):
    home = tmp_path / "i"

    def call(*words):
        assert run([*words, "--data", str(home), "--json"]) == 0, capsys.readouterr()
        return json.loads(capsys.readouterr().out)

    with schema() as url:
        made = call("init", "--record", url.shown, "--provider", "acme")
        assert made["home"] == url.shown
        served = Served(home)
        try:
            before = call("status")
            assert before["ready"] is True
            assert httpx2.get(served.ready["gateway"] + "/readyz").status_code == 200
            assert call("audit", "verify")[0]["ok"] is True
        finally:
            served.end()
        stored = run_sql("SELECT size, signed_size FROM record_head", url=url)[0]
        assert stored["size"] == before["position"] == stored["signed_size"]
        again = Served(home)
        try:
            assert call("status")["position"] == before["position"]
            saved = call("backup", str(tmp_path / "backup.tar"))
            assert saved["record"] == before["position"]
        finally:
            again.end()
        assert [one["ok"] for one in call("audit", "verify")] == [True, True]
        # The log's own directory is a mirror: there is no write-ahead log in it.
        assert not (home / "data/record/log/wal").exists()
