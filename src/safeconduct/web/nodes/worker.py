"""A worker: one process that serves the gateway's port beside others, from a followed record.

Owns its wiring, its decision log (one write-ahead log per process) and its end in good order. Holds the secrets that serving
needs and no right to write the record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from safeconduct.app.decision_log import DecisionLog
from safeconduct.app.deliver_materials import PSEUDONYM_KIND, PSEUDONYM_NAME
from safeconduct.app.enforce_following import FollowedRecord, FollowingNode
from safeconduct.app.follow_up_lost import LOOKED_AT, follow_up_lost
from safeconduct.app.instance_keys import InstanceKeyRing
from safeconduct.app.node_settings import NodeSettings
from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.heartbeat import Greeting, read_greeting
from safeconduct.audit.reader import follow_published
from safeconduct.audit.sequencing import Log
from safeconduct.bootstrap import custody_of, open_quota_ledger, worker_logs
from safeconduct.decision.cache import DecisionCache
from safeconduct.gateway.http_messages import limits_for
from safeconduct.homes import open_budgeted_log
from safeconduct.kernel.clock import SteadyClock, SystemClock
from safeconduct.kernel.errors import SafeconductError, UnsafeConfiguration
from safeconduct.kernel.signing import Signer, VerifyingKey
from safeconduct.settings import (
    Settings,
    check_listeners,
    connections_per_source,
    is_loopback,
    read_descriptor,
    worker_name,
)
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.log_group import LogGroup
from safeconduct.storage.service_log import start_service_log
from safeconduct.storage.stored_responses import StoredResponseTable
from safeconduct.storage.subject_keys import SubjectKeys
from safeconduct.storage.vault import SqliteVault
from safeconduct.upstreams.pool import UpstreamPool
from safeconduct.web.listeners import tls_of
from safeconduct.web.nodes.home import GatewayHome, open_home
from safeconduct.web.nodes.metrics import Publisher, measure_files
from safeconduct.web.nodes.process import run_until_stopped
from safeconduct.web.nodes.shared import ControlClock, open_position, open_replays
from safeconduct.web.proxy.server import ProxyServer

DRAIN_SECONDS = 8.0
WATCH_SECONDS = 0.005
"""Between two looks at the position: what a commit takes to reach a worker of its own machine."""
_LOOK_AGAIN = 1.0
_LOOK_FOR_KEYS = 0.5
_PATIENCE = 0.05

_logger = logging.getLogger(__name__)


class _Facts(msgspec.Struct, frozen=True):
    """What a worker is told beside the record."""

    issuer: str
    audience: str
    profile: str


class _GreetedKey:
    """The public half of a key of the control plane, where `InstanceKeyRing` asks for the present one."""

    def __init__(self, jwk: dict[str, Any]) -> None:
        self._jwk = VerifyingKey(jwk).jwk
        self.alg: str = self._jwk["alg"]
        self.kid: str = self._jwk["kid"]

    def sign(self, data: bytes) -> bytes:
        """Refused: the private half is not here."""
        raise UnsafeConfiguration(f"a gateway does not sign {len(data)} bytes for the control plane")

    def public_jwk(self) -> dict[str, Any]:
        """As greeted."""
        return self._jwk


class _GreetedKeys:
    """The token key as a gateway elsewhere knows it: the greeting's, until the record names a later one."""

    def __init__(self, jwk: dict[str, Any]) -> None:
        self._key = _GreetedKey(jwk)

    def signer(self, name: str) -> Signer:
        """The key named in the greeting."""
        assert name == "token"
        return self._key

    def leaving(self, _name: str) -> Signer | None:
        """The record says which one left."""
        return None


class _Keys(Protocol):
    def signer(self, name: str) -> Signer: ...

    def leaving(self, name: str) -> Signer | None: ...


class _Place(msgspec.Struct, frozen=True):
    """Where a worker finds things. process: its name in `logs`, which are those of all processes beside it.

    own_kids: of the gateway's keys for the trust list, for a gateway elsewhere.
    """

    data: Path
    name: str
    record: Path
    verifier: LogVerifier
    log: Path
    log_origin: str
    process: str
    logs: LogGroup
    facts: Callable[[], _Facts | None]
    keys: Callable[[], _Keys]
    own_kids: Callable[[], list[str]] | None


