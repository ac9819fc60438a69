"""A gateway's own home: who it is, whom it follows, and the files that it keeps. Made once, by `gateway enrol`.

Owns `gateway.json` and the layout below. Refuses to enrol over another enrolment, and plain http beyond this machine.

    DATA/gateway.json          name, control plane, the record's pinned key
    DATA/control-ca.pem        authorities that alone may sign the control plane's certificate, where one was named
    DATA/record/               its verified copy of the record
    DATA/subject-keys.db vault.db   decisions' data keys, and the secrets it was given; sealed under its own root key
    DATA/decisions/<worker>/log     one decision log per process
    DATA/shared/               position, used proofs, metrics
    KEYS/                      root.key node.pem decision-log.pem
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

import msgspec

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.kernel.canonical import canonical_json, strict_json
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound, UnsafeConfiguration
from safeconduct.kernel.ids import check_name
from safeconduct.kernel.signing import EDDSA, ES256, Signer
from safeconduct.settings import INSTANCE_FILE, Settings, check_issuer, check_places
from safeconduct.storage.key_directory import ROOT_KEY, KeyDirectory
from safeconduct.storage.log_group import LogGroup
from safeconduct.storage.subject_keys import SubjectKeys
from safeconduct.storage.vault import SqliteVault
from safeconduct.upstreams.control_plane import control_tls

GATEWAY_FILE = "gateway.json"
CONTROL_CA = "control-ca.pem"

_logger = logging.getLogger(__name__)
NODE_KEY = "node"
LOG_KEY = "decision-log"


class GatewayDescriptor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`<data>/gateway.json`. record_key: verifier-key text of the record's log: the one thing that is trusted beforehand.

    control: where its API is reached; issuer: what it calls itself, the audience of what this gateway signs.
    """

    name: str
    control: str
    issuer: str
    record_key: str
    format: int = 1

    @property
    def party(self) -> str:
        """Its name in the trust list."""
        return f"gateway:{self.name}"


class GatewayHome:
    """The home of an enrolled gateway."""

    def __init__(
        self, settings: Settings, descriptor: GatewayDescriptor, *, control_ca: Path | None = None
    ) -> None:
        self._control_ca = control_ca
        self.settings = settings
        self.descriptor = descriptor
        self.keys = KeyDirectory(settings.keys)
        self.verifier = LogVerifier.parse(descriptor.record_key)

    @property
    def record(self) -> Path:
        """Directory of its copy of the record."""
        return self.settings.data / "record"

    @property
    def greeting(self) -> Path:
        """The newest greeting of the control plane, as signed."""
        return self.settings.data / "greeting.jws"

    def control_tls(self) -> ssl.SSLContext | None:
        """What to trust as the control plane's certificate, read anew each time: as it was told, as it was enrolled, or None
        for the authorities that everybody trusts. Raises UnsafeConfiguration.
        """
        kept = self.settings.data / CONTROL_CA
        authorities = self._control_ca or (kept if kept.exists() else None)
        return control_tls(authorities) if authorities is not None else None

    def signer(self) -> Signer:
        """Its key in the trust list."""
        return self.keys.signer(NODE_KEY)

    def own_kids(self) -> list[str]:
        """Of its key in the trust list, and of the one that waits to take its place."""
        waiting = self.keys.pending(NODE_KEY)
        return [self.signer().kid, *([waiting.kid] if waiting is not None else [])]

    def take_up(self, kid: str) -> None:
        """The trust list knows the key `kid` now: when it is the one that waits, it takes the present one's place."""
        waiting = self.keys.pending(NODE_KEY)
        if waiting is not None and waiting.kid == kid:
            self.keys.activate(NODE_KEY)
            _logger.info("the gateway's new key is in force: %s", kid)

    def logs(self, clock: Clock) -> LogGroup:
        """Its processes' decision logs."""
        base = f"{self.verifier.name}/gateways/{self.descriptor.name}"
        return LogGroup(
            self.settings.data / "decisions",
            self.keys,
            LOG_KEY,
            origin_of=lambda process: f"{base}.{process.removeprefix('worker-')}",
            clock=clock,
        )

    def open_vault(self) -> tuple[SubjectKeys, SqliteVault]:
        """Its own data keys and vault; several processes may have them open."""
        waiting = self.keys.pending_wrapper()
        subject_keys = SubjectKeys.open(
            self.settings.data,
            waiting or self.keys.wrapper(),
            older=self.keys.wrapper() if waiting is not None else None,
        )
        try:
            return subject_keys, SqliteVault.open(self.settings.vault, subject_keys)
        except BaseException:
            subject_keys.close()
            raise


