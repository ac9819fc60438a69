"""The API's node out of an open instance. The only place of this package that knows how an instance is put together."""

from __future__ import annotations

from collections.abc import Callable

from safeconduct.app.assess_case import Proofs
from safeconduct.app.authenticate_applicant import ApplicantAuthenticator
from safeconduct.app.authenticate_role import RoleAuthenticator
from safeconduct.app.authorize_device import DeviceDesk
from safeconduct.app.check_liveness import LivenessDesk
from safeconduct.app.check_presentation import PresentationDesk
from safeconduct.app.document_authorities import DocumentAuthorities
from safeconduct.app.enrolled_names import EnrolledNames
from safeconduct.app.exchange_token import TokenExchange
from safeconduct.app.instance_keys import WORKER_LOG_KEY, InstanceKeyRing
from safeconduct.app.kyc_desk import KycDesk
from safeconduct.app.kyc_files import cases_of
from safeconduct.app.nonces import Nonces
from safeconduct.app.ports import Instance
from safeconduct.app.publish_status_list import StatusListPublisher
from safeconduct.app.record_feed import RecordFeed
from safeconduct.app.register_authenticator import AuthenticatorDesk, relying_party_of
from safeconduct.app.rescreen_enrolled import Rescreener
from safeconduct.app.screen_name import IndexedNames, NameScreener
from safeconduct.app.screen_party import ListScreener
from safeconduct.app.screening_lists import ListStore
from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.bootstrap import OpenInstance, attestation_roots, key_rotation, liveness_vendors
from safeconduct.decision.explanation import told
from safeconduct.gateway.quota_ledger import QuotaLedger
from safeconduct.identity.screening.port import DevelopmentScreener
from safeconduct.kernel.ids import SubjectId
from safeconduct.passport.dpop import ProofReplays, ReplayMemory
from safeconduct.settings import worker_name
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.upstreams.list_fetch import HttpsListFetch
from safeconduct.web.api.node import ApiNode, DecisionLedger, ListDesk
from safeconduct.web.decision_feed import DecisionFeed


def kyc_desk(
    instance: Instance,
    authenticators: AuthenticatorDesk,
    liveness: LivenessDesk,
    names: NameScreener | None = None,
) -> KycDesk:
    """The KYC desk over the other desks of this process. names: screens against the lists in force. Production screens with no development provider."""

    def proofs(subject: SubjectId) -> Proofs:
        return Proofs(
            authenticators=authenticators.authenticators(subject),
            verifications=tuple(
                check for case in cases_of(instance, subject) for check in liveness.verifications(case.id)
            ),
        )

    return KycDesk(
        instance=instance,
        authorities=DocumentAuthorities(instance).store,
        proofs=proofs,
        screener=DevelopmentScreener() if instance.profile == "development" else None,
        lists=ListScreener(names) if names is not None else None,
    )


def rescreener_of(desk: KycDesk, store: ListStore) -> Rescreener:
    """Searches what changes in lists against everybody of a desk that screens against lists."""
    assert desk.lists is not None
    return Rescreener(desk, desk.lists, store, EnrolledNames(desk.instance))


def log_faults(opened: OpenInstance) -> list[str]:
    """What keeps the logs from writing, in words."""
    return [
        f"the {name} log has stopped writing: {why}"
        for name, why in (
            ("record", opened.record_log.failed),
            ("decision", opened.decision_log.failed or opened.decision_log.full),
        )
        if why is not None
    ]


def node_of(
    opened: OpenInstance,
    ledger: DecisionLedger,
    *,
    faults: Callable[[], list[str]] | None = None,
    replays: ProofReplays | None = None,
    record_feed: RecordFeed | None = None,
    workers: int = 0,
    metrics: Callable[[], str] = str,
    quotas: QuotaLedger | None = None,
) -> ApiNode:
    """ledger: the process's one writer of decisions. faults: beside those of the logs.

    replays, quotas: shared with the gateway.
    record_feed: what gateways elsewhere follow. workers: beside this process, each with a decision log of its own.
    metrics: the gateway's counters as Prometheus text.
    """
    instance, settings = opened.instance, opened.settings
    desk = PresentationDesk(instance, Nonces(instance.clock, instance.random))
    replays = replays if replays is not None else ReplayMemory()
    authenticators = AuthenticatorDesk(
        instance, relying_party_of(instance.issuer), attestation_roots(settings)
    )
    liveness = LivenessDesk(instance, liveness_vendors(settings))
    names = NameScreener(instance, opened.lists)
    kyc = kyc_desk(instance, authenticators, liveness, names)
    tokens = InstanceKeyRing("token", instance.record, instance.keys, instance.clock)
    return ApiNode(
        instance=instance,
        roles=RoleAuthenticator(
            instance.issuer,
            started=instance.clock.now(),
            production=instance.profile != "development",
        ),
        desk=desk,
        exchange=TokenExchange(desk, replays),
        devices=DeviceDesk(desk, replays, instance.random),
        authenticators=authenticators,
        applicants=ApplicantAuthenticator(instance.issuer, replays),
        kyc=kyc,
        liveness=liveness,
        status_lists=StatusListPublisher(instance),
        logs={
            "record": FileLogDirectory(settings.record_log),
            "decisions": FileLogDirectory(settings.decision_log),
            **{
                f"decisions-{name}": FileLogDirectory(settings.worker_log(name))
                for name in map(worker_name, range(1, workers + 1))
            },
        },
        ledger=ledger,
        decisions=opened.decision_log,
        feed=DecisionFeed(opened.decision_log, instance.vault.aead, told),
        log_keys=lambda: {
            "record": opened.record_log.verifier.text(),
            "decisions": opened.decision_log.verifier.text(),
            **{
                f"decisions-{name}": LogVerifier.of(
                    f"{opened.descriptor.decision_origin}/{name}", opened.keys.signer(WORKER_LOG_KEY)
                ).text()
                for name in map(worker_name, range(1, workers + 1))
            },
        },
        quotas=quotas,
        lists=ListDesk(
            opened.lists,
            HttpsListFetch(clock=instance.clock),
            names,
            IndexedNames(),
            rescreener=rescreener_of(kyc, opened.lists) if kyc.lists is not None else None,
        ),
        rotation=key_rotation(opened, workers=workers),
        mtls=settings.tls_certificate is not None and not settings.tls_proxy,
        faults=lambda: [*log_faults(opened), *(faults() if faults is not None else [])],
        metrics=metrics,
        record_feed=record_feed,
        token_keys=lambda: [key.jwk for key in tokens.in_force()],
    )
