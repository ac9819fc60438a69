"""Keys in a PKCS#11 token: `pkcs11:token=T;object=O[;id=%01]?module-path=/lib.so` (RFC 7512). Needs the extra `pkcs11`.

Signing: CKM_ECDSA over the SHA-256 digest (r || s comes as JOSE wants it), CKM_EDDSA for logs. Wrapping: CKM_AES_GCM with a 256-bit key
that never leaves the token. Refuses a PIN in the reference: references stand in files, arguments and errors.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from safeconduct.custody.signature import RemoteSigner, public_key_of
from safeconduct.kernel.errors import InvalidInput, KeyUnavailable, UnsafeConfiguration
from safeconduct.kernel.signing import ES256, KeyWrapper, Signer, VerifyingKey

_PATH = frozenset({"token", "object", "id", "serial", "type"})
_QUERY = frozenset({"module-path"})


def read_reference(reference: str) -> Mapping[str, str]:
    """The attributes of an RFC 7512 URI, percent-decoded. Raises InvalidInput."""
    path, _, query = reference.removeprefix("pkcs11:").partition("?")
    found: dict[str, str] = {}
    for text, mark, known in ((path, ";", _PATH), (query, "&", _QUERY)):
        for part in text.split(mark) if text else ():
            name, equals, value = part.partition("=")
            if name in ("pin-value", "pin-source"):
                raise InvalidInput(
                    "a PIN does not belong into a reference",
                    field="pkcs11",
                    remedy="name its file with SAFECONDUCT_PKCS11_PIN_FILE",
                )
            if name not in known or not equals or name in found:
                raise InvalidInput(
                    f"attribute {name[:40]!r} is unknown here, empty or given twice",
                    field="pkcs11",
                    remedy="pkcs11:token=NAME;object=LABEL?module-path=/path/of/library.so",
                )
            # RFC 7512 2.3: an id is bytes, everything else UTF-8 text.
            found[name] = unquote(value, encoding="latin-1" if name == "id" else "utf-8")
    if "token" not in found and "serial" not in found:
        raise InvalidInput("the reference names no token", field="pkcs11", remedy="add token=NAME")
    if "object" not in found and "id" not in found:
        raise InvalidInput("the reference names no key", field="pkcs11", remedy="add object=LABEL")
    return found


class _Token:
    """One token with one session; calls take turns, since a session does one thing at a time."""

    def __init__(self, module: str, attributes: Mapping[str, str], pin: Callable[[], str]) -> None:
        self._module = module
        self._attributes = attributes
        self._pin = pin
        self._lock = threading.Lock()
        self._session: Any = None

    def run(self, work: Callable[[Any], Any]) -> Any:
        """Do something in the session, in a new one when the token lost it. Raises UnsafeConfiguration."""
        import pkcs11  # noqa: PLC0415

        lost = (
            pkcs11.SessionClosed,
            pkcs11.SessionHandleInvalid,
            pkcs11.UserNotLoggedIn,
            pkcs11.DeviceRemoved,
            pkcs11.KeyHandleInvalid,
            pkcs11.ObjectHandleInvalid,
        )
        with self._lock:
            for attempt in (1, 2):
                try:
                    if self._session is None:
                        self._session = self._open()
                    return work(self._session)
                except lost as error:
                    self._session = None
                    if attempt == 2:
                        raise _failed(error) from None
                except pkcs11.PKCS11Error as error:
                    raise _failed(error) from None
        raise AssertionError("unreachable")

    def _open(self) -> Any:
        import pkcs11  # noqa: PLC0415

        try:
            library = pkcs11.lib(self._module)
        except (RuntimeError, OSError):
            raise UnsafeConfiguration(
                "the PKCS#11 library cannot be loaded",
                field=self._module,
                remedy="install the token's library, or name it with SAFECONDUCT_PKCS11_MODULE",
            ) from None
        wanted: dict[str, Any] = {}
        if "token" in self._attributes:
            wanted["token_label"] = self._attributes["token"]
        if "serial" in self._attributes:
            wanted["token_serial"] = self._attributes["serial"].encode()
        try:
            token = library.get_token(**wanted)
            try:
                return token.open(user_pin=self._pin())
            except pkcs11.UserAlreadyLoggedIn:
                # A token knows a process, not a session: another one of ours has given the PIN.
                return token.open()
        except (pkcs11.NoSuchToken, pkcs11.MultipleTokensReturned):
            raise UnsafeConfiguration(
                "there is not exactly one such token",
                field="pkcs11",
                remedy="compare token= and serial= with what the token's own tools list",
            ) from None
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinLocked) as error:
            raise UnsafeConfiguration(
                f"the token refuses the PIN ({type(error).__name__})",
                field="pkcs11_pin_file",
                remedy="correct the PIN before trying again: tokens lock after a few attempts",
            ) from None


def _failed(error: Exception) -> KeyUnavailable:
    return KeyUnavailable(
        f"the token does not do that ({type(error).__name__})",
        field="pkcs11",
        remedy="look into the token's own log",
    )


class Pkcs11Keys:
    """Keys in PKCS#11 tokens. module: the library when a reference names none. pin: asked for when a session is opened."""

    def __init__(self, module: Path | None, pin: Callable[[], str]) -> None:
        try:
            import pkcs11  # noqa: F401, PLC0415
        except ImportError:
            raise UnsafeConfiguration(
                "python-pkcs11 is not installed", field="pkcs11", remedy="pip install 'safeconduct[pkcs11]'"
            ) from None
        self._module = module
        self._pin = pin
        self._tokens: dict[tuple[str, str, str], _Token] = {}

    def _place(self, reference: str) -> tuple[_Token, dict[str, Any]]:
        found = read_reference(reference)
        module = found.get("module-path") or (str(self._module) if self._module is not None else "")
        if not module:
            raise UnsafeConfiguration(
                "the token's library is not named",
                field="pkcs11_module",
                remedy="name it with SAFECONDUCT_PKCS11_MODULE or module-path=",
            )
        name = (module, found.get("token", ""), found.get("serial", ""))
        if name not in self._tokens:
            self._tokens[name] = _Token(module, found, self._pin)
        wanted: dict[str, Any] = {}
        if "object" in found:
            wanted["label"] = found["object"]
        if "id" in found:
            wanted["id"] = found["id"].encode("latin-1")
        return self._tokens[name], wanted

    def signer(self, reference: str, alg: str) -> Signer:
        """See `KeyCustody.signer`."""
        from pkcs11 import Attribute, ObjectClass  # noqa: PLC0415

        token, wanted = self._place(reference)

        def point(session: Any) -> bytes:
            found: bytes = _one(session, ObjectClass.PUBLIC_KEY, wanted)[Attribute.EC_POINT]
            return found

        return _Pkcs11Signer(token, wanted, _public(token.run(point), alg))

    def wrapper(self, reference: str) -> KeyWrapper:
        """See `KeyCustody.wrapper`."""
        from pkcs11 import ObjectClass  # noqa: PLC0415

        token, wanted = self._place(reference)
        token.run(lambda session: _one(session, ObjectClass.SECRET_KEY, wanted))
        return _Pkcs11Wrapper(token, wanted)


