"""The projects of a state, by whom somebody can be asked under them.

Owns the index that a preview needs for every question. Refuses to say whether a project lets anybody do anything.
"""

from __future__ import annotations

from safeconduct.kernel.ids import OrganisationId, ProjectId, SubjectId
from safeconduct.record.projections import ProjectState
from safeconduct.record.state import State


class Projects:
    """The projects of a state, by who can be asked under them, each list in the order of ids."""

    def __init__(self, state: State) -> None:
        self.names: list[ProjectId] = sorted(state.projects)
        self.held: list[ProjectState] = [state.projects[name] for name in self.names]
        self.everybody: dict[OrganisationId, list[int]] = {}
        self.members: dict[tuple[SubjectId, OrganisationId], list[int]] = {}
        self.owned: dict[SubjectId, list[int]] = {}
        for place, project in enumerate(self.held):
            approved = project.approved
            if approved.owner is not None:
                self.owned.setdefault(approved.owner, []).append(place)
            if approved.organisation is None:
                continue
            if not approved.members:
                self.everybody.setdefault(approved.organisation, []).append(place)
            for member in dict.fromkeys(approved.members):
                self.members.setdefault((member, approved.organisation), []).append(place)

    def of(self, subject: SubjectId, organisation: OrganisationId | None) -> list[int]:
        """Places of the projects of which this subject is the owner or, through its organisation, a member."""
        found = self.owned.get(subject, [])
        if organisation is not None:
            found = [
                *found,
                *self.everybody.get(organisation, ()),
                *self.members.get((subject, organisation), ()),
            ]
        return sorted(set(found))
