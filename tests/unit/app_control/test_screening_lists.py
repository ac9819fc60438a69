"""Importing screening lists: what comes into force, what is refused, and that a refusal or a crash changes nothing.

Every name in the lists is made up.
"""

import datetime
import gzip
import io
import json
import threading

import msgspec
import pytest
from tests.support.instances import make_instance, operator
from tests.support.screening_lists import (
    CSL_JSON,
    FTM,
    OFAC_ADDRESSES,
    OFAC_ALIASES,
    OFAC_PRIMARY,
    UK_CSV,
    ftm_lines,
    ofac_people,
    ofac_xml,
    sha256,
    un_people,
    un_person,
    un_xml,
    zipped,
)

from safeconduct.app.compare_screening_lists import compare_screening_lists
from safeconduct.app.import_screening_list import GivenFile, ImportScreeningList, import_screening_list
from safeconduct.app.ports import Caller
from safeconduct.app.roll_back_screening_list import RollBackScreeningList, roll_back_screening_list
from safeconduct.app.screening_lists import entries_in_force, list_status, list_statuses, settle_lists
from safeconduct.identity.screening.list_version import ListSettings
from safeconduct.identity.screening.sources.reading import Defect
from safeconduct.kernel.clock import parse_instant
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import ListAct, Role
from safeconduct.record.state import fold
from safeconduct.storage import screening_lists as storage
from safeconduct.storage.screening_lists import ListDamaged, ScreeningListFiles

DAY = 86_400
START = parse_instant("2026-03-05T12:00:00Z")
UN = "un.sc"


class Desk:
    """An instance with its store, and imports from bytes."""

    def __init__(self, tmp_path):
        self.embedded = make_instance(tmp_path, at=START)
        self.instance = self.embedded.opened.instance
        self.clock = self.embedded.clock
        self.store = self.embedded.opened.lists
        self.root = self.store.root

    def give(self, data):
        digest = sha256(data)
        with self.store.upload(digest) as upload:
            upload.write(data)
            upload.keep()
        return digest

    def load(self, name, *files, caller=None, canaries=None, fetch=None, progress=lambda *_: None, **more):
        """files: bytes, or (role, bytes)."""
        pairs = [file if isinstance(file, tuple) else ("file", file) for file in files]
        given = tuple(GivenFile(role, sha256=self.give(data)) for role, data in pairs)
        return import_screening_list(
            self.instance,
            caller or operator(),
            self.store,
            name,
            ImportScreeningList(files=given, **more),
            canaries=canaries,
            fetch=fetch,
            progress=progress,
        )

    def pass_time(self, seconds):
        self.clock.move_to(self.clock.now() + seconds)

    def in_force(self, name=UN):
        event = self.instance.record.state.screening_lists.get(name)
        return event.sha256 if event else None

    def stands_on(self, data, name=UN):
        """The version of these bytes is in force, by the record and by the pointer, and can be read to its end."""
        digest = sha256(data)
        assert self.in_force(name) == self.store.in_force(name) == digest
        count = self.instance.record.state.screening_lists[name].entries
        assert sum(1 for _ in self.store.entries(name, digest)) == count
        left = [
            path.name for path in (self.root / "lists" / name / "versions").iterdir() if path.name[0] == "."
        ]
        assert left == []

    def configure(self, **lists):
        self.root.mkdir(exist_ok=True)
        (self.root / "lists.json").write_text(json.dumps(lists))


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.embedded.close()


def test_a_list_comes_into_force_and_the_record_says_so(desk):
    data = un_people(10)
    done = desk.load(UN, data)
    assert (done.changed, done.gained, done.lost) == (True, 10, 0)
    event = desk.instance.record.state.screening_lists[UN]
    assert (event.sha256, event.entries, event.act) == (sha256(data), 10, ListAct.IMPORTED)
    assert (event.published, event.by) == ("2026-02-27T00:00:00Z", operator().id)
    assert event.entries_sha256 == done.version.entries_sha256
    desk.stands_on(data)
    kept = desk.store.version(UN, event.sha256)
    assert (kept.entries, kept.names, kept.newest) == (10, 10, "2020-01-02")
    # What the list was when is folded from the record alone.
    assert fold([event]).screening_lists[UN] == event


