"""A real embedded instance in a temporary directory: real files, log, vault and keys; only the clock is simulated."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from safeconduct.app.initialise import DEFAULT_PARTIES, Party
from safeconduct.app.ports import Caller, Instance
from safeconduct.bootstrap import OpenInstance, initialise_instance, open_instance
from safeconduct.kernel.clock import Clock, SimulatedClock, SystemClock, parse_instant
from safeconduct.kernel.ids import OrganisationId, ProviderId
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.state import State
from safeconduct.settings import Settings, read_settings

NOON = parse_instant("2026-06-11T12:00:00Z")


class EmbeddedInstance:
    """An open instance with what tests ask of it. Close it, or use it as a context manager."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.opened: OpenInstance = open_instance(settings, clock=clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def instance(self) -> Instance:
        return self.opened.instance

    @property
    def state(self) -> State:
        return self.opened.instance.record.state

    @property
    def now(self) -> int:
        return int(self.clock.now())

    def key(self, party: str) -> FileSigner:
        """The key of a party of the trust list, such as `evidence-desk` or `provider:anthropic`."""
        return self.opened.keys.signer(Party(party, ()).key_name)

    def officer(self, number: int) -> FileSigner:
        return self.opened.keys.signer(f"officers/{number}")

    def reopen(self) -> None:
        """Close and open again: what is left is what is durable."""
        self.close()
        self.opened = open_instance(self.settings, clock=self.clock)

    def close(self) -> None:
        self.opened.close()


_TEMPLATES: dict[object, Path] = {}


def _template(
    at: float, simulated: bool, profile: str, parties: tuple[Party, ...], given: dict[str, Any]
) -> Path:
    """An initialised directory to copy: making one costs a hundred syncs, copying one none.

    Instances made from one template share their keys and their logs' names; each has files of its own.
    """
    key = (at, simulated, profile, parties, msgspec.json.encode(given, order="sorted"))
    if key not in _TEMPLATES:
        directory = Path(tempfile.mkdtemp(prefix="safeconduct-template-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        initialise_instance(
            _settings(directory),
            profile=profile,
            clock=SimulatedClock(at) if simulated else _Fixed(at),
            parties=parties,
            **{"issuer": "http://127.0.0.1:8781", "audience": "http://127.0.0.1:8780", **given},
        )
        _TEMPLATES[key] = directory
    return _TEMPLATES[key]


def _settings(directory: Path, **given: Any) -> Settings:
    return read_settings({}, home=directory, **{"gateway_port": 0, "api_port": 0, **given})


class _Fixed(SystemClock):
    """A clock that passes for the machine's and stands still."""

    def __init__(self, at: float) -> None:
        self._at = at

    def now(self) -> float:
        return self._at


def make_instance(
    directory: Path,
    *,
    at: float = NOON,
    clock: Clock | None = None,
    profile: str = "development",
    parties: Sequence[Party] = (),
    **given: Any,
) -> EmbeddedInstance:
    """Initialise and open an instance below `directory`, its simulated clock at `at` (seconds).

    No policy pack is published unless `packs` is given (None: those that ship), so that a test says which rules run.
    clock: another clock, simulated or not. parties: trusted beside the usual ones (operator, adjudicator, auditor,
    evidence-desk). given: passed on to `initialise_instance`.
    """
    clock = clock or SimulatedClock(at)
    given.setdefault("packs", ())
    template = _template(clock.now(), clock.simulated, profile, (*DEFAULT_PARTIES, *parties), given)
    home = directory / "instance"
    shutil.copytree(template, home)
    return EmbeddedInstance(_settings(home), clock)


def operator() -> Caller:
    return Caller(role=Role.OPERATOR, party="operator", id="operator-1")


def adjudicator(name: str = "adjudicator-1") -> Caller:
    return Caller(role=Role.ADJUDICATOR, party="adjudicator", id=name)


def provider(name: str) -> Caller:
    return Caller(
        role=Role.PROVIDER, party=f"provider:{name}", id=f"{name}-release", provider=ProviderId(name)
    )


def organisation(name: str) -> Caller:
    return Caller(
        role=Role.ORGANISATION,
        party=f"organisation:{name}",
        id=f"{name}-admin",
        organisation=OrganisationId(name),
    )
