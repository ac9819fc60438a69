"""How each peer is started: bare nginx with a key check, the bare stack, Envoy, LiteLLM, Portkey. Configurations as their
documents advise.

Everything comes from `bench/peers/env`, which `bench/peers/set-up` makes. A peer that is not there is None.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from loads.processes import Started, free_ports

HERE = Path(__file__).resolve().parent
ENV = HERE / "env"
DEBIAN = ENV / "debian"
LIBRARIES = {"LD_LIBRARY_PATH": str(DEBIAN / "usr/lib/x86_64-linux-gnu")}
if not (DEBIAN / "usr/lib/x86_64-linux-gnu").exists():
    LIBRARIES = {"LD_LIBRARY_PATH": str(DEBIAN / "usr/lib/aarch64-linux-gnu")}


def program(name: str) -> str | None:
    """Path of nginx, wrk or ab: unpacked here, or the system's own."""
    for place in ("usr/sbin", "usr/bin"):
        if (DEBIAN / place / name).exists():
            return str(DEBIAN / place / name)
    return shutil.which(name)


class Gateway:
    """One gateway under test, started. path(kind), model(kind): how a request for a behaviour of the upstream is written."""

    def __init__(
        self,
        name: str,
        version: str,
        process: Started,
        port: int,
        *,
        key: str,
        path: Callable[[str], str] = lambda _kind: "/v1/chat/completions",
        model: Callable[[str], str] = lambda _kind: "m",
        headers: Callable[[str], dict[str, str]] = lambda _kind: {},
    ) -> None:
        self.name = name
        self.version = version
        self.process = process
        self.port = port
        self.key = key
        self.path = path
        self.model = model
        self.headers = headers


def _nginx_main(work: Path, pid: str, http: str) -> str:
    temporary = "".join(
        f"{kind}_temp_path {work}/nginx-temporary;"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; worker_processes 1; pid {work}/{pid}.pid; error_log stderr error; worker_rlimit_nofile 65536;\n"
        "events { worker_connections 16384; }\n"
        f"http {{ access_log off; server_tokens off; {temporary} default_type application/json; tcp_nodelay on;\n"
        "keepalive_requests 1000000000; keepalive_timeout 300s; map_hash_bucket_size 256;\n"
        f"{http} }}\n"
    )


def nginx_upstream(work: Path, answer: bytes, cores: str) -> tuple[Started, int]:
    """The provider for JSON answers: nginx with one static answer."""
    (port,) = free_ports(1)
    body = answer.decode().replace("'", "\\'")
    config = work / "upstream.conf"
    config.write_text(
        _nginx_main(
            work,
            "upstream",
            f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 '{body}'; }} }}",
        )
    )
    process = _nginx(config, work, cores)
    process.until_open(port)
    return process, port


def _nginx(config: Path, work: Path, cores: str) -> Started:
    binary = program("nginx")
    assert binary is not None
    (work / "nginx-temporary").mkdir(exist_ok=True)
    (work / "logs").mkdir(exist_ok=True)
    return Started(
        [binary, "-c", str(config), "-p", str(work), "-e", "stderr"],
        cores=cores,
        log=work / f"{config.stem}.log",
    )


def nginx(
    work: Path, upstreams: dict[str, int], key: str, cores: str, *, tls: dict[str, Path] | None = None
) -> Gateway | None:
    """Bare nginx: the key looked up in a map, pooled keep-alive upstream, nothing buffered to disk, no access log.

    tls: `certificate`, `key`, `clients`: TLS 1.3 with a client certificate instead of the key.
    """
    binary = program("nginx")
    if binary is None:
        return None
    told = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stderr
    (port,) = free_ports(1)
    servers = "".join(
        f"upstream {kind} {{ server 127.0.0.1:{at}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 300s; }}\n"
        for kind, at in upstreams.items()
    )
    check = "" if tls else "if ($known = 0) { return 401; }"
    places = "".join(
        f"location /{kind}/ {{ {check} proxy_pass http://{kind}; proxy_http_version 1.1; "
        'proxy_set_header Connection ""; proxy_buffering off; client_body_buffer_size 256k; }\n'
        for kind in upstreams
    )
    listen = f"listen 127.0.0.1:{port} backlog=4096{' ssl' if tls else ''};"
    if tls:
        listen += (
            f"ssl_protocols TLSv1.3; ssl_certificate {tls['certificate']}; ssl_certificate_key {tls['key']}; "
            f"ssl_client_certificate {tls['clients']}; ssl_verify_client on;"
        )
    config = work / f"nginx{'-tls' if tls else ''}.conf"
    config.write_text(
        _nginx_main(
            work,
            config.stem,
            f'map $http_authorization $known {{ default 0; "Bearer {key}" 1; }}\n{servers}'
            f"server {{ {listen}\n{places} }}",
        )
    )
    process = _nginx(config, work, cores)
    process.until_open(port)
    return Gateway(
        "nginx",
        told.rpartition("/")[2].strip(),
        process,
        port,
        key=key,
        path=lambda kind: f"/{kind}/v1/chat/completions",
    )