def _ours(settings: Settings, number: int) -> tuple[_Place, SubjectKeys, SqliteVault]:
    """Beside the control plane in one data directory (`serve --workers`)."""
    descriptor = read_descriptor(settings)
    keys = KeyDirectory(settings.keys, custody_of(settings))
    name = worker_name(number)
    facts = _Facts(descriptor.issuer, descriptor.audience, descriptor.profile)
    place = _Place(
        data=settings.data,
        name=name,
        record=settings.record_log,
        verifier=LogVerifier.of(descriptor.record_origin, keys.signer("record-log")),
        log=settings.worker_log(name),
        log_origin=f"{descriptor.decision_origin}/{name}",
        process=name,
        logs=worker_logs(settings, descriptor, keys, SystemClock()),
        facts=lambda: facts,
        keys=lambda: keys,
        own_kids=None,
    )
    subject_keys = SubjectKeys.open(settings.record_directory, keys.wrapper())
    try:
        return place, subject_keys, SqliteVault.open(settings.vault, subject_keys)
    except BaseException:
        subject_keys.close()
        raise


def _greeting_of(home: GatewayHome) -> Greeting | None:
    try:
        text = home.greeting.read_text("ascii")
    except FileNotFoundError:
        return None
    verifier = follow_published(FileLogDirectory(home.record).read, home.verifier)
    return read_greeting(text, verifier)


def _facts_of(home: GatewayHome) -> _Facts | None:
    greeting = _greeting_of(home)
    return None if greeting is None else _Facts(greeting.issuer, greeting.audience, greeting.profile)


def _keys_of(home: GatewayHome) -> _GreetedKeys:
    greeting = _greeting_of(home)
    if greeting is None or not greeting.token_keys:
        raise UnsafeConfiguration("the control plane named no key of its tokens")
    return _GreetedKeys(greeting.token_keys[0])


def _elsewhere(settings: Settings, number: int) -> tuple[_Place, SubjectKeys, SqliteVault]:
    """In a gateway's own home (`gateway`)."""
    home = open_home(settings)
    name = f"{home.descriptor.name}.{number}"
    place = _Place(
        data=settings.data,
        name=name,
        record=home.record,
        verifier=home.verifier,
        log=settings.worker_log(worker_name(number)),
        log_origin=f"{home.verifier.name}/gateways/{name}",
        process=worker_name(number),
        logs=home.logs(SystemClock()),
        facts=lambda: _facts_of(home),
        keys=lambda: _keys_of(home),
        own_kids=home.own_kids,
    )
    subject_keys, vault = home.open_vault()
    return place, subject_keys, vault


