"""Client authentication for unchanged vendor clients: gets tokens, renews them, signs every request.

`PassportAuth` and `AgentAuth` are `httpx2.Auth`: give one to the client's `http_client`. Each request, retries and streams
included, goes out with a proof of its own. Refuses to send a credential anywhere but to the gateway, and removes API keys.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections.abc import AsyncGenerator, Collection, Generator, Sequence
from pathlib import Path
from typing import Any

import anyio
import httpx2

from safeconduct.kernel.clock import Clock, SystemClock
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import RandomBytes
from safeconduct.passport.dpop import make_proof
from safeconduct.passport.mandate import MANDATE_TOKEN_TYPE
from safeconduct.passport.token_requests import GRANT_TYPE, PASSPORT_TOKEN_TYPE
from safeconduct.sdk.certificate import client_context
from safeconduct.sdk.holder import Holder
from safeconduct.sdk.refusal import refusal_type

RENEW_SECONDS = 20
_MAX_ANSWER = 64 * 1024

_Flow = Generator[httpx2.Request, httpx2.Response, None]


class _Held:
    """A token in hand; `renew_at` in the clock's seconds."""

    __slots__ = ("renew_at", "text")

    def __init__(self, text: str, renew_at: float) -> None:
        self.text = text
        self.renew_at = renew_at


class BoundAuth(httpx2.Auth):
    """What both kinds share. models, purpose, project: what the token asks for; clock: also tells when it ends.

    certificate: bind tokens to a client certificate over the holder's key (RFC 8705) instead of signing each request (DPoP); the
    client must then be built with `verify=auth.tls`, as `openai_client` and its like do. ca_file: PEM of the authority that the
    server's certificate is from, when the system does not know it.
    """

    def __init__(
        self,
        holder: Holder,
        *,
        models: Sequence[str] = (),
        purpose: str | None = None,
        project: str | None = None,
        clock: Clock | None = None,
        random: RandomBytes = secrets.token_bytes,
        certificate: bool = False,
        ca_file: str | Path | None = None,
    ) -> None:
        self.holder = holder
        self.certificate = certificate
        self._clock = clock or SystemClock()
        self._random = random
        self._gateway = httpx2.URL(holder.gateway)
        self._details: dict[str, Any] = {"type": "safeconduct_model_access", "models": list(models)}
        if purpose is not None:
            self._details["purpose"] = purpose
        if project is not None:
            self._details["project"] = project
        self._token: _Held | None = None
        self._nonces: dict[str, str] = {}
        self._lock = threading.Lock()
        self._async_lock: anyio.Lock | None = None
        self.tls: ssl.SSLContext | None = None
        if certificate:
            for name, url in (("issuer", holder.issuer), ("gateway", holder.gateway)):
                if not url.startswith("https:"):
                    raise InvalidInput(
                        "a certificate needs https", field=name, remedy="leave certificate out"
                    )
            self.tls = client_context(holder, now=self._clock.now(), ca_file=ca_file)
        elif ca_file is not None:
            self.tls = ssl.create_default_context(cafile=str(ca_file))

    def forget_token(self) -> None:
        """Drop the token in hand; the next request gets a new one."""
        self._token = None

    # Who presents what differs; the rest is the same.
    def _presentation(self, nonce: str, now: int) -> tuple[str, str]:
        raise NotImplementedError

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """One request of a sync client; token requests go through the same client first."""
        self._prepare(request)
        held = self._in_hand()
        fresh = held is None
        if held is None:
            held = yield from self._renew_sync(request, None)
        response = yield self._sign(request, held)
        if self._ask_again(response, held, fresh=fresh):
            if response.headers.get("DPoP-Nonce") is None:
                held = yield from self._renew_sync(request, held)
            yield self._sign(request, held)

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """One request of an async client."""
        self._prepare(request)
        held = self._in_hand()
        fresh = held is None
        for attempt in (1, 2):
            if held is None:
                if self._async_lock is None:
                    self._async_lock = anyio.Lock()
                async with self._async_lock:
                    held = self._in_hand()
                    if held is None:
                        flow = self._obtain(request)
                        sent = next(flow)
                        while True:
                            answer = yield sent
                            await answer.aread()
                            try:
                                sent = flow.send(answer)
                            except StopIteration as done:
                                held = done.value
                                break
            assert held is not None
            response = yield self._sign(request, held)
            if attempt == 2 or not self._ask_again(response, held, fresh=fresh):
                return
            if response.headers.get("DPoP-Nonce") is None:
                held = None

    def _renew_sync(
        self, request: httpx2.Request, stale: _Held | None
    ) -> Generator[httpx2.Request, httpx2.Response, _Held]:
        with self._lock:
            held = self._in_hand()
            if held is not None and held is not stale:
                return held
            flow = self._obtain(request)
            sent = next(flow)
            while True:
                answer = yield sent
                answer.read()
                try:
                    sent = flow.send(answer)
                except StopIteration as done:
                    new: _Held = done.value
                    return new

    def _prepare(self, request: httpx2.Request) -> None:
        url = request.url
        # Never to another place: a base URL mistyped, or a redirect that the client was told to follow.
        if (url.scheme, url.host, url.port) != (
            self._gateway.scheme,
            self._gateway.host,
            self._gateway.port,
        ):
            raise InvalidInput(
                f"the request goes to {url.scheme}://{url.host}, not to the gateway",
                field="base_url",
                remedy=f"set the client's base_url to {self.holder.gateway} and turn follow_redirects off",
            )
        request.headers.pop("x-api-key", None)

    def _in_hand(self) -> _Held | None:
        held = self._token
        return held if held is not None and self._clock.now() < held.renew_at else None

    def _sign(self, request: httpx2.Request, held: _Held) -> httpx2.Request:
        if self.certificate:
            request.headers["Authorization"] = f"Bearer {held.text}"
            return request
        url = str(request.url)
        request.headers["Authorization"] = f"DPoP {held.text}"
        request.headers["DPoP"] = make_proof(
            self.holder.signer,
            method=request.method,
            url=url,
            now=int(self._clock.now()),
            random=self._random,
            access_token=held.text,
            nonce=self._nonces.get(self.holder.gateway),
        )
        return request

    def _ask_again(self, response: httpx2.Response, held: _Held, *, fresh: bool) -> bool:
        """Whether a 401 is worth a second try: a nonce was given, or the token in hand was not new."""
        nonce = response.headers.get("DPoP-Nonce")
        if nonce is not None:
            # RFC 9449 8.2: the latest nonce serves from now on.
            self._nonces[self.holder.gateway] = nonce
        if response.status_code != 401:
            return False
        if nonce is not None:
            return True
        if self._token is held:
            self._token = None
        return not fresh

    def _obtain(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, _Held]:
        """Nonce, then token (RFC 8693 2.1); the token endpoint may ask for a DPoP nonce once."""
        issuer = self.holder.issuer
        url = f"{issuer}/oauth/token"
        for _ in range(2):
            answer = yield self._post(f"{issuer}/oauth/nonce", request, {})
            nonce = _members(answer).get("nonce")
            if answer.status_code != 200 or not isinstance(nonce, str):
                raise httpx2.RequestError(f"no nonce: status {answer.status_code}", request=request)
            now = int(self._clock.now())
            text, token_type = self._presentation(nonce, now)
            form = {
                "grant_type": GRANT_TYPE,
                "subject_token": text,
                "subject_token_type": token_type,
                "authorization_details": json.dumps([self._details]),
            }
            if self.certificate:
                # The connection proves the key; the exchange refuses a certificate over another one than the passport's.
                answer = yield self._post(url, request, {}, form)
                return self._accept(answer, _members(answer), request, now)
            proof = make_proof(
                self.holder.signer,
                method="POST",
                url=url,
                now=now,
                random=self._random,
                nonce=self._nonces.get(issuer),
            )
            answer = yield self._post(url, request, {"DPoP": proof}, form)
            members = _members(answer)
            if answer.headers.get("DPoP-Nonce") is not None:
                self._nonces[issuer] = answer.headers["DPoP-Nonce"]
            if members.get("error") != "use_dpop_nonce":
                break
        return self._accept(answer, members, request, now)

    def _accept(
        self, answer: httpx2.Response, members: dict[str, Any], request: httpx2.Request, now: int
    ) -> _Held:
        token, seconds = members.get("access_token"), members.get("expires_in")
        if answer.status_code == 200 and isinstance(token, str) and isinstance(seconds, int) and seconds > 0:
            bound = "bearer" if self.certificate else "dpop"
            if str(members.get("token_type", "")).lower() != bound or not token.isascii():
                raise httpx2.RequestError("the token is not bound to our key", request=request)
            self._token = _Held(token, now + seconds - min(RENEW_SECONDS, seconds / 4))
            return self._token
        if 400 <= answer.status_code < 500 and isinstance(members.get("error"), str):
            reasons = members.get("reasons")
            raise refusal_type()(
                str(members.get("code") or members["error"]),
                tuple(each for each in reasons if isinstance(each, dict))
                if isinstance(reasons, list)
                else (),
                str(members.get("remedy", "")),
                str(members.get("error_description", "")),
            )
        # Retried by the vendor's client like any other failure of the transport.
        raise httpx2.RequestError(f"no token: status {answer.status_code}", request=request)

    @staticmethod
    def _post(
        url: str, request: httpx2.Request, headers: dict[str, str], form: dict[str, str] | None = None
    ) -> httpx2.Request:
        return httpx2.Request(
            "POST",
            url,
            headers={"Accept": "application/json", **headers},
            data=form or {},
            extensions={name: value for name, value in request.extensions.items() if name == "timeout"},
        )


