"""Events about countries. All times are seconds since the epoch."""

from __future__ import annotations

import msgspec


class CountryGroupsImported(msgspec.Struct, frozen=True, tag="country_groups_imported", tag_field="type"):
    """A regulation's country groups were imported; replaces what was there for the same regulation.

    sha256 (hex) of the file; the file itself is the publisher's. edition: ISO 8601 date of the text, as the operator states it.
    groups: by ISO 3166-1 alpha-2, the groups a country is marked for; a country that is not here is in none we know of.
    """

    regulation: str
    edition: str
    sha256: str
    groups: dict[str, tuple[str, ...]]
    by: str
    recorded_at: int
    unmatched: tuple[str, ...] = ()
