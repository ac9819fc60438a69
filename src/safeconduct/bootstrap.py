"""The only wiring: puts storage, logs and keys behind the ports that use cases work with.

Makes an instance (`initialise_instance`) and opens one (`open_instance`). Refuses to open what its profile refuses.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from safeconduct import __version__
from safeconduct.app.impact_desk import desk_of
from safeconduct.app.initialise import DEFAULT_PARTIES, Party, first_entries
from safeconduct.app.instance_keys import PUBLISHED, WORKER_LOG_KEY
from safeconduct.app.ports import Instance
from safeconduct.app.rotate_key import KeyRotation
from safeconduct.app.screening_lists import settle_lists
from safeconduct.app.snapshots import Snapshots, SnapshotWriter
from safeconduct.audit.budget import BudgetedLog
from safeconduct.audit.sequencing import Log
from safeconduct.custody import KeyCustody
from safeconduct.gateway.quota_ledger import QuotaLedger
from safeconduct.homes import RecordLog, keeper_of, open_decision_log, open_record
from safeconduct.identity.liveness import LivenessVendor, read_vendors
from safeconduct.identity.webauthn.attestation import AttestationRoot, read_attestation_roots
from safeconduct.kernel.canonical import canonical_json
from safeconduct.kernel.clock import Clock, SystemClock
from safeconduct.kernel.errors import (
    Conflict,
    InvalidInput,
    UnsafeConfiguration,
)
from safeconduct.kernel.ids import RandomBytes, new_id
from safeconduct.kernel.signing import KeyWrapper, Signer, VerifyingKey
from safeconduct.policy.packs import load_regimes, load_shipped
from safeconduct.record.events.trust import InstanceInitialised, PackPublished, TrustKeyAdded
from safeconduct.record.state import State
from safeconduct.settings import (
    IN_FILES,
    INSTANCE_FILE,
    INSTANCE_KEYS,
    SIMULATED_SUFFIX,
    Descriptor,
    Settings,
    check_issuer,
    check_places,
    check_production,
    check_profile,
    check_record,
    read_descriptor,
)
from safeconduct.storage.key_directory import (
    FILE_SCHEME,
    ROOT,
    ROOT_KEY,
    KeyDirectory,
    algorithm_of,
    check_private,
)
from safeconduct.storage.log_group import LogGroup, newest_log_key
from safeconduct.storage.postgres_record import PostgresRecordLog
from safeconduct.storage.screening_lists import ScreeningListFiles
from safeconduct.storage.shared_quota_ledger import QUOTA_TABLE, SharedQuotaLedger
from safeconduct.storage.snapshot_files import FileSnapshots
from safeconduct.storage.stored_responses import StoredResponseTable
from safeconduct.storage.subject_keys import SubjectKeys
from safeconduct.storage.vault import SqliteVault


class OpenInstance:
    """An instance with everything open. Use `open_instance`; close it, or use it as a context manager.

    instance: what use cases get. lists: versions of screening lists. record_log, decision_log: the logs. subject_keys: also under `instance.vault`.
    snapshots: writes snapshots of the state, where the record is in files; who serves starts it. notes: what opening has to say, such as a snapshot refused.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        descriptor: Descriptor,
        instance: Instance,
        record_log: RecordLog,
        decision_log: BudgetedLog,
        keys: KeyDirectory,
        subject_keys: SubjectKeys,
        vault: SqliteVault,
        snapshots: SnapshotWriter | None,
        notes: Sequence[str] = (),
        stored_responses: StoredResponseTable,
        lists: ScreeningListFiles,
    ) -> None:
        self.settings = settings
        self.descriptor = descriptor
        self.instance = instance
        self.record_log = record_log
        self.decision_log = decision_log
        self.keys = keys
        self.subject_keys = subject_keys
        self.vault = vault
        self.snapshots = snapshots
        self.notes = tuple(notes)
        self.stored_responses = stored_responses
        self.lists = lists

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write a snapshot when one is due, close the logs (publishing a last checkpoint) and the databases."""
        if self.snapshots is not None:
            self.snapshots.close()
        self.decision_log.close()
        self.record_log.close()
        self.stored_responses.close()
        self.vault.close()
        self.subject_keys.close()


def _private_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def replace_durably(path: Path, data: bytes) -> None:
    """Replace a file of mode 0600 so that after a crash it is wholly the old or wholly the new one."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


_DEVELOPMENT_OFFICERS = b"""Development only. Two people must agree to change the trust list; here one directory holds
the keys of both, so that it can be tried out. A production profile refuses to start while they lie here.
"""


