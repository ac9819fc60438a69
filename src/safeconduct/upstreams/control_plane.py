"""The control plane as a gateway reaches it: HTTP under the gateway's own key. Implements `app.follow_record.ControlPlane`.

Owns role tokens of the gateway and the timeouts. Refuses redirects, the environment's proxies, and to trust what it fetched:
everything is verified by who asked for it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Self

import httpx2
import msgspec

from safeconduct.app.authenticate_role import ROLE_TOKEN_TYPE
from safeconduct.app.deliver_materials import Delivery
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import NotFound, SafeconductError, UnsafeConfiguration
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import Signer

TOKEN_SECONDS = 60
MAX_LINE = 4 << 20
MAX_BUNDLE = 256 * 65_537
_MAX_AUTHORITIES = 1 << 20
UNTRUSTED_REMEDY = "name the authority that signed its certificate with --control-ca"
_TIMEOUT = httpx2.Timeout(10.0, connect=3.0)


class ControlUnreachable(SafeconductError):
    """The control plane does not answer, or refuses."""

    kind = "unreachable"


def control_tls(authorities: Path) -> ssl.SSLContext:
    """TLS towards a control plane whose certificate a private authority has signed: these authorities count and no others.

    authorities: PEM. The certificate's name is checked as ever. Raises UnsafeConfiguration when the file is absent, holds no
    certificate, or can be written by others: whoever writes it says who the control plane is.
    """
    try:
        with authorities.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(_MAX_AUTHORITIES + 1)
    except OSError as error:
        raise UnsafeConfiguration(f"cannot be read: {error.strerror}", field=str(authorities)) from None
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022:
        raise UnsafeConfiguration(
            "others can write the file that says whom to trust as the control plane",
            field=str(authorities),
            remedy=f"chmod go-w {authorities}, after a look at what it holds",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An intermediate authority may be named by itself: then it counts, and its sisters do not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=text.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise UnsafeConfiguration(
            "holds no certificate", field=str(authorities), remedy="give a PEM file of authorities"
        ) from None
    return context


def untrusted(error: BaseException) -> bool:
    """Whether a connection failed because nobody we trust has signed the other end's certificate."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


class HttpControlPlane:
    """One client, for one following or a few calls. Use as an async context manager.

    url: of the control plane's API; audience: its issuer, once it is known (until then the URL itself is tried).
    tls: what to trust (`control_tls`), None for the authorities that everybody trusts.
    """

    def __init__(
        self, url: str, *, party: str, signer: Signer, audience: str, clock: Clock, tls: ssl.SSLContext | None
    ) -> None:
        self._party = party
        self._signer = signer
        self._audience = audience
        self._clock = clock
        self._http = httpx2.AsyncClient(
            base_url=url,
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=False,
            verify=tls if tls is not None else True,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def _authorization(self) -> dict[str, str]:
        now = int(self._clock.now())
        claims: dict[str, Any] = {
            "iss": self._party,
            "sub": self._party,
            "aud": self._audience,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "jti": secrets.token_urlsafe(16),
        }
        token = sign_jwt(claims, typ=ROLE_TOKEN_TYPE, signer=self._signer)
        return {"authorization": f"Bearer {token}"}

    async def warm(self) -> None:
        """Open a connection and leave it in the pool. Raises ControlUnreachable."""
        await self._get("/healthz", {})

    async def follow(self, after: int, nonce: str) -> AsyncGenerator[bytes]:
        """Lines of one following until either side ends it. Raises ControlUnreachable."""
        query = {"after": str(after), "nonce": nonce}
        try:
            async with self._http.stream(
                "GET", "/api/gateway/follow", params=query, headers=self._authorization()
            ) as answer:
                if answer.status_code != 200:
                    raise _refused(answer.status_code, await answer.aread())
                held = bytearray()
                async for piece in answer.aiter_raw():
                    held += piece
                    while (end := held.find(b"\n")) >= 0:
                        line = bytes(held[:end])
                        del held[: end + 1]
                        yield line
                    if len(held) > MAX_LINE:
                        raise ControlUnreachable("a line of the stream is too long")
        except httpx2.HTTPError as error:
            raise _away(error) from None

    async def bundle(self, path: str) -> bytes:
        """A bundle of the record. Raises NotFound, ControlUnreachable."""
        data = await self._get(f"/log/record/{path}", self._authorization())
        if len(data) > MAX_BUNDLE:
            raise ControlUnreachable("a bundle is too long")
        return data

    async def materials(self, request: str) -> Delivery:
        """Answer to a material request. Raises ControlUnreachable."""
        headers = {**self._authorization(), "content-type": "application/json"}
        try:
            answer = await self._http.post(
                "/api/gateway/materials", content=msgspec.json.encode({"request": request}), headers=headers
            )
        except httpx2.HTTPError as error:
            raise _away(error) from None
        if answer.status_code != 200:
            raise _refused(answer.status_code, answer.content)
        return msgspec.json.decode(answer.content, type=Delivery)

    async def _get(self, path: str, headers: dict[str, str]) -> bytes:
        try:
            answer = await self._http.get(path, headers=headers)
        except httpx2.HTTPError as error:
            raise _away(error) from None
        if answer.status_code == 404:
            raise NotFound("the control plane has no such file", field=path)
        if answer.status_code != 200:
            raise _refused(answer.status_code, answer.content)
        return answer.content


def _away(error: httpx2.HTTPError) -> ControlUnreachable:
    if untrusted(error):
        return ControlUnreachable("the control plane's certificate is not trusted", remedy=UNTRUSTED_REMEDY)
    return ControlUnreachable(f"the control plane is away ({type(error).__name__})")


def _refused(status: int, body: bytes) -> ControlUnreachable:
    detail, remedy = "", ""
    with contextlib.suppress(msgspec.MsgspecError):
        problem = msgspec.json.decode(body)
        if isinstance(problem, dict):
            detail, remedy = str(problem.get("detail", ""))[:300], str(problem.get("remedy", ""))[:300]
    return ControlUnreachable(f"the control plane answered {status}: {detail or 'no detail'}", remedy=remedy)
