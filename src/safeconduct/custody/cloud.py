"""What the clouds' key services have in common: credentials from a private file, and calls over HTTPS.

Owns the HTTP client: no redirects, no proxies of the environment, verified TLS, bounded answers. Refuses credentials in a file
that others can read and plain http beyond loopback. An error never quotes an answer's body or a credential.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from safeconduct.kernel.errors import InvalidInput, KeyUnavailable, UnsafeConfiguration

TIMEOUT = httpx2.Timeout(10.0, connect=5.0)
MAX_ANSWER = 256 * 1024
_MEMBERS = {"awskms": "aws", "azurekms": "azure", "gcpkms": "gcp"}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def read_private_text(path: Path) -> str:
    """A file that only its owner can read. Raises UnsafeConfiguration."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_mode & 0o077:
                raise UnsafeConfiguration(
                    f"others can read this file (mode {stat.S_IMODE(found.st_mode):04o})",
                    field=str(path),
                    remedy=f"chmod 600 {path}, and replace the secret if anybody may have read it",
                )
            return file.read(1 << 20).decode("utf-8", "replace")
    except OSError as error:
        raise UnsafeConfiguration(f"cannot be read: {error.strerror}", field=str(path)) from None


def read_credentials(path: Path | None, scheme: str) -> Mapping[str, Any]:
    """What reaches one cloud: the member `aws`, `azure` or `gcp` of the file. Raises UnsafeConfiguration that says what is missing."""
    member = _MEMBERS[scheme]
    if path is None:
        raise UnsafeConfiguration(
            f"{scheme}: needs credentials",
            field="kms_credentials",
            remedy=f'name a JSON file of mode 0600 with SAFECONDUCT_KMS_CREDENTIALS: {{"{member}":{{...}}}}',
        )
    try:
        content = msgspec.json.decode(read_private_text(path))
    except msgspec.MsgspecError:
        raise UnsafeConfiguration("not JSON", field=str(path), remedy="see docs/guides/keys.md") from None
    found = content.get(member) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise UnsafeConfiguration(
            f"the file has no member {member!r}", field=str(path), remedy="see docs/guides/keys.md"
        )
    return found


def needed(credentials: Mapping[str, Any], name: str, where: str) -> str:
    """A text member of the credentials. Raises UnsafeConfiguration that names it."""
    value = credentials.get(name)
    if not isinstance(value, str) or not value:
        raise UnsafeConfiguration(
            f"{where}.{name} is missing in the credentials",
            field="kms_credentials",
            remedy="see docs/guides/keys.md",
        )
    return value


def check_endpoint(url: str, field: str) -> str:
    """https, or http on loopback (a simulated service). Raises InvalidInput."""
    parts = urlsplit(url)
    if not parts.hostname or not (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    ):
        raise InvalidInput(f"{url[:100]!r} is not an https address", field=field)
    if parts.username is not None or parts.fragment or parts.query:
        raise InvalidInput("an address has no user, query or fragment", field=field)
    return url.rstrip("/")


class KeyService:
    """Calls one service. Thread-safe."""

    def __init__(self, name: str, *, transport: httpx2.BaseTransport | None = None) -> None:
        self.name = name
        self._http = httpx2.Client(
            timeout=TIMEOUT, follow_redirects=False, trust_env=False, transport=transport
        )

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        what: str,
        unwrapping: bool = False,
    ) -> dict[str, Any]:
        """One call; the answer's JSON object. what: named in errors. unwrapping: a 400 means that the bytes do not fit.

        Raises KeyUnavailable, InvalidInput (only when unwrapping).
        """
        try:
            answer = self._http.request(method, url, headers=dict(headers), content=body)
        except httpx2.HTTPError as error:
            raise KeyUnavailable(
                f"{self.name} does not answer ({type(error).__name__})",
                field=what,
                remedy="check the network",
            ) from None
        if unwrapping and answer.status_code == 400:
            raise InvalidInput("cannot decrypt: wrong key, wrong context or altered bytes", field=what)
        if answer.status_code != 200 or len(answer.content) > MAX_ANSWER:
            raise KeyUnavailable(
                f"{self.name} answered {answer.status_code}",
                field=what,
                remedy="check the key's reference, its state and what the credentials may do with it",
            )
        try:
            found = msgspec.json.decode(answer.content)
        except msgspec.MsgspecError:
            found = None
        if not isinstance(found, dict):
            raise KeyUnavailable(f"{self.name} did not answer with JSON", field=what)
        return found


class AccessTokens:
    """An OAuth access token, fetched again a minute before it ends. fetch() gives text and seconds. Thread-safe."""

    def __init__(
        self, fetch: Callable[[], tuple[str, float]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._text = ""
        self._until = 0.0

    def get(self) -> str:
        """A token good for at least a minute."""
        with self._lock:
            if self._monotonic() >= self._until:
                self._text, seconds = self._fetch()
                self._until = self._monotonic() + max(seconds - 60, 1)
            return self._text


def token_in(answer: Mapping[str, Any], name: str) -> tuple[str, float]:
    """Token and seconds out of an OAuth answer (RFC 6749 5.1). Raises UnsafeConfiguration."""
    text, seconds = answer.get("access_token"), answer.get("expires_in", 300)
    if not isinstance(text, str) or not text.isascii() or not text or isinstance(seconds, bool):
        raise UnsafeConfiguration(f"{name} gave no access token", field="kms_credentials")
    try:
        return text, float(seconds)
    except (TypeError, ValueError):
        raise UnsafeConfiguration(f"{name} gave no access token", field="kms_credentials") from None
