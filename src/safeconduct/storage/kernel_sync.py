"""fdatasync without a thread that waits for it: the kernel's asynchronous I/O (io_submit(2), IOCB_CMD_FDSYNC), told by an eventfd(2).

Owns one kernel context with one request at most under way. Refuses to pretend: where the machine, the file system or a
sandbox does not offer this, `open_kernel_sync` gives None and the caller keeps its thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Protocol, cast

from safeconduct.audit.files import LogFile

# System call numbers of io_setup, io_destroy, io_submit, io_getevents; glibc has no wrappers for them.
_NUMBERS = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)}
_FDSYNC = 3
_RESFD = 1
# struct iocb of linux/aio_abi.h on a little-endian machine: data, key, rw_flags, opcode, priority, descriptor, buffer, length,
# offset, reserved, flags, eventfd.
_IOCB = struct.Struct("<QIIHhIQQqQII")
_EVENT = struct.Struct("<QQqq")


class OpenFile(Protocol):
    """Anything with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


class KernelSync:
    """Implements `audit.files.BackgroundSync` for files with a descriptor."""

    def __init__(self, numbers: tuple[int, int, int, int]) -> None:
        # PyDLL keeps the interpreter: none of these calls waits, but for `finished(wait=True)`, which is for shutting down.
        self._call = ctypes.PyDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        _, self._destroy, self._submit, self._events = map(ctypes.c_long, numbers)
        self._context = ctypes.c_ulong(0)
        self._event = ctypes.create_string_buffer(_EVENT.size)
        self._request = ctypes.create_string_buffer(_IOCB.size)
        self._requests = (ctypes.c_void_p * 1)(ctypes.addressof(self._request))
        self._one = ctypes.c_long(1)
        self._none = ctypes.c_long(0)
        self._prepared = -1
        self._running = False
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._checked(self._call(ctypes.c_long(numbers[0]), self._one, ctypes.byref(self._context)))
        except OSError:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        """Readable when what was started has finished."""
        return self._fd

    def start(self, file: LogFile) -> None:
        """Begin to make what was written to `file` durable. Raises OSError."""
        assert not self._running
        descriptor = cast(OpenFile, file).fileno()
        if descriptor != self._prepared:
            self._request.raw = _IOCB.pack(0, 0, 0, _FDSYNC, 0, descriptor, 0, 0, 0, 0, _RESFD, self._fd)
            self._prepared = descriptor
        self._checked(self._call(self._submit, self._context, self._one, self._requests))
        self._running = True

    def finished(self, *, wait: bool = False) -> bool:
        """True once what was started is durable. Raises OSError when it never will be."""
        if not self._running:
            return True
        least = self._one if wait else self._none
        while True:
            try:
                got = self._checked(
                    self._call(self._events, self._context, least, self._one, self._event, None)
                )
            except InterruptedError:
                continue
            break
        if not got:
            return False
        self._running = False
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        result = _EVENT.unpack(self._event.raw)[2]
        if result:
            raise OSError(-result, os.strerror(-result))
        return True

    def close(self) -> None:
        """Give the context back; waits for what is under way."""
        if self._fd >= 0:
            self._call(self._destroy, self._context)
            os.close(self._fd)
            self._fd = -1

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def open_kernel_sync(probe: LogFile) -> KernelSync | None:
    """One that works for files like `probe`, which is synced once to find out; None where there is no such thing. Raises OSError
    when the sync itself failed.
    """
    numbers = _NUMBERS.get(platform.machine())
    if sys.platform != "linux" or numbers is None or sys.byteorder != "little":
        return None
    try:
        sync = KernelSync(numbers)
    except OSError:
        return None
    try:
        sync.start(probe)
        sync.finished(wait=True)
    except OSError as error:
        sync.close()
        if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP, errno.EAGAIN):
            return None
        raise
    return sync
