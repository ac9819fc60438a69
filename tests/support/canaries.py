"""Canaries: every secret that a test run makes or hands out is looked for in everything that the product says.

A pytest plugin (tests/conftest.py names it). *Planted* without a test having to ask: private keys and root keys as they are
made, gateway keys, upstream credentials, and the signatures of access tokens, passports, key bindings, proofs and role
tokens. *Searched*: log records with their arguments, extras and tracebacks, errors of ours, the gateway's own answers, the
API's error answers, the metrics, the bodies of entries of both logs (the sealed parts too), the log files that processes leave behind,
and whatever is handed to `said`. Each secret is looked for raw, URL-encoded, in base64 (at all three alignments), in hex,
and by its first 12 characters. The test in which one is found fails, and so does the run.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

# Before anything imports a name from them: what is replaced here is what the product's modules will find.
import safeconduct.passport.gateway_key as gateway_keys
import safeconduct.record.envelope as envelopes
import safeconduct.web.problems as problems
import safeconduct.web.proxy.answers as answers
from safeconduct.app.authorize_device import DeviceDesk
from safeconduct.gateway.measures import GatewayMeasures
from safeconduct.kernel.errors import SafeconductError
from safeconduct.kernel.signing import FileKeyWrapper, FileSigner

LENGTH = 12
# Signed for one use or one holder: whoever reads the signature has the credential. Other documents are public.
CREDENTIAL_TYPES = frozenset({"at+jwt", "dc+sd-jwt", "kb+jwt", "dpop+jwt", "role+jwt"})


def forms(secret: bytes) -> set[bytes]:
    """The first 12 characters of every form in which a secret is looked for."""
    if len(secret) < LENGTH:
        raise ValueError(f"a canary of {len(secret)} bytes would be found everywhere")
    # What stands before it in an encoded text shifts its base64 by a third of a group: the stable part is the same.
    spelled = [base64.b64encode(b"\0" * shift + secret)[(0, 2, 3)[shift] :] for shift in range(3)]
    found = {secret[:LENGTH], quote(secret, safe="").encode()[:LENGTH], secret.hex().encode()[:LENGTH]}
    found |= {text[:LENGTH] for text in spelled}
    found |= {text.translate(bytes.maketrans(b"+/", b"-_"))[:LENGTH] for text in spelled}
    return found


class Canaries:
    """What was planted and where it was found. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[bytes, str] = {}
        self._asked: set[bytes] = set()
        self.searched: dict[str, int] = {}
        self.found: list[str] = []
        self.ever: list[str] = []

    def plant(self, name: str, secret: bytes | str) -> None:
        """Look for this secret from now on."""
        raw = secret.encode() if isinstance(secret, str) else bytes(secret)
        if raw in self._asked:
            return
        with self._lock:
            self._asked.add(raw)
            for form in forms(raw):
                self._names[form] = name

    def said(self, kind: str, text: bytes | str) -> None:
        """Search what the product said somewhere. kind: `log`, `error`, `answer`, `entry`, `metric`, `trace` ..."""
        raw = text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)
        with self._lock:
            self.searched[kind] = self.searched.get(kind, 0) + 1
            hits = self._names.keys() & {raw[at : at + LENGTH] for at in range(len(raw) - LENGTH + 1)}
            for hit in sorted(hits):
                # Never the secret itself, nor what follows, which is the rest of it: this goes into a report.
                at = raw.index(hit)
                note = f"{self._names[hit]} in {kind}, after {raw[max(0, at - 80) : at]!r}"
                self.found.append(note)
                self.ever.append(note)

    def forgiven(self) -> list[str]:
        """What was found since the last call, taken out: for tests of the search itself."""
        with self._lock:
            found, self.found = self.found, []
            for note in found:
                self.ever.remove(note)
            return found

    def taken(self) -> list[str]:
        """What was found since the last call."""
        with self._lock:
            found, self.found = self.found, []
            return found


CANARIES = Canaries()


class LogWatch(logging.Handler):
    """Every record, with its arguments, extras and traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Search one record."""
        try:
            text = f"{self.format(record)} {record.__dict__}"
        except (TypeError, ValueError):
            text = repr(record.__dict__)
        CANARIES.said("log", text)


@functools.lru_cache(maxsize=512)
def _type_of(header: bytes) -> str:
    try:
        found = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
        return str(found.get("typ", "")) if isinstance(found, dict) else ""
    except ValueError:
        return ""


