"""Rolling windows in Redis: one script per decision, timed by Redis and by nothing else.

Stores: `{prefix}{user_id}:{window_start_ms}`, HASH of at most 60 request and 60 token buckets
(`r<W>:<bucket>`, `t<W>:<bucket>`, W in ms), ends two windows after its start; and
`{prefix}{user_id}:inflight`, ZSET of operations by the end of their lease, TTL two leases.
A bucket of the previous window counts whole until the same bucket of this one has passed.
The caller guesses the window, since keys are declared; the script checks the guess.
Source: DESIGN.md, section 3.2; stripe-redis-breakers-providers.md, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmhive.app.adapters.redis_keys import in_flight_key, override_key, window_key
from llmhive.app.adapters.redis_lane import Word
from llmhive.app.adapters.redis_link import LuaScript, RedisBusyError, RedisLink
from llmhive.app.clock import Clock
from llmhive.app.errors import CapacityError, DependencyError
from llmhive.app.limits.model import Decision, Demand, Limit, LimitConfig, Past, Settlement
from llmhive.app.limits.ports import WindowStoreError

# A wrong guess is told the right window; three in a row mean a clock that nobody can follow.
GUESSES = 3
WRONG_WINDOW = -1
# The keys and the arguments of a script, for a guessed window.
_Asked = tuple[tuple[str, ...], tuple[Word, ...]]
REFUSALS = {0: None, 1: Limit.REQUESTS, 2: Limit.TOKENS, 3: Limit.IN_FLIGHT}

# TIME advances inside a script before Redis 7.2, so it is read once.
TIME = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function ms(number) return string.format('%.0f', number) end
"""

# KEYS this window, the previous one, in flight, the operator's override
# ARGV W, this window's start, requests, tokens, in flight, cost in tokens, operation, lease
# Gives now, verdict, requests, tokens, wait, reset of requests, reset of tokens, bucket, and
# the limit of requests that counted: a number by hand stands above the caller's.
ADMIT = LuaScript(
    TIME
    + """
local W, start = tonumber(ARGV[1]), tonumber(ARGV[2])
if now - now % W ~= start then return {now, -1} end
local index = math.floor((now - start) * 60 / W)
local names = {['r' .. ARGV[1] .. ':'] = 1, ['t' .. ARGV[1] .. ':'] = 2}
local width = #ARGV[1] + 2
local sums, buckets, oldest = {0, 0}, {{}, {}}, {120, 120}

-- Buckets are numbered from the start of the previous window: 0 to 59, 60 to 119.
local function count(key, first, shift)
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local kind = names[string.sub(fields[i], 1, width)]
    local bucket = kind and tonumber(string.sub(fields[i], width + 1))
    if bucket and bucket >= first then
      local value = tonumber(fields[i + 1])
      sums[kind] = sums[kind] + value
      buckets[kind][bucket + shift] = value
      if value > 0 then oldest[kind] = math.min(oldest[kind], bucket + shift) end
    end
  end
end
count(KEYS[2], index, 0)
count(KEYS[1], 0, 60)

-- How long until a bucket leaves: all of it is older than W then.
local function leaves(bucket)
  if bucket == 120 then return W end
  return math.ceil(start + (bucket + 1) * W / 60) - now
end
-- How long until at least `excess` have left.
local function wait(kind, excess)
  for bucket = oldest[kind], 119 do
    excess = excess - (buckets[kind][bucket] or 0)
    if excess <= 0 then return leaves(bucket) end
  end
  return W
end

local cost, lease, limit = tonumber(ARGV[6]), tonumber(ARGV[8]), tonumber(ARGV[3])
local override = redis.pcall('HGET', KEYS[4], 'requests_per_min')
if type(override) == 'string' and #override < 10 and string.find(override, '^%d+$') then
  override = tonumber(override)
  limit = math.max(math.min(override, 1), math.floor(override * W / 60000))
end
local verdict, longest = 0, 0
-- Leases that end later than any given now are of a clock that stepped back.
local live = redis.call('ZCOUNT', KEYS[3], '(' .. ms(now), ms(now + 2 * lease))
if live >= tonumber(ARGV[5]) then verdict, longest = 3, 1000 end
local excess = sums[2] + cost - tonumber(ARGV[4])
if excess > 0 then verdict, longest = 2, math.max(longest, wait(2, excess)) end
excess = sums[1] + 1 - limit
if excess > 0 then verdict, longest = 1, math.max(longest, wait(1, excess)) end

if verdict == 0 then
  sums = {sums[1] + 1, sums[2] + cost}
  oldest[1] = math.min(oldest[1], 60 + index)
  redis.call('HINCRBY', KEYS[1], 'r' .. ARGV[1] .. ':' .. index, 1)
  if cost > 0 then
    oldest[2] = math.min(oldest[2], 60 + index)
    redis.call('HINCRBY', KEYS[1], 't' .. ARGV[1] .. ':' .. index, cost)
  end
  redis.call('PEXPIREAT', KEYS[1], ms(start + 2 * W))
  if redis.call('ZCARD', KEYS[3]) > live then
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ms(now))
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '(' .. ms(now + 2 * lease), '+inf')
  end
  redis.call('ZADD', KEYS[3], ms(now + lease), ARGV[7])
  redis.call('PEXPIRE', KEYS[3], ms(2 * lease))
end
return {now, verdict, sums[1], sums[2], longest, leaves(oldest[1]), leaves(oldest[2]), index, limit}
"""
)

