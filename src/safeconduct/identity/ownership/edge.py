"""Ownership edges: who holds how much of whom, who says so and as of when; and which of them count on a day.

Owns how statements of several dates and sources become one graph. Refuses to guess: what nobody knows is a bound.
Time stands on two axes: `as_of` is the day a statement is about, `recorded_at` is when we were told.
"""

from __future__ import annotations

import datetime
import enum
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from safeconduct.identity.ownership.share import Share
from safeconduct.kernel.errors import InvalidInput

_NODE: Final = re.compile(
    r"lei:[0-9A-Z]{20}|org:[a-z0-9][a-z0-9._:-]{0,95}"
    r"|reg:[A-Za-z0-9._-]{1,60}:[A-Za-z0-9./ _-]{1,60}|(?:entry|other):[A-Za-z0-9._-]{1,60}:[A-Za-z0-9./_-]{1,80}"
)


class EdgeKind(enum.StrEnum):
    """What the owner holds.

    EQUITY: shares of the capital. VOTES: votes. BOARD: seats of the board that the owner fills or can empty.
    JOINT_ARRANGEMENT: shares of the capital (not told again as equity) that are exercised together with those of the other
    holders so marked. CONTROL: the owner gets its wishes done whatever it holds, as an analyst found: 100 found, 0 ruled
    out, unknown suspected.
    """

    EQUITY = "equity"
    VOTES = "votes"
    BOARD = "board"
    JOINT_ARRANGEMENT = "joint_arrangement"
    CONTROL = "control"


class OwnershipEdge(msgspec.Struct, frozen=True, gc=False):
    """One statement: on `as_of` (ISO 8601 date) `owner` held `percent` of `owned`, says `source`.

    owner, owned: nodes, see `check_node`. 0 % ends what the same source said before.
    """

    owner: str
    owned: str
    percent: Share
    kind: EdgeKind
    as_of: str
    source: str


class Statement(msgspec.Struct, frozen=True, gc=False):
    """An edge and when it was recorded here (seconds since the epoch)."""

    edge: OwnershipEdge
    recorded_at: int


class Holding(msgspec.Struct, frozen=True, gc=False):
    """What counts of one owner, owned and kind: the share, and the statements it rests on."""

    owner: str
    owned: str
    kind: EdgeKind
    share: Share
    statements: tuple[OwnershipEdge, ...]

    @property
    def disputed(self) -> bool:
        """Whether sources differ."""
        return any(one.percent != self.statements[0].percent for one in self.statements)


def check_node(text: str, field: str) -> str:
    """The id of a node. Raises InvalidInput.

    `org:ID` an organisation registered here, `lei:LEI`, `reg:AUTHORITY:NUMBER` a register's entry, `entry:LIST:ID` an entry
    of a list, `other:SOURCE:ID` whatever else a source tells apart (a person by the source's pseudonym, never by name).
    """
    if not _NODE.fullmatch(text):
        raise InvalidInput(
            f"{text[:60]!r} names nobody we could tell apart",
            field=field,
            remedy="write org:ID, lei:LEI, reg:AUTHORITY:NUMBER, entry:LIST:ID or other:SOURCE:ID",
        )
    return text


def check_date(text: str, field: str) -> str:
    """An ISO 8601 date, `YYYY-MM-DD`. Raises InvalidInput."""
    try:
        if datetime.date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise InvalidInput(f"{text[:20]!r} is not a date", field=field, remedy="write YYYY-MM-DD")


def holdings_on(statements: Iterable[Statement], on: str) -> list[Holding]:
    """What counts on a day (ISO 8601 date), ordered by owned, owner and kind.

    Of each source the latest statement of that day or before counts (of the same day: what was recorded last). Where sources
    differ the highest bound of each counts: a statement more never unblocks anybody, only a newer one of the same source does.
    """
    latest: dict[tuple[str, str, EdgeKind, str], Statement] = {}
    for statement in statements:
        edge = statement.edge
        if edge.as_of > on:
            continue
        key = (edge.owned, edge.owner, edge.kind, edge.source)
        known = latest.get(key)
        if known is None or (known.edge.as_of, known.recorded_at) <= (edge.as_of, statement.recorded_at):
            latest[key] = statement
    told: dict[tuple[str, str, EdgeKind], list[OwnershipEdge]] = {}
    for (owned, owner, kind, _), statement in latest.items():
        told.setdefault((owned, owner, kind), []).append(statement.edge)
    found = []
    for (owned, owner, kind), edges in sorted(told.items()):
        share = (
            edges[0].percent
            if len(edges) == 1
            else Share(max(one.percent.low for one in edges), max(one.percent.high for one in edges))
        )
        if share.high:
            said = tuple(sorted(edges, key=lambda one: one.source))
            found.append(Holding(owner, owned, kind, share, said))
    return found
