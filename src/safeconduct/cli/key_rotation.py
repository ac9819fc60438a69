"""How `key rotate` works: through the API of the running instance, or on the files of a stopped one; role keys by a trust change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeconduct.cli.session import OPERATOR, connect

if TYPE_CHECKING:
    from safeconduct.storage.key_directory import KeyDirectory

OVERLAP = 3600
"""Seconds for which a role's old key may still sign after the new one was added."""


def rotate_instance_key(
    data: Path | None, url: str | None, name: str, *, reference: str | None, compromised: bool
) -> dict[str, Any]:
    """Rotate one of the instance's own keys; what the record now says of it."""
    import msgspec  # noqa: PLC0415

    from safeconduct.app.ports import Caller  # noqa: PLC0415
    from safeconduct.app.rotate_key import RotateKey  # noqa: PLC0415
    from safeconduct.bootstrap import key_rotation, open_instance  # noqa: PLC0415
    from safeconduct.cli.client import InstanceFiles, Unreachable  # noqa: PLC0415
    from safeconduct.kernel.vocabulary import Role  # noqa: PLC0415

    files = InstanceFiles(data)
    made = False
    if reference is not None:
        # The place of a key is never sent: the server finds it in the key directory, which only its owner can write.
        _prepare(files.keys, name, reference)
        made = True
    try:
        with connect(data, url, OPERATOR) as client:
            found: dict[str, Any] = client.post(f"/api/keys/{name}/rotate", {"compromised": compromised})
            return found
    except Unreachable:
        if url is not None:
            raise
    except BaseException:
        if made:
            files.keys.discard(name)
        raise
    if made:
        files.keys.discard(name)
    caller = Caller(role=Role.OPERATOR, party=OPERATOR, id=files.role_key(OPERATOR).kid)
    with open_instance(files.settings) as opened:
        if reference is not None:
            _prepare(opened.keys, name, reference)
        event = key_rotation(opened).rotate(caller, name, RotateKey(compromised=compromised))
    shown: dict[str, Any] = msgspec.to_builtins(event)
    return shown


def _prepare(keys: KeyDirectory, name: str, reference: str) -> None:
    if name == "root":
        keys.prepare_root(reference)
    else:
        keys.prepare(name, reference)


def list_instance_keys(data: Path | None, url: str | None, speaker: str) -> list[dict[str, Any]]:
    """What there is, from the running instance or from a stopped one's files."""
    from safeconduct.bootstrap import key_rotation, open_instance  # noqa: PLC0415
    from safeconduct.cli.client import InstanceFiles, Unreachable  # noqa: PLC0415

    try:
        with connect(data, url, speaker) as client:
            found: list[dict[str, Any]] = client.get("/api/keys")["items"]
            return found
    except Unreachable:
        if url is not None:
            raise
    with open_instance(InstanceFiles(data).settings) as opened:
        return key_rotation(opened).describe()


def role_change(
    data: Path | None, url: str | None, party: str, *, overlap: int, compromised: bool
) -> dict[str, Any]:
    """Make the next key of a party and the change of the trust list that brings it in and ends the present one."""
    from safeconduct.app.initialise import BACKDATE, KEY_LIFE, Party  # noqa: PLC0415
    from safeconduct.cli.client import InstanceFiles  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.errors import Conflict  # noqa: PLC0415

    files = InstanceFiles(data)
    present = files.role_key(party)
    with connect(data, url, OPERATOR) as client:
        listed = [one for one in client.all("/api/trust") if one["added"]["kid"] == present.kid]
    if not listed or "revoked" in listed[0]:
        raise Conflict(
            f"the present key of {party!r} is not in force on the trust list",
            field="NAME",
            remedy="have two officers add a key: safeconduct trust sign --help",
        )
    added = listed[0]["added"]
    now = int(SystemClock().now())
    after = files.keys.prepare(Party(party, ()).key_name)
    kept = ("party", "may_sign", "jurisdiction", "variants", "provider", "organisation", "development")
    addition = {name: added[name] for name in kept if added.get(name)}
    addition |= {
        "jwk": after.public_jwk(),
        "valid_from": now if compromised else now - BACKDATE,
        "valid_until": now + KEY_LIFE,
    }
    revocation = {
        "kid": present.kid,
        "from": now if compromised else now + overlap,
        "cause": "compromised" if compromised else "rotated",
    }
    return {"add": [addition], "revoke": [revocation]}


def hand_in(
    data: Path | None, url: str | None, party: str, change: dict[str, Any], officers: list[Path]
) -> str:
    """Sign the change as two officers, hand it in, put the new key in its place; the new kid."""
    import msgspec  # noqa: PLC0415

    from safeconduct.authorization.trust_change import sign_trust_change  # noqa: PLC0415
    from safeconduct.cli.client import InstanceFiles  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.signing import FileSigner  # noqa: PLC0415
    from safeconduct.storage.key_directory import read_private  # noqa: PLC0415

    files = InstanceFiles(data)
    now = int(SystemClock().now())
    signers = (
        [FileSigner.from_pem(read_private(path)) for path in officers]
        if officers
        else [files.keys.signer(f"officers/{number}") for number in (1, 2)]
    )
    claims = {"origin": files.descriptor.record_origin, "iat": now, "exp": now + 300, **change}
    with connect(data, url, OPERATOR) as client:
        client.post("/api/trust", msgspec.Raw(sign_trust_change(claims, signers)))
    return finish(data, url, party)


def finish(data: Path | None, url: str | None, party: str) -> str:
    """Put a party's waiting key in its place once the trust list knows it; its kid. Raises Conflict, NotFound."""
    from safeconduct.app.initialise import Party  # noqa: PLC0415
    from safeconduct.cli.client import InstanceFiles  # noqa: PLC0415
    from safeconduct.kernel.errors import Conflict, NotFound  # noqa: PLC0415

    files = InstanceFiles(data)
    keys, name = files.keys, Party(party, ()).key_name
    waiting = keys.pending(name)
    if waiting is None:
        raise NotFound(
            f"no key of {party!r} waits", field="NAME", remedy=f"begin: safeconduct key rotate {party}"
        )
    with connect(data, url, OPERATOR) as client:
        known = {one["added"]["kid"] for one in client.all("/api/trust") if "revoked" not in one}
    if waiting.kid not in known:
        raise Conflict(
            "the trust list does not know the new key yet",
            field="NAME",
            remedy="hand in the change that two officers signed: safeconduct trust change FILE",
        )
    keys.activate(name)
    return waiting.kid
