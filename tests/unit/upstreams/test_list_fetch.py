"""Fetching a list: https and public addresses only, however a name resolves and wherever a redirect leads; bounded in size and time."""

import http.server
import ipaddress
import socket
import ssl
import threading

import pytest
from tests.support.certificates import server_files

from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import InvalidInput
from safeconduct.upstreams.list_fetch import FetchFailed, HttpsListFetch, is_public

BODY = b"made up list\n" * 1_000


class Publisher(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, status=200, body=BODY, **headers):
        self.send_response(status)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "text/xml", **given}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.hosts.append(self.headers["host"])
        here = f"https://localhost:{self.server.server_port}"
        path = self.path.split("?")[0]
        if path == "/list":
            self._answer()
        elif path == "/page":
            self._answer(Content_Type="text/html; charset=utf-8")
        elif path == "/packed":
            self._answer(Content_Encoding="gzip")
        elif path == "/missing":
            self._answer(404)
        elif path == "/moved":
            self._answer(302, b"", Location="/list")
        elif path == "/inside":
            self._answer(302, b"", Location="https://169.254.169.254/latest/meta-data")
        elif path == "/plain":
            self._answer(302, b"", Location=here.replace("https", "http") + "/list")
        elif path == "/round":
            self._answer(302, b"", Location=f"{here}/round")
        elif path == "/cut":
            self.close_connection = True
            self._answer(Content_Length=str(len(BODY) + 5))


@pytest.fixture(scope="module")
def publisher(tmp_path_factory):
    certificate, key = server_files(tmp_path_factory.mktemp("publisher"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    server.hosts = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.trust = ssl.create_default_context(cafile=str(certificate))
    server.address = f"https://localhost:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _one_family(monkeypatch):
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *_given, **_more: real(
            "127.0.0.1" if host == "localhost" else host, port, type=socket.SOCK_STREAM
        ),
    )


def fetcher(publisher, **more):
    def allowed(address):
        return is_public(address) or address == ipaddress.ip_address("127.0.0.1")

    return HttpsListFetch(**{"allowed": allowed, "tls": publisher.trust, **more})


def test_a_file_comes_whole_and_by_the_name_that_was_asked_for(publisher):
    with fetcher(publisher).fetch(f"{publisher.address}/list?a=1") as file:
        assert file.read() == BODY
    with fetcher(publisher).fetch(f"{publisher.address}/moved") as file:
        assert file.read() == BODY
    assert set(publisher.hosts) == {f"localhost:{publisher.server_port}"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/page", "a web page, not a list"),
        ("/packed", "compressed"),
        ("/missing", "answered 404"),
        ("/round", "redirects"),
        ("/cut", "gave no file|bytes came"),
    ],
)
def test_another_answer_is_refused(publisher, path, message):
    with pytest.raises(FetchFailed, match=message) as refused:
        fetcher(publisher).fetch(publisher.address + path)
    assert refused.value.field == "url"


@pytest.mark.parametrize(
    ("path", "message"), [("/inside", "not on the public Internet"), ("/plain", "https only")]
)
def test_a_redirect_leads_nowhere_that_may_not_be_asked_for(publisher, path, message):
    with pytest.raises(InvalidInput, match=message):
        fetcher(publisher).fetch(publisher.address + path)


def test_size_and_time_are_bounded(publisher):
    with pytest.raises(FetchFailed, match="more than 100 bytes"):
        fetcher(publisher, limit=100).fetch(f"{publisher.address}/list")

    class Late(SystemClock):
        def monotonic(self):
            self.told = getattr(self, "told", 0.0) + 1_000
            return self.told

    with pytest.raises(FetchFailed, match="more than 300 seconds"):
        fetcher(publisher, clock=Late()).fetch(f"{publisher.address}/list")


def test_a_server_that_nobody_vouches_for_is_refused(publisher):
    with pytest.raises(FetchFailed, match="gave no file"):
        fetcher(publisher, tls=ssl.create_default_context()).fetch(f"{publisher.address}/list")


@pytest.mark.parametrize(
    "url",
    [
        "http://list.example/a.xml",
        "file:///etc/passwd",
        "ftp://list.example/a",
        "https://",
        "https:///a",
        "https://user:made-up-secret@list.example/",
        "https://list.example:99999/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1]/",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://224.0.0.1/",
        "https://" + "a" * 3_000,
    ],
)
def test_an_address_that_is_not_a_public_https_one_is_refused(url):
    with pytest.raises((InvalidInput, FetchFailed)) as refused:
        HttpsListFetch().fetch(url)
    assert refused.value.field == "url"
    assert "made-up-secret" not in str(refused.value)


def test_a_name_that_resolves_to_one_private_address_among_others_is_refused(monkeypatch):
    def resolve(*_given, **_more):
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("93.184.216.34", 443)), (*kind, ("10.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(InvalidInput, match="not on the public Internet"):
        HttpsListFetch().fetch("https://list.example/")


def test_public_addresses_are_known_as_such():
    assert is_public(ipaddress.ip_address("93.184.216.34"))
    assert is_public(ipaddress.ip_address("2606:2800:220:1::1"))
