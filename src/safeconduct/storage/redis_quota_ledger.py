"""Quotas counted in a Redis or Valkey, exact across gateways on many machines.

Implements `gateway.quota_ledger.QuotaLedger`. One script does a whole reservation, so no gateway ever sees half of one. The
time is the server's own, so that the machines' clocks need not agree. Calls are collected and sent together: one round trip
for all that wait, off the request's path. What cannot be asked in time is denied by the caller, and what cannot be given
back counts until its window is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from safeconduct.gateway.quota_ledger import Charge, Held
from safeconduct.kernel.errors import SafeconductError

SECONDS = 0.5
"""How long a reservation may take: a request that waits for longer is denied."""
AT_ONCE = 256
MAX_WAITING = 10_000

# A counter is a hash of buckets; `n` is the newest, so that a clock set back opens no new window. Redis counts in doubles
# only where a script adds: sums stay below 2^53 because limits and amounts are bounded by 10^15.
_PRESENT = """
local function present(now, width, span, key)
  local bucket = math.floor(now / width)
  local newest = tonumber(redis.call('HGET', key, 'n') or '-1')
  if newest > bucket then return newest end
  if bucket > newest then
    if newest >= 0 then
      for _, name in ipairs(redis.call('HKEYS', key)) do
        if name ~= 'n' and tonumber(name) <= bucket - span then redis.call('HDEL', key, name) end
      end
    end
    redis.call('HSET', key, 'n', string.format('%d', bucket))
  end
  return bucket
end
local function sum(key)
  local total = 0
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if all[i] ~= 'n' then total = total + tonumber(all[i + 1]) end
  end
  return total
end
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
"""

_RESERVE = (
    _PRESENT
    + """