def _replace_in(directory: Path, name: str, data: bytes) -> None:
    _private_directory(directory)
    replace_durably(directory / name, data)


def _key(keys: KeyDirectory, name: str) -> Signer:
    return keys.signer(name) if keys.has(name) else keys.make(name, algorithm_of(name))


def initialise_instance(
    settings: Settings,
    *,
    profile: str,
    issuer: str | None = None,
    audience: str | None = None,
    name: str | None = None,
    officers: Sequence[dict[str, Any]] | None = None,
    parties: Sequence[Party] = DEFAULT_PARTIES,
    packs: Sequence[PackPublished] | None = None,
    clock: Clock | None = None,
    random: RandomBytes = secrets.token_bytes,
) -> Descriptor:
    """Make the data directory, the key directory and the first entries of the record. Can be repeated after a crash.

    issuer, audience: default to the listeners' own addresses in a development profile; production must name an issuer.
    name: host part of the logs' origins. officers: two public JWKs; a development profile makes them (and says so).
    parties: whose keys to make and to trust. packs: policy packs to publish from the start,
    by default those that ship.
    Raises Conflict when there is an instance already, InvalidInput, UnsafeConfiguration.
    """
    check_profile(profile)
    check_places(settings)
    clock = clock or SystemClock()
    if settings.instance_file.exists():
        raise Conflict(
            "there is an instance already",
            field=str(settings.data),
            remedy="use another directory; an instance is never overwritten",
        )
    if profile == "production":
        if issuer is None:
            raise InvalidInput(
                "production names its issuer", field="issuer", remedy="give the public https URL"
            )
        if officers is None:
            raise InvalidInput(
                "production names its two officers",
                field="officers",
                remedy="give the public keys of two officers who keep the private ones themselves",
            )
    scheme = "http" if settings.tls_certificate is None else "https"
    issuer = check_issuer(issuer or f"{scheme}://{settings.api_host}:{settings.api_port}")
    audience = check_issuer(
        audience or f"{scheme}://{settings.gateway_host}:{settings.gateway_port}", field="audience"
    )
    for directory in (settings.data, settings.keys, settings.record_directory, settings.logs):
        _private_directory(directory)
    keys = KeyDirectory(settings.keys, custody_of(settings))
    for key, reference in settings.key_references().items():
        if reference != FILE_SCHEME and not (
            (settings.keys / ROOT_KEY).exists() if key == ROOT else keys.has(key)
        ):
            keys.refer(key, reference)
    wrapper = keys.wrapper() if (settings.keys / ROOT_KEY).exists() else keys.make_root(random)
    signers = {key: _key(keys, key) for key in INSTANCE_KEYS}
    if officers is None:
        _replace_in(settings.keys / "officers", "README", _DEVELOPMENT_OFFICERS)
        officers = [_key(keys, f"officers/{number}").public_jwk() for number in (1, 2)]
    trusted = [(party, _key(keys, party.key_name).public_jwk()) for party in parties]
    # A log's name must not come back in another instance: checkpoints of the two could not be told apart.
    base = f"{name or 'localhost'}/{new_id('log', random)}"
    suffix = SIMULATED_SUFFIX if clock.simulated else ""
    descriptor = _unfinished(settings) or Descriptor(
        profile=profile,
        issuer=issuer,
        audience=audience,
        record_origin=f"{base}/record{suffix}",
        decision_origin=f"{base}/decisions{suffix}",
        created_at=int(clock.now()),
        simulated=clock.simulated,
        record=settings.record_url.shown if settings.record_url is not None else IN_FILES,
        release=__version__,
    )
    if (descriptor.profile, descriptor.issuer, descriptor.simulated) != (profile, issuer, clock.simulated):
        raise Conflict(
            "an unfinished initialisation with other answers lies here",
            field=str(settings.data),
            remedy="remove the directory and begin again",
        )
    replace_durably(settings.data / _UNFINISHED, canonical_json(descriptor))
    events = first_entries(
        origin=descriptor.record_origin,
        profile=profile,
        issuer=issuer,
        officers=officers,
        issuer_keys=[signers["issuer"].public_jwk()],
        parties=trusted,
        packs=[*load_shipped(descriptor.created_at), *load_regimes(descriptor.created_at)]
        if packs is None
        else packs,
        simulated=descriptor.simulated,
        now=descriptor.created_at,
    )
    SubjectKeys.open(settings.record_directory, wrapper, random=random).close()
    log = open_record(settings, descriptor, keys, clock, create=True)
    try:
        keeper = keeper_of(log, clock, random)
        known = keeper.state
        keeper.commit(
            [
                event
                for event in events
                if not (
                    (isinstance(event, InstanceInitialised) and known.instance is not None)
                    or (isinstance(event, TrustKeyAdded) and event.kid in known.trust)
                    or (isinstance(event, PackPublished) and event.pack in known.packs)
                )
            ]
        )
        check_record(descriptor, keeper.state)
    finally:
        log.close()
    open_decision_log(settings, descriptor, signers["decision-log"], clock, create=True).close()
    # INVARIANT: the last thing written. Without this file there is no instance, only an unfinished one.
    replace_durably(settings.instance_file, canonical_json(descriptor))
    (settings.data / _UNFINISHED).unlink()
    return descriptor


