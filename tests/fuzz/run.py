"""Runs fuzz targets for some seconds each: `python -m tests.fuzz.run --seconds 20`.

Two engines: atheris (coverage-guided) where it can be imported, hypothesis everywhere. An input that breaks a promise is
written to `tests/vectors/fuzz/<target>/`, from where `make test` tries it again for good; the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from tests.fuzz.mutations import mutated

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors" / "fuzz"
EXAMPLES_AT_ONCE = 200
HYPOTHESIS_SHARE = 1.0


def keep(target: str, data: bytes, directory: Path) -> Path:
    """Write an input that broke a promise. Returns its file."""
    place = directory / target
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.write_bytes(data)
    return path


def shrunk(check: Callable[[bytes], None], data: bytes) -> bytes:
    """The input without what it does not need to break the promise."""
    end = time.monotonic() + 10
    size = len(data) // 2
    while size and time.monotonic() < end:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            try:
                check(shorter)
            except Exception:  # noqa: BLE001 - it still breaks
                data = shorter
            else:
                at += size
        size //= 2
    return data


def with_hypothesis(name: str, seconds: float, directory: Path, *, seed: int | None = None) -> int:
    """Fuzz one target; 0 or 1. Prints what was found, shrunk, and the seed that finds it again."""
    from hypothesis import HealthCheck, Phase, given, settings  # noqa: PLC0415 - the other engine does without
    from hypothesis import seed as seeded  # noqa: PLC0415
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    target = TARGETS[name]
    last = b""
    tried = 0
    end = time.monotonic() + seconds
    number = secrets.randbits(32) if seed is None else seed

    def check(data: bytes) -> None:
        nonlocal last, tried
        last = data
        tried += 1
        target.check(data)

    random = Random(number)
    while time.monotonic() < end:
        # Most inputs come from plain mutation, which costs next to nothing; hypothesis adds its own, and shrinks.
        rest = time.monotonic() + 3 * HYPOTHESIS_SHARE
        while time.monotonic() < min(rest, end):
            data = mutated(random, target.seeds, target.words)
            try:
                check(data)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                path = keep(name, shrunk(target.check, data), directory)
                print(f"{name}: {type(error).__name__}: {error}\n  input {path}")
                return 1
        once = settings(
            max_examples=EXAMPLES_AT_ONCE,
            database=None,
            deadline=None,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )(given(target.strategy)(check))
        try:
            seeded(number)(once)()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            path = keep(name, last, directory)
            print(
                f"{name}: {type(error).__name__}: {error}\n  input {path}\n  again with --target {name} --seed {number}"
            )
            return 1
        number += 1
    print(f"{name}: {tried} inputs in {seconds:.0f} s, no promise broken (hypothesis)")
    return 0


def with_atheris(name: str, seconds: float, directory: Path) -> int:
    """Fuzz one target, guided by what of the product its inputs reach. Does not return: libFuzzer ends the process."""
    import atheris  # type: ignore[import-not-found]  # noqa: PLC0415

    with atheris.instrument_imports(include=["safeconduct"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        words = Path(corpus) / "words"
        escaped = ["".join(f"\\x{byte:02x}" for byte in word) for word in target.words if word]
        words.write_text("".join(f'"{word}"\n' for word in escaped))

        def check(data: bytes) -> None:
            try:
                target.check(data)
            except Exception:
                path = keep(name, data, directory)
                print(f"{name}: input {path}", flush=True)
                raise

        arguments = [sys.argv[0], f"-max_total_time={max(1, int(seconds))}", "-max_len=65536", "-verbosity=0"]
        atheris.Setup(
            [*arguments, f"-dict={words}", "-print_final_stats=1", "-artifact_prefix=/dev/null", corpus],
            check,
        )
        atheris.Fuzz()
    return 0


def main() -> int:
    """See the module."""
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    parser = argparse.ArgumentParser(description="Fuzz what reads bytes of strangers.")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each target")
    parser.add_argument(
        "--target", action="append", choices=sorted(TARGETS), help="only this one (may be repeated)"
    )
    parser.add_argument("--engine", choices=("auto", "atheris", "hypothesis"), default="auto")
    parser.add_argument("--seed", type=int, help="of the first round of hypothesis")
    parser.add_argument("--vectors", type=Path, default=VECTORS, help="where findings are written")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.target or sorted(TARGETS)
    engine = given.engine
    if engine == "auto":
        engine = "atheris" if importlib.util.find_spec("atheris") else "hypothesis"
    if given.child:
        if engine == "atheris":
            return with_atheris(names[0], given.seconds, given.vectors)
        return with_hypothesis(names[0], given.seconds, given.vectors, seed=given.seed)

    def run(name: str) -> tuple[str, int, str]:
        command = [sys.executable, "-m", "tests.fuzz.run", "--child", "--engine", engine, "--target", name]
        command += ["--seconds", str(given.seconds), "--vectors", str(given.vectors.absolute())]
        if given.seed is not None:
            command += ["--seed", str(given.seed)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return name, done.returncode, done.stdout + (done.stderr if done.returncode else "")

    found = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for name, status, said in pool.map(run, names):
            if status:
                found.append(name)
                print(said.rstrip()[-4000:])
            else:
                print(said.rstrip() or f"{name}: {given.seconds:.0f} s, no promise broken ({engine})")
    if found:
        print(f"promises were broken: {', '.join(found)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
