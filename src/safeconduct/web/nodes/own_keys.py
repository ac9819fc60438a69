"""Rotating the keys that a gateway elsewhere holds itself: of its decision logs, of its place on the trust list, of its root.

Owns what must be true before a key is replaced, on the gateway's own files, whether it runs or not. Refuses to put a key in place that
the control plane does not accept yet, and to replace the root key under processes that hold it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from safeconduct.app.rotate_key import COMPROMISED, SCHEDULED
from safeconduct.audit.reader import PublishedLog
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.signing import Signer
from safeconduct.record.envelope import open_body, read_entry
from safeconduct.record.events import decode
from safeconduct.record.events.trust import TrustKeyAdded, TrustKeyRevoked
from safeconduct.storage.key_directory import ROOT
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.subject_keys import SubjectKeys
from safeconduct.upstreams.control_plane import ControlUnreachable, HttpControlPlane
from safeconduct.web.nodes.home import LOG_KEY, NODE_KEY, GatewayHome

OWN_KEYS = (NODE_KEY, LOG_KEY, ROOT)
OPERATOR_AT_GATEWAY = "gateway"


def rotate_log_key(home: GatewayHome, clock: Clock, *, compromised: bool) -> tuple[Signer, Signer]:
    """Replace the key of all its processes' decision logs, running or not; the old key and the new one.

    Raises Conflict (a process has not taken it up yet; the command can be repeated), LogUnavailable, LogCorrupt.
    """
    logs = home.logs(clock)
    logs.settle()
    before = home.keys.signer(LOG_KEY)
    after = home.keys.prepare(LOG_KEY)
    logs.change_key(after, by=OPERATOR_AT_GATEWAY, cause=COMPROMISED if compromised else SCHEDULED)
    return before, after


def node_key_change(home: GatewayHome, *, now: int, overlap: int, compromised: bool) -> dict[str, Any]:
    """Make the gateway's next key for the trust list, and the change that two officers sign: the new key in, the present one out.

    overlap: seconds for which the present key is good beside the new one. Raises NotFound (the copy of the record does not know
    the present key), Conflict (it was struck off).
    """
    present = home.signer().kid
    added = _listed(home, present)
    after = home.keys.prepare(NODE_KEY)
    kept = ("party", "may_sign", "jurisdiction", "variants", "provider", "organisation", "development")
    addition = {name: value for name in kept if (value := getattr(added, name))}
    addition |= {
        "jwk": after.public_jwk(),
        "valid_from": now if compromised else now - 3600,
        "valid_until": now + (added.valid_until - added.valid_from),
    }
    revocation = {
        "kid": present,
        "from": now if compromised else now + overlap,
        "cause": "compromised" if compromised else "rotated",
    }
    return {"add": [addition], "revoke": [revocation]}


def _listed(home: GatewayHome, kid: str) -> TrustKeyAdded:
    """How the trust list names the key, as far as the gateway's own verified copy of the record knows."""
    published = PublishedLog(FileLogDirectory(home.record).read, home.verifier)
    found: TrustKeyAdded | None = None
    try:
        entries = published.entries(0, published.refresh().size)
    except NotFound:
        entries = iter(())  # it was never started
    for entry in entries:
        envelope = read_entry(entry)
        if not envelope.type.startswith("trust_key_"):
            continue
        event = decode(open_body(envelope))
        if isinstance(event, TrustKeyAdded) and event.kid == kid:
            found = event
        elif isinstance(event, TrustKeyRevoked) and event.kid == kid:
            raise Conflict(
                "the gateway's key was struck off the trust list",
                field=NODE_KEY,
                remedy="enrol the gateway anew in another directory",
            )
    if found is None:
        raise NotFound(
            "the gateway's copy of the record does not know its key yet",
            field=NODE_KEY,
            remedy="start the gateway once, with its control plane running",
        )
    return found


async def finish_node_key(home: GatewayHome, clock: Clock) -> str:
    """Put the waiting key in its place, once the control plane takes it; its kid. A gateway that runs does so by itself.

    Raises NotFound (none waits), Conflict (the control plane does not accept it), UnsafeConfiguration.
    """
    waiting = home.keys.pending(NODE_KEY)
    if waiting is None:
        raise NotFound(
            "no key of this gateway waits",
            field=NODE_KEY,
            remedy="begin: safeconduct gateway rotate node --out change.json",
        )
    control = HttpControlPlane(
        home.descriptor.control,
        party=home.descriptor.party,
        signer=waiting,
        audience=home.descriptor.issuer,
        clock=clock,
        tls=home.control_tls(),
    )
    try:
        async with control, contextlib.aclosing(control.follow(0, secrets.token_urlsafe(24))) as lines:
            await anext(lines)
    except ControlUnreachable as error:
        raise Conflict(
            f"the new key is not in force: {error.message}",
            field=NODE_KEY,
            remedy="hand in the change that two officers signed: safeconduct trust change FILE",
        ) from None
    home.take_up(waiting.kid)
    return waiting.kid


@contextlib.contextmanager
def _stopped(home: GatewayHome) -> Iterator[None]:
    """Hold every lock that the gateway's processes need, so that none runs and none begins."""
    places = [home.record, *sorted((home.settings.data / "decisions").glob("*/log"))]
    with contextlib.ExitStack() as held:
        for place in places:
            directory = FileLogDirectory(place)
            if not directory.acquire():
                raise Conflict(
                    "the root key is not rotated while the gateway runs: its processes hold the present one",
                    field=ROOT,
                    remedy="stop the gateway, rotate, and start it again",
                )
            held.callback(directory.release)
        yield


def rotate_root_key(home: GatewayHome) -> int:
    """Wrap what the gateway keeps by a new root key; returns how many data keys. A crash in between is made good by repeating it.

    Raises Conflict (the gateway runs).
    """
    with _stopped(home):
        after = home.keys.prepare_root()
        keys = SubjectKeys.open(home.settings.data, after, older=home.keys.wrapper())
        try:
            changed = keys.rewrap()
        finally:
            keys.close()
        home.keys.activate(ROOT)
        return changed