_UNFINISHED = f"{INSTANCE_FILE}.unfinished"


def _unfinished(settings: Settings) -> Descriptor | None:
    """The answers of an initialisation that a crash interrupted."""
    try:
        return msgspec.json.decode((settings.data / _UNFINISHED).read_bytes(), type=Descriptor)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            str(error), field=str(settings.data / _UNFINISHED), remedy="remove the directory and begin again"
        ) from None


def _settle_keys(keys: KeyDirectory, state: State) -> None:
    """Finish or undo what a crash in the middle of a rotation left."""
    for name in PUBLISHED:
        present = [one for one in state.instance_keys.values() if one.key == name and one.until is None]
        keys.settle(name, VerifyingKey(present[0].jwk).thumbprint if present else None)


def _check_settings_keys(settings: Settings, keys: KeyDirectory) -> None:
    for name, reference in settings.key_references().items():
        if keys.reference(name) != reference:
            raise UnsafeConfiguration(
                f"the {name} key is kept at {keys.reference(name).partition(':')[0]}:, not where the settings say",
                field=f"key_{name.replace('-', '_')}",
                remedy=f"safeconduct key rotate {name} --to REFERENCE, or leave the setting out",
            )


def custody_of(settings: Settings) -> KeyCustody:
    """Opens keys that are kept elsewhere, with what the settings say about reaching them."""
    return KeyCustody(
        pkcs11_module=settings.pkcs11_module,
        pkcs11_pin=settings.pkcs11_pin,
        pkcs11_pin_file=settings.pkcs11_pin_file,
        kms_credentials=settings.kms_credentials,
    )


class _RootWrapped:
    """Everything of an instance that is wrapped under its root key."""

    def __init__(self, opened: OpenInstance) -> None:
        self._opened = opened

    def change_root(self, wrapper: KeyWrapper) -> int:
        """Wrap all of it by another root key; returns how many keys that were."""
        changed = self._opened.subject_keys.change_root(wrapper)
        record = self._opened.record_log
        return changed + (record.change_root(wrapper) if isinstance(record, PostgresRecordLog) else 0)


def worker_logs(settings: Settings, descriptor: Descriptor, keys: KeyDirectory, clock: Clock) -> LogGroup:
    """The decision logs of the instance's workers."""
    return LogGroup(
        settings.decision_log.parent,
        keys,
        WORKER_LOG_KEY,
        origin_of=lambda process: f"{descriptor.decision_origin}/{process}",
        clock=clock,
    )


def key_rotation(opened: OpenInstance, *, workers: int = 0) -> KeyRotation:
    """What rotates the keys of an open instance. workers: beside this process, who hold the root key as well."""
    return KeyRotation(
        opened.instance,
        opened.keys,
        logs={"record-log": opened.record_log, "decision-log": opened.decision_log},
        worker_logs=worker_logs(opened.settings, opened.descriptor, opened.keys, opened.instance.clock),
        data_keys=_RootWrapped(opened),
        workers=workers,
    )


