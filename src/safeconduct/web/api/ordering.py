"""Routes for signed documents: directives, licences, lists of organisations, misuse signals, changes of the trust list.

Owns how a document travels (compact JWS, files as base64). The documents verify themselves: who hands one in matters less
than who signed it.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from litestar import delete, post
from litestar.params import JSONBody

from safeconduct.app.adjudicate_misuse import AdjudicateMisuse, adjudicate_misuse
from safeconduct.app.change_trust import change_trust
from safeconduct.app.import_directive import ImportDirective, import_directive
from safeconduct.app.import_licence import end_licence, import_licence
from safeconduct.app.import_misuse_signal import import_misuse_signal
from safeconduct.app.import_org_list import ImportOrgList, import_org_list
from safeconduct.kernel.canonical import canonical_json
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import Node, PathText, Speaker
from safeconduct.web.api.showing import show


class SignedDirective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A directive as signed; annexes: name -> file, base64."""

    jws: str
    annexes: dict[str, str] = {}


class SignedDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed document without files."""

    jws: str


class SignedOrgList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list as signed; entries: its file (JSON lines), base64."""

    jws: str
    entries: str


class OfficerSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One officer's signature, base64url."""

    protected: str
    signature: str


class SignedTrustChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of the trust list with the signatures of two officers."""

    payload: str
    signatures: tuple[OfficerSignature, ...]


def _file(text: str, field: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("not base64", field=field, remedy="encode the file's bytes as base64") from None


def annexes_of(annexes: dict[str, str]) -> dict[str, bytes]:
    """The annexes' bytes. Raises InvalidInput naming the annex."""
    return {name: _file(text, f"annexes.{name}") for name, text in annexes.items()}


@post("/directives", opt=allow(Role.AUTHORITY, Role.OPERATOR), sync_to_thread=True)
def post_directive(node: Node, caller: Speaker, data: JSONBody[SignedDirective]) -> dict[str, Any]:
    """Import a signed directive with its annexes; it acts from `effective_from` on."""
    ask = ImportDirective(jws=data.jws, annexes=annexes_of(data.annexes))
    shown: dict[str, Any] = show(import_directive(node.instance, caller, ask))
    return shown


@post("/licences", opt=allow(Role.AUTHORITY, Role.OPERATOR), sync_to_thread=True)
def post_licence(node: Node, caller: Speaker, data: JSONBody[SignedDocument]) -> dict[str, Any]:
    """Import a signed licence."""
    shown: dict[str, Any] = show(import_licence(node.instance, caller, data.jws))
    return shown


@delete("/licences/{licence:str}", opt=allow(Role.AUTHORITY), status_code=200, sync_to_thread=True)
def delete_licence(node: Node, caller: Speaker, licence: PathText) -> dict[str, Any]:
    """Withdraw a licence."""
    shown: dict[str, Any] = show(end_licence(node.instance, caller, licence))
    return shown


@post("/org-lists", opt=allow(Role.AUTHORITY, Role.OPERATOR), sync_to_thread=True)
def post_org_list(node: Node, caller: Speaker, data: JSONBody[SignedOrgList]) -> dict[str, Any]:
    """Import a version of a signed list of organisations."""
    ask = ImportOrgList(jws=data.jws, entries=_file(data.entries, "entries"))
    shown: dict[str, Any] = show(import_org_list(node.instance, caller, ask))
    return shown


@post("/misuse-signals", opt=allow(Role.PROVIDER, Role.OPERATOR), sync_to_thread=True)
def post_misuse_signal(node: Node, caller: Speaker, data: JSONBody[SignedDocument]) -> list[Any]:
    """Take in a misuse signal: it suspends until it is adjudicated."""
    return [show(event) for event in import_misuse_signal(node.instance, caller, data.jws)]


@post("/misuse-signals/adjudicate", opt=allow(Role.ADJUDICATOR), sync_to_thread=True)
def post_adjudication(node: Node, caller: Speaker, data: JSONBody[AdjudicateMisuse]) -> list[Any]:
    """Lift what a signal suspended, or revoke for good; never by whoever sent the signal."""
    return [show(event) for event in adjudicate_misuse(node.instance, caller, data)]


@post("/trust", opt=allow(Role.OPERATOR), sync_to_thread=True)
def post_trust(node: Node, caller: Speaker, data: JSONBody[SignedTrustChange]) -> list[Any]:
    """Change the trust list by a document that two officers signed."""
    return [show(event) for event in change_trust(node.instance, caller, canonical_json(data))]


ordering = (
    post_directive,
    post_licence,
    delete_licence,
    post_org_list,
    post_misuse_signal,
    post_adjudication,
    post_trust,
)
