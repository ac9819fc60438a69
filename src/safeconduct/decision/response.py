"""What a decision answers: a permit, or a denial with every reason in the order of severity."""

from __future__ import annotations

import msgspec

from safeconduct.kernel.ids import DirectiveId
from safeconduct.kernel.vocabulary import Code


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """One unmet condition.

    rule, version: the check it comes from: `core.<check>`, a directive's id and version, or a pack's id and version.
    source: legal source or section, as text a person can look up.
    detail: what was found and what was asked for, in words; pseudonymous.
    remedy: what the caller can do.
    directive: the order that causes it, when one does.
    citations: `pack@version: source` of packs that reached the same result for the same order.
    withheld: told to the caller as ACCESS_RESTRICTED only.
    """

    code: Code
    rule: str
    version: str
    source: str
    detail: str
    remedy: str
    directive: DirectiveId | None = None
    citations: tuple[str, ...] = ()
    withheld: bool = False


class Permit(msgspec.Struct, frozen=True, tag="permit", tag_field="outcome"):
    """Allowed until `valid_until` (exclusive), as of record position `position` (entries folded).

    obligations: conditions of the grants and licences used that the gateway must carry out.
    grants: ids of the grants and licences the permit rests on.
    """

    valid_until: int
    position: int
    obligations: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()


class Deny(msgspec.Struct, frozen=True, tag="deny", tag_field="outcome"):
    """Denied; `reasons` is never empty and is ordered by `vocabulary.CODE_ORDER`, then by rule."""

    reasons: tuple[Reason, ...]
    valid_until: int
    position: int
    packs: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()

    @property
    def codes(self) -> tuple[Code, ...]:
        """The codes in order, each once."""
        return tuple(dict.fromkeys(reason.code for reason in self.reasons))


Decision = Permit | Deny
