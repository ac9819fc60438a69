"""The key directory: private keys as PEM files of mode 0600 in directories of mode 0700, outside the data directory.

Layout: `root.key` (32 bytes, base64), `issuer.pem status.pem token.pem record-log.pem decision-log.pem`, `roles/*.pem`,
`officers/{1,2}.pem` (development only: real officers keep theirs elsewhere). Instead of a key each file may hold one line,
`reference: pkcs11:...` (or `awskms:`, `azurekms:`, `gcpkms:`), that says where the key is; a `Custody` opens those. Of the root key
such a file also holds the key itself, wrapped by the one elsewhere: it is unwrapped once, when the instance opens, so that no
request ever waits for a key service.
A key on its way in lies beside the present one as `<name>.next.pem` until it is put in its place in one step. Refuses a file
that others can read: a key that was exposed once has to be replaced, not only hidden.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from safeconduct.kernel.errors import Conflict, InvalidInput, UnsafeConfiguration
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import (
    EDDSA,
    ES256,
    FileKeyWrapper,
    FileSigner,
    KeyRing,
    KeyWrapper,
    Signer,
    VerifyingKey,
)

ROOT_KEY = "root.key"
ROOT = "root"
FILE_SCHEME = "file:"
_NEXT = ".next"
_REFERENCE = b"reference: "
_WRAPPED = b"\nwrapped: "
_ROOT_CONTEXT = b"safeconduct root key v1"
_NAME = re.compile(r"(?:[a-z]+/)?[a-z0-9][a-z0-9._-]{0,95}")


def check_private(path: Path) -> None:
    """Raise UnsafeConfiguration when a key file is absent, not a regular file, another user's, or open to others."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise UnsafeConfiguration(
            "the key is absent",
            field=str(path),
            remedy="run `safeconduct init`, or restore the key directory",
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeConfiguration(
            "a key must be a regular file", field=str(path), remedy="replace the link by the file"
        )
    if found.st_uid not in (os.geteuid(), 0):
        raise UnsafeConfiguration(
            "the key belongs to another user", field=str(path), remedy="run as its owner"
        )
    if found.st_mode & 0o077:
        raise UnsafeConfiguration(
            f"the key is readable by others (mode {stat.S_IMODE(found.st_mode):04o})",
            field=str(path),
            remedy=f"chmod 600 {path}, and replace the key if anybody may have read it",
        )


