"""What parts of a request cost by themselves, timed in the same run as the whole."""

from __future__ import annotations

import hmac
import os
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec


def fdatasync_us(directory: Path) -> float:
    """Median of one durable append of 1,500 bytes, the size of a decision's frame, on the disk the logs are on."""
    waits = []
    descriptor = os.open(directory / "sync", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(60):
            start = time.perf_counter()
            os.write(descriptor, b"x" * 1500)
            os.fdatasync(descriptor)
            waits.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
    return sorted(waits)[len(waits) // 2] * 1e6


def es256_us() -> float:
    """CPU of one ES256 verification, median of batches, by the library that the gateway uses."""
    key = ec.generate_private_key(ec.SECP256R1())
    text, algorithm = b"x" * 400, ec.ECDSA(hashes.SHA256())
    signature, public = key.sign(text, algorithm), key.public_key()
    times = []
    for _ in range(9):
        start = time.process_time()
        for _ in range(300):
            public.verify(signature, text, algorithm)
        times.append((time.process_time() - start) / 300)
    return sorted(times)[4] * 1e6


def hmac_us(size: int) -> float:
    """CPU of one HMAC-SHA-256 over a body of `size` bytes, median: a request's digest stands in its entry."""
    body, times = b"x" * size, []
    for _ in range(9):
        start = time.process_time()
        for _ in range(100):
            hmac.new(b"k" * 32, body, "sha256").digest()
        times.append((time.process_time() - start) / 100)
    return sorted(times)[4] * 1e6
