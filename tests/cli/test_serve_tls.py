"""`serve` with TLS as a process of its own: commands reach it, SIGHUP and changed files renew the certificate."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import httpx2
import pytest
from tests.support.certificates import DAY, server_files
from tests.support.instances import make_instance

from safeconduct.cli.application import run
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import UnsafeConfiguration
from safeconduct.settings import check_listeners, read_settings


def start(home, files, *, workers=0, **more):
    certificate, key = files
    environment = {
        **os.environ,
        "SAFECONDUCT_TLS_CERTIFICATE": str(certificate),
        "SAFECONDUCT_TLS_KEY": str(key),
        **more,
    }
    words = ["serve", "--data", str(home), "--api-port", "0", "--gateway-port", "0", "--json"]
    words += ["--workers", str(workers)] if workers else []
    return subprocess.Popen(
        [sys.executable, "-m", "safeconduct", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def served(url):
    """The certificate that a fresh connection is shown."""
    parts = httpx2.URL(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((parts.host, parts.port), timeout=10) as raw,
        context.wrap_socket(raw) as tls,
    ):
        return tls.getpeercert(True)


def der(path):
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def until(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def home(tmp_path):
    make_instance(tmp_path, clock=SystemClock()).close()
    return tmp_path / "instance"


def test_a_tls_instance_serves_commands_and_renews_its_certificate(home, tmp_path, capsys):
    files = server_files(tmp_path)
    process = start(home, files)
    try:
        ready = json.loads(process.stdout.readline())["ready"]
        assert ready["api"].startswith("https://")
        assert ready["gateway"].startswith("https://")
        # Commands accept our own listener's certificate, which nobody else has signed, and no other.
        assert run(["status", "--data", str(home)]) == 0
        assert ready["api"] in capsys.readouterr().out
        trusting = ssl.create_default_context(cafile=str(files[0]))
        with httpx2.Client(verify=trusting) as client:
            metadata = client.get(f"{ready['api']}/.well-known/safeconduct").json()
            assert metadata["tls_client_certificate_bound_access_tokens"] is True
            assert client.get(f"{ready['gateway']}/healthz").status_code == 200
            server_files(tmp_path, "renewed")
            process.send_signal(signal.SIGHUP)
            for address in (ready["gateway"], ready["api"]):
                until(lambda address=address: served(address) == der(files[0]))
            # The connections from before go on.
            assert client.get(f"{ready['gateway']}/healthz").status_code == 200
        good = der(files[0])
        server_files(tmp_path, start=-2 * DAY, end=-DAY)
        process.send_signal(signal.SIGHUP)
        logs = home / "data" / "logs"
        until(lambda: any("the old ones stay" in path.read_text() for path in logs.iterdir()))
        assert served(ready["gateway"]) == good
        server_files(tmp_path, "without a signal")
        until(lambda: served(ready["gateway"]) == der(files[0]))
        assert run(["key", "rotate", "token", "--data", str(home)]) == 0
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, (out, err)
    assert "Traceback" not in err


def test_workers_renew_their_certificate_and_sighup_ends_none_of_them(home, tmp_path):
    files = server_files(tmp_path)
    process = start(home, files, workers=2)
    try:
        ready = json.loads(process.stdout.readline())["ready"]
        server_files(tmp_path, "renewed")
        process.send_signal(signal.SIGHUP)
        for address in (ready["gateway"], ready["api"]):
            # Several times: the kernel gives each worker its share of the connections.
            until(lambda address=address: all(served(address) == der(files[0]) for _ in range(8)))
        assert process.poll() is None
        assert run(["key", "rotate", "token", "--data", str(home)]) == 0
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_a_command_does_not_take_another_certificate_for_ours(home, tmp_path, capsys):
    files = server_files(tmp_path)
    process = start(home, files)
    try:
        process.stdout.readline()
        (tmp_path / "other").mkdir()
        other, _ = server_files(tmp_path / "other")
        running = home / "data" / "running.json"
        content = json.loads(running.read_bytes())
        running.write_text(json.dumps({**content, "certificate": str(other)}))
        assert run(["status", "--data", str(home)]) == 1
        assert "no instance answers" in capsys.readouterr().err
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.mark.parametrize("defect", ["expired", "exposed"])
def test_unusable_files_stop_the_start_with_a_remedy(home, tmp_path, defect):
    files = server_files(tmp_path, **({"start": -2 * DAY, "end": -DAY} if defect == "expired" else {}))
    if defect == "exposed":
        files[1].chmod(0o644)
    process = start(home, files)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1, out
    assert "renew" in err if defect == "expired" else "chmod 600" in err


def test_production_listens_beyond_loopback_only_with_tls_or_a_declared_proxy(tmp_path):
    certificate, key = server_files(tmp_path)
    for name in ("gateway_host", "api_host"):
        with pytest.raises(UnsafeConfiguration, match="without TLS"):
            check_listeners(read_settings({}, **{name: "0.0.0.0"}))
        check_listeners(read_settings({}, **{name: "0.0.0.0"}, tls_proxy=True))
        check_listeners(read_settings({}, **{name: "0.0.0.0"}, tls_certificate=certificate, tls_key=key))