def signed(data: bytes, signature: bytes) -> None:
    """Plant the signature of what is a credential."""
    header, dot, _ = data[:2_000].partition(b".")
    if dot and _type_of(header) in CREDENTIAL_TYPES:
        CANARIES.plant(
            f"the signature of a {_type_of(header)}", base64.urlsafe_b64encode(signature).rstrip(b"=")
        )


def _wrapped(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(make(original)))


def _a_signer(original: Callable[..., Any]) -> Callable[..., Any]:
    def init(self: Any, key: Any, **more: Any) -> None:
        original(self, key, **more)
        if hasattr(key, "private_bytes_raw"):
            CANARIES.plant("a private key", key.private_bytes_raw())
        elif hasattr(key, "private_numbers"):
            CANARIES.plant("a private key", key.private_numbers().private_value.to_bytes(32, "big"))

    return init


def _a_signature(original: Callable[..., Any]) -> Callable[..., Any]:
    def sign(self: Any, data: bytes) -> Any:
        signature = original(self, data)
        signed(data, signature)
        return signature

    return sign


def _a_root_key(original: Callable[..., Any]) -> Callable[..., Any]:
    def init(self: Any, root_key: bytes) -> None:
        original(self, root_key)
        CANARIES.plant("a root key", root_key)

    return init


def _a_gateway_key(original: Callable[..., Any]) -> Callable[..., Any]:
    def generate(*arguments: Any, **more: Any) -> Any:
        key = original(*arguments, **more)
        CANARIES.plant("the secret of a gateway key", key.secret)
        return key

    return generate


def _an_error(original: Callable[..., Any]) -> Callable[..., Any]:
    def init(self: Any, message: str, *, field: str = "", remedy: str = "") -> None:
        original(self, message, field=field, remedy=remedy)
        CANARIES.said("error", f"{message}\n{field}\n{remedy}")

    return init


def _an_answer(original: Callable[..., Any]) -> Callable[..., Any]:
    def answer_bytes(head: Any, status: int, body: bytes, **more: Any) -> bytes:
        found: bytes = original(head, status, body, **more)
        CANARIES.said("answer", found)
        return found

    return answer_bytes


def _a_problem(original: Callable[..., Any]) -> Callable[..., Any]:
    def problem(kind: str, detail: str, **more: Any) -> Any:
        CANARIES.said("answer", f"{detail}\n{more}")
        return original(kind, detail, **more)

    return problem


def _an_open_entry(original: Callable[..., Any]) -> Callable[..., Any]:
    def open_entry(body: bytes, **more: Any) -> bytes:
        found: bytes = original(body, **more)
        CANARIES.said("entry", found)
        return found

    return open_entry


def _a_sealed_entry(original: Callable[..., Any]) -> Callable[..., Any]:
    def sealed_entry(secret: bytes, **more: Any) -> bytes:
        found: bytes = original(secret, **more)
        # What is sealed is read by auditors: a credential has no business there either.
        CANARIES.said("entry", secret)
        CANARIES.said("entry", more.get("body", b""))
        return found

    return sealed_entry


def _an_exposition(original: Callable[..., Any]) -> Callable[..., Any]:
    def exposition(self: Any, *arguments: Any, **more: Any) -> str:
        found: str = original(self, *arguments, **more)
        CANARIES.said("metric", found)
        return found

    return exposition


def _a_device(original: Callable[..., Any]) -> Callable[..., Any]:
    def begin(self: Any, *arguments: Any, **more: Any) -> Any:
        device, request = original(self, *arguments, **more)
        # Its beginning names the request and is no secret by itself; the rest collects what was approved.
        CANARIES.plant("the code of a device", device[-64:])
        return device, request

    return begin


_wrapped(FileSigner, "__init__", _a_signer)
_wrapped(DeviceDesk, "begin", _a_device)
_wrapped(GatewayMeasures, "exposition", _an_exposition)
_wrapped(FileSigner, "sign", _a_signature)
_wrapped(FileKeyWrapper, "__init__", _a_root_key)
_wrapped(gateway_keys, "generate", _a_gateway_key)
_wrapped(SafeconductError, "__init__", _an_error)
_wrapped(answers, "answer_bytes", _an_answer)
_wrapped(problems, "problem", _a_problem)
_wrapped(envelopes, "open_entry", _an_open_entry)
_wrapped(envelopes, "sealed_entry", _a_sealed_entry)
