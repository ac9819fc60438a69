"""Everything in one process: the gateway's listener, the API with its page, and in development the sandbox provider.

Or all of it but the gateway's listener (`serve_control`), for gateways and workers that follow the record. Owns the order of starting and stopping. Refuses to serve beside another process that has the instance open (the log's lock
says so) and to start on a port that is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvicorn
import uvloop

from safeconduct.app.decision_log import DecisionLog
from safeconduct.app.deliver_materials import PSEUDONYM_KIND, PSEUDONYM_NAME
from safeconduct.app.enforce_following import FollowingNode, KeptRecord
from safeconduct.app.enforce_request import GatewayNode
from safeconduct.app.follow_up_lost import LOOKED_AT, follow_up_lost
from safeconduct.app.instance_keys import InstanceKeyRing
from safeconduct.app.kyc_desk import KycDesk
from safeconduct.app.node_settings import NodeSettings
from safeconduct.app.ports import Instance
from safeconduct.app.record_feed import Beat, RecordFeed
from safeconduct.app.rotate_key import KeyRotation
from safeconduct.app.shared_record import SharedRecordKeeper
from safeconduct.app.sweep_kyc_cases import sweep_kyc_cases
from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.audit.key_history import KEY_HISTORY
from safeconduct.bootstrap import OpenInstance, open_instance, open_quota_ledger, record_running
from safeconduct.decision.cache import DecisionCache
from safeconduct.gateway.http_messages import limits_for
from safeconduct.gateway.quota_ledger import QuotaLedger
from safeconduct.kernel.clock import Clock, SteadyClock
from safeconduct.kernel.errors import Conflict, LogUnavailable, SafeconductError, UnsafeConfiguration
from safeconduct.passport.dpop import ProofReplays
from safeconduct.settings import Settings, connections_per_source, is_loopback
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.position_page import Position
from safeconduct.storage.service_log import start_service_log
from safeconduct.upstreams.pool import UpstreamPool
from safeconduct.web.api.application import create_application
from safeconduct.web.api.assembly import node_of
from safeconduct.web.api.node import ListDesk
from safeconduct.web.api.peer_protocol import PeerHttpProtocol
from safeconduct.web.listeners import Addresses, base_url_of, check_free, tls_of
from safeconduct.web.nodes.metrics import measure_files, node_metrics
from safeconduct.web.nodes.shared import open_position, open_replays
from safeconduct.web.proxy.server import ProxyServer
from safeconduct.web.sandbox.server import SandboxServer
from safeconduct.web.tls import ListenerTls

DRAIN_SECONDS = 5.0
WATCH_SECONDS = 0.05
SWEEP_SECONDS = 10.0
RESCREEN_SECONDS = 0.25
FINISH_SECONDS = 2.0

SWITCH_SECONDS = 0.0005
_log = logging.getLogger("safeconduct.serving")


class _ApiServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the whole process, not to one of its listeners.
        yield


def _pseudonym_key(instance: Instance) -> bytes:
    """32 bytes from which users' names at providers are made: the same for ever, or users would get new names."""
    known = instance.vault.get(PSEUDONYM_KIND, PSEUDONYM_NAME)
    if known is None:
        known = instance.random(32)
        instance.vault.put(PSEUDONYM_KIND, PSEUDONYM_NAME, "node:gateway", known)
    return known


def sandbox_port_of(instance: Instance) -> int | None:
    """The loopback port at which the instance's sandbox deployments expect the provider, or None when there are none."""
    for entry in instance.record.state.deployments.values():
        if entry.registered.kind == "sandbox" and entry.retired_at is None:
            parts = urlsplit(entry.registered.base_url)
            if parts.hostname and is_loopback(parts.hostname):
                return parts.port
    return None


def check_sandbox(instance: Instance, sandbox_port: int | None) -> None:
    """Raise UnsafeConfiguration when a production instance is asked to run the sandbox provider."""
    if sandbox_port is not None and instance.profile != "development":
        raise UnsafeConfiguration(
            "production runs no sandbox provider",
            field="--sandbox-port",
            remedy="leave the option out, or try things out in a development instance",
        )


