"""The logs over HTTP, read-only: checkpoint and hash tiles for anybody, entry bundles for auditors, operators
and (of the record) gateways.

Owns paths and cache headers (C2SP tlog-tiles). Refuses everything in a log's directory that is not a published tile or the
checkpoint: the write-ahead log, the lock and the epoch are never served.
"""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get
from litestar.params import PathParameter

from safeconduct.audit.files import LogReader
from safeconduct.audit.key_history import KEY_HISTORY
from safeconduct.audit.tile import ENTRIES, TILE_WIDTH, parse_tile_path
from safeconduct.kernel.errors import Forbidden, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import PUBLIC, allow
from safeconduct.web.api.node import ApiNode, Node, PathText, Speaker

IMMUTABLE = "public, max-age=31536000, immutable"
IMMUTABLE_PRIVATE = "private, max-age=31536000, immutable"
NO_CACHE = "no-cache"
SHORT = "public, max-age=60"


def _log(node: ApiNode, name: str) -> LogReader:
    reader = node.logs.get(name)
    if reader is None:
        raise NotFound("there is no such log", field="log", remedy=f"one of: {', '.join(sorted(node.logs))}")
    return reader


def _read(reader: LogReader, path: str) -> bytes:
    try:
        return reader.read(path)
    except FileNotFoundError:
        raise NotFound(
            "that file is not published", field="path", remedy="take the size from the checkpoint"
        ) from None


def _tile(node: ApiNode, log: str, path: str, *, entries: bool) -> tuple[bytes, int]:
    reader = _log(node, log)
    try:
        level, _, width = parse_tile_path(path)
    except InvalidInput as error:
        raise NotFound(error.message, field="path", remedy=error.remedy) from None
    # Entries are served only by the route that asks who is there, however the path is spelled.
    if (level == ENTRIES) is not entries:
        raise NotFound("not a tile of this kind", field="path")
    return _read(reader, path), width


@get("/{log:str}/checkpoint", opt=PUBLIC, media_type="text/plain")
async def checkpoint(node: Node, log: PathText) -> Response[bytes]:
    """The latest signed tree head."""
    return Response(
        _read(_log(node, log), "checkpoint"),
        media_type="text/plain; charset=utf-8",
        headers={"cache-control": NO_CACHE},
    )


@get("/{log:str}/key-history", opt=PUBLIC, media_type="text/plain")
async def key_history(node: Node, log: PathText) -> Response[bytes]:
    """Every change of the log's key, signed by the old key and the new one; 404 while it has its first."""
    return Response(
        _read(_log(node, log), KEY_HISTORY),
        media_type="text/plain; charset=utf-8",
        headers={"cache-control": NO_CACHE},
    )


FilePath = Annotated[str, PathParameter(description="as in C2SP tlog-tiles, e.g. `x001/234`")]


@get("/{log:str}/tile/{path:path}", opt=PUBLIC, media_type="application/octet-stream")
async def hash_tile(node: Node, log: PathText, path: FilePath) -> Response[bytes]:
    """A tile of hashes: a full one never changes, a partial one is replaced by the full one."""
    data, width = _tile(node, log, f"tile/{path.removeprefix('/')}", entries=False)
    return Response(
        data,
        media_type="application/octet-stream",
        headers={"cache-control": IMMUTABLE if width == TILE_WIDTH else SHORT},
    )


@get(
    "/{log:str}/tile/entries/{path:path}",
    opt=allow(Role.AUDITOR, Role.OPERATOR, Role.GATEWAY),
    media_type="application/octet-stream",
)
async def entry_bundle(node: Node, caller: Speaker, log: PathText, path: FilePath) -> Response[bytes]:
    """A bundle of entries as logged; a gateway gets those of the record only."""
    if caller.role is Role.GATEWAY and log != "record":
        raise Forbidden("a gateway reads the record and no decisions", field="log")
    data, width = _tile(node, log, f"tile/entries/{path.removeprefix('/')}", entries=True)
    return Response(
        data,
        media_type="application/octet-stream",
        headers={"cache-control": IMMUTABLE_PRIVATE if width == TILE_WIDTH else "private, no-cache"},
    )


log_files = Router(path="/log", route_handlers=[checkpoint, key_history, hash_tile, entry_bundle])