def _members(answer: httpx2.Response) -> dict[str, Any]:
    if len(answer.content) > _MAX_ANSWER:
        return {}
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class PassportAuth(BoundAuth):
    """For a person with a passport. disclose: names of facts to show (`level`, `us_person.ear`), None for all of them."""

    def __init__(self, holder: Holder, *, disclose: Collection[str] | None = None, **options: Any) -> None:
        super().__init__(holder, **options)
        if holder.passport is None:
            raise InvalidInput("the holder has no passport", field="holder", remedy="use AgentAuth")
        self._disclose = None if disclose is None else tuple(disclose)

    def _presentation(self, nonce: str, now: int) -> tuple[str, str]:
        return self.holder.present(nonce=nonce, now=now, disclose=self._disclose), PASSPORT_TOKEN_TYPE


class AgentAuth(BoundAuth):
    """For an agent with a mandate; what was disclosed stands with the mandate."""

    def __init__(self, holder: Holder, **options: Any) -> None:
        super().__init__(holder, **options)
        if holder.mandate is None:
            raise InvalidInput("the holder has no mandate", field="holder", remedy="use PassportAuth")

    def _presentation(self, nonce: str, now: int) -> tuple[str, str]:
        return self.holder.present(nonce=nonce, now=now), MANDATE_TOKEN_TYPE