def _gateway_node(
    opened: OpenInstance,
    decisions: DecisionLog,
    replays: ProofReplays,
    quotas: QuotaLedger,
    *,
    loopback: bool,
) -> GatewayNode:
    """The gateway of this process, on the record itself; where others write it too, bound to how current it is."""
    instance = opened.instance
    record = instance.record
    make: Callable[..., GatewayNode] = GatewayNode
    if isinstance(record, SharedRecordKeeper):
        make = partial(FollowingNode, source=KeptRecord(record, instance.clock))
    return make(
        NodeSettings(
            name="gateway-1",
            base_url=instance.audience,
            pseudonym_key=_pseudonym_key(instance),
            sandbox=instance.profile == "development",
            loopback=loopback,
            remedy_base=f"{instance.issuer}/codes",
        ),
        state=instance.record.state,
        clock=instance.clock,
        verifier=CredentialVerifier(
            instance.record,
            instance.vault,
            issuer=instance.issuer,
            audience=instance.audience,
            token_keys=InstanceKeyRing("token", instance.record, instance.keys, instance.clock),
            replays=replays,
            profile=instance.profile,
            loopback=loopback,
        ),
        decide=DecisionCache().decide,
        decisions=decisions,
        vault=instance.vault,
        stored=opened.stored_responses,
        ledger=quotas,
    )


def _tell_workers(settings: Settings, feed: RecordFeed) -> None:
    """Write each beat to the page that this machine's workers watch."""
    page = open_position(settings.data)

    def tell(beat: Beat) -> None:
        page.write(Position(beat.checkpoint.size, beat.checkpoint.root, beat.as_of, beat.time))

    if feed.beat is not None:
        tell(feed.beat)
    feed.listen(tell)


def _key_history(settings: Settings) -> bytes:
    """The history of the record's key, empty while it has its first."""
    try:
        return FileLogDirectory(settings.record_log).read(KEY_HISTORY)
    except FileNotFoundError:
        return b""


async def count_failures(decisions: DecisionLog, clock: Clock, *, every: float = 5.0) -> None:
    """Where no gateway does it: write the count of failed authentication when its minute has passed. Runs until cancelled.

    every: seconds between two looks.
    """
    while True:
        await asyncio.sleep(every)
        try:
            decisions.flush(int(clock.now()))
        except LogUnavailable as error:
            # The log has ended: everything is denied by now, and this count with it.
            _log.error("failed authentication cannot be recorded: %s", error.message)
            return


async def keep_cases(desk: KycDesk, *, every: float = SWEEP_SECONDS) -> None:
    """Let the clock do to KYC cases what it does, and finish what a crash left; at once, then again and again until cancelled.

    every: seconds between two looks. What ends by the clock ends in decisions to the second: this only says so.
    """
    while True:
        try:
            await asyncio.to_thread(sweep_kyc_cases, desk)
        except LogUnavailable as error:
            _log.error("cases are not kept any more: %s", error.message)
            return
        except SafeconductError as error:
            _log.error("cases could not be kept: %s", error.kind)
        await asyncio.sleep(every)


async def keep_screened(desk: ListDesk, *, every: float = RESCREEN_SECONDS) -> None:
    """When a list's version comes into force, search what changed in it against everybody enrolled. Runs until cancelled.

    every: seconds between two looks; ten times as long after one that failed. Also what a process before this one did not finish.
    """
    rescreener = desk.rescreener
    if rescreener is None:
        return
    while True:
        wait = every
        try:
            for name in rescreener.due():

                def told(step: str, done: int, of: int, name: str = name) -> None:
                    desk.under_way[name] = (f"re-screening: {step}, part {done} of {of}", done)

                try:
                    found = await asyncio.to_thread(rescreener.run, name, told)
                finally:
                    desk.under_way.pop(name, None)
                if found.failed:
                    wait = every * 10
            await asyncio.to_thread(rescreener.tidy)
        except LogUnavailable as error:
            _log.error("nobody is screened again any more: %s", error.message)
            return
        except SafeconductError as error:
            # Its message may name a list and a file, never a person: those errors are counted where they happen.
            _log.error("people could not be screened again after a list changed: %s", error.kind)
            wait = every * 10
        await asyncio.sleep(wait)


