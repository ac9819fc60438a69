"""Every event of the record, one module per aggregate.

An event is a frozen Struct whose tag is its wire `type`. `Event` is the union; `encode` and `decode` are the only
way between events and bytes. A field is added with a default, never renamed or removed: old records must fold forever.
"""

from __future__ import annotations

from typing import Union

import msgspec

from safeconduct.kernel.errors import InvalidInput
from safeconduct.record.events.authorizations import (
    ClearanceChanged,
    ClearanceGranted,
    GrantEnded,
    GrantGiven,
    LicenceEnded,
    LicenceGiven,
    ProjectApproved,
    ProjectEnded,
)
from safeconduct.record.events.cases import KycCaseChanged, KycCaseOpened, LegalHoldChanged, SubjectErased
from safeconduct.record.events.geography import CountryGroupsImported
from safeconduct.record.events.holders import (
    GatewayKeyRegistered,
    GatewayKeyRevoked,
    GroupMembershipChanged,
    MandateRegistered,
    MandateRevoked,
    MisuseSignalReceived,
    OrganisationRegistered,
    OrganisationStandingChanged,
    PassportIssued,
    PassportStatusChanged,
    SubjectEnrolled,
    SubjectScreened,
    TermsSigned,
)
from safeconduct.record.events.orders import DirectiveImported, OrgListPublished
from safeconduct.record.events.ownership import OwnershipAssessed, OwnershipImported
from safeconduct.record.events.quotas import MeteringSet, QuotaEnded, QuotaSet
from safeconduct.record.events.registrations import (
    CertificationRecorded,
    DeploymentCredentialReplaced,
    DeploymentRegistered,
    DeploymentRetired,
    FindingRecorded,
    ModelRegistered,
    ProviderRegistered,
    StageChanged,
    StandingChanged,
    VariantRegistered,
)
from safeconduct.record.events.screening import ScreeningListPutInForce
from safeconduct.record.events.trust import (
    InstanceInitialised,
    InstanceKeyRotated,
    OfficersReplaced,
    PackPublished,
    PackStatusChanged,
    TrustKeyAdded,
    TrustKeyRevoked,
)

Event = Union[
    CertificationRecorded,
    ClearanceChanged,
    ClearanceGranted,
    CountryGroupsImported,
    DeploymentCredentialReplaced,
    DeploymentRegistered,
    DeploymentRetired,
    DirectiveImported,
    FindingRecorded,
    GatewayKeyRegistered,
    GatewayKeyRevoked,
    GrantEnded,
    GrantGiven,
    GroupMembershipChanged,
    InstanceInitialised,
    InstanceKeyRotated,
    KycCaseChanged,
    KycCaseOpened,
    LegalHoldChanged,
    LicenceEnded,
    LicenceGiven,
    MandateRegistered,
    MandateRevoked,
    MeteringSet,
    MisuseSignalReceived,
    ModelRegistered,
    OfficersReplaced,
    OrgListPublished,
    OrganisationRegistered,
    OrganisationStandingChanged,
    OwnershipAssessed,
    OwnershipImported,
    PackPublished,
    PackStatusChanged,
    PassportIssued,
    PassportStatusChanged,
    ProjectApproved,
    ProjectEnded,
    ProviderRegistered,
    QuotaEnded,
    QuotaSet,
    ScreeningListPutInForce,
    StageChanged,
    StandingChanged,
    SubjectEnrolled,
    SubjectErased,
    SubjectScreened,
    TermsSigned,
    TrustKeyAdded,
    TrustKeyRevoked,
    VariantRegistered,
]

_encoder = msgspec.json.Encoder(order="sorted")
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """Canonical JSON of an event, its `type` included."""
    return _encoder.encode(event)


def decode(data: bytes | msgspec.Raw) -> Event:
    """Read an event. Raises InvalidInput when the type is unknown or a field does not fit."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"not an event of the record: {error}", remedy="upgrade, or check the record"
        ) from None
