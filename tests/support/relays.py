"""A TCP relay on loopback that delays, holds back or cuts what goes through it."""

from __future__ import annotations

import asyncio
import threading

KEPT = 1 << 20


class Relay:
    """Relays to `host:port`. delay: seconds added in each direction. seen: the last bytes that went through, both ways."""

    def __init__(self, host, port, *, delay=0.0):
        self.host = host
        self.target = port
        self.delay = delay
        self.seen = bytearray()
        self._cut = False
        self._held = False
        self._writers = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self):
        self._thread.start()
        self._server = self._call(self._listen())
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def stop(self):
        self.cut()
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self):
        """Drop every connection and take no new one, until `heal`."""
        self._cut = True
        self._call(self._drop())

    def hold(self):
        """Keep connections, pass nothing on, until `heal`."""
        self._held = True

    def heal(self):
        self._cut = self._held = False

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self):
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _close(self):
        self._server.close()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    async def _drop(self):
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader, writer):
        if self._cut:
            writer.transport.abort()
            return
        try:
            if self.delay:
                # What a handshake over such a distance costs.
                await asyncio.sleep(2 * self.delay)
            far_reader, far_writer = await asyncio.open_connection(self.host, self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            for one in (writer, far_writer):
                self._writers.discard(one)
                one.transport.abort()

    async def _pass(self, reader, writer):
        queue = asyncio.Queue()
        feeding = asyncio.create_task(self._feed(queue, writer))
        try:
            while data := await reader.read(65536):
                self.seen += data
                del self.seen[:-KEPT]
                queue.put_nowait((self._loop.time() + self.delay, data))
        except OSError:
            pass
        queue.put_nowait((self._loop.time() + self.delay, b""))
        await feeding

    async def _feed(self, queue, writer):
        try:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                while self._held:
                    await asyncio.sleep(0.02)
                if not data:
                    writer.transport.abort() if writer.transport.is_closing() else writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            return