def bare(
    work: Path, upstreams: dict[str, int], key: str, cores: str, *, tls: dict[str, Path] | None = None
) -> Gateway:
    """The floor: our own stack with nothing of the product in it (`bare.py`). tls: as for nginx."""
    (port,) = free_ports(1)
    asked: dict[str, object] = {"port": port, "key": key, "upstreams": upstreams}
    if tls:
        asked["tls"] = {name: str(path) for name, path in tls.items()}
    process = Started(
        [sys.executable, str(HERE / "bare.py"), json.dumps(asked)],
        cores=cores,
        log=work / f"bare{'-tls' if tls else ''}.log",
        # uvloop reads TLS into 256 KiB at a time. A small process gets them from the kernel and gives them back for every
        # request (58 us or 37, as it happens); one that once freed something larger, like ours, keeps them.
        environment={"MALLOC_MMAP_THRESHOLD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)},
    )
    process.until_open(port)
    versions = (f"{name} {metadata.version(name)}" for name in ("uvloop", "httptools"))
    return Gateway(
        "bare stack",
        f"Python {platform.python_version()}, {', '.join(versions)}",
        process,
        port,
        key=key,
        path=lambda kind: f"/{kind}/v1/chat/completions",
    )


def envoy(work: Path, upstreams: dict[str, int], key: str, cores: str) -> Gateway | None:
    """Envoy with its own key filter, one worker, no access log, HTTP/1.1 on both sides."""
    binary = ENV / "envoy/bin/envoy"
    if not binary.exists():
        return None
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"/(\d+\.\d+\.\d+)", told)
    (port,) = free_ports(1)
    types = "type.googleapis.com/envoy.extensions.filters"
    clusters = [
        {
            "name": kind,
            "type": "STATIC",
            "connect_timeout": "5s",
            "circuit_breakers": {
                "thresholds": [{"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}]
            },
            "load_assignment": {
                "cluster_name": kind,
                "endpoints": [
                    {
                        "lb_endpoints": [
                            {
                                "endpoint": {
                                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": at}}
                                }
                            }
                        ]
                    }
                ],
            },
        }
        for kind, at in upstreams.items()
    ]
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": f"/{kind}/"}, "route": {"cluster": kind, "timeout": "0s"}}
                        for kind in upstreams
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "key",
                "typed_config": {
                    "@type": f"{types}.http.api_key_auth.v3.ApiKeyAuth",
                    "credentials": [{"key": key, "client": "bench"}],
                    "key_sources": [{"header": "Authorization"}],
                },
            },
            {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}},
        ],
    }
    config = work / "envoy.json"
    config.write_text(
        json.dumps(
            {
                "static_resources": {
                    "listeners": [
                        {
                            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                        }
                    ],
                    "clusters": clusters,
                }
            }
        )
    )
    process = Started(
        [str(binary), "-c", str(config), "--concurrency", "1", "-l", "error", "--disable-hot-restart"],
        cores=cores,
        log=work / "envoy.log",
    )
    process.until_open(port)
    return Gateway(
        "envoy",
        found[1] if found else "?",
        process,
        port,
        key=key,
        path=lambda kind: f"/{kind}/v1/chat/completions",
    )


# Names that LiteLLM has a price for, so that its metering does what it does in earnest.
_PRICED = {"json": "gpt-4o-mini", "stream": "gpt-4o", "late": "gpt-4.1-mini", "hold": "gpt-4.1"}


def litellm(work: Path, upstreams: dict[str, int], key: str, cores: str) -> Gateway | None:
    """LiteLLM's proxy as its page on production advises: production mode, errors only in the log, one worker per core."""
    binary = ENV / "litellm/bin/litellm"
    if not binary.exists():
        return None
    told = subprocess.run(
        [
            ENV / "litellm/bin/python",
            "-c",
            "import importlib.metadata as m; print(m.version('litellm'), m.version('opentelemetry-sdk'))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    (port,) = free_ports(1)
    config = work / "litellm.yaml"
    config.write_text(
        json.dumps(
            {
                "model_list": [
                    {
                        "model_name": _PRICED[kind],
                        "litellm_params": {
                            "model": f"openai/{_PRICED[kind]}",
                            "api_base": f"http://127.0.0.1:{at}/{kind}/v1",
                            "api_key": "upstream",
                        },
                    }
                    for kind, at in upstreams.items()
                ],
                "general_settings": {
                    "master_key": f"sk-{key}",
                    "proxy_batch_write_at": 60,
                    "disable_error_logs": True,
                },
                "litellm_settings": {"request_timeout": 600, "set_verbose": False, "json_logs": True},
            }
        )
    )
    process = Started(
        [
            str(binary),
            "--config",
            str(config),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--num_workers",
            "1",
            "--telemetry",
            "False",
        ],
        cores=cores,
        log=work / "litellm.log",
        environment={
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PATH": f"{ENV / 'litellm/bin'}:{os.environ.get('PATH', '')}",
            "PYTHONPATH": "",
        },
    )
    process.until_open(port, 120)
    return Gateway(
        "litellm",
        f"{told[0]}, opentelemetry-sdk {told[1]}",
        process,
        port,
        key=f"sk-{key}",
        model=lambda kind: _PRICED[kind],
    )


def portkey(work: Path, upstreams: dict[str, int], key: str, cores: str) -> Gateway | None:
    """Portkey's gateway on Node; it has no key check of its own, so it does less than the others."""
    home = ENV / "portkey/node_modules/@portkey-ai/gateway"
    node = shutil.which("node")
    if node is None or not home.exists():
        return None
    version = json.loads((home / "package.json").read_text())["version"]
    (port,) = free_ports(1)
    process = Started(
        [node, "build/start-server.js", f"--port={port}", "--headless"],
        cores=cores,
        log=work / "portkey.log",
        directory=home,
        environment={
            "NODE_ENV": "production",
            "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost",
        },
    )
    process.until_open(port)
    return Gateway(
        "portkey",
        version,
        process,
        port,
        key=key,
        headers=lambda kind: {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{upstreams[kind]}/{kind}/v1",
        },
    )
