"""A gateway with its real credential check over an embedded instance, and a sandbox server to stand in for an upstream."""

from __future__ import annotations

import asyncio
import threading

import uvloop

from safeconduct.app.decision_log import DecisionLog
from safeconduct.app.enforce_request import GatewayNode
from safeconduct.app.node_settings import NodeSettings
from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.decision.cache import DecisionCache
from safeconduct.passport.dpop import ReplayMemory
from safeconduct.upstreams.pool import UpstreamPool
from safeconduct.web.proxy.server import ProxyServer
from safeconduct.web.sandbox.server import SandboxServer


class InstanceGateway:
    """Both on one event loop in a thread of its own; `url` is the gateway's, `upstream` the other's base URL.

    credential: what the upstream asks for. Sandbox deployments are not allowed: what is served is served as real.
    """

    def __init__(self, embedded, *, credential):
        self._embedded = embedded
        self._credential = credential
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def __enter__(self):
        self._thread.start()
        self._call(self._start())
        return self

    async def _start(self):
        opened = self._embedded.opened
        instance = opened.instance
        key = instance.keys.signer("token").verifying_key()
        self._upstream = SandboxServer(credential=self._credential, clock=instance.clock)
        await self._upstream.start()
        self._pool = UpstreamPool(self._loop)
        node = GatewayNode(
            NodeSettings(
                name="gateway", base_url="http://gateway.test", pseudonym_key=b"p" * 32, sandbox=False
            ),
            state=instance.record.state,
            clock=instance.clock,
            verifier=CredentialVerifier(
                instance.record,
                instance.vault,
                issuer=instance.issuer,
                audience=instance.audience,
                token_keys=lambda kid: key if kid == key.kid else None,
                replays=ReplayMemory(),
                profile=instance.profile,
                loopback=True,
            ),
            decide=DecisionCache().decide,
            decisions=DecisionLog(opened.decision_log, instance.vault, instance.clock, node="gateway"),
            vault=instance.vault,
        )
        instance.record.subscribe(node.on_state)
        self._server = ProxyServer(node, self._pool)
        await self._server.start("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.upstream = self._upstream.base_url

    @property
    def seen(self):
        """Requests that reached the upstream."""
        return list(self._upstream.seen)

    def __exit__(self, *_):
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self):
        await self._server.close(0.2)
        self._pool.close()
        await self._upstream.close()
