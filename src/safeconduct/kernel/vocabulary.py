"""The enumerations of the domain. Their values are the wire values; docs/GLOSSARY.md explains each word."""

from __future__ import annotations

import enum


class Level(enum.IntEnum):
    """Clearance level, ordered."""

    C0 = 0
    C1 = 1
    C2 = 2
    C3 = 3
    C4 = 4

    @property
    def title(self) -> str:
        """The level's name in words."""
        return ("public", "identified", "vetted", "cleared", "enclave")[self]


class Compartment(enum.StrEnum):
    """Need-to-know compartments beside the level."""

    CYB = "CYB"
    BIO = "BIO"
    CHM = "CHM"
    RAD = "RAD"
    AUT = "AUT"
    ARD = "ARD"
    MAN = "MAN"


class SubjectKind(enum.StrEnum):
    """What kind of subject asks."""

    HUMAN = "human"
    AGENT = "agent"
    SERVICE = "service"
    EVALUATOR = "evaluator"
    REGULATOR = "regulator"


class UsStatus(enum.StrEnum):
    """Status under United States law as evidenced; `us_person` is derived from it, never typed in."""

    CITIZEN = "citizen"
    NATIONAL = "national"
    LPR = "lpr"
    REFUGEE = "refugee"
    ASYLEE = "asylee"
    OTHER = "other"
    UNDECLARED = "undeclared"


class UsPerson(enum.StrEnum):
    """Derived claim; `undeclared` is a value, not an absence."""

    YES = "yes"
    NO = "no"
    UNDECLARED = "undeclared"


class Affiliation(enum.StrEnum):
    """How the tie between a person and an organisation was established."""

    SELF = "self"
    DOMAIN_EMAIL = "domain_email"
    ORG_ATTESTED = "org_attested"
    REGISTRY = "registry"


class Sector(enum.StrEnum):
    """Sector of an organisation's activity."""

    ENERGY = "energy"
    WATER = "water"
    HEALTH = "health"
    FINANCE = "finance"
    TELECOM = "telecom"
    TRANSPORT = "transport"
    DEFENCE = "defence"
    GOVERNMENT = "government"
    SECURITY_VENDOR = "security_vendor"
    PHARMA = "pharma"
    ACADEMIA = "academia"
    OPEN_SOURCE = "open_source"
    OTHER = "other"


class ListAct(enum.StrEnum):
    """How a version of a screening list came to be in force. CHECKED: the publisher's file was fetched again, unchanged."""

    IMPORTED = "imported"
    ROLLED_BACK = "rolled_back"
    CHECKED = "checked"


class Screening(enum.StrEnum):
    """Outcome of screening against lists."""

    CLEAR = "clear"
    POSSIBLE = "possible"
    MATCH = "match"
    NONE = "none"


class ClearanceState(enum.StrEnum):
    """States of a clearance; only `interim`, `granted`, `conditional` and `reinstated` are held."""

    NONE = "none"
    INTERIM = "interim"
    GRANTED = "granted"
    CONDITIONAL = "conditional"
    SUSPENDED = "suspended"
    REINSTATED = "reinstated"
    REVOKED = "revoked"
    EXPIRED = "expired"


