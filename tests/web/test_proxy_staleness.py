"""Staleness budgets at a gateway that follows: on a steady clock that the test sets, with the wall clock jumping as it likes."""

import socket
import time

import msgspec
import pytest
from tests.support.gateways import RunningGateway, chat, request
from tests.support.worlds import plain_world

from safeconduct.app.enforce_following import FollowedRecord, FollowingNode
from safeconduct.audit.checkpoint import LogVerifier, sign_checkpoint
from safeconduct.audit.mirror import Mirror
from safeconduct.audit.tree import Tree
from safeconduct.gateway.freshness import BUDGETS, Freshness
from safeconduct.kernel.clock import SimulatedClock
from safeconduct.kernel.signing import EDDSA, FileSigner
from safeconduct.kernel.vocabulary import Level
from safeconduct.record.envelope import open_entry
from safeconduct.record.events import encode
from safeconduct.record.state import State
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.position_page import Position

HOUR = 3600


class SetClock(SimulatedClock):
    """Both times are the test's."""

    def __init__(self, start):
        super().__init__(start)
        self.steady = 1000.0
        self.wall = start

    def now(self):
        return self.wall

    def monotonic(self):
        return self.steady


class ToldSource:
    """What a node follows, told by the test: its state comes from the world, its age from `freshness`."""

    def __init__(self):
        self.freshness = Freshness()
        self.state = State.empty()

    def subscribe(self, callback):
        pass

    def catch_up(self):
        pass


class FollowingGateway(RunningGateway):
    def make_node(self, *given, **named):
        self.source = ToldSource()
        self.set_clock = SetClock(self.world.now)
        named["clock"] = self.set_clock
        return FollowingNode(*given, source=self.source, **named)

    def current(self):
        self.source.freshness.confirm(self.set_clock.steady, self.set_clock.steady)
        self.on_loop(self.node.watch)

    def later(self, seconds, *, wall=None):
        """Let steady time pass; the wall clock does what it likes."""
        self.set_clock.steady += seconds
        self.set_clock.wall += seconds if wall is None else wall
        self.on_loop(self.node.watch)

    def open_stream(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        body = chat(text="[[sandbox:endless]] go on", stream=True)
        connection.sendall(request("POST", "/v1/chat/completions", msgspec.json.encode(body)))
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        return connection


def rest(connection, seconds=20):
    """Everything until the server ends it."""
    end, data = time.monotonic() + seconds, b""
    while piece := connection.recv(65536):
        data += piece
        assert time.monotonic() < end
        if data.endswith(b"\r\n0\r\n\r\n"):
            break
    return data


# C3 needs a project that the plain request does not name; the rule is the same for every level.
@pytest.mark.parametrize("level", [Level.C0, Level.C1, Level.C2])
@pytest.mark.parametrize("jump", [0, -HOUR, HOUR])
def test_past_its_budget_a_request_is_denied_and_a_stream_ends_whatever_the_wall_clock_says(
    tmp_path, level, jump
):
    with FollowingGateway(tmp_path, plain_world(level=level)) as gateway:
        gateway.current()
        assert gateway.post().status == 200
        stream = gateway.open_stream()
        gateway.later(BUDGETS[level], wall=jump)
        assert gateway.post().status == 200
        gateway.later(0.01)
        answer = gateway.post()
        assert (answer.status, answer.code) == (503, "STATE_STALE")
        assert answer.headers["x-should-retry"] == "false"
        assert b"STATE_STALE" in rest(stream)
        stream.close()
        gateway.current()
        assert gateway.post().status == 200
        assert {one["outcome"] for one in gateway.entries("decision")} == {"permit"}
        cut = [one for one in gateway.entries("completion") if one["ended"] == "cut"]
        assert [one["cause"] for one in cut] == [["STATE_STALE"]]
        if level > Level.C1:
            # Recorded as what it is, since deciding again at that position would not find it stale.
            assert [one["codes"] for one in gateway.entries("refusal")] == [["STATE_STALE"]]


def test_a_state_too_old_for_one_model_still_serves_the_others_and_lists_them(tmp_path):
    world = plain_world(level=Level.C2)
    world.variant("model-y", "lab", level=Level.C1)
    world.admit("lab", "org-a", ["ann"], ["model-y"])
    with FollowingGateway(tmp_path, world) as gateway:
        gateway.current()
        gateway.later(11)
        assert gateway.post(model="model-x").code == "STATE_STALE"
        assert gateway.post(model="model-y").status == 200
        listed = gateway.send(request("GET", "/v1/models"))[0].json
        assert [one["id"] for one in listed["data"]] == ["model-y"]
        assert gateway.send(request("GET", "/readyz"))[0].status == 200
        gateway.later(300)
        assert gateway.send(request("GET", "/readyz"))[0].status == 503


# -- folding what somebody else keeps up to date


class Published:
    """A copy of a record made of a world's events, position included."""

    def __init__(self, place, world):
        self.key = FileSigner.generate(EDDSA)
        self.verifier = LogVerifier.of("test.example/record", self.key)
        self.mirror = Mirror.open(FileLogDirectory(place), self.verifier)
        self.read = FileLogDirectory(place).read
        self.entries = []
        self.position = None
        self.take(world.events)

    def take(self, events, *, as_of=1000.0):
        fresh = []
        for event in events:
            seq = len(self.entries) + len(fresh)
            tag = type(event).__struct_config__.tag
            fresh.append(open_entry(encode(event), uid=f"e{seq}", seq=seq, time_ms=0, type=tag))
        self.entries += fresh
        files = {}
        tree = Tree(lambda path: files[path])
        files.update(tree.append(self.entries))
        note = sign_checkpoint(self.key, self.verifier, len(self.entries), tree.root()).text
        self.mirror.extend(fresh, note)
        self.position = Position(len(self.entries), tree.root(), as_of, 0.0)


def test_a_worker_folds_to_the_very_state_of_the_record_and_is_told_what_is_new(tmp_path):
    world = plain_world()
    published = Published(tmp_path, world)
    clock = SetClock(world.now)
    source = FollowedRecord(published.read, published.verifier, lambda: published.position, clock)
    told = []
    source.subscribe(lambda state, events: told.append((state.position, len(events))))
    source.catch_up()
    assert source.state == world.state
    assert source.freshness.as_of == 1000.0
    known = len(world.events)
    world.person("bob", "org-a")
    published.take(world.events[known:], as_of=1000.5)
    clock.steady = 1001.0
    source.catch_up()
    assert source.state == world.state
    assert told == [(known, known), (len(world.events), len(world.events) - known)]
    assert source.freshness.as_of == 1000.5


def test_a_position_that_cannot_be_verified_confirms_nothing(tmp_path):
    world = plain_world()
    published = Published(tmp_path, world)
    clock = SetClock(world.now)
    source = FollowedRecord(published.read, published.verifier, lambda: published.position, clock)
    source.catch_up()
    path = tmp_path / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n\n", b"\n\n", 1)[:-10] + b"AAAAAAAAA\n")
    published.position = Position(len(world.events) + 1, b"x" * 32, 2000.0, 0.0)
    clock.steady = 2000.0
    source.catch_up()
    assert source.state == world.state
    assert source.freshness.as_of == 1000.0
    assert source.freshness.stale(Level.C3, clock.steady)
