"""How commands talk to a running instance: over its API, under a role key of the key directory.

Owns where the instance is, the role tokens and how problem details become errors again. Refuses to follow redirects and to
use the environment's proxies: a role token goes to the instance and nowhere else.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx2
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from safeconduct.app.authenticate_role import ROLE_TOKEN_TYPE
from safeconduct.app.initialise import Party
from safeconduct.kernel.clock import Clock, SystemClock
from safeconduct.kernel.errors import InvalidInput, NotFound, SafeconductError, UnsafeConfiguration
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import KeyWrapper, Signer
from safeconduct.kernel.suggest import did_you_mean
from safeconduct.settings import (
    INSTANCE_FILE,
    Descriptor,
    Settings,
    is_loopback,
    read_descriptor,
    read_settings,
)
from safeconduct.storage.key_directory import KeyDirectory

if TYPE_CHECKING:
    from safeconduct.sdk.holder import Holder

TOKEN_LIFE = 60
TIMEOUT = httpx2.Timeout(60.0, connect=5.0)
RUNNING_FILE = "running.json"


class ProblemAnswer(SafeconductError):
    """The API refused; status and problem details as they came."""

    kind = "problem"

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        super().__init__(
            str(
                problem.get("detail") or problem.get("error_description") or f"the instance answered {status}"
            ),
            field=str(problem.get("field", "")),
            remedy=str(problem.get("remedy", "")),
        )
        self.problem = problem
        self.status = status


class Unreachable(SafeconductError):
    """No instance answers."""

    kind = "unreachable"


class Running(msgspec.Struct, frozen=True):
    """`<data>/running.json`, written by a process that serves: where it listens."""

    api: str
    gateway: str = ""
    certificate: str = ""


class _Elsewhere:
    """Keys that are not files: what opens them is loaded only when a command meets one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def signer(self, reference: str, alg: str) -> Signer:
        from safeconduct.bootstrap import custody_of  # noqa: PLC0415

        return custody_of(self._settings).signer(reference, alg)

    def wrapper(self, reference: str) -> KeyWrapper:
        from safeconduct.bootstrap import custody_of  # noqa: PLC0415

        return custody_of(self._settings).wrapper(reference)


class InstanceFiles:
    """The files of an instance as a command sees them: settings, descriptor, keys."""

    def __init__(self, data: Path | None = None) -> None:
        """data: the data directory, or the directory above it that also holds the keys. Default: as the settings say."""
        itself = data is not None and (data / INSTANCE_FILE).exists()
        self.settings: Settings = read_settings(data=data) if itself else read_settings(home=data)
        self._descriptor: Descriptor | None = None

    @property
    def descriptor(self) -> Descriptor:
        """What the data directory is. Raises NotFound."""
        if self._descriptor is None:
            self._descriptor = read_descriptor(self.settings)
        return self._descriptor

    @property
    def keys(self) -> KeyDirectory:
        """The key directory."""
        return KeyDirectory(self.settings.keys, _Elsewhere(self.settings))

    def role_key(self, party: str) -> Signer:
        """The key of a party. Raises NotFound that names the parties there are keys for."""
        keys = self.keys
        name = Party(party, ()).key_name
        try:
            known = keys.has(name)
        except InvalidInput:
            known = False
        if not known:
            names = [found.removeprefix("roles/") for found in keys.names("roles")]
            raise NotFound(
                f"there is no role key of {party!r}{did_you_mean(party.replace(':', '-'), names)}",
                field="--as",
                remedy=f"keys in {self.settings.keys}/roles: {', '.join(names) or 'none'}",
            )
        return keys.signer(name)

    def running(self) -> Running | None:
        """What the process that serves left behind, or None."""
        try:
            return msgspec.json.decode((self.settings.data / RUNNING_FILE).read_bytes(), type=Running)
        except (OSError, msgspec.MsgspecError):
            return None

    def own_tls(self, url: str) -> ssl.SSLContext | bool:
        """How the server at `url` is verified: at our own listener by its very certificate, elsewhere as usual."""
        running = self.running()
        if running is None or not running.certificate or url != running.api.rstrip("/"):
            return True
        try:
            leaf = x509.load_pem_x509_certificates(Path(running.certificate).read_bytes())[0]
        except (OSError, ValueError):
            return True
        # Only the leaf, and only itself: the name in it is the public one, and any other certificate is refused.
        context = ssl.create_default_context(cadata=leaf.public_bytes(Encoding.PEM).decode("ascii"))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def base_url(self) -> str:
        """Where the API of the running instance listens."""
        running = self.running()
        if running is not None:
            return running.api.rstrip("/")
        settings = self.settings
        if settings.tls_certificate is not None or settings.tls_proxy:
            return self.descriptor.issuer
        host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
        return f"http://{host}:{settings.api_port}"