def _control_url(url: str) -> str:
    return check_issuer(url.rstrip("/"), field="--control")


def make_home(
    settings: Settings,
    *,
    name: str,
    control: str,
    issuer: str,
    record_key: str,
    control_ca: Path | None = None,
) -> GatewayHome:
    """Make directories, keys and `gateway.json`. control_ca: authorities (PEM) to trust as the control plane's, kept here.

    Raises Conflict when there is one already, InvalidInput, UnsafeConfiguration.
    """
    check_places(settings)
    name = check_name(name, "name")
    verifier = LogVerifier.parse(record_key)
    if (settings.data / GATEWAY_FILE).exists() or (settings.data / INSTANCE_FILE).exists():
        raise Conflict(
            "there is a gateway or an instance here already",
            field=str(settings.data),
            remedy="use another directory",
        )
    for directory in (settings.data, settings.keys):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = KeyDirectory(settings.keys)
    if not (settings.keys / ROOT_KEY).exists():
        keys.make_root()
    for key, alg in ((NODE_KEY, ES256), (LOG_KEY, EDDSA)):
        if not keys.has(key):
            keys.make(key, alg)
    descriptor = GatewayDescriptor(
        name=name, control=_control_url(control), issuer=check_issuer(issuer), record_key=verifier.text()
    )
    if control_ca is not None:
        write_whole(settings.data / CONTROL_CA, control_ca.read_bytes())
    write_whole(settings.data / GATEWAY_FILE, canonical_json(descriptor))
    return GatewayHome(settings, descriptor)


def open_home(
    settings: Settings, *, control: str | None = None, control_ca: Path | None = None
) -> GatewayHome:
    """Open an enrolled gateway's home. control: another address of the same control plane; control_ca: other authorities to
    trust as its. Raises NotFound, InvalidInput, UnsafeConfiguration.
    """
    check_places(settings)
    path = settings.data / GATEWAY_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(
            "no gateway is enrolled here",
            field=str(settings.data),
            remedy="run `safeconduct gateway enrol`",
        ) from None
    try:
        descriptor = msgspec.convert(strict_json(data, what=GATEWAY_FILE), GatewayDescriptor)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error), field=str(path)) from None
    if descriptor.format != 1:
        raise UnsafeConfiguration("made by a newer release", field=str(path), remedy="upgrade this gateway")
    if control is not None:
        descriptor = msgspec.structs.replace(descriptor, control=_control_url(control))
    home = GatewayHome(settings, descriptor, control_ca=control_ca)
    home.control_tls()  # an unusable file stops the start
    return home


def enrolment_of(home: GatewayHome, *, now: int, seconds: int, development: bool) -> dict[str, Any]:
    """The change of the trust list that enrols this gateway, for `safeconduct trust sign`."""
    jwk = home.signer().public_jwk()
    return {
        "add": [
            {
                "kid": jwk["kid"],
                "jwk": jwk,
                "party": home.descriptor.party,
                "may_sign": ["role:gateway"],
                "variants": [],
                "valid_from": now - 3600,
                "valid_until": now + seconds,
                "development": development,
            }
        ],
        "revoke": [],
    }


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file so that a reader sees the old or the new one; mode 0600."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_bytes(data)
    temporary.replace(path)
