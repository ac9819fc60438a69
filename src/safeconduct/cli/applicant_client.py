"""How an applicant talks to an instance: every call signed by a proof of the key that opened their file. Owns nothing but that."""

from __future__ import annotations

import secrets
from typing import Any, Self

import httpx2
import msgspec

from safeconduct.cli.client import TIMEOUT, Unreachable, problem_of_answer
from safeconduct.kernel.clock import Clock, SystemClock
from safeconduct.kernel.signing import Signer
from safeconduct.passport.dpop import make_proof


class ApplicantClient:
    """Calls the API as the holder of `signer`. issuer: the instance's public address, which proofs name; url: where it is reached."""

    def __init__(
        self,
        signer: Signer,
        *,
        issuer: str,
        url: str | None = None,
        clock: Clock | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.signer = signer
        self._issuer = issuer.rstrip("/")
        self._clock = clock or SystemClock()
        self._http = httpx2.Client(
            base_url=(url or issuer).rstrip("/"),
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call; the answer's JSON. Raises ProblemAnswer, Unreachable."""
        proof = make_proof(
            self.signer,
            method=method,
            url=self._issuer + path,
            now=int(self._clock.now()),
            random=secrets.token_bytes,
        )
        headers = {"dpop": proof}
        given: dict[str, Any] = {}
        if body is not None:
            headers["content-type"] = "application/json"
            given["content"] = msgspec.json.encode(body)
        try:
            answer = self._http.request(method, path, headers=headers, **given)
        except httpx2.HTTPError as error:
            raise Unreachable(
                f"no instance answers at {self._http.base_url} ({type(error).__name__})",
                remedy="start it with `safeconduct serve` or `make run`",
            ) from None
        if answer.status_code >= 300:
            raise problem_of_answer(answer)
        return msgspec.json.decode(answer.content) if answer.content else None

    def get(self, path: str) -> Any:
        """Read."""
        return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """Send."""
        return self.call("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        """Replace."""
        return self.call("PUT", path, body)