def _finish_rotation(rotation: KeyRotation, stopping: threading.Event) -> None:
    """Go on with a change of the workers' log key that a process before this one had begun, until all have taken it up."""
    said = ""
    while not stopping.is_set():
        try:
            if rotation.finish() is not None:
                _log.warning("the rotation of the workers' log key is finished")
        except (SafeconductError, OSError) as error:
            if str(error) != said:
                said = str(error)
                _log.error("the rotation of the workers' log key is not finished: %s", error)
        else:
            return
        stopping.wait(FINISH_SECONDS)


async def _watch(node: FollowingNode) -> None:
    while True:
        node.watch()
        await asyncio.sleep(WATCH_SECONDS)


async def _serve(
    opened: OpenInstance,
    settings: Settings,
    *,
    sandbox_port: int | None,
    ready: Callable[[Addresses], None] | None,
    stop: asyncio.Event,
    tls: ListenerTls | None,
    gateway: bool = True,
    workers: int = 0,
) -> None:
    instance = opened.instance
    loop = asyncio.get_running_loop()
    replays = open_replays(settings.data)
    quotas = open_quota_ledger(settings)
    decisions = DecisionLog(
        opened.decision_log, instance.vault, instance.clock, node="gateway-1" if gateway else "control"
    )
    log = opened.decision_log
    lost = follow_up_lost(decisions, log.read(max(0, log.durable_size - LOOKED_AT), log.durable_size))
    if lost:
        _log.error("%d requests had no follow-up: the process before this one was killed", lost)
    _pseudonym_key(instance)
    feed = RecordFeed(
        opened.record_log,
        instance.record,
        instance.clock,
        signer=lambda: opened.keys.signer("record-log"),
        history=lambda: _key_history(settings),
    )
    sandbox: SandboxServer | None = None
    wanted = sandbox_port_of(instance)
    if instance.profile == "development" and (sandbox_port is not None or wanted is not None):
        sandbox = SandboxServer(clock=instance.clock)
        port = wanted if wanted is not None else sandbox_port
        assert port is not None
        await sandbox.start("127.0.0.1", port)
    upstreams = UpstreamPool(loop)
    server: ProxyServer | None = None
    watching_node: asyncio.Task[None] | None = None
    if gateway:
        node = _gateway_node(opened, decisions, replays, quotas, loopback=is_loopback(settings.gateway_host))
        server = ProxyServer(
            node, upstreams, limits=limits_for(settings.body_limit, connections_per_source(settings))
        )
        await server.start(
            settings.gateway_host, settings.gateway_port, tls=tls.context if tls is not None else None
        )
        if isinstance(node, FollowingNode):
            watching_node = loop.create_task(_watch(node))
        else:
            instance.record.subscribe(node.on_state)
        # What was committed between opening and subscribing.
        node.on_state(instance.record.state, ())
    feed.start()
    metrics: Callable[[], str] = server.metrics if server is not None else str
    if workers:
        _tell_workers(settings, feed)
        metrics = partial(node_metrics, measure_files(settings.data), instance.clock)
    api_node = node_of(
        opened,
        decisions,
        replays=replays,
        quotas=quotas,
        record_feed=feed,
        workers=workers,
        metrics=metrics,
    )
    api = _ApiServer(
        uvicorn.Config(
            create_application(api_node),
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=int(DRAIN_SECONDS),
            http=PeerHttpProtocol,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls.context,
        )
    )
    serving = loop.create_task(api.serve())
    watching = loop.create_task(tls.watch()) if tls is not None else None
    ended = threading.Event()
    counting = loop.create_task(count_failures(decisions, instance.clock)) if server is None else None
    sweeping = loop.create_task(keep_cases(api_node.kyc))
    rescreening = loop.create_task(keep_screened(api_node.lists)) if api_node.lists is not None else None
    try:
        while not api.started:
            if serving.done():
                serving.result()
                raise Conflict("the API did not start", field="--api-port", remedy="see the log")
            await asyncio.sleep(0.005)
        api_port = int(api.servers[0].sockets[0].getsockname()[1])
        addresses = Addresses(
            api=base_url_of(settings.api_host, api_port, tls=tls is not None),
            gateway=base_url_of(settings.gateway_host, server.port, tls=tls is not None)
            if server is not None
            else instance.audience,
            sandbox=sandbox.base_url if sandbox is not None else "",
        )
        if not workers:
            record_running(settings, api=addresses.api, gateway=addresses.gateway)
        # What is there now stays: it need not be looked through for garbage again and again while requests are served.
        gc.collect()
        gc.freeze()
        # A thread that hashes keeps the interpreter for so long while a request waits for it; five milliseconds would be its p99.
        sys.setswitchinterval(SWITCH_SECONDS)
        _log.info("ready: gateway %s, API %s", addresses.gateway, addresses.api)
        if ready is not None:
            ready(addresses)
        if api_node.rotation is not None:
            threading.Thread(
                target=_finish_rotation, args=(api_node.rotation, ended), name="finish-rotation", daemon=True
            ).start()
        stopping = loop.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    finally:
        ended.set()
        for task in (watching, watching_node, sweeping, rescreening):
            if task is not None:
                task.cancel()
        if server is not None:
            await server.close(DRAIN_SECONDS)
        else:
            if counting is not None:
                counting.cancel()
            if decisions.failed is None:
                decisions.flush(int(instance.clock.now()), force=True)
        feed.close()
        api.should_exit = True
        await asyncio.wait({serving}, timeout=DRAIN_SECONDS + 1)
        upstreams.close()
        quotas.close()
        if sandbox is not None:
            await sandbox.close()


