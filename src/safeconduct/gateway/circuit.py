"""Circuits: what a gateway has lately seen of each deployment, so that one that is away is not asked by everybody.

Owns the rolling rate of failures, the breaking and the probes that mend it. Sans-I/O: time (the loop's clock, in seconds)
and randomness are given. Each process has its own: nothing of it is shared, and nothing of it permits anything.

closed --(enough requests, half of them failed)--> open --(a while, longer each time)--> half open: a probe at a time
half open --(probes succeed)--> closed; --(one fails)--> open
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from safeconduct.kernel.ids import DeploymentId


class CircuitLimits(msgspec.Struct, frozen=True):
    """window_seconds: over which failures are counted. least: requests without which nothing breaks. rate: of failures.

    open_seconds: until the first probe; doubled each time one fails, up to longest_seconds. probes: that must succeed.
    retry_share: retries allowed for each request, on average. retry_burst: how many may be saved up.
    """

    window_seconds: float = 20.0
    least: int = 5
    rate: float = 0.5
    open_seconds: float = 5.0
    longest_seconds: float = 60.0
    probes: int = 2
    retry_share: float = 0.1
    retry_burst: float = 10.0


Uniform = Callable[[float, float], float]


class Circuit:
    """One deployment's. `enter` comes before each request, then exactly one of `succeeded`, `failed` and `left`."""

    __slots__ = (
        "_failed",
        "_half",
        "_limits",
        "_name",
        "_ok",
        "_old_failed",
        "_old_ok",
        "_opened",
        "_owner",
        "_probed",
        "_probing",
        "_share",
        "_tokens",
        "open_until",
    )

    def __init__(self, owner: Circuits, name: DeploymentId) -> None:
        self._owner = owner
        self._name = name
        self._limits = owner.limits
        self._half = 0.0
        self._ok = self._failed = self._old_ok = self._old_failed = 0
        self._opened = 0
        self._probing = False
        self._probed = 0
        self._tokens = owner.limits.retry_burst
        self._share = owner.limits.retry_share
        self.open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether requests are kept away, but for probes."""
        return self._opened > 0

    def is_due(self, now: float) -> bool:
        """Whether a probe may go."""
        return self._opened > 0 and not self._probing and now >= self.open_until

    def enter(self, now: float) -> bool:
        """Whether a request may be sent."""
        if not self._opened:
            self._tokens += self._share
            return True
        if now < self.open_until or self._probing:
            return False
        self._probing = True
        self._owner.keep_away(self._name)
        return True

    def may_retry(self) -> bool:
        """Take one retry out of the budget, when there is one: a provider in trouble is not asked much more than usual."""
        tokens = min(self._tokens, self._limits.retry_burst)
        if tokens < 1.0 or self._opened:
            return False
        self._tokens = tokens - 1.0
        return True

    def succeeded(self, now: float) -> None:
        """It answered."""
        if self._opened:
            if not self._probing:
                return
            self._probing = False
            self._probed += 1
            if self._probed >= self._limits.probes:
                self._close(now)
            return
        if now >= self._half:
            self._turn(now)
        self._ok += 1

    def failed(self, now: float) -> None:
        """It could not be reached, gave no answer, or said that it is in trouble."""
        if self._opened:
            if self._probing:
                self._probing = False
                self._break(now)
            return
        if now >= self._half:
            self._turn(now)
        self._failed += 1
        failed = self._failed + self._old_failed
        if failed >= self._limits.least and failed >= self._limits.rate * (failed + self._ok + self._old_ok):
            self._break(now)

    def left(self) -> None:
        """Nothing was learned: the client went before there was an answer."""
        self._probing = False

    def _turn(self, now: float) -> None:
        # Two halves make the window: what is older than one and a half of its length is forgotten, at the latest.
        half = self._limits.window_seconds / 2
        fresh = now >= self._half + half
        self._old_ok, self._old_failed = (0, 0) if fresh else (self._ok, self._failed)
        self._ok = self._failed = 0
        self._half = now + half

    def _break(self, now: float) -> None:
        limits = self._limits
        seconds = min(limits.open_seconds * 2**self._opened, limits.longest_seconds)
        # Spread, so that gateways do not come back to a provider all at the same moment.
        self.open_until = now + self._owner.uniform(seconds / 2, seconds)
        self._opened = min(self._opened + 1, 16)
        self._probed = 0
        self._owner.keep_away(self._name)

    def _close(self, now: float) -> None:
        self._opened = 0
        self._ok = self._failed = self._old_ok = self._old_failed = 0
        self._half = now + self._limits.window_seconds / 2
        self._owner.let_near(self._name)


class Circuits:
    """Those of all deployments.

    open: deployments to ask last; empty while all is well. One whose probe is due leaves it until the probe is on its way.
    epoch: another number after each change of `open`.
    """

    def __init__(self, uniform: Uniform, limits: CircuitLimits | None = None) -> None:
        self.limits = limits or CircuitLimits()
        self.uniform = uniform
        self.open: set[DeploymentId] = set()
        self.epoch = 0
        self._known: dict[DeploymentId, Circuit] = {}

    def of(self, deployment: DeploymentId) -> Circuit:
        """The deployment's circuit."""
        circuit = self._known.get(deployment)
        if circuit is None:
            circuit = self._known[deployment] = Circuit(self, deployment)
        return circuit

    def keep_away(self, deployment: DeploymentId) -> None:
        """Ask others first."""
        if deployment not in self.open:
            self.open.add(deployment)
            self.epoch += 1

    def let_near(self, deployment: DeploymentId) -> None:
        """Ask it in its turn."""
        if deployment in self.open:
            self.open.discard(deployment)
            self.epoch += 1

    def tick(self, now: float) -> None:
        """A few times a second: let a request near each deployment whose probe is due."""
        for deployment in [one for one in self.open if self._known[one].is_due(now)]:
            self.let_near(deployment)

    def forget(self, deployment: DeploymentId) -> None:
        """The deployment is no more."""
        self._known.pop(deployment, None)
        self.let_near(deployment)
