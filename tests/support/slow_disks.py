"""A log's disk that is slow or full on demand, whichever way its bytes become durable."""

from __future__ import annotations

import threading
import time

from safeconduct.storage.kernel_sync import KernelSync
from safeconduct.storage.log_files import AppendFile, FileLogDirectory

WAYS = ("thread", "loop")


class Disk:
    """Nothing becomes durable while `gate` is closed; once `failing`, nothing does any more."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.failing = False

    def attach(self, monkeypatch, way: str) -> None:
        """way: `thread` when a log's own thread writes, `loop` when an event loop drives it."""
        monkeypatch.setattr(AppendFile, "sync", self._held(AppendFile.sync))
        monkeypatch.setattr(AppendFile, "write_through", self._held(AppendFile.write_through))
        if way == "thread":
            monkeypatch.setattr(FileLogDirectory, "background_sync", lambda directory, file: None)
            return
        finished = KernelSync.finished

        def held(sync, *, wait=False):
            if wait:
                self.gate.wait(10)
            if not self.gate.is_set():
                time.sleep(0.005)  # its descriptor stays readable: it is asked again at once
                return False
            if self.failing:
                raise full()
            return finished(sync, wait=wait)

        monkeypatch.setattr(KernelSync, "finished", held)

    def _held(self, durably):
        def held(file, *arguments):
            self.gate.wait(10)
            if self.failing:
                raise full()
            return durably(file, *arguments)

        return held


def full() -> OSError:
    return OSError(28, "No space left on device")
