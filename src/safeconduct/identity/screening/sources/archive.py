"""The one file inside a ZIP archive, as chunks: bounded in size and ratio, never written to a path that the archive names."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from safeconduct.identity.screening.sources.reading import refuse

MAX_RATIO = 200
MAX_MEMBER_BYTES = 1 << 30
_SMALL = 10 << 20
_CHUNK = 256 << 10
_ENCRYPTED = 0x1
# What Python's reader raises over a damaged archive: more than it documents.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    lzma.LZMAError,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    OSError,
    ValueError,
)
MAGIC = b"PK\x03\x04"


def unpack(file: IO[bytes], *, field: str = "file", limit: int = MAX_MEMBER_BYTES) -> Iterator[bytes]:
    """The content of a ZIP archive that holds exactly one file.

    file: positioned anywhere, seekable. limit: bytes of the content. Errors: InvalidInput (several members, encrypted, damaged,
    larger than it says, or packed so tightly that it can only be meant to fill a disk).
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].is_dir():
                raise refuse(f"the archive holds {len(members)} members where one file belongs", field=field)
            (member,) = members
            if member.flag_bits & _ENCRYPTED:
                raise refuse("the archive is encrypted", field=field)
            _check_ratio(member.file_size, member.compress_size, limit, field)
            seen = 0
            with archive.open(member) as content:
                while chunk := content.read(_CHUNK):
                    seen += len(chunk)
                    # What the directory says is the packer's word only.
                    _check_ratio(seen, member.compress_size, limit, field)
                    yield chunk
            if seen != member.file_size:
                raise refuse("the archive's content is not as long as it says", field=field)
    except _DAMAGED as error:
        raise refuse(f"not a whole ZIP archive ({type(error).__name__})", field=field) from None


def _check_ratio(size: int, packed: int, limit: int, field: str) -> None:
    if size > limit:
        raise refuse(f"more than {limit:,} bytes unpacked", field=field)
    if size > _SMALL and size > MAX_RATIO * max(packed, 1):
        raise refuse(f"packed more than {MAX_RATIO} times: a ZIP bomb", field=field)
