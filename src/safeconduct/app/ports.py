"""What the use cases need from outside, as narrow protocols, and who calls them.

Storage, key files and the log implement these; tests use the real embedded ones on a temporary directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from safeconduct.kernel.clock import Clock
from safeconduct.kernel.ids import OrganisationId, ProviderId, RandomBytes, SubjectId
from safeconduct.kernel.signing import Signer
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events import Event
from safeconduct.record.state import State


class Caller(msgspec.Struct, frozen=True):
    """An authenticated caller of the API.

    party: the name its key stands under in the trust list (`operator`, `authority:us-bis`, `provider:anthropic` ...).
    jwk: an applicant's public key, whose thumbprint is `id`.
    id: names the individual key or person for records and for "nobody approves their own request".
    """

    role: Role
    party: str
    id: str
    provider: ProviderId | None = None
    organisation: OrganisationId | None = None
    jurisdiction: str | None = None
    subject: SubjectId | None = None
    jwk: dict[str, Any] | None = None


class Record(Protocol):
    """The record: the only way to change authorization state."""

    @property
    def state(self) -> State:
        """The fold of everything durable so far."""
        ...

    def commit(self, events: Sequence[Event], *, expect: int | None = None) -> int:
        """Append events in order as one group, wait until they are durable, fold them, wake subscribers.

        Both homes also take `once`, the caller's id of the commit: a repeat writes nothing and returns the same position.

        Returns the new position. `expect` is the position the caller's checks were made at: when the record has moved on,
        Conflict is raised and nothing is written (the use case runs its checks again). Raises LogUnavailable.
        """
        ...

    def current_at(self, now: float) -> float:
        """Up to when nothing acknowledged anywhere is missing in `state`; now and the result are on the monotonic clock."""
        ...

    def subscribe(self, callback: Callable[[State, Sequence[Event]], None]) -> None:
        """Call back after each commit, in commit order, with the new state; must not block."""
        ...


class StoredDocument(msgspec.Struct, frozen=True):
    """A document to store. plaintext: None removes it."""

    kind: str
    name: str
    subject: str
    plaintext: bytes | None


class Vault(Protocol):
    """Encrypted documents under a data key per subject, itself wrapped by the root key.

    Destroying the data key (`forget`) makes everything sealed under it unreadable, in the logs too.
    """

    @property
    def erasures(self) -> int:
        """How often `forget` was called since this was opened: what was kept of somebody elsewhere must go then."""
        ...

    def aead(self, subject: str, *, create: bool = False) -> AESGCM:
        """The subject's data key. Raises NotFound when there is none (erased, or never made) and create is False."""
        ...

    def put(self, kind: str, name: str, subject: str, plaintext: bytes) -> None:
        """Store or replace a document, durable when it returns. The subject's data key is made on first use."""
        ...

    def get(self, kind: str, name: str) -> bytes | None:
        """Decrypt a document, or None when there is none."""
        ...

    def exchange(
        self, writes: Sequence[StoredDocument], *, expect: Mapping[tuple[str, str], bytes | None]
    ) -> None:
        """Write all of `writes` or none, and only if each document of `expect` still is what was read (None: absent).

        Raises Conflict when one is not, NotFound when a subject was erased; then nothing is written.
        """
        ...

    def names(self, kind: str) -> list[str]:
        """Names of the stored documents of a kind, ordered."""
        ...

    def marks(self, kind: str) -> dict[str, bytes]:
        """By name of the stored documents of a kind, in order, bytes that differ whenever a document was written anew. Reads no document."""
        ...

    def delete(self, kind: str, name: str) -> None:
        """Remove a document; no error when it is not there."""
        ...

    def forget(self, subject: str) -> None:
        """Destroy the subject's data key for good."""
        ...


class Keys(Protocol):
    """The instance's own signing keys: `issuer` (passports), `status` (status lists), `token` (access tokens)."""

    def signer(self, name: str) -> Signer:
        """The current key of that name. Raises UnsafeConfiguration when it is absent."""
        ...

    def leaving(self, name: str) -> Signer | None:
        """The key before it, when this process saw it change; the record says for how long it still counts."""
        ...


class ImpactColumns(Protocol):
    """Everybody enrolled in columns, kept up with the record (`app.impact_desk`)."""

    def columns(self) -> Any | None:
        """What holds now (`impact_desk.Prepared`); None when the population is small."""
        ...


class Instance(msgspec.Struct, frozen=True):
    """Everything a control-plane use case works with.

    issuer: our issuer identifier, an https (or loopback http) URL without a trailing slash.
    audience: the gateway's identifier in access tokens. profile: `development` or `production`.
    impact: the columns that make a preview over a large population quick; without them everybody is asked one by one.
    """

    clock: Clock
    random: RandomBytes
    record: Record
    vault: Vault
    keys: Keys
    issuer: str
    audience: str
    profile: str
    impact: ImpactColumns | None = None
