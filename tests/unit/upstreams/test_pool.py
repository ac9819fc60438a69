"""The pool of connections to an upstream: each request gets a connection, however they arrive."""

import asyncio
import contextlib

import pytest

from safeconduct.gateway.upstream import parse_target
from safeconduct.upstreams.pool import UpstreamPool

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


class Answered:
    """A sink that knows when a head or a failure came."""

    def __init__(self):
        self.came = asyncio.get_running_loop().create_future()

    def upstream_head(self, status, headers, length):
        self.came.set_result(status)

    def upstream_data(self, data): ...

    def upstream_end(self): ...

    def upstream_failed(self, failure):
        if not self.came.done():
            self.came.set_result(failure)


@contextlib.asynccontextmanager
async def pool_to_a_server_that_never_ends_an_answer():
    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = UpstreamPool(asyncio.get_running_loop())
    port = server.sockets[0].getsockname()[1]
    try:
        yield pool, parse_target(f"http://127.0.0.1:{port}/v1")
    finally:
        pool.close()
        server.close()


@pytest.mark.parametrize("later", [1, 3])
def test_a_request_that_comes_while_another_s_connection_is_being_handed_over_gets_its_own(later):
    async def requests():
        async with pool_to_a_server_that_never_ends_an_answer() as (pool, target):
            sinks = [Answered()]
            call = pool.send(target, HEAD, b"", sinks[0])
            while call.connection is None:  # taken by its connection, while what opened that is not over
                await asyncio.sleep(0)
            for _ in range(later):
                sinks.append(Answered())
                pool.send(target, HEAD, b"", sinks[-1])
            async with asyncio.timeout(10):
                return [await sink.came for sink in sinks]

    assert asyncio.run(requests()) == [200] * (1 + later)
