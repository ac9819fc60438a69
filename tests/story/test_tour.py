"""`run`: what it prints is true. Every command is executed as printed, in order, in a shell."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import anthropic
import pytest

pytestmark = [pytest.mark.xdist_group("story"), pytest.mark.timeout(300)]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Running:
    """`safeconduct run` in an empty directory that has a `.venv/bin` as a user's clone has."""

    def __init__(self, directory, ports):
        self.directory = directory
        gateway, api, sandbox = ports
        self.words = ["run", "--gateway-port", gateway, "--api-port", api, "--sandbox-port", sandbox]
        binaries = directory / ".venv" / "bin"
        if not binaries.exists():
            binaries.mkdir(parents=True)
            (binaries / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
            (binaries / "safeconduct").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m safeconduct "$@"\n')
            for one in binaries.iterdir():
                one.chmod(0o755)

    def __enter__(self):
        self.output = self.directory / "output.txt"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "safeconduct", *map(str, self.words)],
            cwd=self.directory,
            stdout=self.output.open("w"),
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 200
        while "Ctrl-C stops it" not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.status = self.process.wait(60)

    def commands(self):
        return re.findall(r"^\d\. .*\n   (.*)$", self.output.read_text(), re.MULTILINE)

    def paste(self, line):
        return subprocess.run(
            line, shell=True, cwd=self.directory, capture_output=True, text=True, check=False, env=os.environ
        )


def connected(running, *words):
    """`safeconduct connect` in its own process; its lines of JSON as they come."""
    return subprocess.Popen(
        [sys.executable, "-m", "safeconduct", "connect", "--port", "0", "--json", *words],
        cwd=running.directory,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask_mythos(running, process, holder):
    """An unchanged client with nothing but a base URL and a key, on a model that asks for a bound token."""
    ready = json.loads(process.stdout.readline())["ready"]
    key = (running.directory / holder).with_suffix(".connect-key").read_text().strip()
    with anthropic.Anthropic(base_url=ready, api_key=key) as client:
        answer = client.messages.create(
            model="mythos-5", max_tokens=100, messages=[{"role": "user", "content": "Say hello."}]
        )
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    return answer.content[0].text


def check_connect(running):
    """Once with the passport's key, once signed in as a device that the passport's holder approves."""
    passport = "run/holders/french-annexed.json"
    facts = ["--purpose", "vuln_triage", "--project", "defensive-research-sample-annexed"]
    assert "sandbox provider" in ask_mythos(
        running, connected(running, "--holder", passport, *facts), passport
    )
    issuer = json.loads((running.directory / passport).read_text())["issuer"]
    device = connected(running, "--issuer", issuer, "--model", "mythos-5", *facts, "--save", "device.json")
    code = json.loads(device.stdout.readline())["user_code"]
    shown = running.paste(f".venv/bin/safeconduct device show {code} --holder {passport}")
    assert "mythos-5" in shown.stdout
    approved = running.paste(f".venv/bin/safeconduct device approve {code} --yes --holder {passport}")
    assert "approved" in approved.stdout, approved.stderr
    assert "sandbox provider" in ask_mythos(running, device, "device.json")


def test_every_command_that_run_prints_does_what_it_says(tmp_path):
    ports = free_ports(3)
    with Running(tmp_path, ports) as running:
        commands = running.commands()
        assert len(commands) == 8
        for line in commands:
            assert line.startswith(".venv/bin/"), line
        answers = [running.paste(line) for line in commands]
        for line, answer in zip(commands, answers, strict=True):
            assert answer.returncode == 0, (line, answer.stdout, answer.stderr)
        said = [answer.stdout for answer in answers]
        assert "sandbox provider" in said[0]
        assert "sandbox provider" in said[1]
        assert "denied: ORG_NOT_LISTED" in said[2]
        assert "5 lose, 3 keep" in said[3]
        assert "imported" in said[4]
        assert "denied: LICENCE_MISSING" in said[5]
        assert "rescind" in said[6]
        assert said[7].count("verified") == 2
        again = running.paste(commands[1])
        assert "sandbox provider" in again.stdout
    assert running.status == 0
    first = (tmp_path / "output.txt").read_text()
    # The second time the data are there: nothing is enrolled again, and a new order has a new number.
    with Running(tmp_path, ports) as running:
        assert "enrol" not in running.output.read_text()
        assert "sandbox provider" in running.paste(running.commands()[1]).stdout
        check_connect(running)
        busy = subprocess.run(
            [sys.executable, "-m", "safeconduct", "run", "--home", "other", "--gateway-port", str(ports[0])],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert busy.returncode == 1
        assert str(ports[0]) in busy.stderr
        assert "--gateway-port" in busy.stderr
    assert running.commands()[6] not in first
    assert running.status == 0


def test_reset_deletes_only_what_run_made(tmp_path):
    (tmp_path / "precious").mkdir()
    refused = subprocess.run(
        [sys.executable, "-m", "safeconduct", "reset", "--yes", "--home", str(tmp_path / "precious")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert Path(tmp_path / "precious").is_dir()
