"""A gateway whose control plane's certificate a private authority has signed: that authority counts, and no other."""

import asyncio
import json
import stat

import pytest
from tests.support.certificates import server_files
from tests.support.nodes import Plant, Provider, key_request, until

from safeconduct.cli.application import run
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import UnsafeConfiguration
from safeconduct.kernel.signing import FileSigner
from safeconduct.upstreams.control_plane import ControlUnreachable, HttpControlPlane, control_tls
from safeconduct.web.nodes.home import CONTROL_CA

pytestmark = [pytest.mark.xdist_group("nodes"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return server_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return server_files(tmp_path_factory.mktemp("other"))[0]


@pytest.fixture(scope="module")
def plant(tmp_path_factory, files):
    with Provider() as provider:
        yield Plant(tmp_path_factory.mktemp("plant"), provider, tls=files)


@pytest.fixture(scope="module")
def control(plant):
    with plant.control() as running:
        yield running


def enrol(capsys, plant, place, *words):
    status = run(["gateway", "enrol", "edge-ca", "--control", plant.issuer, "--data", str(place), *words])
    return status, capsys.readouterr()


def test_a_gateway_is_enrolled_and_serves_over_its_private_authority(plant, control, files, tmp_path, capsys):
    place = tmp_path / "gw"
    status, told = enrol(capsys, plant, place, "--control-ca", str(files[0]), "--json")
    assert status == 0, told.err
    kept = place / "data" / CONTROL_CA
    assert kept.read_bytes() == files[0].read_bytes()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    change = json.loads((place / "data" / "enrolment.json").read_text())
    plant.change_trust({"add": change["add"]})
    # Kept at its enrolment: it need not be named again. Another file can be.
    for extra in ((), ("--control-ca", files[0])):
        with plant.gateway(place, extra=extra) as gateway:
            until(lambda gateway=gateway: gateway.ask(key_request(plant.keys["ann"])).status == 200)


def test_without_the_authority_or_with_another_the_control_plane_is_not_believed(
    plant, control, other, tmp_path, capsys
):
    for words in ((), ("--control-ca", str(other))):
        status, told = enrol(capsys, plant, tmp_path / "gw", *words)
        assert status == 1
        assert "not trusted" in told.err
        assert "--control-ca" in told.err
        assert not (tmp_path / "gw").exists()


def test_no_role_token_is_sent_to_who_cannot_prove_to_be_the_control_plane(plant, control, other):
    async def ask():
        client = HttpControlPlane(
            plant.issuer,
            party="gateway:edge",
            signer=FileSigner.generate(),
            audience=plant.issuer,
            clock=SystemClock(),
            tls=control_tls(other),
        )
        async with client:
            await client.bundle("tile/entries/000.p/1")

    with pytest.raises(ControlUnreachable, match="not trusted"):
        asyncio.run(ask())


def test_an_unusable_file_stops_the_start_and_says_why(plant, control, files, tmp_path, capsys):
    absent, empty, exposed = tmp_path / "absent.pem", tmp_path / "empty.pem", tmp_path / "exposed.pem"
    empty.write_bytes(b"\xff nothing here")
    exposed.write_bytes(files[0].read_bytes())
    exposed.chmod(0o666)
    for path, said in ((absent, "No such file"), (empty, "holds no certificate"), (exposed, "chmod go-w")):
        with pytest.raises(UnsafeConfiguration) as refused:
            control_tls(path)
        assert said in str(refused.value)
        status, told = enrol(capsys, plant, tmp_path / "gw", "--control-ca", str(path))
        assert status != 0
        assert said in told.err
    assert not (tmp_path / "gw").exists()
    place = plant.enrol("edge-x", control_ca=files[0])
    (place / "data" / CONTROL_CA).chmod(0o666)
    assert run(["gateway", "--data", str(place), "--gateway-port", "0"]) != 0
    assert "chmod go-w" in capsys.readouterr().err


def test_an_authority_is_for_https_only(tmp_path, files, capsys):
    words = ["--control", "http://127.0.0.1:1", "--control-ca", str(files[0]), "--data", str(tmp_path / "gw")]
    assert run(["gateway", "enrol", "edge", *words]) == 2
    assert "https" in capsys.readouterr().err