# KEYS the reserving window, this window, in flight
# ARGV W, this window's start, operation, surplus, reserving window's start, reserving bucket
# Gives now and a verdict.
SETTLE = LuaScript(
    TIME
    + """
local W, start, surplus = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
if surplus > 0 and now - now % W ~= start then return {now, -1} end
redis.call('ZREM', KEYS[3], ARGV[3])
if surplus > 0 then
  local index = math.floor((now - start) * 60 / W)
  redis.call('HINCRBY', KEYS[2], 't' .. ARGV[1] .. ':' .. index, surplus)
  redis.call('PEXPIREAT', KEYS[2], ms(start + 2 * W))
elseif surplus < 0 then
  local field = 't' .. ARGV[1] .. ':' .. ARGV[6]
  local back = math.min(-surplus, tonumber(redis.call('HGET', KEYS[1], field) or 0))
  if back > 0 and redis.call('HINCRBY', KEYS[1], field, -back) == 0 then
    redis.call('HDEL', KEYS[1], field)
  end
  if back > 0 then redis.call('PEXPIREAT', KEYS[1], ms(tonumber(ARGV[5]) + 2 * W)) end
end
return {now, 0}
"""
)

# KEYS in flight; ARGV lease, how many were given, operations: given ones, then merged ones.
# Given ones get a new lease if theirs is lost. A merged one's lease may tell MERGE that it has
# been counted, so none is made here. Gives now and a verdict.
RENEW = LuaScript(
    TIME
    + """
local lease, given = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 3, #ARGV do
  if i < 3 + given or redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], ms(now + lease), ARGV[i])
    redis.call('PEXPIRE', KEYS[1], ms(2 * lease))
  end
end
return {now, 0}
""",
    is_sent_whole=True,  # sent a second time, it might put back what has ended meanwhile
)

# KEYS in flight, three windows in a row; the middle one is the caller's guess.
# ARGV W, first window's start, lease, entries, (age, requests, tokens, operation)..., live...
# An entry that names its operation is counted unless that has a lease.
# Gives now and a verdict.
MERGE = LuaScript(
    TIME
    + """
local W, first, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if now < first or now >= first + 3 * W then return {now, -1} end
local entries = tonumber(ARGV[4])
for i = 5, 1 + 4 * entries, 4 do
  local operation = ARGV[i + 3]
  if operation == '' or not redis.call('ZSCORE', KEYS[1], operation) then
    -- What is older than the declared windows counts at their edge, never earlier than it was.
    local at = math.max(now - ARGV[i], first)
    local which = math.floor((at - first) / W)
    local key, start = KEYS[2 + which], first + which * W
    local index = math.floor((at - start) * 60 / W)
    for kind, value in pairs({r = ARGV[i + 1], t = ARGV[i + 2]}) do
      if tonumber(value) > 0 then
        redis.call('HINCRBY', key, kind .. ARGV[1] .. ':' .. index, value)
      end
    end
    redis.call('PEXPIREAT', key, ms(start + 2 * W))
  end
end
for i = 5 + 4 * entries, #ARGV do
  redis.call('ZADD', KEYS[1], ms(now + lease), ARGV[i])
  redis.call('PEXPIRE', KEYS[1], ms(2 * lease))
end
return {now, 0}
""",
    is_sent_whole=True,
)