def serve(
    settings: Settings,
    *,
    clock: Clock | None = None,
    sandbox_port: int | None = None,
    ready: Callable[[Addresses], None] | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status.

    sandbox_port: start the sandbox provider there (development only); it is started by itself where deployments need it.
    ready: called once everything listens. Raises Conflict (a port in use), UnsafeConfiguration (the sandbox provider in
    production), and what `open_instance` raises.
    """
    check_free(settings.gateway_host, settings.gateway_port, "--gateway-port")
    _run(settings, clock=clock, sandbox_port=sandbox_port, ready=ready, logs=settings.logs)
    return 0


def serve_control(
    settings: Settings,
    *,
    sandbox_port: int | None = None,
    ready: Callable[[str], None] | None = None,
    workers: int = 0,
) -> int:
    """Serve API, record, tokens and page, and no gateway, until SIGINT or SIGTERM; returns the exit status.

    ready: called with the addresses as JSON. workers: of the same data directory: they are told the record's position, and
    their supervisor writes `running.json`. Raises what `serve` raises.
    """

    def told(addresses: Addresses) -> None:
        if ready is not None:
            ready(msgspec.json.encode(addresses).decode())

    _run(
        settings,
        clock=None,
        sandbox_port=sandbox_port,
        ready=told,
        logs=settings.logs / "control" if workers else settings.logs,
        gateway=False,
        workers=workers,
    )
    return 0


def _run(
    settings: Settings,
    *,
    clock: Clock | None,
    sandbox_port: int | None,
    ready: Callable[[Addresses], None] | None,
    logs: Path,
    gateway: bool = True,
    workers: int = 0,
) -> None:
    tls = tls_of(settings)  # unusable files stop the start before anything is opened
    check_free(settings.api_host, settings.api_port, "--api-port")
    with open_instance(settings, clock=clock or SteadyClock()) as opened:
        check_sandbox(opened.instance, sandbox_port)
        undo = start_service_log(logs, level=settings.log_level)
        try:
            for note in (*opened.record_log.notes, *opened.decision_log.notes, *opened.notes):
                _log.warning("recovery: %s", note)
            if opened.snapshots is not None:
                opened.snapshots.start()

            async def run() -> None:
                stop = asyncio.Event()
                loop = asyncio.get_running_loop()
                for one in (signal.SIGINT, signal.SIGTERM):
                    loop.add_signal_handler(one, stop.set)
                if tls is not None:
                    loop.add_signal_handler(signal.SIGHUP, tls.reload)
                await _serve(
                    opened,
                    settings,
                    sandbox_port=sandbox_port,
                    ready=ready,
                    stop=stop,
                    tls=tls,
                    gateway=gateway,
                    workers=workers,
                )

            uvloop.run(run())
            _log.info("stopped")
        finally:
            undo()
