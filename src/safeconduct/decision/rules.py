"""The core's own rules: for each, the code it gives, where it comes from, and what a caller can do about it.

Owns the words of the core's reasons. Refuses to decide anything. Nothing here names a country, a model or a date.
"""

from __future__ import annotations

from typing import Final

import msgspec

from safeconduct.decision.response import Reason
from safeconduct.kernel.vocabulary import Code

CORE_VERSION: Final = "1"

NEVER: Final = 253_402_300_799
"""9999-12-31T23:59:59Z: the `valid_until` of a decision that no clock can change."""

NOT_YET_EMITTED: Final = frozenset(
    {
        Code.ACCESS_RESTRICTED,
        Code.LOCATION_CONFLICT,
        Code.RETENTION_MODE,
        Code.DIRECTIVE_CONFLICT,
        Code.QUOTA,
    }
)
"""Codes that `decide` and `terminal` never give: ACCESS_RESTRICTED is a presentation, the others' inputs come later."""


class Rule(msgspec.Struct, frozen=True):
    """A rule of the core: its code, its source as text one can look up, and the remedy."""

    name: str
    code: Code
    source: str
    remedy: str


def reason(rule: Rule, detail: str, *, remedy: str = "", withheld: bool = False) -> Reason:
    """The reason that a rule of the core gives."""
    return Reason(
        code=rule.code,
        rule=rule.name,
        version=CORE_VERSION,
        source=rule.source,
        detail=detail,
        remedy=remedy or rule.remedy,
        withheld=withheld,
    )


_TABLE = "Safeconduct rules, section 2 (table of assurance); NIST SP 800-63-4"
_HOLD = "Safeconduct rules, section 2 (clearance)"
_GRANT = "Safeconduct rules, section 2 (grant)"
_REACH = "Safeconduct rules, section 3"
_ORDER = "Safeconduct rules, section 4 (directive)"
_DECISION = "Safeconduct rules, section 5"

