"""Fetches a screening list when an operator asked for it. Implements `app.import_screening_list.ListFetch`.

Owns what an address may be and how much may come from it. Refuses anything but https, addresses that are not public (so nobody can have
the instance look around in its own network, however a name resolves and wherever a redirect leads), compressed answers, and web pages.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import tempfile
from collections.abc import Callable
from typing import IO
from urllib.parse import urljoin, urlsplit

import httpx2

from safeconduct.kernel.clock import Clock, SystemClock
from safeconduct.kernel.errors import InvalidInput, SafeconductError

MAX_BYTES = 1 << 30
SECONDS = 300.0
MAX_REDIRECTS = 5
_TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
_IN_MEMORY = 1 << 20
_REDIRECTS = (301, 302, 303, 307, 308)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class FetchFailed(SafeconductError):
    """The publisher gave no file: away, too slow, or another answer."""

    kind = "fetch_failed"


def is_public(address: Address) -> bool:
    """Whether an address is one that anybody on the Internet could mean."""
    if isinstance(address, ipaddress.IPv6Address):
        for inner in (address.ipv4_mapped, address.sixtofour, address.teredo[1] if address.teredo else None):
            if inner is not None:
                return is_public(inner)
        # NAT64 (RFC 6052) carries an IPv4 address in its last four bytes.
        if address in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address.is_global and not address.is_multicast


class HttpsListFetch:
    """allowed: which addresses may be spoken to. tls: trust in servers; the system's when left out."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        allowed: Callable[[Address], bool] = is_public,
        tls: ssl.SSLContext | None = None,
        limit: int = MAX_BYTES,
        seconds: float = SECONDS,
    ) -> None:
        self._clock = clock or SystemClock()
        self._allowed = allowed
        self._tls = tls
        self._limit = limit
        self._seconds = seconds

    def fetch(self, url: str) -> IO[bytes]:
        """The whole file in a temporary one that has no name, positioned at its start. Raises InvalidInput, FetchFailed."""
        deadline = self._clock.monotonic() + self._seconds
        file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, mode="w+b")  # noqa: SIM115 - the caller closes it
        try:
            self._follow(url, file, deadline)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def _follow(self, url: str, file: IO[bytes], deadline: float) -> None:
        for _ in range(MAX_REDIRECTS + 1):
            onward = self._once(url, file, deadline)
            if onward is None:
                return
            url = onward
        raise FetchFailed(f"more than {MAX_REDIRECTS} redirects", field="url")

    def _once(self, url: str, file: IO[bytes], deadline: float) -> str | None:
        """One request; the address that a redirect leads to, or None when the file was written."""
        host, port, target = self._checked(url)
        # Spoken to by the very address that was checked: a name that resolves otherwise a moment later leads nowhere else.
        shown = f"[{target}]" if isinstance(target, ipaddress.IPv6Address) else str(target)
        parts = urlsplit(url)
        direct = f"https://{shown}:{port}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
        headers = {
            "host": host if port == 443 else f"{host}:{port}",
            "accept": "*/*",
            "accept-encoding": "identity",
            "user-agent": "safeconduct",
        }
        try:
            with (
                httpx2.Client(
                    timeout=_TIMEOUT,
                    follow_redirects=False,
                    trust_env=False,
                    verify=self._tls if self._tls is not None else True,
                ) as client,
                client.stream("GET", direct, headers=headers, extensions={"sni_hostname": host}) as answer,
            ):
                if answer.status_code in _REDIRECTS:
                    return urljoin(url, answer.headers.get("location", ""))
                self._check_answer(answer)
                self._copy(answer, file, deadline)
        except httpx2.HTTPError as error:
            raise FetchFailed(
                f"{host} gave no file ({type(error).__name__})",
                field="url",
                remedy="try again later, or upload the file",
            ) from None
        return None

    def _checked(self, url: str) -> tuple[str, int, Address]:
        if len(url) > 2_000:
            raise InvalidInput("the address is too long", field="url")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 443
        except ValueError:
            raise InvalidInput("not an address", field="url") from None
        if parts.scheme != "https" or not host:
            raise InvalidInput(
                "lists are fetched over https only", field="url", remedy="name an https address"
            )
        if parts.username is not None or parts.password is not None:
            raise InvalidInput(
                "the address carries a password",
                field="url",
                remedy="download the file yourself and upload it",
            )
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise FetchFailed(f"the name {host[:100]} does not resolve", field="url") from None
        addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
        refused = [address for address in addresses if not self._allowed(address)]
        if refused or not addresses:
            raise InvalidInput(
                f"{host[:100]} is not on the public Internet",
                field="url",
                remedy="download the file yourself and upload it",
            )
        return host, port, addresses[0]

    @staticmethod
    def _check_answer(answer: httpx2.Response) -> None:
        if answer.status_code != 200:
            raise FetchFailed(
                f"the publisher answered {answer.status_code}", field="url", remedy="check the address"
            )
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise FetchFailed("the answer is compressed though it was asked not to be", field="url")
        if answer.headers.get("content-type", "").split(";")[0].strip().lower() in {
            "text/html",
            "application/xhtml+xml",
        }:
            raise FetchFailed(
                "the publisher answered with a web page, not a list",
                field="url",
                remedy="open the address in a browser: a sign-in or an error page stands where the file should",
            )

    def _copy(self, answer: httpx2.Response, file: IO[bytes], deadline: float) -> None:
        seen = 0
        announced = answer.headers.get("content-length", "")
        for chunk in answer.iter_raw(256 << 10):
            seen += len(chunk)
            if seen > self._limit:
                raise FetchFailed(f"more than {self._limit:,} bytes", field="url")
            if self._clock.monotonic() > deadline:
                raise FetchFailed(f"it took more than {self._seconds:.0f} seconds", field="url")
            file.write(chunk)
        if announced.isdigit() and int(announced) != seen:
            raise FetchFailed(f"{seen:,} of {int(announced):,} bytes came", field="url")
