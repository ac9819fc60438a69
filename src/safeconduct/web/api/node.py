"""What the API needs from the process it runs in. Made by bootstrap (or a test), read by every route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from safeconduct.app.authenticate_applicant import ApplicantAuthenticator
from safeconduct.app.authenticate_role import RoleAuthenticator
from safeconduct.app.authorize_device import DeviceDesk
from safeconduct.app.check_liveness import LivenessDesk
from safeconduct.app.check_presentation import PresentationDesk
from safeconduct.app.exchange_token import TokenExchange
from safeconduct.app.import_screening_list import ListFetch
from safeconduct.app.kyc_desk import KycDesk
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.publish_status_list import StatusListPublisher
from safeconduct.app.record_feed import RecordFeed
from safeconduct.app.register_authenticator import AuthenticatorDesk
from safeconduct.app.rescreen_enrolled import Rescreener
from safeconduct.app.rotate_key import KeyRotation
from safeconduct.app.screen_name import NameScreener
from safeconduct.audit.files import LogReader
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision, Reason
from safeconduct.gateway.quota_ledger import QuotaLedger
from safeconduct.identity.screening.canary import CanarySearch
from safeconduct.kernel.ids import DecisionId, SubjectId
from safeconduct.storage.screening_lists import ScreeningListFiles
from safeconduct.web.decision_feed import DecisionFeed, EntrySource


class DecisionLedger(Protocol):
    """Writes decisions that are made outside the gateway: dry runs and refused tokens (`app.decision_log.DecisionLog`)."""

    def decision(
        self,
        request: DecisionRequest,
        outcome: Decision,
        *,
        position: int,
        now: int,
        route: str,
        asked: str,
        credential: str,
        codes: tuple[str, ...],
        jurisdiction: str,
    ) -> tuple[DecisionId, int]:
        """Write a decision; its id and its index in the log. Raises LogUnavailable."""
        ...

    def refusal(
        self,
        codes: tuple[str, ...],
        *,
        route: str,
        now: int,
        reasons: tuple[Reason, ...] = (),
        subject: SubjectId | None = None,
        holder: SubjectId | None = None,
        passport: str | None = None,
        organisation: str | None = None,
        asked: str | None = None,
        jurisdiction: str = "",
    ) -> tuple[str, int]:
        """Write the refusal of a token; its id and its index. Raises LogUnavailable."""
        ...

    def failed_authentication(self, source: str, code: str, now: int) -> int:
        """Count a failed authentication of a source; returns how many since the last aggregate entry."""
        ...

    def fails_too_often(self, source: str) -> bool:
        """Whether each further failure of this source costs it a connection."""
        ...


class DurableLog(EntrySource, Protocol):
    """The decision log as far as the API waits for it and reads it (`audit.sequencing.Log`)."""

    def wait_durable_sync(self, index: int, timeout: float | None = None) -> None:
        """Block until the entry is durable. Raises LogUnavailable, TimeoutError."""
        ...


class ListDesk(msgspec.Struct, frozen=True):
    """Where screening lists come in. under_way: by list, the step of an import that runs and how many entries were read.

    canaries: how canaries are searched; by exact name when left out. fetch: None where nothing is fetched from elsewhere.
    screener: screens names against what is in force. rescreener: searches what changed against everybody enrolled.
    """

    store: ScreeningListFiles
    fetch: ListFetch | None = None
    screener: NameScreener | None = None
    canaries: CanarySearch | None = None
    rescreener: Rescreener | None = None
    under_way: dict[str, tuple[str, int]] = {}


class ApiNode(msgspec.Struct, frozen=True):
    """One process's API: its instance, who authenticates, what it serves.

    desk, exchange, devices, status_lists: what holders and verifiers need; they share the desk's nonces.
    authenticators: the subjects' passkeys. applicants: who they are. kyc: the desk. liveness: providers of liveness checks
    and their sessions.
    log_keys: verifier-key texts of the logs as they are now, by the names of `logs`. rotation: replaces the instance's keys.
    mtls: the listeners end TLS themselves, so a client certificate can bind a token.
    logs: readers of the tile logs that `/log/{name}/...` serves: `record`, `decisions`.
    ledger, decisions: writer and log of this process's decisions. feed: their newest, for the page.
    faults: what keeps the process from being ready, in words; empty when ready. quotas: where use is counted.
    lists: screening lists; None in a process that keeps none.
    metrics: the gateway's counters as Prometheus text, of all workers where there are some.
    record_feed: what gateways elsewhere follow; None where none may. token_keys: public keys of the tokens we sign.
    """

    instance: Instance
    roles: RoleAuthenticator
    desk: PresentationDesk
    exchange: TokenExchange
    devices: DeviceDesk
    authenticators: AuthenticatorDesk
    applicants: ApplicantAuthenticator
    kyc: KycDesk
    liveness: LivenessDesk
    status_lists: StatusListPublisher
    logs: Mapping[str, LogReader]
    ledger: DecisionLedger
    decisions: DurableLog
    feed: DecisionFeed
    log_keys: Callable[[], Mapping[str, str]] = dict
    rotation: KeyRotation | None = None
    mtls: bool = False
    faults: Callable[[], list[str]] = list
    metrics: Callable[[], str] = str
    record_feed: RecordFeed | None = None
    token_keys: Callable[[], list[dict[str, Any]]] = list
    quotas: QuotaLedger | None = None
    lists: ListDesk | None = None


# How routes declare what they are given.
Node = NamedDependency[ApiNode]
Speaker = NamedDependency[Caller]
Limit = FromQuery[int]
Cursor = FromQuery[str]
PathText = FromPath[str]
PathNumber = FromPath[int]
Presentation = NamedDependency[str]
Flag = FromQuery[str]
