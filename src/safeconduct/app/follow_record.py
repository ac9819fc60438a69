"""Follow the record from a control plane elsewhere: verify, copy, tell the workers, fetch what they need beside it.

Owns the order: a heartbeat counts only when the copy holds everything it names. Refuses to go on with a log that shrank or
shows another tree; then no position is told, and the workers' budgets run out. Does no I/O of its own: `ControlPlane` is the
network, `audit.mirror` the files.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

import msgspec

from safeconduct.app.deliver_materials import (
    MOST_WANTED,
    PSEUDONYM_KIND,
    PSEUDONYM_NAME,
    Delivery,
    MaterialRequest,
    Wanted,
)
from safeconduct.app.ports import Vault
from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.app.stored_claims import KEY_CLAIMS
from safeconduct.audit.heartbeat import Following, Greeting, Heartbeat
from safeconduct.audit.mirror import Mirror
from safeconduct.audit.tile import ENTRIES, TILE_WIDTH, decode_bundle, tile_path, tile_width
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import NotFound, SafeconductError, VerificationFailed
from safeconduct.kernel.signing import Signer
from safeconduct.record.envelope import open_body, read_entry
from safeconduct.record.events import decode
from safeconduct.record.events.holders import GatewayKeyRegistered, GatewayKeyRevoked
from safeconduct.record.events.registrations import (
    DeploymentCredentialReplaced,
    DeploymentRegistered,
    DeploymentRetired,
)
from safeconduct.record.events.trust import TrustKeyAdded

RENEW_SECONDS = 60.0
"""After this the next following begins beside the old one, so that clocks are compared anew without a gap."""
SILENT_SECONDS = 1.0
"""Without a heartbeat for this long another attempt begins, while the old one may still come back."""
RETRY_SECONDS = 0.25
AT_ONCE = 16
REMEMBER_SECONDS = 5.0
COMPLAIN_SECONDS = 60.0

_logger = logging.getLogger(__name__)


class Line(msgspec.Struct, frozen=True):
    """One line of the stream (`web.api.following.FollowLine`)."""

    greeting: str = ""
    heartbeat: str = ""
    checkpoint: str = ""
    entries: tuple[str, ...] = ()
    key_history: str = ""


class ControlPlane(Protocol):
    """The control plane over the network. Every call may raise `Unreachable` or another SafeconductError."""

    def follow(self, after: int, nonce: str) -> AsyncIterator[bytes]:
        """Lines of one following, on a connection that is already open when this is sent."""
        ...

    async def warm(self) -> None:
        """Open the connection that the next `follow` goes over."""
        ...

    async def bundle(self, path: str) -> bytes:
        """A bundle of the record's entries. Raises NotFound."""
        ...

    async def materials(self, request: str) -> Delivery:
        """Answer to a material request."""
        ...


class Tell(Protocol):
    """How workers learn of the position (`storage.position_page.PositionPage.write`)."""

    def __call__(self, size: int, root: bytes, as_of: float, time: float) -> None:
        """The record had `size` entries under `root` at `as_of` (steady clock); its wall clock said `time`."""
        ...


class Enrolment(msgspec.Struct, frozen=True):
    """Who this gateway is. party: as in the trust list; signer: its key there, asked each time, since it can change.

    taken_in: called with the kid of each key that the record brings into the trust list.
    """

    party: str
    signer: Callable[[], Signer]
    taken_in: Callable[[str], None] = lambda _kid: None