def run_worker(
    settings: Settings,
    *,
    followed: bool,
    number: int,
    listener: int,
    public_url: str,
    ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM, then let what is under way finish for up to DRAIN_SECONDS and log what became of it.

    followed: this is a gateway's home and not an instance's. listener: descriptor of a listening socket.
    public_url: what clients call, when it is not the instance's audience.
    """
    undo = start_service_log(settings.logs / worker_name(number), level=settings.log_level)
    place, subject_keys, vault = (_elsewhere if followed else _ours)(settings, number)
    page = open_position(place.data)
    try:

        async def work(stop: asyncio.Event) -> None:
            while not stop.is_set():
                secret = vault.get(PSEUDONYM_KIND, PSEUDONYM_NAME)
                facts = place.facts()
                if facts is not None and secret is not None and page.read() is not None:
                    worker = _Worker(place, vault, facts, secret)
                    await worker.serve(
                        settings, listener=listener, public_url=public_url, ready=ready, stop=stop
                    )
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _PATIENCE)

        run_until_stopped(work)
        _logger.info("stopped")
    finally:
        vault.close()
        subject_keys.close()
        undo()


class _Worker:
    def __init__(self, place: _Place, vault: SqliteVault, facts: _Facts, secret: bytes) -> None:
        self._place = place
        self._vault = vault
        self._facts = facts
        self._secret = secret
        self._page = open_position(place.data)
        # Anchored at the control plane's time: a restart takes up no jump of this machine's clock either.
        self._clock = SteadyClock(ControlClock(self._page).now)
        self._source = FollowedRecord(
            FileLogDirectory(place.record).read,
            place.verifier,
            self._page.read,
            self._clock,
            own_keys=place.own_kids,
        )

    async def serve(
        self,
        settings: Settings,
        *,
        listener: int,
        public_url: str,
        ready: Callable[[str], None],
        stop: asyncio.Event,
    ) -> None:
        facts, place, clock = self._facts, self._place, self._clock
        loop = asyncio.get_running_loop()
        await self._synchronise(stop)
        if facts.profile == "production":
            check_listeners(settings)
        with place.logs.opening():
            log = open_budgeted_log(
                place.log,
                place.log_origin,
                place.logs.signer_for(place.process),
                clock,
                budget=settings.decision_budget,
                create=True,
            )
        for note in log.notes:
            _logger.warning("recovery: %s", note)
        stored = StoredResponseTable.open(settings.stored_responses)
        quotas = open_quota_ledger(settings, place.data)
        tls = tls_of(settings)
        loopback = is_loopback(settings.gateway_host)
        decisions = DecisionLog(log, self._vault, clock, node=place.name)
        lost = follow_up_lost(decisions, log.read(max(0, log.durable_size - LOOKED_AT), log.durable_size))
        if lost:
            _logger.error("%d requests had no follow-up: the process before this one was killed", lost)
        node = FollowingNode(
            NodeSettings(
                name=place.name,
                base_url=public_url or facts.audience,
                pseudonym_key=self._secret,
                sandbox=facts.profile == "development",
                loopback=loopback,
                remedy_base=f"{facts.issuer}/codes",
            ),
            source=self._source,
            state=self._source.state,
            clock=clock,
            verifier=CredentialVerifier(
                self._source,
                self._vault,
                issuer=facts.issuer,
                audience=facts.audience,
                token_keys=InstanceKeyRing("token", self._source, place.keys(), clock),
                replays=open_replays(place.data),
                profile=facts.profile,
                loopback=loopback,
            ),
            decide=DecisionCache().decide,
            decisions=decisions,
            vault=self._vault,
            stored=stored,
            ledger=quotas,
        )
        upstreams = UpstreamPool(loop)
        server = ProxyServer(
            node, upstreams, limits=limits_for(settings.body_limit, connections_per_source(settings))
        )
        publisher = Publisher(server, measure_files(place.data), place.name, clock)
        watching = [
            loop.create_task(self._watch(node)),
            loop.create_task(publisher.run()),
            loop.create_task(self._take_up_keys(log)),
        ]
        if tls is not None:
            watching.append(loop.create_task(tls.watch()))
        try:
            await server.start_on(
                socket.socket(fileno=listener), tls=tls.context if tls is not None else None
            )
            ready(place.name)
            await stop.wait()
        finally:
            # Watched to the end: a directive cuts what is still draining, too.
            await server.close(DRAIN_SECONDS)
            for task in watching:
                task.cancel()
            publisher.end()
            upstreams.close()
            quotas.close()
            stored.close()
            log.close()

    async def _synchronise(self, stop: asyncio.Event) -> None:
        """Wait for a whole state: without one every credential would look unknown."""
        while not stop.is_set():
            self._source.catch_up()
            instance = self._source.state.instance
            if instance is not None:
                if (instance.profile, instance.issuer) != (self._facts.profile, self._facts.issuer):
                    raise UnsafeConfiguration("the record and the control plane's greeting differ")
                return
            await asyncio.sleep(_PATIENCE)

    async def _take_up_keys(self, log: Log) -> None:
        """Change the log's key when that is ordered: nobody else can, as long as we have the log open."""
        refused = ""
        while True:
            await asyncio.sleep(_LOOK_FOR_KEYS)
            try:
                signer = self._place.logs.wanted(log.verifier.key.thumbprint)
                if signer is not None:
                    await asyncio.to_thread(log.change_key, signer)
                    _logger.info("the decision log is signed by another key from now on: %s", signer.kid)
                refused = ""
            except (SafeconductError, OSError) as error:
                if str(error) != refused:
                    refused = str(error)
                    _logger.error("the decision log's new key cannot be taken up: %s", error)  # noqa: TRY400 - no defect, so no trace

    async def _watch(self, node: FollowingNode) -> None:
        looked = 0.0
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                node.watch()
                present = self._clock.monotonic()
                if present - looked > _LOOK_AGAIN:
                    looked = present
                    node.forget_credentials()
            except Exception:  # one failed look must not end the watch
                _logger.exception("the watch failed")
