"""Nodes of several processes over a real instance: control plane, workers, gateways elsewhere, a sandbox provider beside them.

The clock is the machine's; everything listens on free loopback ports. Used by fault tests and by `bench/cutoff.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
from tests.support.gateways import principal_of, read_answers
from tests.support.instances import make_instance
from tests.support.worlds import World

import safeconduct
from safeconduct.app.initialise import authority_party
from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.app.stored_claims import KEY_CLAIMS, keep_claims
from safeconduct.audit.checkpoint import LogVerifier, parse_checkpoint
from safeconduct.audit.fsck import check
from safeconduct.audit.reader import PublishedLog
from safeconduct.authorization.directive import sign_directive
from safeconduct.authorization.trust_change import sign_trust_change
from safeconduct.cli.client import ApiClient, InstanceFiles
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Level, UsPerson, Wire
from safeconduct.passport.dpop import make_proof
from safeconduct.passport.gateway_key import generate
from safeconduct.passport.tokens import StatusIndexes, issue_access_token
from safeconduct.record.envelope import open_body, read_entry
from safeconduct.record.events.holders import GatewayKeyRegistered
from safeconduct.record.events.registrations import DeploymentRegistered
from safeconduct.settings import read_settings
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.web.nodes.home import enrolment_of, make_home
from safeconduct.web.sandbox.server import SandboxServer

SOURCE = Path(safeconduct.__file__).resolve().parents[1]
UPSTREAM_KEY = b"upstream-canary-credential"
AUTHORITY = "authority:sample"
VARIANTS = {"open-model": Level.C1, "vetted-model": Level.C2, "cleared-model": Level.C3}
DAY = 86_400


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Provider:
    """A sandbox provider in a thread of its own, so that it outlives every process of a node."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server = self._call(self._start())
        self.base_url = self.server.base_url
        return self

    def __exit__(self, *_):
        self._call(self.server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    @staticmethod
    async def _start():
        server = SandboxServer(credential=UPSTREAM_KEY)
        await server.start()
        return server


class Holder:
    """A person with a passport of the record, and requests made under their key."""

    def __init__(self, plant, name):
        self.plant = plant
        self.name = name
        self.signer = FileSigner.generate()

    def token(self, seconds=300):
        world = self.plant.world
        now = int(time.time())
        principal = principal_of(
            world,
            self.name,
            authenticated_at=now,
            expires=now + seconds,
            purpose="vuln_triage",
            project="proj",
        )
        issued = world.state.passports[f"pass-{self.name}"].issued
        return issue_access_token(
            principal,
            jkt=self.signer.verifying_key().thumbprint,
            actors=(),
            status=StatusIndexes(issued.status_index),
            issuer=self.plant.issuer,
            audience=self.plant.audience,
            signer=self.plant.token_signer,
            now=now,
            random=secrets.token_bytes,
        )

    def proof(self, token, path="/v1/chat/completions", base=None):
        return make_proof(
            self.signer,
            method="POST",
            url=(base or self.plant.audience) + path,
            now=int(time.time()),
            random=secrets.token_bytes,
            access_token=token,
        )

    def request(self, model, *, text="hello", stream=False, token=None, proof=None, base=None):
        """Bytes of a chat request with a fresh proof."""
        token = token or self.token()
        body = json.dumps(
            {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}
        ).encode()
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\n"
            b"Authorization: DPoP %b\r\nDPoP: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (token.encode(), (proof or self.proof(token, base=base)).encode(), len(body), body)
        )