def test_several_files_have_one_digest_that_sha256sum_gives_too(desk):
    files = (("sdn.csv", OFAC_PRIMARY), ("add.csv", OFAC_ADDRESSES), ("alt.csv", OFAC_ALIASES))
    done = desk.load("us.ofac.sdn", *files, published="2026-03-04")
    lines = "".join(
        f"{sha256(data)}  {role}\n"
        for role, data in (
            ("addresses", OFAC_ADDRESSES),
            ("aliases", OFAC_ALIASES),
            ("primary", OFAC_PRIMARY),
        )
    )
    assert done.version.sha256 == sha256(lines.encode())
    assert done.version.newest == "000000000104"
    assert not list((desk.root / "uploads").iterdir())


def test_a_list_in_an_archive_and_in_another_format(desk):
    first = desk.load(
        "us.ofac.sdn", ("sdn.csv", ofac_people(3)), confirm=(Defect.MISSING_FILE,), reason="made up"
    )
    assert first.version.confirmed.keys() == {"missing_file"}
    archive = zipped(("SDN_ADVANCED.XML", ofac_xml()))
    second = desk.load("us.ofac.sdn", archive, confirm=(Defect.ENTRIES_LOST,), reason="made up")
    assert second.version.format == "ofac-xml"
    desk.stands_on(archive, "us.ofac.sdn")


def test_the_lists_inside_of_one_file_are_counted_apart(desk):
    done = desk.load("us.csl", CSL_JSON)
    assert done.version.by_list == {"us.csl.el": 1, "us.csl.meu": 1, "us.csl.sdn": 1}


def test_the_kept_file_is_the_one_that_came(desk):
    data = un_people(3)
    desk.load(UN, data)
    kept = desk.root / "lists" / UN / "versions" / sha256(data) / "sources" / "file.gz"
    assert gzip.decompress(kept.read_bytes()) == data
    for path in desk.root.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