class ApiClient:
    """Calls the API as one party. Use as a context manager."""

    def __init__(
        self,
        files: InstanceFiles,
        speaker: str,
        *,
        url: str | None = None,
        clock: Clock | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.files = files
        self.speaker = speaker
        self.url = (url or files.base_url()).rstrip("/")
        self._clock = clock or SystemClock()
        self._http = httpx2.Client(
            base_url=self.url,
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=False,
            transport=transport,
            verify=files.own_tls(self.url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _check_own(self) -> None:
        """A role token goes to our own instance only: elsewhere it would be a gift to whoever answers."""
        if is_loopback(httpx2.URL(self.url).host) or self.url in (
            self.files.descriptor.issuer,
            self.files.base_url(),
        ):
            return
        raise UnsafeConfiguration(
            f"{self.url} is not this instance ({self.files.descriptor.issuer})",
            field="--url",
            remedy="name the data directory of that instance with --data",
        )

    def role_token(self) -> str:
        """A fresh token of this party, good for one change."""
        self._check_own()
        issuer = self.files.descriptor.issuer
        signer = self.files.role_key(self.speaker)
        now = int(self._clock.now())
        claims = {
            "iss": self.speaker,
            "sub": f"{self.speaker}@cli",
            "aud": issuer,
            "iat": now,
            "exp": now + TOKEN_LIFE,
            "jti": secrets.token_urlsafe(16),
        }
        return sign_jwt(claims, typ=ROLE_TOKEN_TYPE, signer=signer)

    def get(self, path: str, **query: Any) -> Any:
        """The answer's JSON. Raises ProblemAnswer, Unreachable."""
        return self._call(
            "GET", path, params={name: value for name, value in query.items() if value is not None}
        )

    def post(self, path: str, body: Any) -> Any:
        """Send JSON; the answer's JSON. Raises ProblemAnswer, Unreachable."""
        return self._call(
            "POST", path, content=msgspec.json.encode(body), headers={"content-type": "application/json"}
        )

    def post_presenting(self, path: str, body: Any, sd_jwt: str, holder: Signer) -> Any:
        """Send JSON as the holder of a passport, who presents it with a fresh nonce."""
        from safeconduct.passport.issuance import present  # noqa: PLC0415

        nonce = self._decoded(self._request("POST", "/oauth/nonce", headers={}))["nonce"]
        presentation = present(
            sd_jwt,
            None,
            holder,
            audience=self.files.descriptor.issuer,
            nonce=nonce,
            now=int(self._clock.now()),
        )
        headers = {"authorization": f"SD-JWT {presentation}", "content-type": "application/json"}
        return self._decoded(self._request("POST", path, content=msgspec.json.encode(body), headers=headers))

    def post_slowly(self, path: str, body: Any, *, seconds: float) -> Any:
        """Send JSON and wait that long for the answer, for work that takes a while. Raises ProblemAnswer, Unreachable."""
        return self._call(
            "POST",
            path,
            content=msgspec.json.encode(body),
            headers={"content-type": "application/json"},
            timeout=httpx2.Timeout(seconds, connect=5.0),
        )

    def put_file(self, path: str, chunks: Iterator[bytes], size: int) -> Any:
        """Send a file as it is; the answer's JSON. size: its bytes. Raises ProblemAnswer, Unreachable."""
        headers = {"content-type": "application/octet-stream", "content-length": str(size)}
        return self._call("PUT", path, content=chunks, headers=headers)

    def delete(self, path: str) -> Any:
        """Delete; the answer's JSON. Raises ProblemAnswer, Unreachable."""
        return self._call("DELETE", path)

    def all(self, path: str, **query: Any) -> list[Any]:
        """Every item of a list, page by page."""
        items: list[Any] = []
        after: str | None = None
        while True:
            page = self.get(path, limit=1000, after=after, **query)
            items.extend(page["items"])
            after = page.get("next")
            if not after:
                return items

    def fetch(self, path: str, *, public: bool = False) -> bytes:
        """The answer's bytes; a public address is asked without a token. Raises ProblemAnswer, Unreachable."""
        answer = self._request("GET", path) if public else self._send("GET", path)
        return answer.content

    def _call(self, method: str, path: str, **given: Any) -> Any:
        return self._decoded(self._send(method, path, **given))

    @staticmethod
    def _decoded(answer: httpx2.Response) -> Any:
        return msgspec.json.decode(answer.content) if answer.content else None

    def _send(self, method: str, path: str, **given: Any) -> httpx2.Response:
        headers = {**given.pop("headers", {}), "authorization": f"Bearer {self.role_token()}"}
        return self._request(method, path, headers=headers, **given)

    def _request(self, method: str, path: str, **given: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **given)
        except httpx2.HTTPError as error:
            raise Unreachable(
                f"no instance answers at {self.url} ({type(error).__name__})",
                remedy="start it with `safeconduct serve` or `make run`, or name it with --url",
            ) from None
        if answer.status_code >= 300:
            raise problem_of_answer(answer)
        return answer


def post_as_holder(holder: Holder, path: str, body: Any) -> Any:
    """Send JSON to a holder's issuer with a fresh presentation; the answer's JSON. Raises ProblemAnswer, Unreachable."""
    try:
        with httpx2.Client(
            base_url=holder.issuer, follow_redirects=False, trust_env=False, timeout=TIMEOUT
        ) as client:
            given = client.post("/oauth/nonce")
            if given.status_code >= 300:
                raise problem_of_answer(given)
            presentation = holder.present(nonce=given.json()["nonce"], now=int(SystemClock().now()))
            answer = client.post(path, json=body, headers={"authorization": f"SD-JWT {presentation}"})
    except (httpx2.HTTPError, ValueError, KeyError) as error:
        raise Unreachable(
            f"the issuer {holder.issuer} gave no answer ({type(error).__name__})",
            remedy="check that it runs and that the holder file names it",
        ) from None
    if answer.status_code >= 300:
        raise problem_of_answer(answer)
    return answer.json()


def problem_of_answer(answer: httpx2.Response) -> SafeconductError:
    """The error that an answer of 300 and above stands for."""
    try:
        problem = msgspec.json.decode(answer.content)
    except msgspec.MsgspecError:
        problem = None
    if not isinstance(problem, dict):
        return UnsafeConfiguration(
            f"{answer.url} answered {answer.status_code} without problem details",
            remedy="is that the API of an instance?",
        )
    return ProblemAnswer(problem, answer.status_code)
