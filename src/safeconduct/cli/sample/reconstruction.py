"""The sample's data: read, moved in time, renamed. Holds no outcome: what should happen is known to the story alone."""

from __future__ import annotations

import importlib.resources
from typing import Any

import msgspec

from safeconduct.kernel.clock import parse_instant

DAY = 86_400


class SampleOrganisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A made-up organisation, or a provider's own."""

    id: str
    legal_name: str
    country: str
    sector: str
    lei: str
    parent: str | None = None


class SampleSubject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody in the table, known by a label. An agent has an accountable human and nothing else."""

    label: str
    kind: str
    description: str
    organisation: str
    citizenships: tuple[str, ...] = ()
    us_status: str = "undeclared"
    level: str = "C0"
    compartments: tuple[str, ...] = ()
    role: str = "staff"
    accountable: str | None = None


class SampleFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found about a variant."""

    domain: str
    scheme: str
    raw: str
    normalised: str


class SampleVariant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant, what it asks for, and the stage it has reached."""

    variant: str
    level: str
    compartments: tuple[str, ...]
    terms: str
    stage: str
    finding: SampleFinding
    org_list: str | None = None


class SampleModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model and its variants."""

    provider: str
    model: str
    variants: tuple[SampleVariant, ...]


class SampleProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider and its own organisation."""

    id: str
    organisation: str
    jurisdiction: str


class SampleAuthority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The authority of the sample."""

    party: str
    jurisdiction: str
    title: str


class SampleList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list of organisations."""

    list: str
    organisations: tuple[str, ...]


class SampleProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project, approved for each of the organisations."""

    id: str
    purposes: tuple[str, ...]
    compartments: tuple[str, ...]
    organisations: tuple[str, ...]


class SampleGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's grant to each organisation, and each organisation's to its people."""

    variants: tuple[str, ...]
    provider: str
    purposes: tuple[str, ...]
    organisations: tuple[str, ...]
    subjects: tuple[str, ...]


class SampleRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the table: who asks for what."""

    subject: str
    variant: str
    project: str
    purpose: str
    credential: str = "access_token"


class SampleAnnex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An annex: organisations by id."""

    name: str
    organisations: tuple[str, ...]


class SampleDirective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A directive as its authority drafts it; instants come from the day it is issued."""

    number: str
    version: int
    kind: str
    force: str
    visibility: str
    title: str
    variants: tuple[str, ...]
    applies_to: dict[str, Any]
    except_: tuple[dict[str, Any], ...] = msgspec.field(name="except", default=())
    amends: tuple[str, ...] = ()
    in_flight: str = "cut"
    annexes: tuple[SampleAnnex, ...] = ()
    legal_source: str = ""
    packs: tuple[str, ...] = ()


class SampleEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens on a day: `directive` (with `file` and `directive`) or `misuse_signal`."""

    on: str
    do: str
    file: str = ""
    directive: SampleDirective | None = None
    subject: str = ""
    provider: str = ""
    variant: str = ""
    kind: str = ""


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    title: str
    notice: str
    authority: SampleAuthority
    organisations: tuple[SampleOrganisation, ...]
    providers: tuple[SampleProvider, ...]
    models: tuple[SampleModel, ...]
    region: str
    jurisdiction: str
    org_lists: tuple[SampleList, ...]
    subjects: tuple[SampleSubject, ...]
    projects: tuple[SampleProject, ...]
    grants: tuple[SampleGrant, ...]
    terms: dict[str, str]
    rows: tuple[SampleRow, ...]
    columns: tuple[str, ...]
    enrolled_on: str
    events: tuple[SampleEvent, ...]

    def organisation(self, name: str) -> SampleOrganisation:
        """The organisation of that id."""
        return next(one for one in self.organisations if one.id == name)

    def subject(self, label: str) -> SampleSubject:
        """The subject of that label."""
        return next(one for one in self.subjects if one.label == label)

    def directive(self, file: str) -> SampleDirective:
        """The directive drafted in that file."""
        return next(one.directive for one in self.events if one.file == file and one.directive is not None)


def read_sample(data: bytes | None = None) -> Sample:
    """The sample that ships with the package, or one in the same form."""
    if data is None:
        data = importlib.resources.files(__package__).joinpath("june_2026.json").read_bytes()
    return msgspec.json.decode(data, type=Sample)


def midnight(day: str) -> int:
    """00:00 UTC of a date, in seconds."""
    return parse_instant(day)
