"""Which version of which pack runs at a moment.

Owns the choice on both time axes: effective dates are compared with the time asked about, and only versions that the state
knows can be chosen. Refuses drafts: a draft rule never denies.
"""

from __future__ import annotations

from typing import Final

import msgspec
from immutables import Map

from safeconduct.policy.slices import Source
from safeconduct.record.projections import PackState

SCOPES: Final = ("every_request", "closed_stage", "cited_order", "age_limit", "enclave", "country_groups")
EAR_COUNTRY_GROUPS: Final = "us.ear.740.supplement1"
"""The name under which the groups of 15 CFR part 740, supplement no. 1 are recorded."""


class ActivePack(msgspec.Struct, frozen=True, cache_hash=True):
    """A pack version that runs. scope: which requests it is asked about."""

    pack: str
    version: str
    scope: str
    jurisdiction: str
    source: Source

    @property
    def name(self) -> str:
        """`pack@version`."""
        return f"{self.pack}@{self.version}"


class Selection(msgspec.Struct, frozen=True, cache_hash=True):
    """The packs that run from `since` until `until` (seconds, exclusive; None: for ever), by name."""

    packs: tuple[ActivePack, ...]
    since: int
    until: int | None


Packs = Map[str, tuple[PackState, ...]]


def select(packs: Packs, now: int) -> Selection:
    """For each pack the active version in force at `now`: of several the one that began last."""
    turns: list[int] = []
    chosen: list[ActivePack] = []
    for name in sorted(packs):
        best: PackState | None = None
        for one in packs[name]:
            published = one.published
            if one.status != "active" or published.kind != "decision":
                continue
            turns.append(published.effective_from)
            if published.effective_until is not None:
                turns.append(published.effective_until)
            if now < published.effective_from:
                continue
            if published.effective_until is not None and now >= published.effective_until:
                continue
            if best is None or published.effective_from >= best.published.effective_from:
                best = one
        if best is not None:
            published = best.published
            chosen.append(
                ActivePack(
                    pack=published.pack,
                    version=published.version,
                    scope=str(published.parameters.get("scope", SCOPES[0])),
                    jurisdiction=published.jurisdiction,
                    source=Source(published.pack, published.version, published.policies),
                )
            )
    later = [turn for turn in turns if turn > now]
    earlier = [turn for turn in turns if turn <= now]
    return Selection(packs=tuple(chosen), since=max(earlier, default=0), until=min(later) if later else None)


class _Latest:
    """The last selection and the map it was made from. Maps never change, so identity tells whether it still holds."""

    __slots__ = ("entry",)

    def __init__(self) -> None:
        self.entry: tuple[Packs, Selection] | None = None


_latest = _Latest()


def selected(packs: Packs, now: int) -> Selection:
    """`select`, remembered while neither the packs nor the clock change its answer."""
    entry = _latest.entry
    if entry is not None and entry[0] is packs:
        selection = entry[1]
        if selection.since <= now and (selection.until is None or now < selection.until):
            return selection
    selection = select(packs, now)
    # One assignment: another thread sees the old entry or the new one, never half of it.
    _latest.entry = (packs, selection)
    return selection
