"""Use case: replace one of the instance's own keys while everything that was signed with it stays verifiable.

Owns how long a replaced key still verifies: until the last thing it signed has expired, and not one second when it was
compromised. Refuses a key that served before, and to take from a caller where a key is to be found: whoever may call the API
must not be able to put a key of their own in the instance's place.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.instance_keys import LOG_KEYS, PUBLISHED, WORKER_LOG_KEY
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.publish_status_list import LIFETIME as STATUS_SECONDS
from safeconduct.app.scope import require_role
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.signing import KeyWrapper, Signer, thumbprint
from safeconduct.kernel.suggest import did_you_mean
from safeconduct.kernel.vocabulary import PassportStatus, Role
from safeconduct.passport.tokens import MAX_SECONDS as TOKEN_SECONDS
from safeconduct.record.events import Event
from safeconduct.record.events.trust import InstanceKeyRotated
from safeconduct.record.state import State

ROOT = "root"
ROTATABLE = (*PUBLISHED, *LOG_KEYS, WORKER_LOG_KEY, ROOT)
SCHEDULED, COMPROMISED = "scheduled", "compromised"
MARGIN = 60
"""Seconds added to the life of what the old key signed: other clocks differ."""


class KeyStore(Protocol):
    """The key directory as far as a rotation needs it (`storage.key_directory.KeyDirectory`)."""

    def signer(self, name: str) -> Signer:
        """The present key."""
        ...

    def reference(self, name: str) -> str:
        """Where it is kept: `file:` or its reference."""
        ...

    def prepare(self, name: str) -> Signer:
        """Make the next key, or take the one that waits already."""
        ...

    def use(self, name: str, signer: Signer) -> None:
        """Sign with it from now on, in this process."""
        ...

    def activate(self, name: str) -> None:
        """Put it in the present one's place for good."""
        ...

    def discard(self, name: str) -> None:
        """Give it up."""
        ...

    def prepare_root(self) -> KeyWrapper:
        """Make the next root key, or take the one that waits already."""
        ...


class SignedLog(Protocol):
    """A log whose key can change (`audit.sequencing.Log`)."""

    def change_key(self, signer: Signer) -> None:
        """Sign with it from now on; its key history says so."""
        ...


class Order(Protocol):
    """A change of a group's key that is being carried out."""

    @property
    def by(self) -> str:
        """Kid of who ordered it."""
        ...

    @property
    def cause(self) -> str:
        """`scheduled` or `compromised`."""
        ...


class SignedLogs(Protocol):
    """Logs of several processes under one key (`storage.log_group.LogGroup`)."""

    def has_key(self) -> bool:
        """Whether there ever was such a log."""
        ...

    def awake(self) -> list[str]:
        """Processes that have theirs open."""
        ...

    def order(self) -> Order | None:
        """What a process that ended had begun."""
        ...

    def change_key(self, after: Signer, *, by: str, cause: str) -> None:
        """Let all of them sign with it from now on, and put it in the present one's place. Can be repeated."""
        ...


class DataKeys(Protocol):
    """What the root key wraps (`storage.subject_keys.SubjectKeys`)."""

    def change_root(self, wrapper: KeyWrapper) -> int:
        """Wrap everything by another root key; returns how many."""
        ...


class RotateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """compromised: what the old key signed counts no more from this moment on."""

    compromised: bool = False


