"""Gateway keys: `sc_<env>_<id>_<secret>` for tools that can send nothing but an API key.

Owns their text, their lifetime and their source networks. Refuses to keep the secret: only its SHA-256 is stored, compared
in constant time. A gateway key is a bearer credential: good to C2 at most, and that is decided elsewhere.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import ipaddress
import re

import msgspec

from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import KeyId, RandomBytes

MAX_LIFETIME = 30 * 86_400
MAX_NETWORKS = 64

# Secret: 32 random bytes in base32 (52 characters of a-z2-7), so that no part needs escaping and _ parts the fields.
_TEXT = re.compile(rb"sc_(dev|live)_([a-z2-7]{16})_([a-z2-7]{52})")
_ENVIRONMENTS = {"development": "dev", "production": "live"}


class GatewayKey(msgspec.Struct, frozen=True):
    """A key as its holder sends it. Its repr shows no secret."""

    environment: str
    id: KeyId
    secret: bytes

    def __repr__(self) -> str:
        return f"<GatewayKey {self.environment} {self.id}>"

    @property
    def text(self) -> str:
        """The whole key. Shown once, never logged."""
        return f"sc_{self.environment}_{self.id.removeprefix('key_')}_{self.secret.decode('ascii')}"

    def sha256(self) -> str:
        """What is kept: SHA-256 of the secret, hexadecimal."""
        return hashlib.sha256(self.secret).hexdigest()


def _base32(data: bytes) -> bytes:
    return base64.b32encode(data).rstrip(b"=").lower()


def generate(profile: str, random: RandomBytes) -> GatewayKey:
    """A new key with 256 bits of secret. Raises InvalidInput for an unknown profile."""
    if profile not in _ENVIRONMENTS:
        raise InvalidInput(f"unknown profile {profile!r}", field="profile")
    return GatewayKey(
        _ENVIRONMENTS[profile], KeyId(f"key_{_base32(random(10)).decode()}"), _base32(random(32))
    )


def parse(text: bytes) -> GatewayKey | None:
    """The parts of a key, or None when the text is not one."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    environment, name, secret = found.groups()
    return GatewayKey(environment.decode(), KeyId(f"key_{name.decode()}"), secret)


def environment_of(profile: str) -> str:
    """`dev` or `live`. A key of one environment is not accepted in the other."""
    return _ENVIRONMENTS[profile]


def secret_fits(key: GatewayKey, secret_sha256: str) -> bool:
    """Compare with what is kept, in constant time."""
    return hmac.compare_digest(key.sha256(), secret_sha256)


def check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    """CIDRs in canonical form. Raises InvalidInput naming the one that is malformed or lets everybody in."""
    if len(networks) > MAX_NETWORKS:
        raise InvalidInput(f"more than {MAX_NETWORKS} networks", field="networks")
    canonical = []
    for place, text in enumerate(networks):
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise InvalidInput(
                str(error), field=f"networks[{place}]", remedy="write it like 192.0.2.0/24"
            ) from None
        if network.prefixlen == 0:
            raise InvalidInput(
                "names every address", field=f"networks[{place}]", remedy="name your own networks"
            )
        canonical.append(str(network))
    return tuple(canonical)


@functools.lru_cache(maxsize=4096)
def _networks(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in networks)


def _address(source: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return None
    # An IPv4 caller on a dual-stack listener appears as ::ffff:a.b.c.d.
    return getattr(address, "ipv4_mapped", None) or address


@functools.lru_cache(maxsize=65_536)
def network_permits(networks: tuple[str, ...], source: str) -> bool:
    """Whether `source` (an address as text) lies in one of the networks. False for what is not an address."""
    address = _address(source)
    return address is not None and any(
        address in network for network in _networks(networks) if network.version == address.version
    )


@functools.lru_cache(maxsize=4096)
def is_loopback(source: str) -> bool:
    """Whether `source` is an address of this machine's loopback."""
    address = _address(source)
    return address is not None and address.is_loopback
