"""Routes for gateways that are not this process: follow the record, fetch the secrets they were enrolled for.

Owns the stream's form: JSON lines, the first a signed greeting, each later one a signed heartbeat, with the entries and the
checkpoint since the last one when there are any. Refuses every role but an enrolled gateway's, again at each change of the
trust list. Entries beyond what one line holds are fetched as tiles (`/log/record/tile/entries/...`).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import JSONBody, QueryParameter
from litestar.response import Stream

from safeconduct.app.deliver_materials import Delivery, deliver_materials
from safeconduct.app.ports import Caller
from safeconduct.app.record_feed import Beat, RecordFeed
from safeconduct.audit.heartbeat import Greeting, sign_greeting, token_keys_of
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import ApiNode, Flag, Node, Speaker

MAX_LINE_ENTRIES = 1024
MAX_LINE_BYTES = 1 << 20
FOLLOWING_SECONDS = 300.0
"""After this a following ends; the follower has begun the next one before (it measures its distance anew)."""


class FollowLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the stream.

    heartbeat: JWS. checkpoint: the signed note of the heartbeat's tree, when it is not the one the follower has.
    entries: base64, all of those behind what the follower has, or none when they are too many for a line.
    key_history: of the record's key, with the first line and again when it has grown.
    """

    greeting: str = ""
    heartbeat: str = ""
    checkpoint: str = ""
    entries: tuple[str, ...] = ()
    key_history: str = ""


class MaterialsAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """request: a `material-request+jwt` signed by the gateway's key."""

    request: str


def _enrolled(node: ApiNode, caller: Caller) -> bool:
    """Whether the gateway's key still stands in the trust list."""
    entry = node.instance.record.state.trust.get(caller.id)
    now = node.instance.clock.now()
    return (
        entry is not None
        and (entry.revoked is None or now < entry.revoked.from_)
        and now < entry.added.valid_until
    )


def _greeting(node: ApiNode, feed: RecordFeed, caller: Caller, nonce: str) -> str:
    instance = node.instance
    return sign_greeting(
        Greeting(
            iss=feed.origin,
            aud=caller.party,
            nonce=nonce,
            boot=feed.boot,
            at=int(instance.clock.monotonic() * 1000),
            issuer=instance.issuer,
            audience=instance.audience,
            profile=instance.profile,
            token_keys=token_keys_of(node.token_keys()),
        ),
        feed.signer,
    )


def _line(feed: RecordFeed, beat: Beat, have: int, history: bytes) -> FollowLine:
    size = beat.checkpoint.size
    known = beat.history.decode() if beat.history != history else ""
    if size <= have:
        return FollowLine(heartbeat=beat.jws, key_history=known)
    note = beat.checkpoint.text.decode()
    encoded: tuple[str, ...] = ()
    if size - have <= MAX_LINE_ENTRIES:
        entries = feed.entries(have, size)
        if sum(map(len, entries)) <= MAX_LINE_BYTES:
            encoded = tuple(base64.b64encode(entry).decode("ascii") for entry in entries)
    return FollowLine(heartbeat=beat.jws, checkpoint=note, entries=encoded, key_history=known)


async def _lines(
    node: ApiNode, feed: RecordFeed, caller: Caller, *, after: int, nonce: str, once: bool
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake(_beat: Beat) -> None:
        try:
            loop.call_soon_threadsafe(woken.set)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return

    leave = feed.listen(wake)
    try:
        history = feed.beat.history if feed.beat is not None else b""
        first = FollowLine(greeting=_greeting(node, feed, caller, nonce), key_history=history.decode())
        yield msgspec.json.encode(first) + b"\n"
        have, told = after, 0
        ends = loop.time() + FOLLOWING_SECONDS
        while loop.time() < ends and not feed.closed:
            beat = feed.beat
            if beat is not None and beat.number > told:
                position = node.instance.record.state.position
                yield msgspec.json.encode(_line(feed, beat, have, history)) + b"\n"
                have, told, history = max(have, beat.checkpoint.size), beat.number, beat.history
                # Not before the follower has everything: the last thing a gateway is told is the entry that ends it.
                if once or (beat.checkpoint.size >= position and not _enrolled(node, caller)):
                    return
            await woken.wait()
            woken.clear()
    finally:
        leave()


@get("/gateway/follow", opt=allow(Role.GATEWAY), media_type="application/x-ndjson")
async def follow_record(
    node: Node,
    caller: Speaker,
    nonce: Annotated[str, QueryParameter(description="16 to 64 characters, new for each following")] = "",
    after: Annotated[int, QueryParameter(description="entries of the record that the follower has")] = 0,
    once: Flag = "",
) -> Stream:
    """Follow the record: greeting, then heartbeats with what is new. `once=true` ends after the first heartbeat."""
    feed = node.record_feed
    if feed is None:
        raise Conflict(
            "this process feeds no followers", remedy="follow the process that runs `safeconduct control`"
        )
    if not 16 <= len(nonce) <= 64 or not nonce.isascii() or not nonce.isprintable():
        raise InvalidInput("not 16 to 64 printable characters", field="nonce")
    beat = feed.beat
    if after < 0 or beat is None or after > beat.checkpoint.size:
        raise InvalidInput(
            "the record has fewer entries than that",
            field="after",
            remedy="the record was rolled back, or it is another one: keep your copy as evidence",
        )
    lines = _lines(node, feed, caller, after=after, nonce=nonce, once=once == "true")
    return Stream(lines, media_type="application/x-ndjson", headers={"cache-control": "no-store"})


@post("/gateway/materials", opt=allow(Role.GATEWAY, reads=True), status_code=200, sync_to_thread=True)
def fetch_materials(node: Node, caller: Speaker, data: JSONBody[MaterialsAsked]) -> Delivery:
    """Documents of the vault that a gateway needs, each sealed to the key in its signed request."""
    return deliver_materials(node.instance, caller, data.request)


following = (follow_record, fetch_materials)
