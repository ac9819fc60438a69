"""Use case: record a finding on a variant."""

from __future__ import annotations

import re

import msgspec

from safeconduct.app.commit import commit_checked
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_provider, require_role
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound
from safeconduct.kernel.ids import ProviderId, VariantId
from safeconduct.kernel.vocabulary import FindingDomain, Role, Severity
from safeconduct.record.events import Event
from safeconduct.record.events.registrations import FindingRecorded
from safeconduct.record.state import State
from safeconduct.registry.finding import demand

_DIGEST = re.compile(r"[0-9a-f]{64}")


class RecordFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """raw: in the words of `scheme`; evidence: SHA-256 (hex) of the report."""

    variant: str
    domain: FindingDomain
    scheme: str
    raw: str
    normalised: Severity
    evidence: str
    cannot_rule_out: bool = False


def record_finding(instance: Instance, caller: Caller, ask: RecordFinding) -> FindingRecorded:
    """By the variant's provider, or an authority. Raises Forbidden, InvalidInput, NotFound, Conflict.

    A later finding of the same scheme and domain replaces the earlier one; only an authority of the provider's
    jurisdiction may lower by it what the variant asks for.
    """
    require_role(caller, Role.PROVIDER, Role.AUTHORITY)
    if not _DIGEST.fullmatch(ask.evidence):
        raise InvalidInput("not a SHA-256", field="evidence", remedy="give 64 lower-case hexadecimal digits")
    if not ask.scheme.strip() or not ask.raw.strip():
        raise InvalidInput("say the scheme and what it found", field="scheme")
    event = FindingRecorded(
        variant=VariantId(ask.variant),
        domain=ask.domain,
        scheme=ask.scheme,
        raw=ask.raw,
        normalised=ask.normalised,
        cannot_rule_out=ask.cannot_rule_out,
        evidence=ask.evidence,
    )

    def check(state: State) -> list[Event]:
        known = state.variants.get(event.variant)
        if known is None:
            raise NotFound(f"there is no variant {event.variant!r}", field="variant")
        if caller.role is Role.PROVIDER:
            require_provider(caller, known.provider)
        kept = [one for one in known.findings if (one.domain, one.scheme) != (event.domain, event.scheme)]
        asked = demand([*kept, event], known.registered.level, known.registered.compartments)
        lowers = asked.level < known.required_level or not asked.compartments >= known.required_compartments
        if lowers and not _is_authority_over(state, caller, known.provider):
            raise Conflict(
                "it would lower what the variant asks of its users",
                field="normalised",
                remedy="let an authority of the provider's jurisdiction record the lower finding",
            )
        return [event]

    commit_checked(instance, check)
    return event


def _is_authority_over(state: State, caller: Caller, provider: ProviderId) -> bool:
    return caller.role is Role.AUTHORITY and caller.jurisdiction in (
        None,
        state.providers[provider].jurisdiction,
    )