BAD = {
    "half": un_people(10, generated="2026-02-28T00:00:00Z")[:900],
    "page": b"<!DOCTYPE html><html>Service unavailable</html>",
    "empty-list": un_xml([]),
    "lost-a-third": un_people(6, generated="2026-02-28T00:00:00Z"),
    "others": un_people(10, generated="2026-02-28T00:00:00Z", start=200),
    "grew": un_people(150, generated="2026-02-28T00:00:00Z"),
    "older": un_people(10, generated="2026-01-01T00:00:00Z"),
    "older-content": un_people(10, generated="2026-02-28T00:00:00Z", listed="2019-01-01"),
    "future": un_people(10, generated="2031-01-01T00:00:00Z"),
    "laughs": un_xml([un_person(1)], head='<!DOCTYPE x [<!ENTITY a "b">]>'),
    "bomb": zipped(("bomb", bytes(60 << 20))),
    "long-name": un_xml([un_person(1, name="Q" * 5_000)]),
    "lost-letters": un_xml([un_person(1, name="\ufffd\ufffd")]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused_leaves_the_version_in_force(desk, case):
    good = un_people(10)
    desk.load(UN, good)
    position = desk.instance.record.state.position
    with pytest.raises((InvalidInput, Conflict)) as refused:
        desk.load(UN, BAD[case])
    assert refused.value.remedy
    assert desk.instance.record.state.position == position
    desk.stands_on(good)
    assert len(desk.store.versions(UN)) == 1
    assert list_status(desk.instance, desk.store, UN).usable


@pytest.mark.parametrize(
    ("case", "defect"),
    [
        ("lost-a-third", Defect.ENTRIES_LOST),
        ("others", Defect.ENTRIES_LOST),
        ("grew", Defect.ENTRIES_GREW),
        ("older-content", Defect.OLDER_CONTENT),
    ],
)
def test_an_operator_confirms_what_is_right_after_all_with_a_reason(desk, case, defect):
    desk.load(UN, un_people(10))
    with pytest.raises(InvalidInput) as refused:
        desk.load(UN, BAD[case])
    assert f"`{defect.value}`" in refused.value.remedy
    with pytest.raises(InvalidInput, match="takes a reason"):
        desk.load(UN, BAD[case], confirm=(defect,))
    done = desk.load(UN, BAD[case], confirm=(defect,), reason="made up: it was announced")
    assert (done.event.confirmed, done.event.reason) == ((defect.value,), "made up: it was announced")
    desk.stands_on(BAD[case])


def test_confirming_one_defect_confirms_no_other(desk):
    desk.load(UN, un_people(10))
    with pytest.raises(InvalidInput, match="entries in force are missing"):
        desk.load(UN, BAD["lost-a-third"], confirm=(Defect.OLDER_CONTENT,), reason="made up")


def test_an_earlier_version_under_a_new_date_is_refused(desk):
    desk.load(UN, un_people(10))
    desk.load(UN, un_people(11, generated="2026-02-28T00:00:00Z"))
    again = un_people(10, generated="2026-03-01T00:00:00Z")
    with pytest.raises(InvalidInput, match="entries of the earlier version") as refused:
        desk.load(UN, again)
    assert "roll back" in refused.value.remedy
    # The same entries as in force under a new date are no return: many publishers date every day.
    assert desk.load(UN, un_people(11, generated="2026-03-01T00:00:00Z")).changed


def test_a_list_without_an_end_mark_needs_a_confirmation_the_first_time_only(desk):
    with pytest.raises(InvalidInput, match="no mark of its end"):
        desk.load("uk.sanctions", UK_CSV)
    done = desk.load("uk.sanctions", UK_CSV, confirm=(Defect.UNMARKED_END,), reason="2 as published")
    assert done.event.confirmed == ("unmarked_end",)
    assert desk.load("uk.sanctions", UK_CSV.replace(b"04-Mar-2026", b"05-Mar-2026")).changed


def test_a_subscription_has_a_list_of_its_own(desk):
    more = ftm_lines({"id": "x", "schema": "Person", "properties": {"name": ["Another Madeup"]}})
    desk.load("ftm.made_up", FTM, confirm=(Defect.UNMARKED_END,), reason="made up")
    assert desk.load("ftm.made_up", FTM + more).gained == 1
    for name in ("ftm.", "ftm.Upper", "ftm.../../x", "ftm.a/b", "nowhere", "us.ofac", "../../etc"):
        with pytest.raises(NotFound):
            desk.load(name, FTM)


def test_canaries_must_be_found_before_the_list_comes_into_force(desk):
    desk.configure(**{UN: {"canaries": ["Zorvath3, Quilla", "Never Madeup"]}})
    with pytest.raises(InvalidInput, match="1 of 2 canaries") as refused:
        desk.load(UN, un_people(10))
    assert "Never Madeup" in refused.value.message
    assert desk.in_force() is None
    desk.configure(**{UN: {"canaries": ["Zorvath3, Quilla"]}})
    desk.load(UN, un_people(10))


def test_canaries_are_searched_by_whoever_is_asked_to(desk):
    asked = []

    class Index:
        def missing(self, canaries, entries):
            asked.append((canaries, sum(1 for _ in entries)))
            return []

    desk.configure(**{UN: {"canaries": ["Anybody"]}})
    desk.load(UN, un_people(4), canaries=Index())
    assert asked == [(("Anybody",), 4)]


def test_settings_that_do_not_fit_are_refused_by_name(desk):
    desk.configure(**{UN: {"canary": ["x"]}})
    with pytest.raises(InvalidInput, match="not the settings of lists") as refused:
        desk.load(UN, un_people(4))
    assert refused.value.field.endswith("lists.json")


def test_past_its_age_a_list_clears_nobody(desk):
    published = START - 3 * DAY
    day = datetime.datetime.fromtimestamp(published, tz=datetime.UTC).isoformat()
    desk.load(UN, un_people(5, generated=day))
    status = list_status(desk.instance, desk.store, UN)
    assert (status.age, status.max_age, status.past_age, status.usable) == (3 * DAY, 7 * DAY, False, True)
    desk.pass_time(4 * DAY + 1)
    assert not list_status(desk.instance, desk.store, UN).usable
    desk.configure(**{UN: {"max_age": 30}})
    assert list_status(desk.instance, desk.store, UN).usable
    statuses = {each.list: each for each in list_statuses(desk.instance, desk.store)}
    assert not statuses["eu.fsf"].usable
    assert statuses["eu.fsf"].in_force is None


class Fetch:
    """Gives these bytes for any address."""

    def __init__(self, data):
        self.data = data
        self.asked = []

    def fetch(self, url):
        self.asked.append(url)
        return io.BytesIO(self.data)


def fetched(desk, data, **more):
    fetch = Fetch(data)
    ask = ImportScreeningList(files=(GivenFile("file", url="https://list.example/a.xml", **more),))
    return import_screening_list(desk.instance, operator(), desk.store, UN, ask, fetch=fetch)


def test_the_same_file_fetched_again_is_current_and_uploaded_again_it_is_not(desk):
    data = un_people(5)
    desk.load(UN, data)
    desk.pass_time(20 * DAY)
    assert not desk.load(UN, data).changed
    assert list_status(desk.instance, desk.store, UN).past_age
    done = fetched(desk, data)
    assert not done.changed
    assert done.event.act is ListAct.CHECKED
    assert list_status(desk.instance, desk.store, UN).age == 0
    desk.stands_on(data)


def test_a_fetched_file_must_be_the_one_that_was_meant(desk):
    with pytest.raises(InvalidInput, match="not the one that was given"):
        fetched(desk, un_people(5), sha256="0" * 64)
    assert fetched(desk, un_people(5), sha256=sha256(un_people(5))).changed


def test_nothing_is_fetched_where_nobody_may(desk):
    ask = ImportScreeningList(files=(GivenFile("file", url="https://list.example/"),))
    with pytest.raises(InvalidInput, match="fetches no lists"):
        import_screening_list(desk.instance, operator(), desk.store, UN, ask)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OPERATOR])