local admitted = 1
local answer = {0}
local buckets = {}
for i, key in ipairs(KEYS) do
  local at = 2 + (i - 1) * 4
  local amount, limit = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  buckets[i] = present(now, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), key)
  local used = sum(key)
  answer[#answer + 1] = used
  if used + amount > limit then admitted = 0 end
end
for i, key in ipairs(KEYS) do
  local at = 2 + (i - 1) * 4
  local width, span = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if admitted == 1 then
    redis.call('HINCRBY', key, string.format('%d', buckets[i]), ARGV[at])
    answer[#answer + 1] = buckets[i]
  end
  redis.call('PEXPIRE', key, string.format('%d', width * (span + 1)))
end
answer[1] = admitted
return answer
"""
)

_SETTLE = (
    _PRESENT
    + """
for i, key in ipairs(KEYS) do
  local at = 2 + (i - 1) * 4
  local more, bucket = tonumber(ARGV[at]), ARGV[at + 1]
  local width, span = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if more > 0 then
    redis.call('HINCRBY', key, string.format('%d', present(now, width, span, key)), ARGV[at])
    redis.call('PEXPIRE', key, string.format('%d', width * (span + 1)))
  elseif more < 0 then
    local known = tonumber(redis.call('HGET', key, bucket) or '0')
    if known > 0 then redis.call('HSET', key, bucket, string.format('%d', math.max(0, known + more))) end
  end
end
return 1
"""
)

_USED = (
    _PRESENT
    + """
local answer = {}
for i, key in ipairs(KEYS) do
  local at = 2 + (i - 1) * 2
  local width, span = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local bucket = math.max(math.floor(now / width), tonumber(redis.call('HGET', key, 'n') or '0'))
  local total = 0
  local all = redis.call('HGETALL', key)
  for j = 1, #all, 2 do
    if all[j] ~= 'n' and tonumber(all[j]) > bucket - span then total = total + tonumber(all[j + 1]) end
  end
  answer[i] = total
end
return answer
"""
)

_Job = tuple[str, list[str], list[str], Callable[[Any], None]]


class LedgerAway(SafeconductError):
    """The Redis or Valkey that counts use does not answer."""

    kind = "ledger_away"


class RedisQuotaLedger:
    """Counters in the server at `url`. `reserve` and `settle` belong to one event loop; `used` may be called anywhere.

    prefix: of every key; the braces keep the keys of one script together in a cluster. own_clock: use the `now` that is
    given instead of the server's time (tests).
    """

    def __init__(self, url: str, *, prefix: str = "{safeconduct-quota}", own_clock: bool = False) -> None:
        self._url = url
        self._prefix = prefix
        self._own_clock = own_clock
        self._client = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            # A reservation that was sent twice would be charged twice.
            retry=Retry(NoBackoff(), 0),
        )
        self._waiting: deque[_Job] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    def reserve(self, charges: Sequence[Charge], now: int, done: Callable[[Held | None], None]) -> None:
        """See `QuotaLedger`."""
        arguments = [self._time(now)]
        for charge in charges:
            arguments += (str(charge.amount), str(charge.limit), str(charge.width), str(charge.span))
        count = len(charges)

        def answered(answer: Any) -> None:
            if not isinstance(answer, list):
                done(None)
                return
            numbers = [int(one) for one in answer]
            done(
                Held(
                    admitted=numbers[0] == 1,
                    used=tuple(numbers[1 : count + 1]),
                    buckets=tuple(numbers[count + 1 :]),
                )
            )

        self._ask((_RESERVE, self._keys(charges), arguments, answered))

    def settle(self, charges: Sequence[Charge], held: Held, amounts: Sequence[int], now: int) -> None:
        """See `QuotaLedger`."""
        arguments = [self._time(now)]
        for charge, bucket, amount in zip(charges, held.buckets, amounts, strict=True):
            arguments += (str(amount - charge.amount), str(bucket), str(charge.width), str(charge.span))
        self._ask((_SETTLE, self._keys(charges), arguments, lambda _answer: None))

    def used(self, charges: Sequence[Charge], now: int) -> list[int]:
        """See `QuotaLedger`. Raises LedgerAway."""
        arguments = [self._time(now)]
        for charge in charges:
            arguments += (str(charge.width), str(charge.span))
        try:
            with redis.Redis.from_url(
                self._url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS
            ) as client:
                keys = self._keys(charges)
                answer: Any = client.eval(_USED, len(keys), *keys, *arguments)
        except (redis.RedisError, OSError):
            raise LedgerAway("the server that counts use does not answer", remedy="look after it") from None
        return [int(one) for one in answer]

    def close(self) -> None:
        """See `QuotaLedger`. What is on its way is given up."""
        self._waiting.clear()
        if self._sending is not None:
            self._sending.cancel()
        with contextlib.suppress(
            RuntimeError
        ):  # no loop runs: nothing was opened on it that still could be closed
            self._closing = asyncio.get_running_loop().create_task(self._client.aclose())

    def _time(self, now: int) -> str:
        return str(now) if self._own_clock else "0"

    def _keys(self, charges: Sequence[Charge]) -> list[str]:
        return [f"{self._prefix}:{charge.counter.hex()}" for charge in charges]

    def _ask(self, job: _Job) -> None:
        if len(self._waiting) >= MAX_WAITING:
            job[3](None)
            return
        self._waiting.append(job)
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._waiting:
                jobs = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
                for (_, _, _, answered), answer in zip(jobs, await self._answers(jobs), strict=True):
                    try:
                        answered(answer)
                    except Exception as error:  # noqa: BLE001 - one that fails must not keep the others waiting
                        asyncio.get_running_loop().call_exception_handler(
                            {"message": "a reservation could not be followed", "exception": error}
                        )
        finally:
            self._sending = None

    async def _answers(self, jobs: Sequence[_Job]) -> list[Any]:
        """What the server says to each, None where it says nothing that helps."""
        pipeline = self._client.pipeline(transaction=False)
        for script, keys, arguments, _ in jobs:
            pipeline.eval(script, len(keys), *keys, *arguments)
        try:
            async with asyncio.timeout(SECONDS):
                answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (redis.RedisError, OSError, TimeoutError):
            return [None] * len(jobs)
        return [None if isinstance(answer, Exception) else answer for answer in answers]
