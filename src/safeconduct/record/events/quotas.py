"""Events about quotas and what use is measured by. Times are seconds since the epoch, money is in micro-units."""

from __future__ import annotations

import msgspec

from safeconduct.kernel.ids import OrganisationId, ProjectId, QuotaId, SubjectId, VariantId
from safeconduct.kernel.vocabulary import QuotaPer, QuotaUnit, QuotaWindow
from safeconduct.registry.price import Price


class QuotaSet(msgspec.Struct, frozen=True, tag="quota_set", tag_field="type"):
    """A quota; replaces the one of the same id. It is about requests to which every name that is set fits.

    party: who set it, and alone may change it. per: what gets a counter of its own; empty means one for all.
    """

    quota: QuotaId
    party: str
    unit: QuotaUnit
    limit: int
    window: QuotaWindow
    seconds: int
    by: str
    at: int
    currency: str | None = None
    subject: SubjectId | None = None
    project: ProjectId | None = None
    organisation: OrganisationId | None = None
    variant: VariantId | None = None
    authorization: str | None = None
    per: tuple[QuotaPer, ...] = ()


class QuotaEnded(msgspec.Struct, frozen=True, tag="quota_ended", tag_field="type"):
    """A quota no longer limits anything."""

    quota: QuotaId
    by: str
    at: int


class MeteringSet(msgspec.Struct, frozen=True, tag="metering_set", tag_field="type"):
    """What a variant's use costs and how long its answers can be; replaces what was set before.

    max_output_tokens: the longest answer there is; reserved for a request that does not say how long it may be.
    """

    variant: VariantId
    by: str
    at: int
    price: Price | None = None
    max_output_tokens: int | None = None
