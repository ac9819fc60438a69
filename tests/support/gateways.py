"""A gateway on a real log, vault, state and event loop, in front of a real sandbox provider, on free loopback ports."""

import asyncio
import hashlib
import socket
import threading
import time

import httptools
import msgspec
import uvloop
from tests.support.worlds import JURISDICTION, plain_world

from safeconduct.app.decision_log import DecisionLog
from safeconduct.app.enforce_request import GatewayNode
from safeconduct.app.node_settings import NodeSettings
from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.audit.sequencing import Log
from safeconduct.decision.cache import DecisionCache
from safeconduct.gateway.circuit import Circuits
from safeconduct.gateway.http_messages import Limits
from safeconduct.kernel.clock import SimulatedClock
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.signing import EDDSA, FileKeyWrapper, FileSigner
from safeconduct.kernel.vocabulary import Binding, Purpose, SubjectKind, Wire
from safeconduct.passport.principal import Principal
from safeconduct.record.envelope import open_body, read_entry, unsealed_part
from safeconduct.record.events import DeploymentRegistered, InstanceInitialised
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.subject_keys import SubjectKeys
from safeconduct.storage.vault import SqliteVault
from safeconduct.upstreams.pool import UpstreamLimits, UpstreamPool
from safeconduct.web.proxy.server import ProxyServer
from safeconduct.web.sandbox.server import SandboxServer

UPSTREAM_KEY = b"upstream-canary-credential"
KEY = "ann-key"


class KnownCredentials:
    """A verifier over a table of credentials: what is behind each is what a test says. Counts what it was asked."""

    def __init__(self):
        self.principals = {}
        self.asked = 0

    def verify(self, *, authorization, dpop, x_api_key, method, url, source, now, peer=None):
        self.asked += 1
        self.url = url
        given = []
        if authorization is not None:
            scheme, _, credential = authorization.partition(b" ")
            if scheme.lower() not in (b"bearer", b"dpop"):
                raise VerificationFailed("unknown scheme", step="structure")
            given.append(credential)
        if x_api_key is not None:
            given.append(x_api_key)
        if not given or any(each != given[0] for each in given):
            raise VerificationFailed("no credential, or two that differ", step="structure")
        principal = self.principals.get(given[0].decode("latin-1"))
        if principal is None:
            raise VerificationFailed(
                "the credential is not known", step="signature", remedy="get a new token"
            )
        return principal


def principal_of(world, subject, **changes):
    """Who `subject` of a world is when it comes with a bound token."""
    facts = {
        "subject": subject,
        "holder": subject,
        "kind": SubjectKind.HUMAN,
        "passport": f"pass-{subject}",
        "claims": world.claims[subject],
        "aal": 3,
        "authenticated_at": world.start,
        "binding": Binding.DPOP,
        "expires": world.end,
        "credential": hashlib.sha256(subject.encode()).hexdigest(),
        "organisation": world.claims[subject].organisation,
        "purpose": Purpose.VULN_TRIAGE,
        "project": None,
    }
    return Principal(**{**facts, **changes})


