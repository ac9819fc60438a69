"""Events about screening lists: which version is in force since when. Times are seconds since the epoch."""

from __future__ import annotations

import msgspec

from safeconduct.kernel.vocabulary import ListAct


class ScreeningListPutInForce(
    msgspec.Struct, frozen=True, tag="screening_list_put_in_force", tag_field="type"
):
    """A version of a list is what people are screened against from here on; it replaces the one before.

    sha256: of its file or files, as screening results name it. entries_sha256: of what was read from them. current_at: the moment as of
    which the list is known to have stood like this; its age counts from there. published: as the publisher says. confirmed: defects that
    the operator confirmed. replaces: the version before.
    """

    list: str
    sha256: str
    entries_sha256: str
    entries: int
    act: ListAct
    current_at: int
    by: str
    at: int
    published: str | None = None
    reason: str = ""
    confirmed: tuple[str, ...] = ()
    replaces: str | None = None