class RecordFollower:
    """Follows until cancelled. connect: makes a client for one following. greeted: keeps a verified greeting for workers."""

    def __init__(
        self,
        mirror: Mirror,
        connect: Callable[[], contextlib.AbstractAsyncContextManager[ControlPlane]],
        *,
        enrolment: Enrolment,
        clock: Clock,
        tell: Tell,
        greeted: Callable[[str, Greeting], None],
        vault: Vault,
    ) -> None:
        self._mirror = mirror
        self._connect = connect
        self._enrolment = enrolment
        self._clock = clock
        self._tell = tell
        self._greeted = greeted
        self._vault = vault
        self._lock = asyncio.Lock()
        self._beaten = asyncio.Event()
        self.first_beat = asyncio.Event()
        self._greeting: Greeting | None = None
        self._deployments: set[str] = set()
        self._replaced: set[str] = set()
        self._keys: dict[str, str] = {}
        self._materials_wanted = asyncio.Event()
        self._refresh_credentials = False
        self._remembered = clock.monotonic()
        self._newest: asyncio.Task[None] | None = None
        self._complaint = ("", 0.0)

    def look_at(self, entries: Iterable[bytes]) -> None:
        """Note which secrets the entries call for, and forget those that they end."""
        for entry in entries:
            envelope = read_entry(entry)
            if not envelope.type.startswith(("deployment_", "gateway_key_", "trust_key_added")):
                continue
            event = decode(open_body(envelope))
            if isinstance(event, DeploymentRegistered):
                self._deployments.add(event.deployment)
            elif isinstance(event, DeploymentCredentialReplaced):
                self._replaced.add(event.deployment)
            elif isinstance(event, DeploymentRetired):
                self._deployments.discard(event.deployment)
                self._vault.delete(CREDENTIAL_KIND, event.deployment)
            elif isinstance(event, GatewayKeyRegistered):
                self._keys[event.key] = event.subject
            elif isinstance(event, GatewayKeyRevoked):
                self._keys.pop(event.key, None)
                self._vault.delete(KEY_CLAIMS, event.key)
            elif isinstance(event, TrustKeyAdded):
                self._enrolment.taken_in(event.kid)
                continue
            else:
                continue
            self._materials_wanted.set()

    async def run(self) -> None:
        """Follow, over and over, until cancelled."""
        fetching = asyncio.create_task(self._fetch_materials())
        running: list[asyncio.Task[None]] = []
        began = float("-inf")
        try:
            while True:
                running = [task for task in running if not task.done()]
                present = self._clock.monotonic()
                if not running or present - began > RENEW_SECONDS:
                    began = present
                    running.append(asyncio.create_task(self._follow()))
                self._beaten.clear()
                try:
                    await asyncio.wait_for(self._beaten.wait(), SILENT_SECONDS if running else RETRY_SECONDS)
                except TimeoutError:
                    # Nothing came: begin another beside the silent one, and give up those before.
                    for task in running[:-1]:
                        task.cancel()
                    running = running[-1:]
                    began = float("-inf")
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                if len(running) > 1 and self._newest is running[-1]:
                    for task in running[:-1]:
                        task.cancel()
                    running = running[-1:]
                await self._breathe(running)
        finally:
            for task in (fetching, *running):
                task.cancel()
            await asyncio.gather(fetching, *running, return_exceptions=True)

    async def _breathe(self, running: list[asyncio.Task[None]]) -> None:
        # A following that just failed is not begun again at once.
        if all(task.done() for task in running):
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        try:
            async with self._connect() as control:
                # So that the reckoning of age does not count the time it takes to connect.
                await control.warm()
                nonce = secrets.token_urlsafe(24)
                have = self._mirror.size
                following = Following(
                    self._mirror.verifier,
                    party=self._enrolment.party,
                    nonce=nonce,
                    asked=self._clock.monotonic(),
                )
                async for text in control.follow(have, nonce):
                    line = msgspec.json.decode(text, type=Line)
                    if line.key_history:
                        self._mirror.adopt_history(line.key_history.encode())
                    following.verifier = self._mirror.verifier
                    if line.greeting:
                        self._take_greeting(line.greeting, following.greeted(line.greeting))
                    if line.heartbeat:
                        beat, as_of = following.heartbeat(line.heartbeat)
                        async with self._lock:
                            await self._take(control, line, beat, have)
                            self._tell(self._mirror.size, self._mirror.root, as_of, beat.time / 1000)
                        have = max(have, beat.size)
                        self._newest = asyncio.current_task()
                        self._beaten.set()
                        self.first_beat.set()
                        self._remember()
        except VerificationFailed as error:
            self._complain(logging.ERROR, f"the control plane's record is not accepted: {error}")
        except (SafeconductError, msgspec.MsgspecError, OSError) as error:
            self._complain(logging.WARNING, f"the control plane cannot be followed: {error}")

    def _complain(self, level: int, text: str) -> None:
        """Once a minute, not with every attempt."""
        present = self._clock.monotonic()
        if text != self._complaint[0] or present - self._complaint[1] > COMPLAIN_SECONDS:
            self._complaint = (text, present)
            _logger.log(level, "%s", text)

    def _take_greeting(self, text: str, greeting: Greeting) -> None:
        self._greeting = greeting
        self._greeted(text, greeting)
        self._refresh_credentials = True
        self._materials_wanted.set()

    async def _take(self, control: ControlPlane, line: Line, beat: Heartbeat, have: int) -> None:
        """Bring the copy to where the heartbeat is. Raises VerificationFailed; then the heartbeat does not count."""
        mirror = self._mirror
        root = beat.root_hash
        if beat.size <= mirror.size:
            # A following that lags behind the other may name an older tree, which ours extends.
            if beat.size == mirror.size or beat.size < have:
                mirror.check(beat.size, root)
            return
        start = mirror.size
        if line.entries:
            try:
                fresh = [base64.b64decode(entry, validate=True) for entry in line.entries]
            except binascii.Error:
                raise VerificationFailed("an entry is not base64", step="structure", code="") from None
            fresh = fresh[start - have :]
        else:
            fresh = await self._fetch(control, start, beat.size)
        checkpoint = mirror.extend(fresh, line.checkpoint.encode())
        if (checkpoint.size, checkpoint.root) != (beat.size, root):
            raise VerificationFailed("heartbeat and checkpoint differ", step="consistency", code="")
        self.look_at(fresh)

    async def _fetch(self, control: ControlPlane, start: int, size: int) -> list[bytes]:
        first, last = start // TILE_WIDTH, (size - 1) // TILE_WIDTH
        entries: list[bytes] = []
        for group in range(first, last + 1, AT_ONCE):
            numbers = range(group, min(group + AT_ONCE, last + 1))
            bundles = await asyncio.gather(*(self._bundle(control, number, size) for number in numbers))
            for bundle in bundles:
                entries += bundle
        return entries[start - first * TILE_WIDTH :]

    @staticmethod
    async def _bundle(control: ControlPlane, number: int, size: int) -> list[bytes]:
        width = tile_width(ENTRIES, number, size)
        path = tile_path(ENTRIES, number, width)
        try:
            return decode_bundle(await control.bundle(path), path)
        except NotFound:
            # tlog-tiles: a log may delete partial tiles once the full one is there.
            path = tile_path(ENTRIES, number)
            return decode_bundle(await control.bundle(path), path)[:width]

    def _remember(self) -> None:
        present = self._clock.monotonic()
        if present - self._remembered > REMEMBER_SECONDS:
            self._remembered = present
            self._mirror.remember()

    async def _fetch_materials(self) -> None:
        while True:
            await self._materials_wanted.wait()
            self._materials_wanted.clear()
            greeting = self._greeting
            if greeting is None:
                continue
            wanted, replaced = self._missing(), set(self._replaced)
            try:
                while wanted:
                    await self._ask(greeting, wanted[:MOST_WANTED])
                    wanted = wanted[MOST_WANTED:]
                self._refresh_credentials = False
                self._replaced -= replaced
            except (SafeconductError, OSError) as error:
                _logger.warning("secrets could not be fetched: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                self._materials_wanted.set()

    def _missing(self) -> list[Wanted]:
        have = {kind: set(self._vault.names(kind)) for kind in (CREDENTIAL_KIND, KEY_CLAIMS, PSEUDONYM_KIND)}
        refresh = self._refresh_credentials
        wanted: list[Wanted] = [
            (CREDENTIAL_KIND, name)
            for name in sorted(self._deployments)
            # A replacement that was missed is made up for with each following.
            if refresh or name in self._replaced or name not in have[CREDENTIAL_KIND]
        ]
        wanted += [(KEY_CLAIMS, name) for name in sorted(self._keys) if name not in have[KEY_CLAIMS]]
        if PSEUDONYM_NAME not in have[PSEUDONYM_KIND]:
            wanted.append((PSEUDONYM_KIND, PSEUDONYM_NAME))
        return wanted

    async def _ask(self, greeting: Greeting, wanted: list[Wanted]) -> None:
        request = MaterialRequest(
            self._enrolment.signer(),
            party=self._enrolment.party,
            audience=greeting.issuer,
            wanted=wanted,
            now=int(self._clock.now()),
        )
        async with self._connect() as control:
            found = request.open(await control.materials(request.text))
        for (kind, name), document in found.items():
            if (kind, name) not in wanted:
                raise VerificationFailed("a document came that was not asked for", step="seal", code="")
            if self._vault.get(kind, name) != document:
                self._vault.put(kind, name, self._subject(kind, name), document)

    def _subject(self, kind: str, name: str) -> str:
        if kind == KEY_CLAIMS:
            return self._keys[name]
        return "node:gateway" if kind == PSEUDONYM_KIND else f"deployment:{name}"
