"""Quotas: how much of a model may be used in a time, by whom (domain.md 2, condition `quota`).

Owns what a quota is: one unit, one limit, one window, whom it is about, and what gets a counter of its own. A quota only
narrows: where several are about a request, it must fit them all. Refuses to count: that is a ledger's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import OrganisationId, ProjectId, SubjectId, VariantId
from safeconduct.kernel.vocabulary import QuotaPer, QuotaUnit, QuotaWindow
from safeconduct.registry.price import check_currency

MAX_LIMIT = 10**15
MAX_SECONDS = 366 * 86_400
BUCKETS = 10
"""A sliding window moves on by a tenth of its length: so much longer it may count what is older, and never less."""


class Terms(Protocol):
    """The numbers of a quota; the record's `QuotaSet` has this shape.

    limit: requests, tokens or micro-units of `currency`. seconds: the window's length.
    """

    @property
    def unit(self) -> QuotaUnit:
        """What is counted."""
        ...

    @property
    def limit(self) -> int:
        """How much of it."""
        ...

    @property
    def window(self) -> QuotaWindow:
        """In which kind of time."""
        ...

    @property
    def seconds(self) -> int:
        """In how much time."""
        ...

    @property
    def currency(self) -> str | None:
        """Of money."""
        ...


class About(Protocol):
    """Whom a quota is about: what is None is not asked for. authorization: a grant's or licence's id."""

    @property
    def subject(self) -> SubjectId | None:
        """Requests of this subject, or resting on its passport."""
        ...

    @property
    def project(self) -> ProjectId | None:
        """Requests for this project."""
        ...

    @property
    def organisation(self) -> OrganisationId | None:
        """Requests of this organisation's people."""
        ...

    @property
    def variant(self) -> VariantId | None:
        """Requests to this variant."""
        ...

    @property
    def authorization(self) -> str | None:
        """Requests permitted by this grant or licence, or one below the grant."""
        ...


def check_terms(terms: Terms) -> None:
    """Numbers that a ledger can count to, a currency for money and for nothing else. Raises InvalidInput."""
    if not 0 <= terms.limit <= MAX_LIMIT:
        raise InvalidInput(f"a limit is within 0 to {MAX_LIMIT}", field="limit")
    if not 1 <= terms.seconds <= MAX_SECONDS:
        raise InvalidInput(f"a window lasts 1 to {MAX_SECONDS} seconds", field="seconds")
    if terms.unit is QuotaUnit.MONEY:
        check_currency(terms.currency or "")
    elif terms.currency is not None:
        raise InvalidInput("only money has a currency", field="currency")


def check_per(per: Iterable[QuotaPer], about: About) -> tuple[QuotaPer, ...]:
    """What gets a counter of its own, ordered. Raises InvalidInput for what the quota names already."""
    chosen = tuple(sorted(set(per)))
    for one in chosen:
        if getattr(about, one.value) is not None:
            raise InvalidInput(
                f"the quota is about one {one.value} only", field="per", remedy=f"leave {one.value} out of it"
            )
    return chosen


def bucket_milliseconds(terms: Terms) -> int:
    """How long a bucket of the window is: the window itself when it is fixed."""
    return terms.seconds * 1000 // (BUCKETS if terms.window is QuotaWindow.SLIDING else 1)


def buckets_counted(terms: Terms) -> int:
    """How many buckets, the present one included, count together.

    INVARIANT: for a sliding window one more than its length holds. The present bucket has only begun, so without the
    oldest one a span of exactly the window's length could hold more than the limit.
    """
    return BUCKETS + 1 if terms.window is QuotaWindow.SLIDING else 1
