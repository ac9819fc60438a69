"""Use case: import whose travel documents are believed (master lists, bundles, revocation lists), and what was imported.

Owns the order of the imports: each is checked against those before it (`identity.documents.csca`), and an unsigned or first one
needs its digest named. Refuses the authorities of specimens under a production profile.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading

import msgspec

from safeconduct.app.evidence_index import INSTANCE_SUBJECT
from safeconduct.app.kyc_desk import KycDesk
from safeconduct.app.ports import Caller, Instance, StoredDocument
from safeconduct.app.scope import require_role
from safeconduct.identity.documents.csca import CscaStore, read_list
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Role

_LISTS = "document-authorities"
_INDEX = ("document-authorities-index", "index")


class ImportAuthorities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file as base64. kind: `list` (master list, bundle of certificates, LDIF) or `revocations`.

    sha256: hex digest by which the operator vouches for a list that is unsigned, or the first.
    """

    file: str
    kind: str = "list"
    sha256: str | None = None


class AuthoritiesImported(msgspec.Struct, frozen=True):
    """What an import came to. skipped: what in the file could not be read."""

    sha256: str
    certificates: int
    authorities: int
    skipped: tuple[str, ...]


class _Import(msgspec.Struct, frozen=True):
    sha256: str
    kind: str
    vouched: bool
    at: int


class DocumentAuthorities:
    """The authorities of one instance, read from the store when another import was made. Thread-safe."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._lock = threading.Lock()
        self._seen: bytes | None = None
        self._store = CscaStore()

    def store(self) -> CscaStore:
        """Everything imported so far, in order."""
        index = self._instance.vault.get(*_INDEX)
        with self._lock:
            if index != self._seen:
                self._store = self._read(index)
                self._seen = index
            return self._store

    def _read(self, index: bytes | None) -> CscaStore:
        store = CscaStore()
        for one in _imports(index):
            data = self._instance.vault.get(_LISTS, one.sha256)
            if data is not None:
                store = _added(store, data, one)[0]
        return store


def _imports(index: bytes | None) -> list[_Import]:
    return msgspec.json.decode(index, type=list[_Import]) if index is not None else []


def _added(store: CscaStore, data: bytes, one: _Import) -> tuple[CscaStore, int, tuple[str, ...]]:
    if one.kind == "revocations":
        return store.with_revocations(data), 0, ()
    contents = read_list(data, store, sha256=one.sha256 if one.vouched else None, now=one.at)
    store = store.with_authorities(contents.certificates)
    for der in contents.revocation_lists:
        store = store.with_revocations(der)
    return store, len(contents.certificates), contents.skipped


def import_authorities(desk: KycDesk, caller: Caller, ask: ImportAuthorities) -> AuthoritiesImported:
    """Add a list. Importing one again changes nothing. Raises Forbidden, InvalidInput, VerificationFailed, Conflict."""
    require_role(caller, Role.OPERATOR)
    if ask.kind not in ("list", "revocations"):
        raise InvalidInput("is list or revocations", field="kind")
    try:
        data = base64.b64decode(ask.file.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidInput("is not base64", field="file", remedy="send the file in standard base64") from None
    digest = hashlib.sha256(data).hexdigest()
    if ask.sha256 is not None and ask.sha256.lower() != digest:
        raise InvalidInput(
            "the file is not the one whose digest was named",
            field="sha256",
            remedy="compare the digest with the one its publisher names",
        )
    index = desk.instance.vault.get(*_INDEX)
    known = _imports(index)
    store = desk.authorities()
    if any(one.sha256 == digest and one.kind == ask.kind for one in known):
        return AuthoritiesImported(digest, 0, len(store.authorities), ())
    one = _Import(sha256=digest, kind=ask.kind, vouched=ask.sha256 is not None, at=desk.now())
    store, count, skipped = _added(store, data, one)
    desk.instance.vault.exchange(
        [
            StoredDocument(_LISTS, digest, INSTANCE_SUBJECT, data),
            StoredDocument(*_INDEX, INSTANCE_SUBJECT, msgspec.json.encode([*known, one])),
        ],
        expect={_INDEX: index},
    )
    return AuthoritiesImported(digest, count, len(store.authorities), skipped)
