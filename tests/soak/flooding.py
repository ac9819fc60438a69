"""A million bad credentials at the use case, from thousands of addresses over twenty minutes: what they add to all logs.

`python tests/soak/flooding.py [--count N]`; the instance is a real one in a temporary directory, its clock simulated. Exits
1 when more than a megabyte was added, or when a revocation does not commit afterwards.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.progress import Progress  # noqa: E402
from tests.support.bad_credentials import bad_credential  # noqa: E402
from tests.support.instances import make_instance  # noqa: E402

from safeconduct.app.decision_log import DecisionLog  # noqa: E402
from safeconduct.app.enforce_request import GatewayNode  # noqa: E402
from safeconduct.app.node_settings import NodeSettings  # noqa: E402
from safeconduct.app.verify_credential import CredentialVerifier  # noqa: E402
from safeconduct.decision.cache import DecisionCache  # noqa: E402
from safeconduct.gateway.http_messages import Head  # noqa: E402
from safeconduct.kernel.errors import VerificationFailed  # noqa: E402
from safeconduct.kernel.vocabulary import PassportStatus  # noqa: E402
from safeconduct.passport.dpop import ReplayMemory  # noqa: E402
from safeconduct.record.events import PassportStatusChanged  # noqa: E402

ALLOWED = 1_000_000
SOURCES = 6_000
A_MINUTE = 50_000


def bytes_under(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def run(directory: Path, count: int) -> int:
    embedded = make_instance(directory)
    opened, instance = embedded.opened, embedded.opened.instance
    decisions = DecisionLog(opened.decision_log, instance.vault, embedded.clock, node="gateway")
    key = instance.keys.signer("token").verifying_key()
    node = GatewayNode(
        NodeSettings(name="gateway", base_url="http://gateway.test", pseudonym_key=b"p" * 32, sandbox=False),
        state=instance.record.state,
        clock=embedded.clock,
        verifier=CredentialVerifier(
            instance.record,
            instance.vault,
            issuer=instance.issuer,
            audience=instance.audience,
            token_keys=lambda kid: key if kid == key.kid else None,
            replays=ReplayMemory(),
            profile=instance.profile,
            loopback=True,
        ),
        decide=DecisionCache().decide,
        decisions=decisions,
        vault=instance.vault,
    )
    before, entries, began = bytes_under(directory), opened.decision_log.size, time.perf_counter()
    with Progress(transient=True) as progress:
        task = progress.add_task("bad credentials", total=count)
        for number in range(count):
            head = Head()
            head.method, head.path = b"POST", b"/v1/chat/completions"
            head.headers[b"authorization"] = b"Bearer " + bad_credential(number).encode()
            source = f"2001:db8::{number % SOURCES:x}"
            try:
                node.authenticate(head, source)
            except VerificationFailed as failure:
                decisions.failed_authentication(source, failure.code, embedded.now)
            else:
                print(f"credential {number} was accepted")
                return 1
            if number % A_MINUTE == A_MINUTE - 1:
                embedded.clock.move_to(embedded.clock.now() + 60)
                node.tick()
                progress.update(task, completed=number + 1)
    decisions.flush(embedded.now, force=True)
    seconds, written = time.perf_counter() - began, opened.decision_log.size - entries
    # What revokes still commits.
    position = instance.record.state.position
    instance.record.commit(
        [
            PassportStatusChanged(
                passport="nobody",
                status=PassportStatus.INVALID,
                cause="soak",
                by="adjudicator",
                at=embedded.now,
            )
        ]
    )
    committed = instance.record.state.position == position + 1
    embedded.close()
    added = bytes_under(directory) - before
    print(
        f"{count:,} bad credentials from {SOURCES:,} addresses in {seconds:.1f} s: {written} entries,"
        f" {added:,} bytes added to all logs (at most {ALLOWED:,}); a revocation afterwards"
        f" {'committed' if committed else 'FAILED'}"
    )
    return 0 if added < ALLOWED and committed else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="safeconduct-soak-") as name:
        return run(Path(name), options.count)


if __name__ == "__main__":
    sys.exit(main())
