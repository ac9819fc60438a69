"""A Safeconduct instance to measure: made with the product's own commands, served by `safeconduct serve`.

The sample's people and passports, models whose upstream is the bench's own, one gateway key, one DPoP token with proofs, or
one token bound to a client certificate when it is served with TLS.
Policy, metering and audit are what they always are.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from loads.certificates import Authority
from loads.processes import Started, free_ports
from safeconduct.passport.dpop import make_proof
from safeconduct.sdk import Holder, PassportAuth

PERSON = "us-citizen"
ORGANISATION = "sample-vetted"
PURPOSE = "vuln_triage"
PROJECT = f"defensive-research-{ORGANISATION}"


class MeasuredInstance:
    """Makes the instance below `work`. models: kind -> model name; those that end in -c3 ask for C3.

    authority: whose server certificate both listeners get, and under which client certificates are read; None for plain HTTP.
    """

    def __init__(
        self,
        work: Path,
        upstreams: dict[str, int],
        cores: str,
        other_cores: str,
        *,
        authority: Authority | None = None,
    ) -> None:
        self.home = work / ("instance-tls" if authority else "instance")
        self.work = work
        self.authority = authority
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
            environment=self._environment(),
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

    def _environment(self) -> dict[str, str]:
        if self.authority is None:
            return {}
        return {
            "SAFECONDUCT_TLS_CERTIFICATE": str(self.authority.certificate),
            "SAFECONDUCT_TLS_KEY": str(self.authority.key),
            "SAFECONDUCT_TLS_CLIENT_CA": str(self.authority.ca),
        }

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
            environment=self._environment(),
        )
        process.until_open(self.port)
        process.until_open(self.api)
        return process

    def token(self) -> tuple[str, Any]:
        """A DPoP access token and the holder it is bound to, by the SDK."""
        holder = Holder.load(self.home / "holders" / f"{PERSON}.json")
        models = [name for kind, name in self.models.items() if kind.endswith("-c3")]
        sent = self._ask(
            PassportAuth(holder, models=models, project=PROJECT, purpose=PURPOSE), "json-c3", "http", True
        )
        return sent.removeprefix("DPoP "), holder

    def certificate_token(self) -> tuple[str, dict[str, str]]:
        """The Authorization header of a token bound to a client certificate (RFC 8705), and the files that go with it.

        The certificate is over the passport's key, as the exchange demands, and under the bench's authority.
        """
        assert self.authority is not None
        holder = Holder.load(self.home / "holders" / f"{PERSON}.json")
        private = load_pem_private_key(holder.signer.to_pem(), password=None)
        certificate, key = self.authority.client("holder", private)
        context = ssl.create_default_context(cafile=self.authority.ca)
        context.load_cert_chain(certificate, key)
        auth = PassportAuth(
            holder,
            models=list(self.models.values()),
            project=PROJECT,
            purpose=PURPOSE,
            certificate=True,
            ca_file=self.authority.ca,
        )
        header = self._ask(auth, "json", "https", context)
        return header, {"ca": str(self.authority.ca), "certificate": str(certificate), "key": str(key)}

    def _ask(self, auth: PassportAuth, kind: str, scheme: str, verify: ssl.SSLContext | bool) -> str:
        """One request by the SDK; the Authorization header that it went out with."""
        with httpx2.Client(auth=auth, trust_env=False, verify=verify) as client:
            answer = client.post(
                f"{scheme}://127.0.0.1:{self.port}/v1/chat/completions",
                json={"model": self.models[kind], "messages": [{"role": "user", "content": "hello"}]},
            )
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
        return str(answer.request.headers["Authorization"])

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