class RedisWindowStore:
    """A WindowStore that all workers of all hosts share."""

    def __init__(self, link: RedisLink, clock: Clock, config: LimitConfig, *, prefix: str) -> None:
        self._link = link
        self._clock = clock
        self._prefix = prefix
        self._window_ms = config.window_ms
        self._lease_ms = config.lease_ms
        self._ahead_ms = int(clock.wall() * 1000) - self._now_ms()

    def watch(self, returned: Callable[[], None]) -> None:
        """Have `returned` called whenever the link comes back."""

        def turned(is_up: bool) -> None:  # noqa: FBT001 - the link's word
            if is_up:
                returned()

        self._link.watch(turned)

    async def admit(self, demand: Demand, orphaned: Callable[[Decision], None]) -> Decision:
        """Decide with one script over this window, the previous one, and what is in flight."""
        user, prefix, window_ms = demand.user, self._prefix, self._window_ms
        requests, tokens, in_flight = (
            demand.limits.requests,
            demand.limits.tokens,
            demand.limits.in_flight,
        )

        def asked(start: int) -> _Asked:
            keys = (window_key(prefix, user, start), window_key(prefix, user, start - window_ms))
            limits = (requests, tokens, in_flight, demand.tokens)
            rest = (demand.operation_id, self._lease_ms)
            others = (in_flight_key(prefix, user), override_key(user))
            return (*keys, *others), (window_ms, start, *limits, *rest)

        def orphan(reply: Any) -> None:
            if reply[1] != WRONG_WINDOW:
                orphaned(_decision(reply, window_ms))

        return _decision(await self._guessing(ADMIT, asked, orphan), window_ms)

    async def settle(self, settlement: Settlement) -> None:
        """End the lease; give tokens back to the reserving bucket, or charge more to this one."""
        user, operation_id, surplus, reserved, bucket = settlement
        prefix = self._prefix

        def asked(start: int) -> _Asked:
            windows = (window_key(prefix, user, reserved), window_key(prefix, user, start))
            rest = (operation_id, surplus, reserved, bucket)
            return (*windows, in_flight_key(prefix, user)), (self._window_ms, start, *rest)

        await self._guessing(SETTLE, asked)

    async def renew(self, user: str, given: Sequence[str], merged: Sequence[str]) -> None:
        """Prolong leases; put back those that `admit` gave, should Redis have lost them."""
        keys = (in_flight_key(self._prefix, user),)
        args: tuple[Word, ...] = (self._lease_ms, len(given), *given, *merged)
        await self._guessing(RENEW, lambda _: (keys, args))

    async def merge(self, user: str, pasts: Mapping[str, Past], live: Sequence[str]) -> None:
        """Count what a worker admitted by itself, by its age; give leases to what is live."""
        window_ms = self._window_ms

        def asked(start: int) -> _Asked:
            first, now_ms = start - window_ms, self._now_ms()
            starts = (first, start, start + window_ms)
            entries: list[Word] = []
            for operation_id, past in pasts.items():
                unsure = operation_id if past.is_unsure else ""
                entries += (max(0, now_ms - past.at_ms), past.requests, past.tokens, unsure)
            keys = (window_key(self._prefix, user, each) for each in starts)
            head = (window_ms, first, self._lease_ms, len(pasts))
            return (in_flight_key(self._prefix, user), *keys), (*head, *entries, *live)

        await self._guessing(MERGE, asked)

    async def _guessing(
        self,
        script: LuaScript,
        asked: Callable[[int], _Asked],
        orphaned: Callable[[Any], None] | None = None,
    ) -> list[int]:
        """Run a script over the window that the clock of Redis is in, and give its reply."""
        for _ in range(GUESSES):
            keys, args = asked(self._window_start())
            try:
                reply: list[int] = await self._link.script(script, keys, args, orphaned=orphaned)
            except RedisBusyError as error:
                busy = "Too many decisions wait for Redis."
                raise CapacityError(busy, code="limiter_busy", retry_after_s=1) from error
            except DependencyError as error:
                raise WindowStoreError(definite=error.definite) from error
            self._ahead_ms = reply[0] - self._now_ms()
            if reply[1] != WRONG_WINDOW:
                return reply
        raise WindowStoreError("The clock of Redis moves from window to window.", definite=True)

    def _window_start(self) -> int:
        now = self._now_ms() + self._ahead_ms
        return now - now % self._window_ms

    def _now_ms(self) -> int:
        return int(self._clock.monotonic() * 1000)


def _decision(reply: Sequence[int], window_ms: int) -> Decision:
    now, verdict, requests, tokens, wait, requests_reset, tokens_reset, bucket, limit = reply
    return Decision(
        REFUSALS[verdict],
        requests,
        tokens,
        wait,
        requests_reset,
        tokens_reset,
        now - now % window_ms,
        bucket,
        limit,
    )
