"""Routes about screening: names against the lists in force; and the lists: send a file, import, roll back, see how they stand and what changed.

Holds no rule beyond roles: checks are the use case's.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
from litestar import get, post, put
from litestar.connection import Request
from litestar.params import JSONBody

from safeconduct.app.compare_screening_lists import compare_screening_lists
from safeconduct.app.designate_listed import designate_listed
from safeconduct.app.import_screening_list import ImportScreeningList, import_screening_list
from safeconduct.app.ports import Caller
from safeconduct.app.roll_back_screening_list import RollBackScreeningList, roll_back_screening_list
from safeconduct.app.screen_name import ScreenNames
from safeconduct.app.screening_lists import ListStatus, list_statuses
from safeconduct.kernel.errors import Conflict, InvalidInput, SafeconductError
from safeconduct.kernel.vocabulary import Role
from safeconduct.storage.screening_lists import MAX_UPLOAD
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import Flag, Limit, ListDesk, Node, PathText, Speaker
from safeconduct.web.api.showing import show

_READERS = (Role.OPERATOR, Role.ANALYST, Role.ADJUDICATOR, Role.AUDITOR)
MAX_SHOWN = 1_000
_OCTETS = "application/octet-stream"
# Two files at a time: what comes in lies on the disk of the record, too.
_uploading = threading.BoundedSemaphore(2)


def _desk(node: Node) -> ListDesk:
    if node.lists is None:
        raise Conflict(
            "this process keeps no screening lists", remedy="ask the control process of the instance"
        )
    return node.lists


@put(
    "/screening/files/{sha256:str}",
    opt=allow(Role.OPERATOR),
    status_code=200,
    request_max_body_size=MAX_UPLOAD,
)
async def put_file(node: Node, request: Request[Any, Any, Any], sha256: PathText) -> dict[str, Any]:
    """Send a list's file as it is; its SHA-256 is in the address. It is kept for a day, or until it was imported."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != _OCTETS:
        raise InvalidInput(
            "a file is sent as it is", field="content-type", remedy=f"send Content-Type: {_OCTETS}"
        )
    desk = _desk(node)
    if not _uploading.acquire(blocking=False):
        raise Conflict("two files are coming in already", remedy="try again in a moment")
    try:
        with desk.store.upload(sha256) as upload:
            async for chunk in request.stream():
                await asyncio.to_thread(upload.write, chunk)
            size = await asyncio.to_thread(upload.keep)
    finally:
        _uploading.release()
    return {"sha256": sha256, "size": size}


@post("/screening/lists/{name:str}/import", opt=allow(Role.OPERATOR), status_code=200, sync_to_thread=True)
def post_import(
    node: Node, caller: Speaker, name: PathText, data: JSONBody[ImportScreeningList]
) -> dict[str, Any]:
    """Import a version of a list from files sent before, or from addresses that are fetched now; put it in force."""
    desk = _desk(node)
    try:
        done = import_screening_list(
            node.instance,
            caller,
            desk.store,
            name,
            data,
            fetch=desk.fetch,
            canaries=desk.canaries,
            progress=lambda step, count: desk.under_way.__setitem__(name, (step, count)),
        )
    finally:
        desk.under_way.pop(name, None)
    shown: dict[str, Any] = show(done)
    shown["ownership"] = designated(node, caller, (name,))
    return shown


def designated(node: Node, caller: Caller, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """What lists in force say of owners, brought into the record; the list or file that came in stands whatever becomes of this."""
    if node.lists is None:
        return {}
    try:
        found = designate_listed(node.instance, caller, node.lists.store, names)
    except SafeconductError as error:
        return {"fault": error.message, "remedy": error.remedy}
    assessed = found.done.assessed if found.done is not None else ()
    return {"assessed": [organisation for organisation, _ in assessed], "left": list(found.left)}


@post("/screening/lists/{name:str}/roll-back", opt=allow(Role.OPERATOR), status_code=200, sync_to_thread=True)
def post_roll_back(
    node: Node, caller: Speaker, name: PathText, data: JSONBody[RollBackScreeningList]
) -> dict[str, Any]:
    """Put an earlier version of a list in force again."""
    shown: dict[str, Any] = show(
        roll_back_screening_list(node.instance, caller, _desk(node).store, name, data)
    )
    shown["ownership"] = designated(node, caller, (name,))
    return shown


@get("/screening/lists", opt=allow(*_READERS), sync_to_thread=True)
def list_screening_lists(node: Node) -> dict[str, Any]:
    """Every list: what is in force since when, how old, and whether it is past its age."""
    desk = _desk(node)
    return {"items": [_shown(status, desk) for status in list_statuses(node.instance, desk.store)]}


def _shown(status: ListStatus, desk: ListDesk) -> dict[str, Any]:
    shown: dict[str, Any] = show(status)
    shown["usable"] = status.usable
    step = desk.under_way.get(status.list)
    if step is not None:
        shown["under_way"] = {"step": step[0], "entries": step[1]}
    return shown


@get("/screening/lists/{name:str}/versions", opt=allow(*_READERS), sync_to_thread=True)
def list_versions(node: Node, name: PathText) -> dict[str, Any]:
    """Versions of a list that are kept, the last imported first."""
    return {"items": [show(each) for each in _desk(node).store.versions(name)]}


@get("/screening/lists/{name:str}/changes", opt=allow(*_READERS), sync_to_thread=True)
def list_changes(
    node: Node, name: PathText, *, before: Flag = "", after: Flag = "", limit: Limit = 100
) -> dict[str, Any]:
    """What changed from one version to another: entries added, removed, and changed with which members."""
    if not 0 <= limit <= MAX_SHOWN:
        raise InvalidInput(f"0 to {MAX_SHOWN}", field="limit")
    found = compare_screening_lists(
        node.instance, _desk(node).store, name, before=before or None, after=after or None
    )
    change = found.difference
    return {
        "before": found.before.sha256,
        "after": found.after.sha256,
        "counts": {
            "added": len(change.added),
            "removed": len(change.removed),
            "changed": len(change.changed),
        },
        "added": msgspec.to_builtins(change.added[:limit]),
        "removed": msgspec.to_builtins(change.removed[:limit]),
        "changed": msgspec.to_builtins(change.changed[:limit]),
    }


@post(
    "/screening/names",
    opt=allow(Role.OPERATOR, Role.ANALYST, Role.ADJUDICATOR),
    status_code=200,
    sync_to_thread=True,
)
def post_names(node: Node, caller: Speaker, data: JSONBody[ScreenNames]) -> dict[str, Any]:
    """Screen names against the lists in force. Nothing is kept: neither the names nor what was found."""
    screener = _desk(node).screener
    if screener is None:
        raise Conflict("this process screens nobody", remedy="ask the control process of the instance")
    return {"items": [msgspec.to_builtins(one) for one in screener.screen(caller, data)]}


screening = (
    post_names,
    put_file,
    post_import,
    post_roll_back,
    list_screening_lists,
    list_versions,
    list_changes,
)