class CaseState(enum.StrEnum):
    """States of a KYC case. Not being approved is not an adverse finding."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    INFORMATION_REQUESTED = "information_requested"
    SCREENING = "screening"
    REVIEW = "review"
    APPROVED = "approved"
    APPROVED_CONDITIONAL = "approved_conditional"
    REJECTED = "rejected"
    RETURNED_WITHOUT_ACTION = "returned_without_action"
    WITHDRAWN = "withdrawn"
    REFRESH_DUE = "refresh_due"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Risk(enum.StrEnum):
    """Risk of a KYC case, rated with reasons. `prohibited` is never approved."""

    LOW = "low"
    STANDARD = "standard"
    HIGH = "high"
    PROHIBITED = "prohibited"


class PassportStatus(enum.IntEnum):
    """Token Status List values (draft-ietf-oauth-status-list 7.1)."""

    VALID = 0
    INVALID = 1
    SUSPENDED = 2


class Purpose(enum.StrEnum):
    """Declared per project, checked per request."""

    SECURE_CODE_REVIEW = "secure_code_review"
    VULN_TRIAGE = "vuln_triage"
    PATCH_VALIDATION = "patch_validation"
    DETECTION_ENGINEERING = "detection_engineering"
    MALWARE_REVERSE_ENGINEERING = "malware_reverse_engineering"
    THREAT_INTELLIGENCE = "threat_intelligence"
    CRYPTO_RESEARCH = "crypto_research"
    AUTHORISED_PENTEST = "authorised_pentest"
    AUTHORISED_RED_TEAM = "authorised_red_team"
    EXPLOIT_VALIDATION = "exploit_validation"
    BASIC_RESEARCH = "basic_research"
    THERAPEUTICS = "therapeutics"
    DIAGNOSTICS = "diagnostics"
    PUBLIC_HEALTH = "public_health"
    BIODEFENCE = "biodefence"
    PROTEIN_DESIGN = "protein_design"
    CODING = "coding"
    BROWSER = "browser"
    INFRA_OPERATIONS = "infra_operations"
    TRANSACTIONS = "transactions"
    MULTI_AGENT = "multi_agent"
    GENERAL = "general"
    EDUCATION = "education"
    EVALUATION = "evaluation"
    REGULATORY = "regulatory"
    RESALE = "resale"
    RANSOMWARE = "ransomware"
    MASS_EXFILTRATION = "mass_exfiltration"
    WEAPON_DEVELOPMENT = "weapon_development"


class PurposeClass(enum.StrEnum):
    """What a purpose means for the rules."""

    BENIGN = "benign"
    HIGH_RISK_DUAL_USE = "high_risk_dual_use"
    PROHIBITED = "prohibited"


PROHIBITED_PURPOSES = frozenset({Purpose.RANSOMWARE, Purpose.MASS_EXFILTRATION, Purpose.WEAPON_DEVELOPMENT})

DUAL_USE_PURPOSES = frozenset(
    {
        Purpose.MALWARE_REVERSE_ENGINEERING,
        Purpose.AUTHORISED_PENTEST,
        Purpose.AUTHORISED_RED_TEAM,
        Purpose.EXPLOIT_VALIDATION,
        Purpose.BIODEFENCE,
        Purpose.PROTEIN_DESIGN,
        Purpose.MULTI_AGENT,
        Purpose.INFRA_OPERATIONS,
    }
)


def purpose_class(purpose: Purpose) -> PurposeClass:
    """The class of a purpose."""
    if purpose in PROHIBITED_PURPOSES:
        return PurposeClass.PROHIBITED
    return PurposeClass.HIGH_RISK_DUAL_USE if purpose in DUAL_USE_PURPOSES else PurposeClass.BENIGN


class Surface(enum.StrEnum):
    """How a model is reached."""

    API = "api"
    AGENT = "agent"
    CONSOLE = "console"
    WEIGHTS = "weights"


class Binding(enum.StrEnum):
    """How the credential that came with a request is tied to its holder."""

    KEY = "key"
    DPOP = "dpop"
    MTLS = "mtls"

    @property
    def sender_constrained(self) -> bool:
        """True when a stolen copy of the credential is of no use (RFC 9449, RFC 8705)."""
        return self is not Binding.KEY


class FindingDomain(enum.StrEnum):
    """What a finding on a model is about; each names a compartment or an agentic risk."""

    CYB = "CYB"
    BIO = "BIO"
    CHM = "CHM"
    RAD = "RAD"
    AUT = "AUT"
    ARD = "ARD"
    MAN = "MAN"


class Severity(enum.StrEnum):
    """A finding normalised from a lab's own scheme."""

    BELOW = "below"
    ALERT = "alert"
    HIGH = "high"
    CRITICAL = "critical"


class Stage(enum.StrEnum):
    """Release stages in order; a stage names who may be let in at all."""

    INTERNAL = "internal"
    GOVERNMENT_EVALUATION = "government_evaluation"
    TRUSTED_PREVIEW = "trusted_preview"
    GOVERNMENT_APPROVED_ORGANISATIONS = "government_approved_organisations"
    VERIFIED = "verified"
    GENERAL = "general"


class Standing(enum.StrEnum):
    """What has happened to a variant beside its stage."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    COHORT_RESTORED = "cohort_restored"
    WITHDRAWN = "withdrawn"
    RECALLED = "recalled"
    RETIRED = "retired"


class Condition(enum.StrEnum):
    """Conditions of a grant or licence."""

    REPORT = "report"
    ONSITE_REVIEW = "onsite_review"
    NO_RETRANSFER = "no_retransfer"
    ENCLAVE = "enclave"
    DUAL_CONTROL = "dual_control"
    QUOTA = "quota"
    RETENTION = "retention"
    CAPTURE = "capture"


class QuotaUnit(enum.StrEnum):
    """What a quota counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    MONEY = "money"


class QuotaWindow(enum.StrEnum):
    """The time a quota is for: aligned to the epoch and begun anew (`fixed`), or the last so many seconds (`sliding`)."""

    FIXED = "fixed"
    SLIDING = "sliding"


class QuotaPer(enum.StrEnum):
    """What gets a counter of its own under one quota."""

    SUBJECT = "subject"
    PROJECT = "project"
    ORGANISATION = "organisation"
    VARIANT = "variant"