def test_only_an_operator_changes_lists(desk, role):
    caller = Caller(role=role, party="other", id="other@test")
    with pytest.raises(Forbidden):
        desk.load(UN, un_people(5), caller=caller)
    with pytest.raises(Forbidden):
        roll_back_screening_list(desk.instance, caller, desk.store, UN, RollBackScreeningList(reason="x"))
    assert desk.in_force() is None


def test_rolling_back_puts_the_version_before_in_force_with_its_own_age(desk):
    first, second = un_people(10), un_people(12, generated="2026-02-28T00:00:00Z")
    desk.load(UN, first)
    before = desk.instance.record.state.screening_lists[UN].current_at
    desk.load(UN, second)
    desk.pass_time(DAY)
    event = roll_back_screening_list(
        desk.instance, operator(), desk.store, UN, RollBackScreeningList(reason="made up: wrong file")
    )
    assert (event.act, event.reason, event.replaces) == (
        ListAct.ROLLED_BACK,
        "made up: wrong file",
        sha256(second),
    )
    assert event.current_at == before
    desk.stands_on(first)
    # And forth again, by name.
    ask = RollBackScreeningList(reason="it was right", to=sha256(second)[:10])
    roll_back_screening_list(desk.instance, operator(), desk.store, UN, ask)
    desk.stands_on(second)


def test_rolling_back_is_refused_without_reason_version_or_whole_entries(desk):
    def back(**more):
        return roll_back_screening_list(
            desk.instance, operator(), desk.store, UN, RollBackScreeningList(**{"reason": "x", **more})
        )

    with pytest.raises(NotFound, match="no version of un.sc is in force"):
        back()
    first, second = un_people(10), un_people(12, generated="2026-02-28T00:00:00Z")
    desk.load(UN, first)
    with pytest.raises(NotFound, match="no earlier version"):
        back()
    desk.load(UN, second)
    with pytest.raises(InvalidInput, match="takes a reason"):
        back(reason="  ")
    with pytest.raises(InvalidInput, match="at least 6"):
        back(to="ab")
    with pytest.raises(NotFound):
        back(to="0" * 10)
    with pytest.raises(Conflict, match="in force"):
        back(to=sha256(second))
    path = desk.root / "lists" / UN / "versions" / sha256(first) / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b"ZORVATH3", b"ZORVATH9"))
    with pytest.raises(ListDamaged):
        back()
    desk.stands_on(second)


def test_the_difference_says_which_members_changed(desk):
    desk.load(UN, un_people(10))
    people = [un_person(number) for number in range(2, 12)]
    people[0] = un_person(2, name="KVILLA", more="<COMMENTS1>Made up.</COMMENTS1>")
    desk.load(UN, un_xml(people, generated="2026-02-28T00:00:00Z"))
    found = compare_screening_lists(desk.instance, desk.store, UN).difference
    assert [each.id for each in found.added] == ["MUi.011"]
    assert [each.id for each in found.removed] == ["MUi.001"]
    assert [(each.id, each.members) for each in found.changed] == [("MUi.002", ("names", "remarks"))]
    assert found.ids == {"MUi.011", "MUi.002"}


def test_two_imports_of_a_list_at_once_are_refused_and_of_two_lists_are_not(desk):
    entered, leave = threading.Event(), threading.Event()
    failures = []

    def wait(step, _count):
        if step == "checking":
            entered.set()
            leave.wait(30)

    def slow():
        try:
            desk.load(UN, un_people(10), progress=wait)
        except Exception as error:
            failures.append(error)

    first = threading.Thread(target=slow)
    first.start()
    assert entered.wait(30)
    with pytest.raises(Conflict, match="another change of the list"):
        desk.load(UN, un_people(11))
    # Another process that looks at the same directory is kept out as well.
    with pytest.raises(Conflict), ScreeningListFiles(desk.root).changing(UN):
        pass
    desk.load("us.csl", CSL_JSON)
    leave.set()
    first.join(30)
    assert not failures
    desk.stands_on(un_people(10))


