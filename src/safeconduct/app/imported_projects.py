"""The projects in a person's evidence held against those of the record.

Owns that evidence opens a project or adds its subject to one, and nothing more: widening an approved project, taking one over or
reviving an ended one are acts of their own. Nobody approves their own.
"""

from __future__ import annotations

import msgspec

from safeconduct.identity.assurance import Requirement
from safeconduct.identity.eligibility import ApprovedProject, independent
from safeconduct.identity.evidence_import import PersonEvidence, ProjectApproval
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.ids import SubjectId
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import ProjectApproved
from safeconduct.record.projections import ProjectState
from safeconduct.record.state import State


class ImportedProjects:
    """events: what has to be recorded; notes: what was left out, as sentences missed. Raises Conflict when made."""

    def __init__(
        self, person: PersonEvidence, subject: SubjectId, applicant: frozenset[str], state: State
    ) -> None:
        self.events: list[Event] = []
        self.notes: list[Requirement] = []
        self._person = person
        self._subject = subject
        self._applicant = applicant
        self._covering = {
            name: project.approved for name, project in state.projects.items() if self._covers(project)
        }
        for index, approval in enumerate(person.projects):
            self._take(approval, state.projects.get(approval.project), f"person.projects[{index}]")

    def _covers(self, project: ProjectState) -> bool:
        approved = project.approved
        if project.ended_at is not None:
            return False
        if approved.owner is not None:
            return approved.owner == self._subject
        return (
            approved.organisation is not None
            and approved.organisation == self._person.organisation
            and (not approved.members or self._subject in approved.members)
        )

    def _take(self, approval: ProjectApproval, known: ProjectState | None, path: str) -> None:
        if not independent(approval.approved_by, approval.requested_by, self._applicant):
            self._note(approval, "approved by someone other than its requester and the applicant")
            return
        proposed = self._proposed(approval)
        if known is None:
            self._record(proposed)
            return
        approved = known.approved
        if (approved.organisation, approved.owner) != (proposed.organisation, proposed.owner):
            raise Conflict(
                f"project {approval.project!r} belongs to somebody else",
                field=f"{path}.project",
                remedy="use another name",
            )
        if known.ended_at is not None:
            self._note(approval, "not ended")
            return
        if msgspec.structs.replace(approved, members=()) != msgspec.structs.replace(proposed, members=()):
            # Widening an approved project is an approval of its own, not a line in a member's evidence.
            raise Conflict(
                f"project {approval.project!r} was approved with other terms",
                field=path,
                remedy="repeat its terms as recorded, or approve a new project",
            )
        if approved.organisation is None or not approved.members or self._subject in approved.members:
            return
        members = tuple(sorted({*approved.members, self._subject}))
        self._record(msgspec.structs.replace(approved, members=members))

    def _proposed(self, approval: ProjectApproval) -> ProjectApproved:
        organisation = self._person.organisation
        return ProjectApproved(
            project=approval.project,
            organisation=organisation,
            owner=self._subject if organisation is None else None,
            purposes=approval.purposes,
            compartments=approval.compartments,
            members=() if approval.whole_organisation or organisation is None else (self._subject,),
            valid_from=approval.valid_from,
            valid_until=approval.valid_until,
            approved_by=approval.approved_by,
            requested_by=approval.requested_by,
            targets=approval.targets,
            end_users=approval.end_users,
            countries=approval.countries,
            downstream_use=approval.downstream_use,
            autonomy=approval.autonomy,
        )

    def _record(self, approved: ProjectApproved) -> None:
        self.events.append(approved)
        self._covering[approved.project] = approved

    def _note(self, approval: ProjectApproval, sentence: str) -> None:
        self.notes.append(Requirement(f"project {approval.project}", "clearance table", sentence, False))

    def in_force(self, now: int) -> tuple[ApprovedProject, ...]:
        """Projects that cover the person now."""
        return tuple(
            ApprovedProject(
                project=approved.project,
                compartments=approved.compartments,
                approved_by=approved.approved_by,
                requested_by=approved.requested_by,
                until=approved.valid_until,
            )
            for _, approved in sorted(self._covering.items())
            if approved.valid_from <= now < approved.valid_until
        )
