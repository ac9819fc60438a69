"""The page of live decisions and the stream that keeps it live.

Owns what an unauthenticated reader of the page sees: in the development profile decisions with pseudonyms and the reasons as
told; in the production profile outcome, model and codes only, since the page asks nobody who they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response, Router, get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.web.api.access import PUBLIC
from safeconduct.web.api.node import ApiNode, Flag, Node
from safeconduct.web.decision_feed import SeenDecision

SHOWN = 100
POLL_SECONDS = 0.25
HEARTBEAT_SECONDS = 15.0
MAX_STREAMS = 64
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

templates = Environment(
    loader=PackageLoader("safeconduct.web.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
templates.filters["instant"] = lambda milliseconds: format_instant(milliseconds / 1000)

_open_streams: set[object] = set()


def _visible(node: ApiNode, seen: SeenDecision) -> SeenDecision:
    if node.instance.profile == "development":
        return seen
    return msgspec.structs.replace(
        seen, id="", subject="", organisation="", project="", purpose="", reasons=(), completion=None
    )


def _row(node: ApiNode, seen: SeenDecision) -> str:
    text = templates.get_template("row.html").render(seen=_visible(node, seen), row=f"d{seen.index}")
    return " ".join(text.split())


@get("/", opt=PUBLIC, sync_to_thread=True, media_type="text/html")
def page(node: Node) -> Response[str]:
    """Live decisions and their reasons."""
    state = node.instance.record.state
    newest = node.feed.recent(SHOWN)
    text = templates.get_template("decisions.html").render(
        rows=[_row(node, seen) for seen in newest],
        version=node.feed.refresh(),
        profile=node.instance.profile,
        development=node.instance.profile == "development",
        simulated=node.instance.clock.simulated,
        faults=node.faults(),
        position=state.position,
        origin=state.instance.origin if state.instance else "",
        counts=[
            ("models", len(state.variants)),
            ("organisations", len(state.organisations)),
            ("subjects", len(state.subjects)),
            ("grants", len(state.grants)),
            ("directives", len(state.directives)),
        ],
        now=format_instant(node.instance.clock.now()),
    )
    return Response(
        text,
        media_type="text/html",
        headers={"content-security-policy": CSP, "cache-control": "no-store"},
    )


async def _stream(node: ApiNode, after: int, *, once: bool) -> AsyncIterator[ServerSentEventMessage]:
    token = object()
    _open_streams.add(token)
    try:
        loop = asyncio.get_running_loop()
        version, quiet_since = after, loop.time()
        yield ServerSentEventMessage(event="hello", data=str(version), retry=1000)
        while True:
            # Reading may touch the disk and decrypts reasons: not on the event loop.
            fresh = await asyncio.to_thread(node.feed.since, version)
            for seen in fresh[-SHOWN:]:
                version = seen.version
                yield ServerSentEventMessage(event="decision", id=str(version), data=_row(node, seen))
            if fresh:
                quiet_since = loop.time()
            elif loop.time() - quiet_since > HEARTBEAT_SECONDS:
                quiet_since = loop.time()
                yield ServerSentEventMessage(comment="still here")
            if once:
                return
            await asyncio.sleep(POLL_SECONDS)
    finally:
        _open_streams.discard(token)


@get("/events", opt=PUBLIC, media_type="text/event-stream")
async def events(
    node: Node, request: Request[Any, Any, Any], after: Flag = "", once: Flag = ""
) -> ServerSentEvent:
    """Rows of the page as they come (text/event-stream); `Last-Event-ID` or `after` says where to go on."""
    if len(_open_streams) >= MAX_STREAMS:
        raise LogUnavailable("too many pages are open", remedy="close one")
    newest = await asyncio.to_thread(node.feed.refresh)
    asked = request.headers.get("last-event-id") or after
    start = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 16 else newest
    if start > newest:  # counted by a process that has ended
        start = 0
    return ServerSentEvent(
        _stream(node, start, once=once == "true"),
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


@cache
def _asset(name: str) -> bytes:
    return files("safeconduct.web.page").joinpath("static", name).read_bytes()


def _serve_asset(name: str, media_type: str) -> Response[bytes]:
    return Response(_asset(name), media_type=media_type, headers={"cache-control": "no-cache"})


@get("/assets/page.css", opt=PUBLIC, sync_to_thread=False, media_type="text/css")
def style() -> Response[bytes]:
    """The page's style sheet."""
    return _serve_asset("page.css", "text/css")


@get("/assets/page.js", opt=PUBLIC, sync_to_thread=False, media_type="text/javascript")
def script() -> Response[bytes]:
    """The page's script: puts new rows in place."""
    return _serve_asset("page.js", "text/javascript")


@get("/favicon.ico", opt=PUBLIC, sync_to_thread=False, media_type="image/svg+xml")
def icon() -> Response[bytes]:
    """The page's icon."""
    return _serve_asset("icon.svg", "image/svg+xml")


decisions_page: Any = Router(path="/", route_handlers=[page, events, style, script, icon])
