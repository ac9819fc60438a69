"""TLS on the listeners: versions and ciphers, client certificates, and new files without a dropped connection.

Owns the one context that both listeners use. New connections take the files as they were last loaded; open ones go on with what they
began with. Refuses files that do not fit together, have expired or lie open to others: then the old ones stay in use and the log says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509

from safeconduct.kernel.errors import UnsafeConfiguration
from safeconduct.passport.certificate import PeerCertificate, open_anchor
from safeconduct.storage.key_directory import read_private

WATCH_SECONDS = 1.0
SHUTDOWN_SECONDS = 5.0
# TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has nothing weaker.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_log = logging.getLogger(__name__)


def _utc() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path under which exactly these bytes can be read: what was checked is what is loaded."""
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # No resumption: every connection proves its certificate's key anew, under the files that are in force.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


class ListenerTls:
    """The context of the listeners. `reload` takes new files; `watch` does so whenever they change.

    certificate: the chain, leaf first; key: its private key, mode 0600. client_ca: further authorities whose client certificates
    are read. utc: the machine's clock.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        *,
        client_ca: Path | None = None,
        utc: Callable[[], datetime.datetime] = _utc,
    ) -> None:
        """Raises UnsafeConfiguration when the files are unusable."""
        self._certificate = certificate
        self._key = key
        self._utc = utc
        self._stamp = self._stamps()
        self._refused = ""
        self.context = _new_context()
        # A certificate is asked for, not demanded: gateway keys and DPoP come without one.
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.load_verify_locations(cadata=open_anchor().decode("ascii"))
        if client_ca is not None:
            try:
                self.context.load_verify_locations(cafile=str(client_ca))
            except (OSError, ssl.SSLError):
                raise UnsafeConfiguration(
                    "holds no certificate", field=str(client_ca), remedy="give a PEM file of authorities"
                ) from None
        self._load()

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for path in (self._certificate, self._key):
            try:
                found = path.stat()
                stamps.append((found.st_ino, found.st_mtime_ns, found.st_size))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)

    def _load(self) -> None:
        chain, key = self._read_chain(), read_private(self._key)
        with _in_memory(chain) as chain_path, _in_memory(key) as key_path:
            try:
                # First elsewhere: a chain whose key does not fit would leave the live context with half of each.
                _new_context().load_cert_chain(chain_path, key_path, password=_no_password)
            except (ssl.SSLError, ValueError):
                raise UnsafeConfiguration(
                    "the key is not the certificate's, or cannot be read",
                    field=str(self._key),
                    remedy="replace both files; the key has no password",
                ) from None
            self.context.load_cert_chain(chain_path, key_path, password=_no_password)

    def _read_chain(self) -> bytes:
        try:
            data = self._certificate.read_bytes()
            leaf = x509.load_pem_x509_certificates(data)[0]
        except OSError as error:
            raise UnsafeConfiguration(
                f"cannot be read: {error.strerror}", field=str(self._certificate)
            ) from None
        except ValueError:
            raise UnsafeConfiguration(
                "holds no certificate", field=str(self._certificate), remedy="give PEM, leaf first"
            ) from None
        now = self._utc()
        if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
            raise UnsafeConfiguration(
                f"is good from {leaf.not_valid_before_utc:%Y-%m-%d} until {leaf.not_valid_after_utc:%Y-%m-%d}",
                field=str(self._certificate),
                remedy="renew the certificate",
            )
        return data

    def reload(self) -> bool:
        """Take the files as they are now. False when they are unusable: the old ones stay, and the log says why."""
        self._stamp = self._stamps()
        try:
            self._load()
        except UnsafeConfiguration as error:
            if str(error) != self._refused:
                self._refused = str(error)
                _log.error("TLS: the new files are not used, the old ones stay: %s", error)
            return False
        self._refused = ""
        _log.info("TLS: new files are in use")
        return True

    async def watch(self, seconds: float = WATCH_SECONDS) -> None:
        """Reload whenever a file changes; runs until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            if self._stamps() != self._stamp:
                self.reload()


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal for the password of an encrypted key.
    raise ValueError("the key has a password")


def peer_of(transport: asyncio.BaseTransport) -> PeerCertificate | None:
    """The certificate that the client of a TLS connection presented, or None."""
    tls = transport.get_extra_info("ssl_object")
    der = tls.getpeercert(True) if tls is not None else None
    return PeerCertificate(der) if der else None