class KeyRotation:
    """Rotates the keys of one open instance. logs: by the names of LOG_KEYS; worker_logs: of the processes beside it."""

    def __init__(
        self,
        instance: Instance,
        keys: KeyStore,
        *,
        logs: Mapping[str, SignedLog],
        worker_logs: SignedLogs,
        data_keys: DataKeys,
        workers: int = 0,
    ) -> None:
        """workers: processes beside this one that wrap data keys by the root key."""
        self._workers = workers
        self._instance = instance
        self._keys = keys
        self._logs = logs
        self._worker_logs = worker_logs
        self._data_keys = data_keys
        self._lock = threading.Lock()

    def describe(self) -> list[dict[str, Any]]:
        """Every key of ours, present ones first: name, kid, where it is kept (without details), since and until when."""
        state = self._instance.record.state
        shown: list[dict[str, Any]] = []
        for name in ROTATABLE:
            if name == WORKER_LOG_KEY and not self._worker_logs.has_key():
                continue
            kept = self._keys.reference(name).partition(":")[0]
            if name == ROOT:
                shown.append(
                    {"key": name, "kid": None, "alg": None, "kept": kept, "since": None, "until": None}
                )
                continue
            signer = self._keys.signer(name)
            entry = state.instance_keys.get(signer.kid)
            since = entry.since if entry is not None else None
            shown.append(
                {
                    "key": name,
                    "kid": signer.kid,
                    "alg": signer.alg,
                    "kept": kept,
                    "since": since,
                    "until": None,
                }
            )
        shown += [
            {
                "key": one.key,
                "kid": kid,
                "alg": one.jwk["alg"],
                "kept": None,
                "since": one.since,
                "until": one.until,
            }
            for kid, one in sorted(state.instance_keys.items())
            if one.until is not None
        ]
        return shown

    def rotate(self, caller: Caller, name: str, ask: RotateKey) -> InstanceKeyRotated:
        """By an operator. Raises Forbidden, NotFound (no such key), Conflict (a key used before), UnsafeConfiguration,
        LogUnavailable.
        """
        require_role(caller, Role.OPERATOR)
        if name not in ROTATABLE:
            raise NotFound(
                f"the instance has no key {name[:60]!r}{did_you_mean(name, ROTATABLE)}",
                field="key",
                remedy=f"one of: {', '.join(ROTATABLE)}; role keys change with the trust list",
            )
        if name == WORKER_LOG_KEY and not self._worker_logs.has_key():
            raise NotFound(
                "this instance has had no workers yet", field="key", remedy="the key is made with the first"
            )
        with self._lock:
            if name == ROOT:
                return self._rotate_root(caller, ask)
            return self._rotate_signer(caller.id, name, COMPROMISED if ask.compromised else SCHEDULED)

    def finish(self) -> InstanceKeyRotated | None:
        """Go on with a change of the workers' log key that a process which ended had begun. None when there is none.

        Raises what `rotate` raises.
        """
        with self._lock:
            order = self._worker_logs.order()
            return None if order is None else self._rotate_signer(order.by, WORKER_LOG_KEY, order.cause)

    def _rotate_signer(self, by: str, name: str, cause: str) -> InstanceKeyRotated:
        before = self._keys.signer(name)
        after = self._keys.prepare(name)
        try:
            _check_unused(self._instance.record.state, name, before, after)
        except Conflict:
            self._keys.discard(name)
            raise
        log = self._logs.get(name)
        if name == WORKER_LOG_KEY:
            self._worker_logs.change_key(after, by=by, cause=cause)
        elif log is not None:
            # The key history is what a log's key rests on; should this end here, the next start finds it there.
            log.change_key(after)
            self._keys.activate(name)
        else:
            # INVARIANT: before the commit. Whatever is committed after the event is signed with the new key, so the event can
            # say how long the old one is needed.
            self._keys.use(name, after)

        def check(state: State) -> list[Event]:
            now = instant(self._instance)
            return [
                InstanceKeyRotated(
                    key=name,
                    jwk=after.public_jwk(),
                    previous=before.public_jwk(),
                    previous_until=now if cause == COMPROMISED else _needed_until(state, name, now),
                    cause=cause,
                    by=by,
                    at=now,
                )
            ]

        try:
            (event,) = commit_checked(self._instance, check)
        except BaseException:
            if name in PUBLISHED:
                self._keys.discard(name)
            raise
        if name in PUBLISHED:
            self._keys.activate(name)
        assert isinstance(event, InstanceKeyRotated)
        return event

    def _rotate_root(self, caller: Caller, ask: RotateKey) -> InstanceKeyRotated:
        # Asked of the logs too: workers may outlive the process that knew how many there are.
        if self._workers or self._worker_logs.awake():
            # A data key that a worker makes meanwhile would be wrapped by the root key that goes.
            raise Conflict(
                "the root key is not rotated while workers run",
                field="key",
                remedy="stop the instance and rotate it then, or serve it in one process",
            )
        self._data_keys.change_root(self._keys.prepare_root())
        self._keys.activate(ROOT)
        now = instant(self._instance)
        event = InstanceKeyRotated(
            key=ROOT,
            jwk={},
            previous={},
            previous_until=now,
            cause=COMPROMISED if ask.compromised else SCHEDULED,
            by=caller.id,
            at=now,
        )
        commit_checked(self._instance, lambda _: [event])
        return event


def _check_unused(state: State, name: str, before: Signer, after: Signer) -> None:
    mine = thumbprint(after.public_jwk())
    others = [before.public_jwk(), *(entry.jwk for entry in state.instance_keys.values())]
    others += [entry.added.jwk for entry in state.trust.values()]
    if state.instance is not None:
        others += [*state.instance.issuer_keys, *state.instance.officers]
    if any(thumbprint(jwk) == mine for jwk in others) or after.kid in state.instance_keys:
        raise Conflict("that key served before", field=name, remedy="rotate to a new key")
    if after.alg != before.alg:
        raise Conflict(
            f"the new key signs with {after.alg}, the present one with {before.alg}",
            field=name,
            remedy=f"make a key for {before.alg}",
        )


def _needed_until(state: State, name: str, now: int) -> int:
    """When the last thing that the key signed has expired."""
    if name == "issuer":
        living = (
            held.issued.valid_until
            for held in state.passports.values()
            if held.status is not PassportStatus.INVALID
        )
        return max(now, *living, now) + MARGIN
    if name == "status":
        return now + STATUS_SECONDS + MARGIN
    if name == "token":
        return now + TOKEN_SECONDS + MARGIN
    return now