class Plant:
    """An instance with two people, three models and a provider, ready to be served in any shape.

    `ann` is a US person, `fre` is not; both may use every model until somebody orders otherwise. tls: (certificate, key) files of
    the control plane's listeners.
    """

    def __init__(self, directory, provider, *, people=("ann", "fre"), tls=None):
        self.tls = tls
        self.directory = directory
        self.gateway_port = free_port()
        self.api_port = free_port()
        self.audience = f"http://127.0.0.1:{self.gateway_port}"
        self.issuer = f"{'https' if tls else 'http'}://127.0.0.1:{self.api_port}"
        embedded = make_instance(
            directory,
            clock=SystemClock(),
            parties=(authority_party("sample", "XX"),),
            issuer=self.issuer,
            audience=self.audience,
        )
        self.home = directory / "instance"
        now = int(time.time())
        self.world = world = World(start=now - 30 * DAY, end=now + 300 * DAY, packs=False)
        world.provider("lab").organisation("org-a")
        for name, level in VARIANTS.items():
            world.variant(name, "lab", level=level)
            world.add(_deployment(name, provider.base_url))
        for name in people:
            world.person(name, "org-a", us_person=UsPerson.NO if name.startswith("fre") else UsPerson.YES)
        world.project("proj", "org-a", members=people)
        world.admit("lab", "org-a", people, tuple(VARIANTS))
        instance = embedded.instance
        self.keys = {}
        for name in people:
            self.keys[name] = self._key(instance, name, now)
        for variant in VARIANTS:
            instance.vault.put(CREDENTIAL_KIND, f"{variant}-1", f"deployment:{variant}-1", UPSTREAM_KEY)
        instance.record.commit(world.events)
        self.token_signer = embedded.opened.keys.signer("token")
        self.record_key = LogVerifier.of(
            embedded.opened.descriptor.record_origin, embedded.opened.keys.signer("record-log")
        ).text()
        self.officers = [embedded.officer(number) for number in (1, 2)]
        self.origin = embedded.opened.descriptor.record_origin
        embedded.close()
        self.people = {name: Holder(self, name) for name in people}

    def _key(self, instance, name, now):
        made = generate("development", secrets.token_bytes)
        commitment = keep_claims(
            instance.vault,
            KEY_CLAIMS,
            made.id,
            subject=name,
            claims=self.world.claims[name],
            random=secrets.token_bytes,
        )
        self.world.add(
            GatewayKeyRegistered(
                key=made.id,
                subject=name,
                passport=f"pass-{name}",
                project=None,
                purpose="vuln_triage",
                secret_sha256=made.sha256(),
                networks=("127.0.0.0/8",),
                aal=3,
                authenticated_at=now,
                valid_from=now - 60,
                valid_until=now + DAY,
                claims_commitment=commitment,
                level_limit=Level.C2,
            )
        )
        return made.text

    @property
    def data(self):
        return self.home / "data"

    # -- processes

    def serve(self, workers=2, **environment):
        """`safeconduct serve --workers`."""
        return Node(
            [
                *("serve", "--data", self.home, "--workers", workers),
                *("--gateway-port", self.gateway_port, "--api-port", self.api_port, "--json"),
            ],
            self.data,
            environment,
        )

    def serve_alone(self, **environment):
        """`safeconduct serve`, everything in one process."""
        return Node(
            [
                *("serve", "--data", self.home, "--json"),
                *("--gateway-port", self.gateway_port, "--api-port", self.api_port),
            ],
            self.data,
            environment,
        )

    def control(self):
        """`safeconduct control`."""
        files = {} if self.tls is None else dict(zip(("CERTIFICATE", "KEY"), map(str, self.tls), strict=True))
        return Node(
            ["control", "--data", self.home, "--api-port", self.api_port, "--json"],
            self.data,
            {f"SAFECONDUCT_TLS_{name}": path for name, path in files.items()},
        )

    def enrol(self, name, *, control=None, control_ca=None):
        """A gateway's home, its key on the trust list. The control plane must run."""
        place = self.directory / name
        settings = read_settings({}, home=place)
        home = make_home(
            settings,
            name=name,
            control=control or self.issuer,
            issuer=self.issuer,
            record_key=self.record_key,
            control_ca=control_ca,
        )
        now = int(time.time())
        change = enrolment_of(home, now=now, seconds=DAY, development=True)
        self.change_trust({"add": change["add"]})
        return place

    def change_trust(self, change):
        now = int(time.time())
        claims = {"add": [], "revoke": [], **change, "origin": self.origin, "iat": now, "exp": now + 600}
        document = sign_trust_change(claims, self.officers)
        with self.speak("operator") as client:
            return client.post("/api/trust", msgspec.json.decode(document))

    def gateway(self, place, *, workers=1, port=None, extra=()):
        """`safeconduct gateway` in an enrolled home."""
        return Node(
            [
                *("gateway", "--data", place, "--workers", workers),
                *("--gateway-port", port or free_port(), "--json", *extra),
            ],
            place / "data",
        )

    # -- orders

    def speak(self, party):
        return ApiClient(InstanceFiles(self.home), party, url=self.issuer)

    def order(self, number, kind="licence_required", variants=tuple(VARIANTS), applies_to=None):
        """A directive signed by the authority; by default it hits everyone who is not a US person."""
        now = int(time.time())
        claims = {
            "iss": AUTHORITY,
            "iat": now,
            "number": number,
            "version": 1,
            "kind": kind,
            "force": "binding",
            "visibility": "public",
            "variants": list(variants),
            "applies_to": applies_to or {"us_person": "no"},
            "effective_from": now - 5,
            "in_flight": "cut",
            "legal_source": "Sample Act, section 1",
        }
        return sign_directive(claims, InstanceFiles(self.home).role_key(AUTHORITY))

    def hand_in(self, jws):
        with self.speak(AUTHORITY) as client:
            return client.post("/api/directives", {"jws": jws, "annexes": {}})