class DirectiveKind(enum.StrEnum):
    """What an authority can order. `ENFORCED_KINDS` are those this build acts on; others are refused on import."""

    LICENCE_REQUIRED = "licence_required"
    SUSPEND = "suspend"
    RESTRICT_TO_LIST = "restrict_to_list"
    PARTIALLY_AUTHORISE = "partially_authorise"
    RESCIND = "rescind"
    MITIGATE = "mitigate"
    BINDING_COMMITMENT = "binding_commitment"
    WITHDRAW = "withdraw"
    RECALL = "recall"
    INFORMATION = "information"
    PRESERVE = "preserve"
    INSPECT = "inspect"
    FILE = "file"


ENFORCED_KINDS = frozenset(
    {
        DirectiveKind.LICENCE_REQUIRED,
        DirectiveKind.SUSPEND,
        DirectiveKind.RESTRICT_TO_LIST,
        DirectiveKind.PARTIALLY_AUTHORISE,
        DirectiveKind.RESCIND,
        DirectiveKind.INFORMATION,
    }
)


class Force(enum.StrEnum):
    """How binding a directive is."""

    BINDING = "binding"
    VOLUNTARY = "voluntary"
    CONTRACTUAL = "contractual"
    INTERNAL = "internal"


class Visibility(enum.StrEnum):
    """Who may know of a directive. This build enforces `public` only."""

    PUBLIC = "public"
    CONFIDENTIAL = "confidential"
    CLASSIFIED = "classified"


class InFlight(enum.StrEnum):
    """What a directive does to requests under way."""

    CUT = "cut"
    FINISH = "finish"
    DRAIN = "drain"


class Wire(enum.StrEnum):
    """The vendor API a request speaks."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Role(enum.StrEnum):
    """Who speaks to the API. Object scope (which provider, which organisation, which authority) stands beside it."""

    OPERATOR = "operator"
    ADJUDICATOR = "adjudicator"
    PROVIDER = "provider"
    ORGANISATION = "organisation"
    AUTHORITY = "authority"
    AUDITOR = "auditor"
    HOLDER = "holder"
    GATEWAY = "gateway"
    ANALYST = "analyst"
    APPLICANT = "applicant"


class Code(enum.StrEnum):
    """Denial codes, most severe first: the order of this list is the order of the reasons of a denial."""

    ACCESS_RESTRICTED = "ACCESS_RESTRICTED"
    ROUTE_UNKNOWN = "ROUTE_UNKNOWN"
    MODEL_UNKNOWN = "MODEL_UNKNOWN"
    AUDIT_UNAVAILABLE = "AUDIT_UNAVAILABLE"
    STATE_STALE = "STATE_STALE"
    PASSPORT_INVALID = "PASSPORT_INVALID"
    BINDING_MISSING = "BINDING_MISSING"
    PASSPORT_REVOKED = "PASSPORT_REVOKED"
    ASSURANCE_LOW = "ASSURANCE_LOW"
    AFFILIATION_UNPROVEN = "AFFILIATION_UNPROVEN"
    EVIDENCE_EXPIRED = "EVIDENCE_EXPIRED"
    OWNERSHIP_BLOCKED = "OWNERSHIP_BLOCKED"
    OWNERSHIP_UNKNOWN = "OWNERSHIP_UNKNOWN"
    LIST_MATCH = "LIST_MATCH"
    LIST_POSSIBLE = "LIST_POSSIBLE"
    COUNTRY_EMBARGO = "COUNTRY_EMBARGO"
    LOCATION_CONFLICT = "LOCATION_CONFLICT"
    NATIONALITY_UNDECLARED = "NATIONALITY_UNDECLARED"
    NOT_US_PERSON = "NOT_US_PERSON"
    ORG_NOT_LISTED = "ORG_NOT_LISTED"
    LEVEL_LOW = "LEVEL_LOW"
    COMPARTMENT = "COMPARTMENT"
    NO_NEED_TO_KNOW = "NO_NEED_TO_KNOW"
    PURPOSE_PROHIBITED = "PURPOSE_PROHIBITED"
    PURPOSE_DRIFT = "PURPOSE_DRIFT"
    TERMS_UNSIGNED = "TERMS_UNSIGNED"
    GRANT_MISSING = "GRANT_MISSING"
    LICENCE_MISSING = "LICENCE_MISSING"
    CONDITION_UNMET = "CONDITION_UNMET"
    ENCLAVE = "ENCLAVE"
    RETENTION_MODE = "RETENTION_MODE"
    STAGE = "STAGE"
    DIRECTIVE = "DIRECTIVE"
    DIRECTIVE_CONFLICT = "DIRECTIVE_CONFLICT"
    DELEGATION = "DELEGATION"
    UNDERAGE = "UNDERAGE"
    QUOTA = "QUOTA"


CODE_ORDER: dict[Code, int] = {code: position for position, code in enumerate(Code)}

TERMINAL_CODES = frozenset(
    {
        Code.ROUTE_UNKNOWN,
        Code.MODEL_UNKNOWN,
        Code.AUDIT_UNAVAILABLE,
        Code.STATE_STALE,
        Code.PASSPORT_INVALID,
        Code.BINDING_MISSING,
    }
)
