"""Public endpoints: nonces, token exchange, keys, metadata, status lists.

Owns the OAuth wire form (RFC 6749 5, RFC 8693 2) and the recording of refusals: a refusal whose subject was proven is an
entry of its own, an unproven one is counted by source.
"""

from __future__ import annotations

import logging
from asyncio import to_thread
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, Response, Router, get, post

from safeconduct.app.authorize_device import INTERVAL, LIFETIME
from safeconduct.app.check_presentation import CredentialRefused
from safeconduct.app.exchange_token import (
    ACCESS_TOKEN_TYPE,
    TokenRequest,
)
from safeconduct.app.instance_keys import PUBLISHED, InstanceKeyRing
from safeconduct.kernel.canonical import strict_json
from safeconduct.kernel.errors import InvalidInput, KeyUnavailable, LogUnavailable, SafeconductError
from safeconduct.kernel.signing import KeyRing
from safeconduct.passport.mandate import MANDATE_TOKEN_TYPE
from safeconduct.passport.token_requests import DEVICE_GRANT, GRANT_TYPE, PASSPORT_TOKEN_TYPE
from safeconduct.passport.tokens import ACCESS_TYPE
from safeconduct.web.api.access import PUBLIC, source_of
from safeconduct.web.api.node import ApiNode, Node, PathNumber
from safeconduct.web.api.peer_protocol import PEER
from safeconduct.web.problems import OAuthError, UnsupportedGrantType, oauth_error_of

_log = logging.getLogger(__name__)

MAX_FORM_BYTES = 64 << 10
MAX_FIELDS = 32
DURABLE_SECONDS = 10.0
_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


def _on_oauth_error(request: Request[Any, Any, Any], error: Exception) -> Response[OAuthError]:
    assert isinstance(error, SafeconductError)
    status, body = oauth_error_of(error)
    if isinstance(error, KeyUnavailable):
        _log.error("%s: %s", error.kind, error)
    answer = Response(body, status_code=status, media_type="application/json", headers=_NO_STORE)
    node: ApiNode = request.app.state.node
    if isinstance(error, CredentialRefused) and node.ledger.fails_too_often(source_of(request)):
        answer.headers["connection"] = "close"
    return answer


@post("/nonce", opt=PUBLIC, status_code=200, sync_to_thread=False)
def nonce(node: Node) -> Response[dict[str, Any]]:
    """A nonce for one key binding."""
    text, lifetime = node.desk.nonces.give()
    return Response({"nonce": text, "expires_in": lifetime}, headers=_NO_STORE)


def _form(request: Request[Any, Any, Any], body: bytes) -> dict[str, str]:
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise InvalidInput(
            "the body is not a form",
            field="content-type",
            remedy="send application/x-www-form-urlencoded",
        )
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except (ValueError, UnicodeDecodeError):
        raise InvalidInput("the form is malformed", field="body") from None
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:  # RFC 6749 3.2
            raise InvalidInput("a parameter stands twice", field=name[:80], remedy="send it once")
        form[name] = value
    return form


def _token_request(request: Request[Any, Any, Any], form: dict[str, str]) -> TokenRequest:
    for name in ("grant_type", "subject_token", "subject_token_type"):
        if not form.get(name):
            raise InvalidInput("the parameter is missing", field=name, remedy="see RFC 8693 2.1")
    if form["grant_type"] != GRANT_TYPE:
        raise UnsupportedGrantType("another grant type", field="grant_type", remedy=f"use {GRANT_TYPE}")
    if form.get("requested_token_type", ACCESS_TOKEN_TYPE) != ACCESS_TOKEN_TYPE:
        raise InvalidInput(
            "another token type", field="requested_token_type", remedy=f"use {ACCESS_TOKEN_TYPE}"
        )
    if "actor_token" in form:
        raise InvalidInput(
            "actor tokens are not accepted", field="actor_token", remedy="register a mandate and present it"
        )
    details = form.get("authorization_details")
    return TokenRequest(
        grant_type=form["grant_type"],
        subject_token=form["subject_token"],
        subject_token_type=form["subject_token_type"],
        dpop=tuple(request.headers.getall("dpop", [])),
        authorization_details=(
            strict_json(details.encode(), what="authorization_details") if details else None
        ),
        audience=form.get("audience") or form.get("resource"),
        certificate=request.scope["state"].get(PEER),
    )


def _record_refusal(node: ApiNode, refused: CredentialRefused, source: str) -> None:
    now = int(node.instance.clock.now())
    if refused.subject is None:
        node.ledger.failed_authentication(source, refused.code.value, now)
        return
    _, index = node.ledger.refusal(
        (refused.code.value,),
        route="token_exchange",
        now=now,
        reasons=refused.reasons,
        subject=refused.subject,
        holder=refused.holder,
        passport=refused.passport,
    )
    node.decisions.wait_durable_sync(index, DURABLE_SECONDS)


def _exchange(node: ApiNode, asked: TokenRequest, source: str) -> dict[str, Any]:
    if node.faults():
        # Without a log that can write nothing would be decided with the token anyway.
        raise LogUnavailable("decisions cannot be recorded at present", remedy="try again later")
    try:
        answer = node.exchange.exchange(asked)
    except CredentialRefused as refused:
        _record_refusal(node, refused, source)
        raise
    return {
        "access_token": answer.access_token,
        "issued_token_type": answer.issued_token_type,
        "token_type": answer.token_type,
        "expires_in": answer.expires_in,
        "authorization_details": answer.authorization_details,
    }