class RunningGateway:
    """Everything on one event loop in a thread of its own; what a test calls runs there or over sockets.

    Deployments of the world are pointed at the sandbox provider, on both wires.
    """

    def __init__(
        self,
        directory,
        world=None,
        *,
        kind="sandbox",
        upstream_models=None,
        base_url=None,
        credential=UPSTREAM_KEY,
        limits=None,
        upstream_limits=None,
        tls=None,
        sandbox_allowed=True,
        ledger=None,
        retries=None,
        circuit_limits=None,
        listener_tls=None,
    ):
        self.listener_tls = listener_tls
        self.ledger = ledger
        self.retries = retries
        self.circuit_limits = circuit_limits
        self.directory = directory
        self.world = world or plain_world()
        self.clock = SimulatedClock(self.world.now)
        self.credentials = KnownCredentials()
        self.kind = kind
        self.upstream_models = upstream_models or {}
        self.base_url = base_url
        self.credential = credential
        self.limits = limits or Limits()
        self.upstream_limits = upstream_limits or UpstreamLimits()
        self.tls = tls
        self.sandbox_allowed = sandbox_allowed
        self.loop = uvloop.new_event_loop()
        self.reported = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._keys = SubjectKeys.open(self.directory, FileKeyWrapper(b"k" * 32))
        self.vault = SqliteVault.open(self.directory / "vault.db", self._keys)
        self.log = Log.open(
            FileLogDirectory(self.directory / "log"),
            origin="localhost/decisions/simulated",
            signer=FileSigner.generate(EDDSA),
            clock=self.clock,
            create=True,
        )
        self._thread.start()
        self._ready.wait(10)
        self.call(self._start())
        self.world.add(
            InstanceInitialised(**_instance_facts(self.world.start)),
        )
        for deployment, entry in list(self.world.state.deployments.items()):
            old = entry.registered
            self.world.add(
                DeploymentRegistered(
                    deployment=deployment,
                    variant=old.variant,
                    kind=self.kind,
                    base_url=self.base_url or self.sandbox.base_url,
                    upstream_model=self.upstream_models.get(old.variant, f"{old.variant}-upstream"),
                    wires=(Wire.OPENAI, Wire.ANTHROPIC),
                    region=old.region,
                    jurisdiction=JURISDICTION,
                    enclave=old.enclave,
                    fallback=old.fallback,
                    concurrency=old.concurrency,
                )
            )
            if self.credential is not None:
                self.vault.put(CREDENTIAL_KIND, deployment, f"deployment:{deployment}", self.credential)
        self.credentials.principals.setdefault(KEY, principal_of(self.world, "ann"))
        self.change()
        return self

    def __exit__(self, *_):
        self.call(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self.log.close()
        self.vault.close()
        self._keys.close()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(lambda _, context: self.reported.append(context))
        self.loop.call_soon(self._ready.set)
        self.loop.run_forever()

    def call(self, coroutine):
        """Run a coroutine on the gateway's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def on_loop(self, function, *args):
        async def run():
            return function(*args)

        return self.call(run())

    async def _start(self):
        self.sandbox = SandboxServer(credential=self.credential, clock=self.clock)
        await self.sandbox.start()
        self.decisions = DecisionLog(self.log, self.vault, self.clock, node="node-1")
        self.upstreams = UpstreamPool(self.loop, limits=self.upstream_limits, tls=self.tls)
        self.node = self.make_node(
            NodeSettings(
                name="node-1",
                base_url="http://gateway.test",
                pseudonym_key=b"p" * 32,
                sandbox=self.sandbox_allowed,
            ),
            state=self.world.state,
            clock=self.clock,
            verifier=self.credentials,
            decide=DecisionCache().decide,
            decisions=self.decisions,
            vault=self.vault,
            ledger=self.ledger,
        )
        if self.circuit_limits is not None:
            self.node.circuits = Circuits(self.node.uniform, self.circuit_limits)
        self.server = ProxyServer(self.node, self.upstreams, limits=self.limits, retries=self.retries)
        self.server.report = self._report
        await self.server.start("127.0.0.1", 0, tls=self.listener_tls)
        self.port = self.server.port

    def make_node(self, *given, **named):
        """The node that serves; a test may put another kind in its place."""
        return GatewayNode(*given, **named)

    def _report(self, error):
        self.reported.append(error)

    async def _stop(self):
        await self.server.close(0.2)
        self.upstreams.close()
        await self.sandbox.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def seen(self):
        """Requests that reached the provider."""
        return list(self.sandbox.seen)

    def change(self, *events):
        """Commit events: the node gets the new state as it would from the record."""
        self.world.add(*events)
        self.node.on_state(self.world.state, events)

    def deploy(self, deployment, variant, base_url, *, kind="openai", **facts):
        """Register a deployment at a running gateway, with the credential of the others."""
        self.vault.put(CREDENTIAL_KIND, deployment, f"deployment:{deployment}", self.credential)
        self.change(
            DeploymentRegistered(
                deployment=deployment,
                variant=variant,
                kind=kind,
                base_url=base_url,
                upstream_model=f"{deployment}-upstream",
                wires=(Wire.OPENAI, Wire.ANTHROPIC),
                region="r1",
                jurisdiction=JURISDICTION,
                **facts,
            )
        )

    def until(self, holds, seconds=20.0):
        """Wait until `holds()` is true."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)

    def send(self, data, *, timeout=20.0, until_close=False):
        """Send raw bytes on a fresh connection; returns the answers (all until close, or the first)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            return read_answers(connection, until_close=until_close)

    def post(self, path="/v1/chat/completions", body=None, *, key=KEY, headers=(), **members):
        """One POST of JSON; returns its answer."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body or chat(**members))
        return self.send(request("POST", path, data, key=key, headers=headers))[0]

    def entries(self, type=None):
        """Bodies of the decision log's durable entries, in order."""
        self.on_loop(int)  # what the loop was at when the answer went out is over now
        size = self.log.size
        if size:
            self.log.wait_durable_sync(size - 1, 20)
        envelopes = [read_entry(entry) for entry in self.log.read(0, size)]
        return [
            msgspec.json.decode(open_body(each)) for each in envelopes if type is None or each.type == type
        ]

    def completion(self, seconds=20.0):
        """The first completion entry, waited for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.entries("completion")
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError("no completion was written")

    def sealed(self, type):
        """Sealed parts of entries of a type."""
        self.on_loop(int)
        size = self.log.size
        self.log.wait_durable_sync(size - 1, 20)
        return [
            msgspec.json.decode(unsealed_part(each, self.vault.aead(each.key)))
            for each in map(read_entry, self.log.read(0, size))
            if each.type == type
        ]


def _instance_facts(start):
    facts = {}
    for field in msgspec.structs.fields(InstanceInitialised):
        if field.required:
            facts[field.name] = start if field.type is int else ([] if "tuple" in str(field.type) else "x")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}


def chat(model="model-x", text="hello there", **members):
    """A chat body that fits both wires."""
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}], **members}


def request(
    method, path, body=b"", *, key=KEY, headers=(), host="gateway.test", content_type="application/json"
):
    """Bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if content_type is not None and body:
        lines.append(f"Content-Type: {content_type}")
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if path.startswith("/v1/messages"):
        lines.append("anthropic-version: 2023-06-01")
    lines += headers
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Answer:
    """One answer as a client reads it. complete: its announced end was seen."""

    def __init__(self):
        self.status = 0
        self.headers = {}
        self.body = b""
        self.complete = False

    @property
    def json(self):
        return msgspec.json.decode(self.body)

    @property
    def code(self):
        """The denial or error code, from either wire."""
        error = self.json["error"]
        return error["code"] if "code" in error else error["details"]["error_code"]


class _Answers:
    def __init__(self):
        self.answers = []
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self):
        self.answers.append(Answer())

    def on_header(self, name, value):
        self.answers[-1].headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self):
        self.answers[-1].status = self.parser.get_status_code()

    def on_body(self, data):
        self.answers[-1].body += data

    def on_message_complete(self):
        self.answers[-1].complete = True


def read_answers(connection, *, until_close=False, count=1):
    """Read `count` final answers, or everything until the server closes."""
    reader = _Answers()
    while True:
        final = [each for each in reader.answers if each.complete and each.status >= 200]
        if not until_close and len(final) >= count:
            return final
        try:
            data = connection.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            return [each for each in reader.answers if each.status >= 200 or not each.complete]
        reader.parser.feed_data(data)
