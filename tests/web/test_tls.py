"""TLS on both listeners: versions, reload without a dropped connection, and client certificates end to end."""

import asyncio
import logging
import socket
import ssl
import threading

import anthropic
import httpx2
import openai
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from tests.support.certificates import DAY, self_signed, server_files, write_key_file
from tests.support.holders import OTHER_KEY
from tests.support.tls_nodes import TlsNode

from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.sdk import AccessRefused, Holder, PassportAuth, anthropic_client, openai_client
from safeconduct.sdk.certificate import client_context
from safeconduct.web.tls import ListenerTls

pytestmark = pytest.mark.xdist_group("tls")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with TlsNode(tmp_path_factory.mktemp("tls")) as node:
        yield node


def auth(node, **options):
    return PassportAuth(node.holder, ca_file=node.ca, clock=node.at.embedded.clock, **options)


def get_models(node, *, context=None, **headers):
    with httpx2.Client(verify=context or ssl.create_default_context(cafile=str(node.ca))) as client:
        return client.get(f"{node.url}/v1/models", headers=headers)


# -- the wire --------------------------------------------------------------------------------------------------------


def handshake(port, context):
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        return tls.version(), tls.cipher()[0], tls.selected_alpn_protocol()


@pytest.mark.parametrize("listener", ["port", "api_port"])
def test_tls_1_3_is_spoken_and_http_1_1_negotiated(node, listener):
    context = ssl.create_default_context(cafile=str(node.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    version, _, alpn = handshake(getattr(node, listener), context)
    assert (version, alpn) == ("TLSv1.3", "http/1.1")


def test_tls_1_2_is_spoken_with_forward_secrecy_only(node):
    context = ssl.create_default_context(cafile=str(node.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    version, cipher, _ = handshake(node.port, context)
    assert version == "TLSv1.2"
    assert cipher.startswith("ECDHE-")
    context.set_ciphers("AES128-GCM-SHA256:AES256-SHA:ECDHE-ECDSA-AES128-SHA")
    with pytest.raises(ssl.SSLError):
        handshake(node.port, context)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_is_refused(node):
    context = ssl.create_default_context(cafile=str(node.ca))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        handshake(node.port, context)


@pytest.mark.parametrize("listener", ["port", "api_port"])
def test_plain_http_gets_no_answer(node, listener):
    with socket.create_connection(("127.0.0.1", getattr(node, listener)), timeout=10) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            assert b"HTTP/1.1 200" not in raw.recv(4096)
        except ConnectionResetError:
            pass


# -- client certificates ---------------------------------------------------------------------------------------------


def test_the_vendors_clients_work_over_a_certificate_alone(node):
    models = openai_client(auth(node, certificate=True)).models.list()
    assert models.data is not None
    listed = anthropic_client(auth(node, certificate=True)).models.list()
    assert listed.data is not None


def test_no_proof_is_sent_with_a_certificate_and_one_token_serves(node):
    bound = auth(node, certificate=True)
    seen = []
    with httpx2.Client(auth=bound, verify=bound.tls, event_hooks={"request": [seen.append]}) as client:
        for _ in range(3):
            assert client.get(f"{node.url}/v1/models").status_code == 200
    assert all("dpop" not in request.headers for request in seen)
    assert {request.headers.get("authorization", "")[:7] for request in seen} <= {"", "Bearer "}


def test_dpop_works_over_tls_as_before(node):
    assert openai_client(auth(node)).models.list().data is not None


def token_over(node, context):
    bound = auth(node, certificate=True)
    with httpx2.Client(auth=bound, verify=context) as client:
        assert client.get(f"{node.url}/v1/models").status_code == 200
    return bound._token.text


def own_context(node):
    return client_context(node.holder, now=node.at.embedded.now, ca_file=node.ca)


def test_a_stolen_token_is_worth_nothing_on_another_connection(node):
    context = own_context(node)
    token = token_over(node, context)
    assert get_models(node, context=context, authorization=f"Bearer {token}").status_code == 200
    thief = Holder(issuer=node.issuer, gateway=node.url, signer=OTHER_KEY, passport=node.at.issued.sd_jwt)
    other = client_context(thief, now=node.at.embedded.now, ca_file=node.ca)
    for stolen in (
        get_models(node, authorization=f"Bearer {token}"),
        get_models(node, context=other, authorization=f"Bearer {token}"),
        get_models(node, context=own_context(node), authorization=f"Bearer {token}"),
    ):
        assert stolen.status_code == 401
        assert stolen.json()["error"]["code"] == "BINDING_MISSING"


def test_a_head_that_was_let_through_often_is_not_let_through_on_another_connection(node):
    context = own_context(node)
    token = token_over(node, context)
    headers = {"authorization": f"Bearer {token}"}
    with httpx2.Client(verify=context, headers=headers) as client:
        for _ in range(10):
            assert client.get(f"{node.url}/v1/models").status_code == 200
    # Byte for byte the same head: what a listener keeps of known heads must not hold for another connection.
    for other in (own_context(node), ssl.create_default_context(cafile=str(node.ca))):
        with httpx2.Client(verify=other, headers=headers) as client:
            for _ in range(3):
                answer = client.get(f"{node.url}/v1/models")
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "BINDING_MISSING")


def test_a_header_is_no_certificate(node):
    token = token_over(node, own_context(node))
    for name in ("x-client-cert", "x-forwarded-client-cert", "x-ssl-client-cert", "client-cert"):
        answer = get_models(
            node, authorization=f"Bearer {token}", **{name: node.ca.read_text().replace("\n", "")}
        )
        assert answer.json()["error"]["code"] == "BINDING_MISSING"


def test_a_stolen_passport_cannot_be_bound_to_the_thiefs_certificate(node):
    bound = auth(node, certificate=True)
    thief = Holder(issuer=node.issuer, gateway=node.url, signer=OTHER_KEY, passport=node.at.issued.sd_jwt)
    context = client_context(thief, now=node.at.embedded.now, ca_file=node.ca)
    with httpx2.Client(auth=bound, verify=context) as client, pytest.raises(AccessRefused) as refused:
        client.get(f"{node.url}/v1/models")
    assert refused.value.code == "BINDING_MISSING"


def test_a_certificate_outside_the_anchors_ends_the_handshake(node, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    write_key_file(tmp_path / "k.pem", key)
    (tmp_path / "c.pem").write_bytes(self_signed(key, now=node.at.embedded.now))
    context = ssl.create_default_context(cafile=str(node.ca))
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    with pytest.raises(httpx2.TransportError):
        get_models(node, context=context)


def test_the_metadata_says_that_certificates_bind(node):
    with httpx2.Client(verify=ssl.create_default_context(cafile=str(node.ca))) as client:
        found = client.get(f"{node.issuer}/.well-known/safeconduct").json()
    # The instance of this test was opened without TLS settings; see the commands' test for one that was.
    assert found["tls_client_certificate_bound_access_tokens"] is False


def test_a_certificate_needs_https():
    holder = Holder(
        issuer="http://127.0.0.1:1", gateway="https://127.0.0.1:2", signer=OTHER_KEY, passport="x~"
    )
    with pytest.raises(InvalidInput, match="https"):
        PassportAuth(holder, certificate=True)


def test_a_wrong_server_certificate_is_refused_by_the_sdk(node):
    with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)):
        openai_client(
            PassportAuth(node.holder, certificate=True, clock=node.at.embedded.clock), max_retries=0
        ).models.list()


# -- reload ----------------------------------------------------------------------------------------------------------


def listener(tmp_path, **given):
    certificate, key = server_files(tmp_path, **given)
    return ListenerTls(certificate, key)


def serving(context):
    """What a fresh handshake against a context shows: the server's certificate."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        context.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return ends[0].getpeercert(True)


def der(path):
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def test_new_files_serve_new_connections_and_open_ones_go_on(node):
    context = own_context(node)
    token = token_over(node, context)
    with httpx2.Client(verify=context, headers={"authorization": f"Bearer {token}"}) as client:
        assert client.get(f"{node.url}/v1/models").status_code == 200
        before = serving(node.tls.context)
        certificate, _ = server_files(node.files, "renewed")
        assert node.tls.reload()
        assert serving(node.tls.context) == der(certificate) != before
        # The same connection: a new one would not verify, since this client trusts the old certificate only.
        assert client.get(f"{node.url}/v1/models").status_code == 200
        with pytest.raises(httpx2.ConnectError):
            get_models(node, context=own_context(node))
    node.ca.write_bytes(certificate.read_bytes())
    assert get_models(node, context=own_context(node), authorization="Bearer x").status_code == 401


def test_connections_under_load_outlive_ten_reloads(node):
    node.ca.write_bytes(node.certificate.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    server_files(node.files, key=key)
    node.tls.reload()
    node.ca.write_bytes(node.certificate.read_bytes())
    stop, failures, done = threading.Event(), [], []

    def client():
        with httpx2.Client(verify=ssl.create_default_context(cafile=str(node.ca))) as one:
            while not stop.is_set():
                try:
                    assert one.get(f"{node.url}/healthz").status_code == 200
                    done.append(1)
                except Exception as error:
                    failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        assert node.tls.reload()
    while len(done) < 100 and not failures:
        stop.wait(0.01)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert failures == []


@pytest.mark.parametrize(
    "defect", ["mismatch", "expired", "future", "garbage", "absent", "exposed", "password"]
)
def test_bad_new_files_keep_the_old_and_the_log_says_so(tmp_path, defect, caplog):
    tls = listener(tmp_path)
    before = serving(tls.context)
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    new = ec.generate_private_key(ec.SECP256R1())
    if defect == "mismatch":
        server_files(tmp_path, write_key=False)
    elif defect == "expired":
        server_files(tmp_path, start=-2 * DAY, end=-DAY)
    elif defect == "future":
        server_files(tmp_path, start=DAY, end=2 * DAY)
    elif defect == "garbage":
        certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    elif defect == "absent":
        certificate.unlink()
    elif defect == "exposed":
        server_files(tmp_path)
        key.chmod(0o644)
    else:
        server_files(tmp_path, key=new)
        key.write_bytes(
            new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
        )
    with caplog.at_level(logging.INFO, logger="safeconduct.web.tls"):
        assert tls.reload() is False
        assert tls.reload() is False
    assert serving(tls.context) == before
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(said) == 1
    assert "the old ones stay" in said[0]
    assert "PRIVATE" not in said[0]
    key.unlink(missing_ok=True)
    server_files(tmp_path, "mended")
    assert tls.reload()
    assert serving(tls.context) == der(certificate)


def test_unusable_files_stop_the_start(tmp_path):
    server_files(tmp_path, start=-2 * DAY, end=-DAY)
    with pytest.raises(UnsafeConfiguration, match="renew"):
        ListenerTls(tmp_path / "server.crt", tmp_path / "server.key")


def test_a_changed_file_is_noticed_without_a_signal(tmp_path):
    async def run():
        tls = listener(tmp_path)
        task = asyncio.get_running_loop().create_task(tls.watch(0.01))
        before = serving(tls.context)
        server_files(tmp_path, "renewed")
        for _ in range(1000):
            if serving(tls.context) != before:
                break
            await asyncio.sleep(0.01)
        task.cancel()
        assert serving(tls.context) == der(tmp_path / "server.crt")

    asyncio.run(run())


def test_an_authority_of_the_operators_own_is_read_beside_the_anchor(tmp_path):
    (tmp_path / "empty.pem").write_text("")
    certificate, key = server_files(tmp_path)
    with pytest.raises(UnsafeConfiguration, match="holds no certificate"):
        ListenerTls(certificate, key, client_ca=tmp_path / "empty.pem")
    tls = ListenerTls(certificate, key, client_ca=certificate)
    assert len(tls.context.get_ca_certs()) >= 1