@post("/token", opt=PUBLIC, status_code=200, request_max_body_size=MAX_FORM_BYTES)
async def token(node: Node, request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """RFC 8693 token exchange: a passport or mandate, presented once, for an access token; or RFC 8628 3.4 (form-encoded)."""
    form = _form(request, await request.body())
    source = source_of(request)
    if form.get("grant_type") == DEVICE_GRANT:
        answer = await to_thread(_collect, node, form, tuple(request.headers.getall("dpop", [])))
    else:
        answer = await to_thread(_exchange, node, _token_request(request, form), source)
    return Response(answer, headers=_NO_STORE)


def _collect(node: ApiNode, form: dict[str, str], dpop: tuple[str, ...]) -> dict[str, Any]:
    code = form.get("device_code")
    if not code:
        raise InvalidInput("the parameter is missing", field="device_code", remedy="see RFC 8628 3.4")
    mandate, agent = node.devices.collect(dpop, code)
    # RFC 8693 2.2.1: what is issued need not be an access token; this one is presented to get those.
    return {
        "access_token": mandate,
        "issued_token_type": MANDATE_TOKEN_TYPE,
        "token_type": "N_A",
        "agent": agent,
        "gateway": node.instance.audience,
    }


@post("/device_authorization", opt=PUBLIC, status_code=200, request_max_body_size=MAX_FORM_BYTES)
async def device_authorization(node: Node, request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """RFC 8628 3.1: a device with a key of its own (one DPoP proof) asks for its human's mandate (form-encoded)."""
    form = _form(request, await request.body())
    details = form.get("authorization_details")
    device, asked = node.devices.begin(
        tuple(request.headers.getall("dpop", [])),
        strict_json(details.encode(), what="authorization_details") if details else None,
        name=form.get("name", ""),
        source=source_of(request),
    )
    shown = f"{asked.user_code[:4]}-{asked.user_code[4:]}"
    page = f"{node.instance.issuer}/device"
    return Response(
        {
            "device_code": device,
            "user_code": shown,
            "verification_uri": page,
            "verification_uri_complete": f"{page}#{shown}",
            "expires_in": LIFETIME,
            "interval": INTERVAL,
        },
        headers=_NO_STORE,
    )


oauth = Router(
    path="/oauth",
    route_handlers=[nonce, token, device_authorization],
    exception_handlers={SafeconductError: _on_oauth_error},
)


@get("/.well-known/jwks.json", opt=PUBLIC, sync_to_thread=False, media_type="application/jwk-set+json")
def jwks(node: Node) -> Response[dict[str, Any]]:
    """Public keys that sign passports, status lists and access tokens, replaced ones until they are retired (RFC 7517)."""
    instance = node.instance
    rings = [InstanceKeyRing(name, instance.record, instance.keys, instance.clock) for name in PUBLISHED]
    ring = KeyRing([key for one in rings for key in one.in_force()])
    return Response(
        ring.jwks(), media_type="application/jwk-set+json", headers={"cache-control": "public, max-age=300"}
    )


@get("/.well-known/safeconduct", opt=PUBLIC, sync_to_thread=False)
def metadata(node: Node) -> Response[dict[str, Any]]:
    """Where everything is: endpoints, identifiers, the logs and the keys they are signed with."""
    instance = node.instance
    issuer = instance.issuer
    log_keys = node.log_keys()
    return Response(
        {
            "issuer": issuer,
            "gateway": instance.audience,
            "profile": instance.profile,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "nonce_endpoint": f"{issuer}/oauth/nonce",
            "token_endpoint": f"{issuer}/oauth/token",
            "device_authorization_endpoint": f"{issuer}/oauth/device_authorization",
            "grant_types_supported": [GRANT_TYPE, DEVICE_GRANT],
            "subject_token_types_supported": [PASSPORT_TOKEN_TYPE, MANDATE_TOKEN_TYPE],
            "authorization_details_types_supported": [ACCESS_TYPE],
            "dpop_signing_alg_values_supported": ["ES256"],
            "tls_client_certificate_bound_access_tokens": node.mtls,
            "status_lists": f"{issuer}/status/",
            "logs": {
                name: {"url": f"{issuer}/log/{name}", "key": log_keys.get(name, "")}
                for name in sorted(node.logs)
            },
        },
        headers={"cache-control": "public, max-age=300"},
    )


@get("/.well-known/jwt-vc-issuer", opt=PUBLIC, sync_to_thread=False)
def issuer_metadata(node: Node) -> Response[dict[str, Any]]:
    """Where a verifier of SD-JWT VCs finds the issuer's keys."""
    issuer = node.instance.issuer
    return Response(
        {"issuer": issuer, "jwks_uri": f"{issuer}/.well-known/jwks.json"},
        headers={"cache-control": "public, max-age=300"},
    )


@get("/status/{number:int}", opt=PUBLIC, sync_to_thread=True, media_type="application/statuslist+jwt")
def status_list(node: Node, number: PathNumber) -> Response[bytes]:
    """Token Status List `number`: which passports and mandates are suspended or revoked."""
    return Response(
        node.status_lists.publish(number).encode(),
        media_type="application/statuslist+jwt",
        headers={"cache-control": "public, max-age=60"},
    )


public = (jwks, metadata, issuer_metadata, status_list)
