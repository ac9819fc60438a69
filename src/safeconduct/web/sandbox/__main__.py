"""`python -m safeconduct.web.sandbox [--host H] [--port P]`: the sandbox provider on its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from safeconduct.web.sandbox.server import SandboxServer


async def _serve(host: str, port: int) -> None:
    server = SandboxServer()
    await server.start(host, port)
    sys.stdout.write(f"sandbox provider (no real model) on http://{host}:{server.port}/v1\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m safeconduct.web.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8790)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.host, options.port))


if __name__ == "__main__":
    main()
