"""Sign-in of a device without the passport's key (RFC 8628): it makes a key, shows a code, and becomes an agent of its human."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx2

from safeconduct.kernel.clock import Clock, SystemClock
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.ids import MandateId, RandomBytes, SubjectId
from safeconduct.kernel.jose import parse_jws
from safeconduct.kernel.signing import FileSigner
from safeconduct.passport.dpop import make_proof
from safeconduct.passport.token_requests import DEVICE_GRANT, DEVICE_PATH, TOKEN_PATH
from safeconduct.sdk.holder import Holder, check_base_url

_MAX_ANSWER = 64 * 1024


class SignInRefused(Exception):
    """The human refused, the code ran out, or the issuer does not take the request. error: the OAuth word for it."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message or error)
        self.error = error


class DeviceSignIn:
    """One sign-in. `begin` gives what to show the human; `finish` waits for them and gives the agent's holder."""

    def __init__(
        self,
        issuer: str,
        *,
        models: Sequence[str],
        purpose: str,
        project: str | None = None,
        name: str = "",
        client: httpx2.Client | None = None,
        clock: Clock | None = None,
        random: RandomBytes = secrets.token_bytes,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.issuer = check_base_url(issuer, "issuer")
        self._details: dict[str, Any] = {
            "type": "safeconduct_model_access",
            "models": list(models),
            "purpose": purpose,
        }
        if project is not None:
            self._details["project"] = project
        self._name = name
        self._client = client or httpx2.Client(follow_redirects=False, trust_env=False, timeout=30)
        self._clock = clock or SystemClock()
        self._random = random
        self._sleep = sleep
        self._signer = FileSigner.generate()
        self._code = ""
        self._interval = 5
        self._ends = 0.0

    def begin(self) -> tuple[str, str]:
        """User code and the page that says what to do with it. Raises SignInRefused, httpx2.HTTPError."""
        status, told = self._post(
            DEVICE_PATH,
            {"authorization_details": json.dumps([self._details]), "name": self._name},
        )
        if status != 200 or not isinstance(told.get("device_code"), str):
            raise SignInRefused(str(told.get("error", status)), str(told.get("error_description", "")))
        self._code = told["device_code"]
        self._interval = max(1, int(told.get("interval", 5)))
        self._ends = self._clock.now() + int(told.get("expires_in", 600))
        return str(told["user_code"]), str(told["verification_uri"])

    def finish(self) -> Holder:
        """Ask until the human has answered. Raises SignInRefused, httpx2.HTTPError."""
        while self._clock.now() < self._ends:
            self._sleep(self._interval)
            status, told = self._post(TOKEN_PATH, {"grant_type": DEVICE_GRANT, "device_code": self._code})
            if status == 200:
                return self._holder(told)
            error = str(told.get("error", status))
            if error == "slow_down":
                self._interval += 5  # RFC 8628 3.5
            elif error != "authorization_pending":
                raise SignInRefused(error, str(told.get("error_description", "")))
        raise SignInRefused("expired_token", "the code ran out before anybody approved it")

    def _holder(self, told: dict[str, Any]) -> Holder:
        try:
            claims = parse_jws(str(told["access_token"])).claims()
            return Holder(
                issuer=self.issuer,
                gateway=str(told["gateway"]),
                signer=self._signer,
                mandate=MandateId(str(claims["jti"])),
                agent=SubjectId(str(told["agent"])),
            )
        except (KeyError, InvalidInput, VerificationFailed) as error:
            raise SignInRefused("server_error", f"the issuer's answer is no mandate: {error}") from None

    def _post(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        url = self.issuer + path
        proof = make_proof(
            self._signer, method="POST", url=url, now=int(self._clock.now()), random=self._random
        )
        answer = self._client.post(url, data=form, headers={"DPoP": proof, "Accept": "application/json"})
        try:
            told = answer.json() if len(answer.content) <= _MAX_ANSWER else {}
        except ValueError:
            told = {}
        return answer.status_code, told if isinstance(told, dict) else {}