def test_a_version_that_came_into_force_meanwhile_is_not_overwritten(desk):
    """Another control process on another machine: its lock is not ours, the record is."""
    desk.load(UN, un_people(10))

    def meddle(step, _count):
        if step == "keeping":
            known = desk.instance.record.state.screening_lists[UN]
            desk.instance.record.commit([msgspec.structs.replace(known, reason="elsewhere")])

    with pytest.raises(Conflict, match="came into force meanwhile"):
        desk.load(UN, un_people(11, generated="2026-02-28T00:00:00Z"), progress=meddle)
    desk.stands_on(un_people(10))


def test_stopped_before_the_record_the_old_stays_and_after_it_the_new_stands(desk, monkeypatch):
    """The one commit of the record decides: the pointer is set right when the instance opens again."""
    old, new = un_people(10), un_people(11, generated="2026-02-28T00:00:00Z")
    desk.load(UN, old)
    desk.pass_time(60)

    class Stopped(BaseException):
        pass

    def stop(*_given, **_more):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(desk.instance.record, "commit", stop)
        with pytest.raises(Stopped):
            desk.load(UN, new)
    desk.stands_on(old)
    # Trying again asks for nothing more, although the new version is kept already.
    assert len(desk.store.versions(UN)) == 2
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_replace_durably", stop)
        with pytest.raises(Stopped):
            desk.load(UN, new)
    assert (desk.in_force(), desk.store.in_force(UN)) == (sha256(new), sha256(old))
    settle_lists(desk.store, desk.instance.record.state)
    desk.stands_on(new)


def test_a_damaged_version_in_force_is_told_and_mended_by_importing_it_again(desk):
    data = un_people(10)
    desk.load(UN, data)
    place = desk.root / "lists" / UN / "versions" / sha256(data)
    (place / "entries.jsonl").write_bytes(b"{}\n")
    with pytest.raises(ListDamaged):
        list(desk.store.entries(UN, sha256(data)))
    desk.load(UN, data)
    desk.stands_on(data)
    (place / "version.json").write_bytes(b"half")
    status = list_status(desk.instance, desk.store, UN)
    assert not status.usable
    assert "not those that were imported" in status.fault


def test_entries_and_description_changed_together_are_found_by_the_record(desk):
    data = un_people(10)
    desk.load(UN, data)
    event = desk.instance.record.state.screening_lists[UN]
    assert sum(1 for _ in entries_in_force(desk.store, event)) == 10
    place = desk.root / "lists" / UN / "versions" / sha256(data)
    changed = (place / "entries.jsonl").read_bytes().replace(b"ZORVATH3", b"SOMEBODY")
    (place / "entries.jsonl").write_bytes(changed)
    described = (
        (place / "version.json").read_bytes().replace(event.entries_sha256.encode(), sha256(changed).encode())
    )
    (place / "version.json").write_bytes(described)
    assert sum(1 for _ in desk.store.entries(UN, sha256(data))) == 10
    with pytest.raises(Conflict, match="not the one that was put in force"):
        entries_in_force(desk.store, event)
    assert not list_status(desk.instance, desk.store, UN).usable


def test_an_upload_that_is_not_what_was_announced_is_not_kept(desk):
    data = un_people(3)
    with desk.store.upload("0" * 64) as upload:
        upload.write(data)
        with pytest.raises(InvalidInput, match="not the one it was announced with"):
            upload.keep()
    with (
        desk.store.upload(sha256(data), 10) as upload,
        pytest.raises(InvalidInput, match="larger than 10 bytes"),
    ):
        upload.write(data)
    assert not list((desk.root / "uploads").iterdir())
    for name in ("../../../etc/passwd", "x" * 64, ""):
        with pytest.raises(InvalidInput):
            desk.store.upload(name)
        with pytest.raises(InvalidInput):
            desk.store.uploaded(name)


def test_a_symbolic_link_is_not_followed(desk, tmp_path):
    data = un_people(3)
    outside = tmp_path / "outside"
    outside.write_bytes(data)
    (desk.root / "uploads").mkdir(parents=True)
    (desk.root / "uploads" / sha256(data)).symlink_to(outside)
    with pytest.raises(OSError, match="symbolic"):
        desk.store.uploaded(sha256(data))


def test_the_defaults_refuse_the_loss_of_a_third():
    assert ListSettings().max_loss < 1 / 3