ROUTE_UNKNOWN = Rule(
    "core.route", Code.ROUTE_UNKNOWN, _DECISION, "use one of the routes in the documentation"
)
MODEL_UNKNOWN = Rule(
    "core.model", Code.MODEL_UNKNOWN, _REACH, "list the models you may use with GET /v1/models"
)
AUDIT_UNAVAILABLE = Rule(
    "core.audit",
    Code.AUDIT_UNAVAILABLE,
    _DECISION,
    "try again later; nothing is allowed while it cannot be recorded",
)
STATE_STALE = Rule(
    "core.freshness",
    Code.STATE_STALE,
    _DECISION,
    "try again shortly; the gateway has lost touch with the record",
)
PASSPORT_INVALID = Rule(
    "core.passport",
    Code.PASSPORT_INVALID,
    "RFC 9901, RFC 9068",
    "present a valid passport and take a new token",
)
BINDING_MISSING = Rule(
    "core.binding",
    Code.BINDING_MISSING,
    "RFC 9449, RFC 8705; " + _TABLE,
    "use a token bound to your key (DPoP or mTLS) instead of a bare key",
)
PASSPORT_REVOKED = Rule(
    "core.passport_status",
    Code.PASSPORT_REVOKED,
    "Token Status List (draft-ietf-oauth-status-list) 7.1",
    "ask the issuer why, and appeal if you disagree",
)
ASSURANCE = Rule(
    "core.assurance", Code.ASSURANCE_LOW, _TABLE, "prove your identity, or sign in, at the level asked for"
)
AFFILIATION = Rule(
    "core.affiliation",
    Code.AFFILIATION_UNPROVEN,
    "Safeconduct rules, section 1",
    "have your organisation attest that you belong to it, and disclose organisation and affiliation",
)
EVIDENCE = Rule(
    "core.evidence",
    Code.EVIDENCE_EXPIRED,
    "Safeconduct rules, section 1",
    "renew the evidence that has expired",
)
OWNERSHIP_BLOCKED = Rule(
    "core.ownership",
    Code.OWNERSHIP_BLOCKED,
    "Safeconduct rules, section 5 (ownership)",
    "write to the operator",
)
OWNERSHIP_UNKNOWN = Rule(
    "core.ownership",
    Code.OWNERSHIP_UNKNOWN,
    "Safeconduct rules, section 5 (ownership)",
    "write to the operator",
)
LIST_MATCH = Rule(
    "core.screening", Code.LIST_MATCH, "Safeconduct rules, section 5 (screening)", "write to the operator"
)
LIST_POSSIBLE = Rule(
    "core.screening", Code.LIST_POSSIBLE, "Safeconduct rules, section 5 (screening)", "write to the operator"
)
NATIONALITY = Rule(
    "core.caveat",
    Code.NATIONALITY_UNDECLARED,
    _HOLD,
    "disclose the derived claim `us_person` from your passport",
)
NOT_US_PERSON = Rule(
    "core.caveat",
    Code.NOT_US_PERSON,
    _HOLD,
    "none while the clearance carries this caveat; ask the adjudicator",
)
STAGE_LIST = Rule(
    "core.stage_list",
    Code.ORG_NOT_LISTED,
    "Safeconduct rules, section 3 (release stage)",
    "have your organisation put on the list that this release stage admits",
)
LEVEL = Rule("core.clearance", Code.LEVEL_LOW, _HOLD, "apply for a clearance at the level asked for")
ORGANISATION = Rule(
    "core.organisation",
    Code.LEVEL_LOW,
    _TABLE,
    "have your organisation verified and screened, or its hold lifted",
)
COMPARTMENT = Rule("core.compartment", Code.COMPARTMENT, _HOLD, "apply for the compartment")
NEED_TO_KNOW = Rule(
    "core.project", Code.NO_NEED_TO_KNOW, _HOLD, "name an approved project that you are a member of"
)
PROHIBITED = Rule(
    "core.purpose_class",
    Code.PURPOSE_PROHIBITED,
    "Safeconduct rules, section 2 (purpose)",
    "none: this purpose is never allowed",
)
PURPOSE = Rule(
    "core.purpose",
    Code.PURPOSE_DRIFT,
    "Safeconduct rules, section 2 (purpose)",
    "declare a purpose that the project and the grant both cover",
)
TERMS = Rule("core.terms", Code.TERMS_UNSIGNED, _HOLD, "sign the terms")
GRANT = Rule(
    "core.grant",
    Code.GRANT_MISSING,
    _GRANT,
    "ask your organisation's administrator for access; the provider must have granted it to the organisation",
)
CERTIFICATION = Rule(
    "core.certification",
    Code.CONDITION_UNMET,
    "Safeconduct rules, section 3 (certification)",
    "use a deployment whose certification is current",
)
CAVEAT = Rule(
    "core.caveat", Code.CONDITION_UNMET, _HOLD, "ask the adjudicator to remove or replace the caveat"
)
ENCLAVE = Rule(
    "core.enclave",
    Code.ENCLAVE,
    "Safeconduct rules, sections 2 and 3",
    "use a deployment outside an enclave: attested enclaves are not served by this build",
)
STAGE = Rule(
    "core.stage",
    Code.STAGE,
    "Safeconduct rules, section 3 (release stage)",
    "wait until the variant is released to you",
)
DELEGATION = Rule(
    "core.delegation",
    Code.DELEGATION,
    "RFC 8693 4.1; Safeconduct rules, section 1",
    "have the human sign a new mandate",
)
UNDERAGE = Rule(
    "core.age", Code.UNDERAGE, "the provider's terms", "disclose the boolean `age_over_18` from your passport"
)
CHECK_FAILED = Rule(
    "core.check_failed",
    Code.CONDITION_UNMET,
    "Safeconduct rules, section 5 (an error anywhere denies)",
    "tell the operator, with the decision's id",
)
POLICY_FAILED = Rule(
    "core.policy_failed",
    Code.CONDITION_UNMET,
    "Safeconduct rules, section 5 (an error anywhere denies)",
    "tell the operator, with the decision's id",
)

TERMINAL_RULES: Final = {
    rule.code: rule
    for rule in (
        ROUTE_UNKNOWN,
        MODEL_UNKNOWN,
        AUDIT_UNAVAILABLE,
        STATE_STALE,
        PASSPORT_INVALID,
        BINDING_MISSING,
    )
}
