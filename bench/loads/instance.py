"""A Safeconduct instance to measure: made with the product's own commands, served by `safeconduct serve`.

The sample's people and passports, models whose upstream is the bench's own, one gateway key, one DPoP token with proofs.
Policy, metering and audit are what they always are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from loads.processes import Started, free_ports
from safeconduct.passport.dpop import make_proof
from safeconduct.sdk import Holder, PassportAuth

PERSON = "us-citizen"
ORGANISATION = "sample-vetted"
PURPOSE = "vuln_triage"
PROJECT = f"defensive-research-{ORGANISATION}"


class MeasuredInstance:
    """Makes the instance below `work`. models: kind -> model name; those that end in -c3 ask for C3."""

    def __init__(self, work: Path, upstreams: dict[str, int], cores: str, other_cores: str) -> None:
        self.home = work / "instance"
        self.work = work
        self.cores = cores
        self.port, self.api = free_ports(2)
        self.models: dict[str, str] = {}
        (sandbox,) = free_ports(1)
        first = Started(
            [
                *_command(),
                "run",
                "--home",
                str(self.home),
                "--gateway-port",
                str(self.port),
                "--api-port",
                str(self.api),
                "--sandbox-port",
                str(sandbox),
                "--json",
            ],
            # Not measured: it may use every core.
            cores=f"{cores},{other_cores}",
            log=work / "enrolment.log",
        )
        try:
            end = time.monotonic() + 120
            while not (self.home / "enrolled.json").exists():
                if first.ended or time.monotonic() > end:
                    raise RuntimeError(f"the sample was not enrolled:\n{first.tail()}")
                time.sleep(0.1)
            subject = json.loads((self.home / "enrolled.json").read_text())["subjects"][PERSON]
            key_file = work / "upstream.key"
            key_file.write_text("upstream-credential")
            key_file.chmod(0o600)
            for kind, at in upstreams.items():
                for level in ("C1", "C3") if kind in ("json", "late") else ("C1",):
                    name = f"{kind}-c3" if level == "C3" else kind
                    self.models[name] = f"bench-{name}"
                    self._run(
                        *(
                            "model",
                            "add",
                            f"bench-{name}",
                            "--provider",
                            "bench",
                            "--kind",
                            "openai-compatible",
                        ),
                        *("--base-url", f"http://127.0.0.1:{at}/{kind}/v1", "--level", level),
                        *("--grant-to", ORGANISATION, "--key-file", str(key_file)),
                    )
                    self._run(
                        *(
                            "grant",
                            "give",
                            "--as",
                            f"organisation:{ORGANISATION}",
                            "--model",
                            f"bench-{name}",
                        ),
                        *("--purpose", PURPOSE, "--to-subject", subject, "--for", "90d"),
                    )
            holder = self.home / "holders" / f"{PERSON}.json"
            passport = work / "passport"
            passport.write_text(json.loads(holder.read_text())["passport"])
            passport.chmod(0o600)
            made = self._run(
                *("key", "create", "--passport", str(passport), "--level", "C2", "--loopback-only"),
                *(
                    "--holder-key",
                    str(holder.with_suffix(".pem")),
                    "--purpose",
                    PURPOSE,
                    "--project",
                    PROJECT,
                    "--json",
                ),
            )
            self.key: str = json.loads(made)["text"]
        finally:
            first.stop()

    def _run(self, *arguments: str) -> str:
        answer = subprocess.run(
            [*_command(), *arguments, "--data", str(self.home)], capture_output=True, text=True, check=False
        )
        if answer.returncode:
            raise RuntimeError(f"{arguments}: {answer.stdout}{answer.stderr}")
        return answer.stdout

    def serve(self) -> Started:
        """`safeconduct serve` on the measured core."""
        process = Started(
            [
                *_command(),
                "serve",
                "--data",
                str(self.home),
                "--gateway-port",
                str(self.port),
                "--api-port",
                str(self.api),
            ],
            cores=self.cores,
            log=self.work / "serve.log",
        )
        process.until_open(self.port)
        process.until_open(self.api)
        return process

    def token(self) -> tuple[str, Any]:
        """A DPoP access token and the holder it is bound to, by the SDK."""
        holder = Holder.load(self.home / "holders" / f"{PERSON}.json")
        auth = PassportAuth(
            holder,
            models=[name for kind, name in self.models.items() if kind.endswith("-c3")],
            project=PROJECT,
            purpose=PURPOSE,
        )
        with httpx2.Client(auth=auth, trust_env=False) as client:
            answer = client.post(
                f"http://127.0.0.1:{self.port}/v1/chat/completions",
                json={"model": self.models["json-c3"], "messages": [{"role": "user", "content": "hello"}]},
            )
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
        return answer.request.headers["Authorization"].removeprefix("DPoP "), holder

    def proofs(self, count: int) -> tuple[str, Sequence[str]]:
        """A token and as many fresh proofs for it, each good for one request within about a minute."""
        token, holder = self.token()
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        now = int(time.time())
        return token, [
            make_proof(holder.signer, method="POST", url=url, now=now, random=os.urandom, access_token=token)
            for _ in range(count)
        ]


def _command() -> list[str]:
    return [sys.executable, "-m", "safeconduct"]
