"""A whole node on TLS: API and gateway over one embedded instance with a person in it, on one event loop in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import uvicorn
import uvloop
from tests.support.certificates import server_files
from tests.support.credentials import Credentials
from tests.support.holders import HOLDER_KEY

from safeconduct.app.decision_log import DecisionLog
from safeconduct.app.enforce_request import GatewayNode
from safeconduct.app.instance_keys import InstanceKeyRing
from safeconduct.app.node_settings import NodeSettings
from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.decision.cache import DecisionCache
from safeconduct.passport.dpop import ReplayMemory
from safeconduct.sdk import Holder
from safeconduct.upstreams.pool import UpstreamPool
from safeconduct.web.api.application import create_application
from safeconduct.web.api.assembly import node_of
from safeconduct.web.api.peer_protocol import PeerHttpProtocol
from safeconduct.web.proxy.server import ProxyServer
from safeconduct.web.tls import ListenerTls


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class _Api(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        yield


class TlsNode:
    """`at` is the instance with its person, `holder` their passport as the SDK wants it, `ca` the file that clients trust."""

    def __init__(self, directory):
        self.files = directory / "tls"
        self.files.mkdir()
        self.certificate, self.key = server_files(self.files)
        self.ca = self.files / "ca.crt"
        self.ca.write_bytes(self.certificate.read_bytes())
        self.tls = ListenerTls(self.certificate, self.key)
        self.port, self.api_port = free_port(), free_port()
        self.url, self.issuer = f"https://127.0.0.1:{self.port}", f"https://127.0.0.1:{self.api_port}"
        self.at = Credentials(directory, issuer=self.issuer, audience=self.url)
        self.holder = Holder(
            issuer=self.issuer, gateway=self.url, signer=HOLDER_KEY, passport=self.at.issued.sd_jwt
        )
        self.loop = uvloop.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def __enter__(self):
        self.thread.start()
        self.call(self._start())
        return self

    async def _start(self):
        opened = self.at.embedded.opened
        instance = opened.instance
        replays = ReplayMemory()
        decisions = DecisionLog(opened.decision_log, instance.vault, instance.clock, node="node")
        self.node = GatewayNode(
            NodeSettings(name="node", base_url=self.url, pseudonym_key=b"p" * 32, sandbox=True),
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
                loopback=True,
            ),
            decide=DecisionCache().decide,
            decisions=decisions,
            vault=instance.vault,
        )
        instance.record.subscribe(self.node.on_state)
        self.pool = UpstreamPool(self.loop)
        self.server = ProxyServer(self.node, self.pool)
        await self.server.start("127.0.0.1", self.port, tls=self.tls.context)
        self.api = _Api(
            uvicorn.Config(
                create_application(node_of(opened, decisions, replays=replays)),
                host="127.0.0.1",
                port=self.api_port,
                log_config=None,
                lifespan="off",
                ws="none",
                http=PeerHttpProtocol,
                ssl_context_factory=lambda _config, _default: self.tls.context,
            )
        )
        self.serving = self.loop.create_task(self.api.serve())
        end = time.monotonic() + 20
        while not self.api.started:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)

    async def _stop(self):
        await self.server.close(0.2)
        self.api.should_exit = self.api.force_exit = True
        await asyncio.wait({self.serving}, timeout=5)
        self.pool.close()

    def __exit__(self, *_):
        self.call(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
        self.at.embedded.close()
