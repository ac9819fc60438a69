"""Use cases: approve a project (the need to know), end it."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import names_of, require_role
from safeconduct.authorization.project import check_approver, check_project
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.ids import OrganisationId, ProjectId, SubjectId, check_name
from safeconduct.kernel.vocabulary import Compartment, Purpose, Role
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import ProjectApproved, ProjectEnded
from safeconduct.record.state import State


class ApproveProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """requested_by: who asked; the term begins now and lasts `duration` seconds. members: empty for the organisation's all."""

    project: str
    purposes: tuple[Purpose, ...]
    duration: int
    requested_by: str
    organisation: str | None = None
    owner: str | None = None
    compartments: tuple[Compartment, ...] = ()
    members: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    end_users: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    downstream_use: str = ""
    autonomy: str = ""


def approve_project(instance: Instance, caller: Caller, ask: ApproveProject) -> ProjectApproved:
    """By an operator or adjudicator who did not ask for it and does not work on it.

    Raises Forbidden, InvalidInput, NotFound, Conflict.
    """
    require_role(caller, Role.OPERATOR, Role.ADJUDICATOR)
    now = instant(instance)
    if not ask.requested_by.strip():
        raise InvalidInput("say who asked for it", field="requested_by")
    if ask.duration <= 0:
        raise InvalidInput("a duration is positive", field="duration")
    check_project(
        organisation=ask.organisation,
        owner=ask.owner,
        purposes=ask.purposes,
        valid_from=now,
        valid_until=now + ask.duration,
    )
    check_approver(names_of(caller), (ask.requested_by, ask.owner or "", *ask.members), what="project")
    event = ProjectApproved(
        project=ProjectId(check_name(ask.project, "project")),
        organisation=OrganisationId(ask.organisation) if ask.organisation is not None else None,
        owner=SubjectId(ask.owner) if ask.owner is not None else None,
        purposes=tuple(sorted(set(ask.purposes))),
        compartments=tuple(sorted(set(ask.compartments))),
        members=tuple(SubjectId(member) for member in dict.fromkeys(ask.members)),
        valid_from=now,
        valid_until=now + ask.duration,
        approved_by=(caller.id,),
        requested_by=ask.requested_by,
        targets=ask.targets,
        end_users=ask.end_users,
        countries=ask.countries,
        downstream_use=ask.downstream_use,
        autonomy=ask.autonomy,
    )

    def check(state: State) -> list[Event]:
        if event.project in state.projects:
            raise Conflict(f"project {event.project!r} exists already", field="project")
        if event.organisation is not None and event.organisation not in state.organisations:
            raise NotFound(f"there is no organisation {event.organisation!r}", field="organisation")
        if event.owner is not None:
            owner = state.subjects.get(event.owner)
            if owner is None:
                raise NotFound(f"there is no subject {event.owner!r}", field="owner")
            if owner.enrolled.organisation is not None:
                raise Conflict(
                    f"{event.owner!r} belongs to {owner.enrolled.organisation!r}",
                    field="owner",
                    remedy="make it the organisation's project",
                )
        for place, member in enumerate(event.members):
            enrolled = state.subjects.get(member)
            if enrolled is None:
                raise NotFound(f"there is no subject {member!r}", field=f"members[{place}]")
            if event.organisation is not None and enrolled.enrolled.organisation != event.organisation:
                raise Conflict(
                    f"{member!r} does not belong to {event.organisation!r}", field=f"members[{place}]"
                )
        return [event]

    commit_checked(instance, check)
    return event


def end_project(instance: Instance, caller: Caller, project: str) -> ProjectEnded:
    """By an operator, an adjudicator or the organisation itself. Raises Forbidden, NotFound, Conflict."""
    require_role(caller, Role.OPERATOR, Role.ADJUDICATOR, Role.ORGANISATION)
    event = ProjectEnded(project=ProjectId(project), at=instant(instance))

    def check(state: State) -> list[Event]:
        known = state.projects.get(event.project)
        if known is None:
            raise NotFound(f"there is no project {project!r}", field="project")
        if caller.role is Role.ORGANISATION and caller.organisation != known.approved.organisation:
            raise Forbidden("the project is another organisation's", field="project")
        if known.ended_at is not None:
            raise Conflict(f"project {project!r} has ended already", field="project")
        return [event]

    commit_checked(instance, check)
    return event
