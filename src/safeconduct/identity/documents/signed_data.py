"""CMS SignedData with one signer (RFC 5652 5), as security objects and master lists are made. Owns its verification."""

from __future__ import annotations

import hashlib
import hmac

import msgspec
from asn1crypto import cms, core

from safeconduct.identity.documents.certificates import (
    Certificate,
    check_signature,
    fail,
    hash_named,
    read_certificate,
)


class SignedData(msgspec.Struct, frozen=True):
    """What was read. content: the encapsulated bytes. signing_time: seconds, as the signer says, None when it does not."""

    content: bytes
    signer: Certificate
    others: tuple[Certificate, ...]
    signing_time: int | None
    info: cms.SignerInfo

    def check(self) -> None:
        """Message digest and signature. Raises VerificationFailed (signature, or structure where parts cannot be read)."""
        try:
            self._check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise fail("structure", f"the signer's part cannot be read ({type(error).__name__})") from None

    def _check(self) -> None:
        digest = str(self.info["digest_algorithm"]["algorithm"].native)
        hash_named(digest)
        attributes = self.info["signed_attrs"]
        if not isinstance(attributes, cms.CMSAttributes) or not len(attributes):
            raise fail("signature", "there are no signed attributes")
        named = {each["type"].native: each["values"] for each in attributes}
        if len(named) != len(attributes):
            raise fail("signature", "an attribute stands twice")
        given = named.get("message_digest")
        computed = hashlib.new(digest, self.content).digest()
        if given is None or len(given) != 1 or not hmac.compare_digest(bytes(given[0].native), computed):
            raise fail("signature", "the message digest is not that of the content")
        # RFC 5652 5.4: signed as a SET, though it stands there with an implicit tag.
        data = attributes.untag().dump(force=True)
        if data[:1] != b"\x31":
            data = b"\x31" + data[1:]
        check_signature(
            self.signer.key(),
            self.info["signature_algorithm"],
            bytes(self.info["signature"].native),
            data,
            digest=digest,
        )


def read_signed_data(data: bytes, content_type: str) -> SignedData:
    """Read SignedData whose content is of `content_type` (an OID). Nothing is verified yet. Raises VerificationFailed (structure)."""
    try:
        outer = cms.ContentInfo.load(data, strict=True)
        if outer["content_type"].native != "signed_data":
            raise fail("structure", "this is no signed object")
        signed = outer["content"]
        encapsulated = signed["encap_content_info"]
        if encapsulated["content_type"].dotted != content_type:
            raise fail("structure", f"the content is of type {encapsulated['content_type'].dotted}")
        held = encapsulated["content"]
        content = bytes(held.contents if isinstance(held, core.ParsableOctetString) else held.native)
        infos = list(signed["signer_infos"])
        if len(infos) != 1:
            raise fail("structure", f"{len(infos)} signers where there is one")
        info = infos[0]
        certificates = [
            read_certificate(each.chosen.dump())
            for each in signed["certificates"]
            if each.name == "certificate"
        ]
        signer = _signer(info, certificates)
        attributes = info["signed_attrs"]
        named = (
            {each["type"].native: each["values"] for each in attributes}
            if isinstance(attributes, cms.CMSAttributes)
            else {}
        )
        inner = named.get("content_type")
        if inner is None or len(inner) != 1 or inner[0].dotted != content_type:
            raise fail("structure", "the signed content type is another")
        moment = named.get("signing_time")
        time = int(moment[0].native.timestamp()) if moment is not None and len(moment) else None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise fail("structure", f"the signed object cannot be read ({type(error).__name__})") from None
    others = tuple(each for each in certificates if each is not signer)
    return SignedData(content=content, signer=signer, others=others, signing_time=time, info=info)


def _signer(info: cms.SignerInfo, certificates: list[Certificate]) -> Certificate:
    sid = info["sid"]
    for each in certificates:
        if sid.name == "issuer_and_serial_number":
            if (
                sid.chosen["serial_number"].native == each.serial
                and sid.chosen["issuer"].hashable.encode("utf-8") == each.issuer
            ):
                return each
        elif bytes(sid.chosen.native) == each.key_id:
            return each
    raise fail("structure", "the signer's certificate is not in the object")
