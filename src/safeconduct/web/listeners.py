"""Listeners as every process sees them: where they are, whether a port is free, and TLS as the settings say.

Owns no server. Loaded by small processes, so it imports no web framework.
"""

from __future__ import annotations

import errno
import socket

import msgspec

from safeconduct.kernel.errors import Conflict
from safeconduct.settings import Settings
from safeconduct.web.tls import ListenerTls


class Addresses(msgspec.Struct, frozen=True):
    """Where the process listens: base URLs without a trailing slash. sandbox is empty when there is none."""

    api: str
    gateway: str
    sandbox: str = ""


def check_free(host: str, port: int, option: str) -> None:
    """Raise Conflict that names the port and the option that changes it when something listens there already."""
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise Conflict(
                f"port {port} on {host} is in use",
                field=option,
                remedy=f"stop what listens there, or choose another port with {option}",
            ) from None


def base_url_of(host: str, port: int, *, tls: bool = False) -> str:
    """Base URL of a listener."""
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"


def tls_of(settings: Settings) -> ListenerTls | None:
    """TLS for the listeners, None when they speak plain HTTP. Raises UnsafeConfiguration."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ListenerTls(settings.tls_certificate, settings.tls_key, client_ca=settings.tls_client_ca)
