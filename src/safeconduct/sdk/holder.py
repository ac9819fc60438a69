"""What a holder keeps on disk: the passport (or a mandate) and the key it is bound to.

A holder file is JSON, mode 0600: `kind` (`passport` or `agent`), `issuer`, `gateway`, `key` (path of a PEM file, relative to
the holder file), and `passport`, or `mandate` and `agent`. Refuses files that others can read.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.ids import MandateId, RandomBytes, SubjectId
from safeconduct.kernel.signing import FileSigner, Signer
from safeconduct.passport.issuance import open_passport, present
from safeconduct.passport.mandate import Mandate, present_mandate, sign_mandate


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    kind: Literal["passport", "agent"]
    issuer: str
    gateway: str
    key: str
    passport: str | None = None
    mandate: str | None = None
    agent: str | None = None


class Holder:
    """A passport with its key: `issuer` and `gateway` are base URLs. Agents have a mandate instead of a passport."""

    def __init__(
        self,
        *,
        issuer: str,
        gateway: str,
        signer: Signer,
        passport: str | None = None,
        mandate: MandateId | None = None,
        agent: SubjectId | None = None,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        if (passport is None) == (mandate is None) or (mandate is None) != (agent is None):
            raise InvalidInput("a holder has a passport, or a mandate and the agent's id", field="passport")
        self.issuer = check_base_url(issuer, "issuer")
        self.gateway = check_base_url(gateway, "gateway")
        self.signer = signer
        self.passport = passport
        self.mandate = mandate
        self.agent = agent
        self._random = random

    def __repr__(self) -> str:
        return f"<Holder {self.mandate or 'passport'} at {self.issuer}>"

    @classmethod
    def load(cls, path: str | Path) -> Holder:
        """Read a holder file and its key. Raises UnsafeConfiguration when others can read either, InvalidInput otherwise."""
        path = Path(path)
        try:
            read = msgspec.json.decode(_read_private(path), type=_File)
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"not a holder file: {error}", field=str(path)) from None
        signer = FileSigner.from_pem(_read_private(path.parent / read.key))
        return cls(
            issuer=read.issuer,
            gateway=read.gateway,
            signer=signer,
            passport=read.passport,
            mandate=None if read.mandate is None else MandateId(read.mandate),
            agent=None if read.agent is None else SubjectId(read.agent),
        )

    def save(self, path: str | Path) -> None:
        """Write the holder file and, beside it, `<name>.pem`, both 0600. Raises InvalidInput when the key is not a file's."""
        path = Path(path)
        if not isinstance(self.signer, FileSigner):
            raise InvalidInput("the key does not lie in a file", field="key")
        key = path.with_suffix(".pem")
        write_private(key, self.signer.to_pem())
        content = _File(
            kind="agent" if self.mandate is not None else "passport",
            issuer=self.issuer,
            gateway=self.gateway,
            key=key.name,
            passport=self.passport,
            mandate=self.mandate,
            agent=self.agent,
        )
        write_private(path, msgspec.json.format(msgspec.json.encode(content)))

    def names(self) -> tuple[str, ...]:
        """What the passport can disclose; empty for an agent."""
        return () if self.passport is None else open_passport(self.passport).names()

    def present(self, *, nonce: str, now: int, disclose: Collection[str] | None = None) -> str:
        """A presentation to the issuer: of the passport (disclose: names, None for all), or of the mandate."""
        if self.passport is not None:
            return present(self.passport, disclose, self.signer, audience=self.issuer, nonce=nonce, now=now)
        assert self.mandate is not None
        assert self.agent is not None
        return present_mandate(
            self.mandate,
            agent=self.agent,
            signer=self.signer,
            audience=self.issuer,
            nonce=nonce,
            now=now,
            jti=b64u(self._random(16)),
        )

    def sign_mandate(self, mandate: Mandate) -> str:
        """Delegate to an agent: the text to register with the issuer, together with `present`."""
        return sign_mandate(mandate, audience=self.issuer, signer=self.signer)


def check_base_url(url: str, field: str) -> str:
    """An https URL, or http on loopback, without a trailing slash. Raises InvalidInput."""
    parts = urlsplit(url)
    loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise InvalidInput(
            "must be https, or http on loopback", field=field, remedy="credentials never travel in the clear"
        )
    if parts.query or parts.fragment or parts.username is not None:
        raise InvalidInput("a base URL has no query, fragment or user", field=field)
    return url.rstrip("/")


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UnsafeConfiguration(
                    "others can read this file", field=str(path), remedy=f"chmod 600 {path}"
                )
            return file.read()
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from None


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, replacing what was there in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def describe(holder: Holder) -> dict[str, Any]:
    """What may be shown of a holder: no passport text, no key."""
    return {
        "kind": "agent" if holder.mandate is not None else "passport",
        "issuer": holder.issuer,
        "gateway": holder.gateway,
        "key": holder.signer.kid,
        "facts": list(holder.names()),
    }