def read_private(path: Path) -> bytes:
    """The bytes of a key file after `check_private`."""
    check_private(path)
    return path.read_bytes()


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_private(path: Path, data: bytes) -> None:
    """Create a key file of mode 0600, durable when this returns. Raises Conflict when it is already there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise Conflict(
            "the key is already there", field=str(path), remedy="keys are never overwritten"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _sync_directory(path.parent)


class Custody(Protocol):
    """Opens keys that are kept outside the key directory, by their reference."""

    def signer(self, reference: str, alg: str) -> Signer:
        """The signing key behind a reference. Raises InvalidInput, UnsafeConfiguration that names what is missing."""
        ...

    def wrapper(self, reference: str) -> KeyWrapper:
        """The wrapping key behind a reference. Raises InvalidInput, UnsafeConfiguration."""
        ...


class _NoCustody:
    def signer(self, reference: str, alg: str) -> Signer:
        raise _elsewhere(reference, alg)

    def wrapper(self, reference: str) -> KeyWrapper:
        raise _elsewhere(reference, "AES")


def _elsewhere(reference: str, alg: str) -> UnsafeConfiguration:
    scheme = reference.partition(":")[0]
    return UnsafeConfiguration(
        f"the {alg} key is kept elsewhere ({scheme})",
        field="key",
        remedy="open it through the instance's settings",
    )


def _reference_in(data: bytes) -> str | None:
    if not data.startswith(_REFERENCE):
        return None
    return data.removeprefix(_REFERENCE).decode("utf-8", "replace").partition("\n")[0].strip()


def read_root_key(path: Path) -> bytes:
    """The 32 bytes of a root key file. Raises UnsafeConfiguration when it is absent, exposed or malformed."""
    text = read_private(path).strip()
    reference = _reference_in(text)
    if reference is not None:
        raise _elsewhere(reference, "root")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise UnsafeConfiguration("not a root key (base64 of 32 bytes)", field=str(path))
    return key


class KeyDirectory:
    """The instance's own keys. Implements `app.ports.Keys`. custody: opens keys that are kept elsewhere."""

    def __init__(self, path: Path, custody: Custody | None = None) -> None:
        self.path = path
        self._custody: Custody = custody or _NoCustody()
        self._signers: dict[str, tuple[tuple[int, int, int], Signer]] = {}
        self._leaving: dict[str, Signer] = {}
        self._coming: dict[str, Signer] = {}

    def __repr__(self) -> str:
        return f"<KeyDirectory {self.path}>"

    def file(self, name: str) -> Path:
        """The file of a key such as `issuer` or `roles/operator`. Raises InvalidInput for a name that leaves the directory."""
        if not _NAME.fullmatch(name) or ".." in name:
            raise InvalidInput(f"{name[:60]!r} is not a key's name", field="key")
        return self.path / f"{name}.pem"

    def signer(self, name: str) -> Signer:
        """The present key of that name. Raises UnsafeConfiguration when it is absent or open to others."""
        path = self.file(name)
        # Another process may have put a new key in its place: what is remembered holds for one file only.
        stamp = _stamp(path)
        known = self._signers.get(name)
        if known is None or known[0] != stamp:
            opened = self._open(path, name)
            if known is not None and known[1].kid != opened.kid:
                self._leaving[name] = known[1]
            known = self._signers[name] = (stamp, opened)
        return known[1]

    def leaving(self, name: str) -> Signer | None:
        """The key that was present before, as far as this process saw it: for the moment until the record says that it left."""
        return self._leaving.get(name)

    def _open(self, path: Path, name: str) -> Signer:
        data = read_private(path)
        reference = _reference_in(data)
        try:
            if reference is not None:
                return self._custody.signer(reference, algorithm_of(name))
            return FileSigner.from_pem(data)
        except InvalidInput as error:
            raise UnsafeConfiguration(error.message, field=str(path), remedy=error.remedy) from None

    def reference(self, name: str) -> str:
        """Where a key is kept: `file:`, or its reference."""
        path = self.path / ROOT_KEY if name == ROOT else self.file(name)
        return _reference_in(read_private(path)) or FILE_SCHEME

    def has(self, name: str) -> bool:
        """True when there is a key of that name."""
        return self.file(name).is_file()

    def make(self, name: str, alg: str = ES256) -> FileSigner:
        """Make and keep a new key. Raises Conflict when there is one of that name."""
        self._prepare()
        signer = FileSigner.generate(alg)
        path = self.file(name)
        write_private(path, signer.to_pem())
        self._signers[name] = (_stamp(path), signer)
        return signer

    def refer(self, name: str, reference: str) -> None:
        """Keep a key elsewhere from the start. Raises Conflict when there is one of that name, InvalidInput, UnsafeConfiguration."""
        self._prepare()
        if name == ROOT:
            self._write_wrapped_root(self.path / ROOT_KEY, reference, secrets.token_bytes(32))
            return
        self._custody.signer(reference, algorithm_of(name))
        write_private(self.file(name), _REFERENCE + reference.encode() + b"\n")

    # -- a key on its way in -------------------------------------------------------------------------------------

    def _next_file(self, name: str) -> Path:
        return self.path / f"{ROOT}{_NEXT}.key" if name == ROOT else self.file(name + _NEXT)

    def pending(self, name: str) -> Signer | None:
        """The key that waits to take the place of the present one, or None."""
        path = self._next_file(name)
        return self._open(path, name) if path.is_file() else None

    def prepare(self, name: str, reference: str | None = None) -> Signer:
        """Make the key that is to take the present one's place, or take the one that waits already.

        reference: where it is kept instead of in a file. Raises Conflict when another waits already, InvalidInput,
        UnsafeConfiguration.
        """
        path = self._next_file(name)
        if path.is_file():
            if reference is not None:
                raise Conflict(
                    "a key waits already", field=str(path), remedy="finish that rotation, or remove the file"
                )
            return self._open(path, name)
        if reference is not None:
            signer = self._custody.signer(reference, algorithm_of(name))
            write_private(path, _REFERENCE + reference.encode() + b"\n")
            return signer
        made = FileSigner.generate(self.signer(name).alg if self.has(name) else algorithm_of(name))
        write_private(path, made.to_pem())
        return made

    def use(self, name: str, signer: Signer) -> None:
        """Sign with this key from now on, in this process, before its file is in place. `activate` or `discard` follows."""
        self._leaving[name] = self.signer(name)
        self._coming[name] = signer
        self._signers[name] = (_stamp(self.file(name)), signer)

    def activate(self, name: str) -> None:
        """Put the waiting key in the present one's place, in one durable step; the old private key is gone."""
        path = self.path / ROOT_KEY if name == ROOT else self.file(name)
        self._next_file(name).replace(path)
        _sync_directory(path.parent)
        coming = self._coming.pop(name, None)
        if coming is not None:
            # Not opened again: whoever asks next may be the gateway, which must not wait for a key service.
            self._signers[name] = (_stamp(path), coming)

    def discard(self, name: str) -> None:
        """Give up the waiting key; no error when there is none."""
        path = self._next_file(name)
        path.unlink(missing_ok=True)
        self._signers.pop(name, None)
        self._leaving.pop(name, None)
        self._coming.pop(name, None)
        if path.parent.is_dir():
            _sync_directory(path.parent)

    def settle(self, name: str, thumbprint: str | None) -> None:
        """After a crash: activate the waiting key when it is the one in force by the record, discard it otherwise."""
        waiting = self.pending(name)
        if waiting is None:
            return
        if thumbprint is not None and VerifyingKey(waiting.public_jwk()).thumbprint == thumbprint:
            self.activate(name)
        else:
            self.discard(name)

    def pending_wrapper(self) -> KeyWrapper | None:
        """The root key that waits, or None."""
        path = self._next_file(ROOT)
        return self._open_root(path) if path.is_file() else None

    def prepare_root(
        self, reference: str | None = None, random: RandomBytes = secrets.token_bytes
    ) -> KeyWrapper:
        """Like `prepare`, for the root key."""
        path = self._next_file(ROOT)
        if path.is_file():
            if reference is not None:
                raise Conflict("a root key waits already", field=str(path), remedy="finish that rotation")
            return self._open_root(path)
        key = random(32)
        if reference is not None:
            self._write_wrapped_root(path, reference, key)
        else:
            write_private(path, base64.b64encode(key) + b"\n")
        return FileKeyWrapper(key)

    def _write_wrapped_root(self, path: Path, reference: str, key: bytes) -> None:
        wrapped = self._custody.wrapper(reference).wrap(key, _ROOT_CONTEXT)
        write_private(path, _REFERENCE + reference.encode() + _WRAPPED + base64.b64encode(wrapped) + b"\n")

    def _open_root(self, path: Path) -> KeyWrapper:
        data = read_private(path).strip()
        reference = _reference_in(data)
        if reference is None:
            return FileKeyWrapper(read_root_key(path))
        try:
            wrapped = base64.b64decode(data.partition(_WRAPPED)[2], validate=True)
            return FileKeyWrapper(self._custody.wrapper(reference).unwrap(wrapped, _ROOT_CONTEXT))
        except (InvalidInput, binascii.Error, ValueError):
            raise UnsafeConfiguration(
                "the root key does not unwrap",
                field=str(path),
                remedy="is it still the same key there, and may the credentials use it?",
            ) from None

    def make_root(self, random: RandomBytes = secrets.token_bytes) -> FileKeyWrapper:
        """Make and keep the root key. Raises Conflict when there is one."""
        self._prepare()
        key = random(32)
        write_private(self.path / ROOT_KEY, base64.b64encode(key) + b"\n")
        return FileKeyWrapper(key)

    def wrapper(self) -> KeyWrapper:
        """The key wrapper under the root key. Raises UnsafeConfiguration."""
        return self._open_root(self.path / ROOT_KEY)

    def names(self, folder: str = "") -> list[str]:
        """Names of the keys in the directory or in one of its folders, ordered."""
        place = self.path / folder if folder else self.path
        prefix = f"{folder}/" if folder else ""
        return sorted(prefix + entry.stem for entry in place.glob("*.pem") if not entry.stem.endswith(_NEXT))

    def check(self) -> None:
        """Check every key file there is, so that an exposed key stops the start. Raises UnsafeConfiguration."""
        if not self.path.is_dir():
            raise UnsafeConfiguration(
                "there is no key directory", field=str(self.path), remedy="run `safeconduct init`"
            )
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & 0o022:
            raise UnsafeConfiguration(
                f"others can write to the key directory (mode {mode:04o})",
                field=str(self.path),
                remedy=f"chmod 700 {self.path}",
            )
        for entry in sorted(self.path.rglob("*")):
            if entry.is_symlink() or entry.suffix in (".pem", ".key"):
                check_private(entry)

    def _prepare(self) -> None:
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True)


def algorithm_of(name: str) -> str:
    """What a key of that name signs with: Ed25519 for the logs, ES256 for everything else."""
    return EDDSA if name.endswith("-log") else ES256


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def jwks(keys: Iterable[VerifyingKey]) -> dict[str, Any]:
    """A JWK Set of public keys (RFC 7517 5), ordered by kid; a kid that names two keys is refused."""
    return KeyRing(list(keys)).jwks()