def open_instance(
    settings: Settings, *, clock: Clock | None = None, random: RandomBytes = secrets.token_bytes
) -> OpenInstance:
    """Open an instance for use: keys checked, logs recovered, state folded, the profile's refusals applied.

    Raises NotFound (no instance), UnsafeConfiguration, LogUnavailable (another process has it open), LogCorrupt.
    """
    check_places(settings)
    clock = clock or SystemClock()
    descriptor = read_descriptor(settings)
    keys = KeyDirectory(settings.keys, custody_of(settings))
    keys.check()
    _check_settings_keys(settings, keys)
    if settings.tls_key is not None:
        check_private(settings.tls_key)
    keys.settle("record-log", newest_log_key(settings.record_log, descriptor.record_origin))
    keys.settle("decision-log", newest_log_key(settings.decision_log, descriptor.decision_origin))
    worker_logs(settings, descriptor, keys, clock).settle()
    opened: list[Any] = []
    try:
        record_log = open_record(settings, descriptor, keys, clock)
        opened.append(record_log)
        snapshots = (
            Snapshots(FileSnapshots(settings.snapshots), record_log, keys.signer("record-log"))
            if isinstance(record_log, Log)
            else None
        )
        keeper = keeper_of(record_log, clock, random, snapshots)
        check_record(descriptor, keeper.state)
        _settle_keys(keys, keeper.state)
        if descriptor.profile == "production":
            check_production(settings, descriptor, state=keeper.state, clock=clock, keys=keys)
            if isinstance(record_log, PostgresRecordLog):
                record_log.check_durable()
        for name in INSTANCE_KEYS:
            keys.signer(name)  # opened now, not when the first request asks
        decision_log = open_decision_log(settings, descriptor, keys.signer("decision-log"), clock)
        opened.append(decision_log)
        waiting = keys.pending_wrapper()
        subject_keys = SubjectKeys.open(
            settings.record_directory,
            waiting or keys.wrapper(),
            older=keys.wrapper() if waiting is not None else None,
            random=random,
        )
        opened.append(subject_keys)
        if waiting is not None:
            subject_keys.rewrap()
            keys.activate(ROOT)
        vault = SqliteVault.open(settings.vault, subject_keys)
        opened.append(vault)
        stored_responses = StoredResponseTable.open(settings.stored_responses)
        opened.append(stored_responses)
    except BaseException:
        for thing in reversed(opened):
            thing.close()
        raise
    lists = ScreeningListFiles(settings.screening)
    settle_lists(lists, keeper.state)
    instance = Instance(
        clock=clock,
        random=random,
        record=keeper,
        vault=vault,
        keys=keys,
        issuer=descriptor.issuer,
        audience=descriptor.audience,
        profile=descriptor.profile,
        impact=desk_of(keeper, vault),
    )
    return OpenInstance(
        settings=settings,
        descriptor=descriptor,
        instance=instance,
        record_log=record_log,
        decision_log=decision_log,
        keys=keys,
        subject_keys=subject_keys,
        vault=vault,
        snapshots=(
            SnapshotWriter(snapshots, lambda: keeper.state, written=keeper.snapshot)
            if snapshots is not None
            else None
        ),
        notes=keeper.notes,
        stored_responses=stored_responses,
        lists=lists,
    )


def attestation_roots(settings: Settings) -> tuple[AttestationRoot, ...]:
    """The makers whose authenticators count as hardware; nobody's without a file of them.

    Raises UnsafeConfiguration when the file cannot be read: a protection that was meant must not be absent unnoticed.
    """
    if settings.attestation_roots is None:
        return ()
    try:
        return read_attestation_roots(settings.attestation_roots.read_bytes())
    except OSError as error:
        raise UnsafeConfiguration(
            f"cannot be read: {error.strerror}",
            field="attestation_roots",
            remedy="name a file, or leave it out",
        ) from None


def liveness_vendors(settings: Settings) -> tuple[LivenessVendor, ...]:
    """The configured providers of liveness checks. Raises UnsafeConfiguration when others can read their secrets."""
    if settings.liveness_vendors is None:
        return ()
    check_private(settings.liveness_vendors)
    return read_vendors(settings.liveness_vendors.read_bytes())


def open_quota_ledger(settings: Settings, data: Path | None = None) -> QuotaLedger:
    """Where this process counts use: a Redis or Valkey for all machines, when one is named, else this machine's table.

    data: the data directory of the node, when it is not that of the settings.

    Raises UnsafeConfiguration when the client for it is not installed.
    """
    if settings.quota_redis is None:
        return SharedQuotaLedger((data or settings.data) / QUOTA_TABLE)
    try:
        from safeconduct.storage.redis_quota_ledger import RedisQuotaLedger  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnsafeConfiguration(
            "the client for Redis is not installed",
            field="quota_redis",
            remedy="install safeconduct[redis]",
        ) from None
    return RedisQuotaLedger(settings.quota_redis.reveal())


def record_running(settings: Settings, *, api: str, gateway: str) -> None:
    """Write `running.json` into the data directory, so that commands find the process that serves.

    Its certificate's file stands there too: on this machine commands accept that certificate, whatever name it carries.
    """
    members = {"api": api, "gateway": gateway}
    if settings.tls_certificate is not None:
        members["certificate"] = str(settings.tls_certificate)
    replace_durably(settings.data / "running.json", canonical_json(members))
