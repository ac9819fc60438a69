"""A KYC desk that screens against made-up lists, and what happens when one changes. Nobody in them exists."""

from __future__ import annotations

import datetime as dt

from tests.support.instances import operator
from tests.support.kyc import KycBench
from tests.support.screening_lists import ftm_lines, sha256

from safeconduct.app.import_screening_list import GivenFile, ImportScreeningList, import_screening_list
from safeconduct.app.screen_name import NameScreener
from safeconduct.identity.screening.sources.reading import Defect
from safeconduct.kernel.vocabulary import Screening
from safeconduct.web.api.assembly import kyc_desk, rescreener_of

LIST = "ftm.made_up"
FILLERS = tuple((f"filler-{number}", f"Quilla{number} Zorvath{number}") for number in range(8))
"""A list never shrinks by much: these stay in every version."""


def listed(id, name, *, schema="Person", **properties):
    return {"id": id, "schema": schema, "properties": {"name": [name], **properties}}


class ScreenedBench(KycBench):
    """KycBench whose desk screens against the lists of its instance."""

    def build(self, **changes):
        super().build(**changes)
        self.store = self.embedded.opened.lists
        self.desk = kyc_desk(
            self.instance, self.authenticators, self.liveness, NameScreener(self.instance, self.store)
        )
        self.rescreener = rescreener_of(self.desk, self.store)

    def put_in_force(self, *entities, name=LIST):
        """Import a version that holds these, published today."""
        fillers = [listed(id, text) for id, text in FILLERS]
        data = ftm_lines(*fillers, *entities)
        with self.store.upload(sha256(data)) as upload:
            upload.write(data)
            upload.keep()
        today = dt.datetime.fromtimestamp(self.now, tz=dt.UTC).date().isoformat()
        ask = ImportScreeningList(
            files=(GivenFile("entities", sha256=sha256(data)),),
            published=today,
            confirm=tuple(Defect),
            reason="a made-up list",
        )
        return import_screening_list(self.instance, operator(), self.store, name, ask)

    def changed(self, *entities, name=LIST):
        """Put a version in force and search what changed in it."""
        self.put_in_force(*entities, name=name)
        return self.rescreener.run(name)

    def recorded(self, subject):
        """What the record says of somebody's screening."""
        known = self.state.subjects[subject].screening
        return known.screening if known is not None else Screening.NONE

    def enrolled(self, name, **given):
        """Somebody approved at C2."""
        person = self.applicant(name, **given)
        person.complete()
        self.approve(person.case)
        return person

    def reviewed(self, name, **given):
        """Somebody whose case was screened and rated."""
        person = self.applicant(name, **given)
        person.complete()
        self.screen(person.case)
        self.rate(person.case)
        return person

    def screening(self, person):
        return self.file(person.case).person.screening
