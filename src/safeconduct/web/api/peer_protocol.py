"""uvicorn's connection, which also tells the application which client certificate its connection presented.

Owns how the certificate travels from the connection to a route. Refuses to take it from anything that a client can write.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from safeconduct.passport.certificate import PeerCertificate
from safeconduct.web.tls import peer_of

PEER = "peer_certificate"
"""Name in the state of a request under which the certificate stands."""


class PeerHttpProtocol(HttpToolsProtocol):
    """uvicorn's connection, which also tells the application which certificate its client presented."""

    peer: PeerCertificate | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected; the handshake is over."""
        super().connection_made(transport)
        self.peer = peer_of(transport)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if self.peer is not None:
            self.scope["state"][PEER] = self.peer