def _one(session: Any, kind: Any, wanted: Mapping[str, Any]) -> Any:
    import pkcs11  # noqa: PLC0415

    try:
        return session.get_key(object_class=kind, **wanted)
    except (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned):
        raise UnsafeConfiguration(
            f"the token holds not exactly one such {kind.name.lower().replace('_', ' ')}",
            field="pkcs11",
            remedy="compare object= and id= with what the token's own tools list",
        ) from None


def _public(point: bytes, alg: str) -> VerifyingKey:
    # CKA_EC_POINT is a DER OCTET STRING around the point; some tokens leave the wrapping out.
    if len(point) in (34, 67) and point[0] == 0x04 and point[1] == len(point) - 2:
        point = point[2:]
    key: object = None
    try:
        if len(point) == 65:
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        elif len(point) == 32:
            key = ed25519.Ed25519PublicKey.from_public_bytes(point)
    except ValueError:
        key = None
    return public_key_of(key, alg)


class _Pkcs11Signer(RemoteSigner):
    def __init__(self, token: _Token, wanted: Mapping[str, Any], public: VerifyingKey) -> None:
        super().__init__(public)
        self._token = token
        self._wanted = wanted

    def _sign(self, data: bytes) -> bytes:
        from pkcs11 import Mechanism, ObjectClass  # noqa: PLC0415

        digested = self.alg == ES256
        message = hashlib.sha256(data).digest() if digested else data
        mechanism = Mechanism.ECDSA if digested else Mechanism.EDDSA

        def work(session: Any) -> bytes:
            key = _one(session, ObjectClass.PRIVATE_KEY, self._wanted)
            return bytes(key.sign(message, mechanism=mechanism))

        signature: bytes = self._token.run(work)
        return signature


class _Pkcs11Wrapper:
    """Wrapped form: 12-byte nonce, ciphertext, 16-byte tag; the context is the additional data."""

    def __init__(self, token: _Token, wanted: Mapping[str, Any]) -> None:
        self._token = token
        self._wanted = wanted

    def __repr__(self) -> str:
        return "<Pkcs11Wrapper>"

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        from pkcs11 import GCMParams, Mechanism, ObjectClass  # noqa: PLC0415

        nonce = secrets.token_bytes(12)

        def work(session: Any) -> bytes:
            key = _one(session, ObjectClass.SECRET_KEY, self._wanted)
            parameters = GCMParams(nonce, context, 128)
            return bytes(key.encrypt(secret, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))

        sealed: bytes = self._token.run(work)
        return nonce + sealed

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        from pkcs11 import GCMParams, Mechanism, ObjectClass, PKCS11Error  # noqa: PLC0415

        misfit = InvalidInput("cannot decrypt: wrong key, wrong context or altered bytes")
        if len(wrapped) < 28:
            raise misfit

        def work(session: Any) -> bytes | None:
            key = _one(session, ObjectClass.SECRET_KEY, self._wanted)
            parameters = GCMParams(wrapped[:12], context, 128)
            try:
                return bytes(
                    key.decrypt(wrapped[12:], mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
                )
            except PKCS11Error as error:
                # Tokens differ in what they call a tag that does not fit.
                if type(error).__name__ in _MISFITS:
                    return None
                raise

        plain: bytes | None = self._token.run(work)
        if plain is None:
            raise misfit
        return plain


_MISFITS = frozenset(
    {"EncryptedDataInvalid", "EncryptedDataLenRange", "GeneralError", "DataInvalid", "SignatureInvalid"}
)
