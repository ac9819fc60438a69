"""Use case: count what a request uses against its quotas, before it goes out and when it is over.

Refuses to let the clock go back: a window that was left is not opened again.
"""

from __future__ import annotations

from collections.abc import Callable

from safeconduct.gateway.quota_ledger import Held, QuotaLedger
from safeconduct.gateway.quotas import Bill, used_by
from safeconduct.kernel.clock import Clock


class UseCounter:
    """One node's. Used from its event loop's thread."""

    def __init__(self, ledger: QuotaLedger, clock: Clock) -> None:
        self.ledger = ledger
        self._clock = clock
        self._latest = 0

    def now(self) -> int:
        """Milliseconds since the epoch, never less than before."""
        self._latest = max(self._latest, int(self._clock.now() * 1000))
        return self._latest

    def reserve(self, bill: Bill, done: Callable[[Held | None], None]) -> None:
        """Charge it; see `QuotaLedger.reserve`."""

        def answered(held: Held | None) -> None:
            bill.held = held if held is not None and held.admitted else None
            done(held)

        self.ledger.reserve(bill.charges, self.now(), answered)

    def settle(
        self,
        bill: Bill,
        *,
        sent: bool,
        whole: bool = False,
        failed: bool = False,
        tokens_in: int | None = None,
        tokens_out: int | None = None,
    ) -> str | None:
        """Charge what it turned out to be (`gateway.quotas.used_by`), once; the word for it."""
        held, bill.held = bill.held, None
        if held is None:
            return None
        amounts, word = used_by(
            bill, sent=sent, whole=whole, failed=failed, tokens_in=tokens_in, tokens_out=tokens_out
        )
        if any(amount != charge.amount for amount, charge in zip(amounts, bill.charges, strict=True)):
            self.ledger.settle(bill.charges, held, amounts, self.now())
        return word
