"""How much and how long an upstream may take."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import msgspec


class UpstreamLimits(msgspec.Struct, frozen=True):
    """Seconds and counts.

    first_byte_seconds: from the request to the head of the answer (a model may think for minutes).
    between_seconds: between two pieces of the answer. idle_seconds: how long an unused connection is kept; below the
    five seconds after which common servers close theirs. connections: per upstream, and so requests under way at once, where
    a deployment has no limit of its own; waiting: requests that may queue for one, and waiting_seconds: for how long.
    unsent_bytes: bodies of requests, of all upstreams together, that wait for a connection or for an upstream to read them;
    beyond that further requests fail with `busy`. interim: answers with a 1xx status before the real one. receive_buffer:
    bytes that the kernel may take in of an answer that is not read because its client reads slowly.
    """

    connect_seconds: float = 5.0
    first_byte_seconds: float = 600.0
    between_seconds: float = 120.0
    idle_seconds: float = 4.0
    connections: int = 2048
    waiting: int = 256
    waiting_seconds: float = 2.0
    header_bytes: int = 64 * 1024
    unsent_bytes: int = 256 * 1024 * 1024
    interim: int = 16
    receive_buffer: int = 128 * 1024


def bounded_socket(transport: asyncio.BaseTransport, which: int, size: int) -> None:
    """Fix one of the kernel's buffers (`SO_RCVBUF`, `SO_SNDBUF`) of a connection.

    By itself it grows to megabytes: a thousand slow readers would then exhaust what the kernel has for all connections.
    """
    found = transport.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, which, size)