def _deployment(variant, base_url):
    return DeploymentRegistered(
        deployment=f"{variant}-1",
        variant=variant,
        kind="openai",
        base_url=base_url,
        upstream_model=f"{variant}-upstream",
        wires=(Wire.OPENAI,),
        region="r1",
        jurisdiction="XX",
    )


class Node:
    """A `safeconduct` command in the foreground, as its supervisor and processes. Use as a context manager."""

    def __init__(self, words, data, environment=None):
        self.environment = environment or {}
        self.words = [str(word) for word in words]
        self.data = Path(data)
        self.ready = {}

    def start(self):
        self._errors = (self.data.parent / f"{self.words[0]}.err").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "safeconduct", *self.words],
            env={**os.environ, "PYTHONPATH": str(SOURCE), **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            self.stop()
            raise AssertionError(f"{self.words}: {line}{Path(self._errors.name).read_text()}{self.logs()}")
        self.ready = json.loads(line)["ready"]
        self.gateway = self.ready.get("gateway", "")
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def stop(self, seconds=40):
        """SIGTERM, and wait; the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()
            self._errors.close()
        return self.process.returncode

    def logs(self):
        return "".join(path.read_text()[-3000:] for path in sorted(self.data.glob("logs/**/*.log")))

    def processes(self):
        """Process ids by kind (`control`, `follower`, `worker-1` ...)."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
                if parent != self.process.pid:
                    continue
                words = entry.joinpath("cmdline").read_bytes().split(b"\0")
                config = json.loads(words[words.index(b"safeconduct.web.nodes.process") + 2])
                kind = config["kind"]
                found[f"worker-{config['number']}" if kind == "worker" else kind] = int(entry.name)
        return found

    def kill(self, name):
        """SIGKILL one of its processes."""
        os.kill(self.processes()[name], signal.SIGKILL)

    @property
    def address(self):
        host, _, port = self.gateway.removeprefix("http://").partition(":")
        return host, int(port)

    def ask(self, data, seconds=20):
        """Send bytes on a fresh connection; the one answer."""
        with socket.create_connection(self.address, timeout=seconds) as connection:
            connection.sendall(data)
            return read_answers(connection)[0]

    def stream(self, data):
        """Send a streaming request; a `Stream` that has begun."""
        connection = socket.create_connection(self.address, timeout=30)
        connection.sendall(data)
        return Stream(connection)


class Stream:
    """A streaming answer as it comes, read by a thread of its own."""

    def __init__(self, connection):
        self.connection = connection
        self.data = b""
        self.ended_at = None
        self.begun = threading.Event()
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self.begun.wait(30), "no answer came"

    def _read(self):
        with contextlib.suppress(OSError):
            while piece := self.connection.recv(65536):
                self.data += piece
                if b"\r\n\r\n" in self.data:
                    self.begun.set()
                if self.data.endswith(b"\r\n0\r\n\r\n"):
                    break
        self.ended_at = time.monotonic()
        self.begun.set()
        self.ended.set()

    def close(self):
        self.connection.close()
        self._thread.join(5)


def until(holds, seconds=30.0, what="it"):
    """Wait until `holds()` gives something true; returns that."""
    end = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def key_request(key, model="open-model", text="hello", *, stream=False, close=False):
    """Bytes of a chat request with a gateway key."""
    body = json.dumps(
        {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}
    ).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\n%bContent-Length: %d\r\n\r\n%b"
        % (key.encode(), b"Connection: close\r\n" if close else b"", len(body), body)
    )


def logged(data):
    """Bodies of the entries of all decision logs below a data directory, by type; each log is checked byte by byte.

    Only when nothing writes any more.
    """
    data = Path(data)
    keys = KeyDirectory(data.parent / "keys")
    found = {}
    for place in sorted(data.glob("decisions/**/log")):
        files = FileLogDirectory(place)
        origin = parse_checkpoint(files.read("checkpoint")).origin
        name = "worker-log" if place.parent.name != "decisions" and keys.has("worker-log") else "decision-log"
        verifier = LogVerifier.of(origin, keys.signer(name))
        report = check(files, verifier)
        assert report.ok, report.problems
        published = PublishedLog(files.read, verifier)
        for entry in published.entries(0, published.refresh().size):
            envelope = read_entry(entry)
            found.setdefault(envelope.type, []).append(msgspec.json.decode(open_body(envelope)))
    return found
