"""Circuit records in Redis, one HASH per breaker, timed by Redis and by nothing else.

Stores: llmhive:circuit:{service_name}, HASH without TTL: state, epoch, since, open_until,
reason, forced, openings, successes, cool_until, and `probe:<id>` for each probe in flight;
times are integer milliseconds of Redis `TIME`. Every command is one script over one key,
so that it is atomic, and the answer is always the record after it, with the time of its
reading: times cross the wire as distances, never as hours of the day. What nobody can read
is deleted by whoever meets it.
Source: DESIGN.md, section 3.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llmhive.app.adapters.redis_keys import circuit_key
from llmhive.app.adapters.redis_link import LuaScript, RedisLink
from llmhive.app.breakers.model import BreakerConfig, CircuitRecord, CircuitState, Forced
from llmhive.app.breakers.ports import CircuitStoreError
from llmhive.app.clock import Clock
from llmhive.app.errors import CapacityError, DependencyError

PROBE_PREFIX = "probe:"

# KEYS[1] the breaker; ARGV[1] the verb, then the verb's own arguments; gives {now, fields}.
SCRIPT = LuaScript(
    """
local key, verb = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local STATES = {closed = true, half_open = true, open = true}
local FORCED = {[''] = true, closed = true, open = true}
local NUMBERS = {'since', 'open_until', 'openings', 'successes', 'cool_until'}
local function is_number(text)
  return text and #text < 16 and string.find(text, '^-?%d+$') ~= nil
end
local function is_readable()
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' then return kind == 'none' end
  local record, fields = {}, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local name, text = fields[i], fields[i + 1]
    record[name] = text
    if string.sub(name, 1, 6) == 'probe:' and not is_number(text) then return false end
  end
  for _, name in ipairs(NUMBERS) do
    if not is_number(record[name]) then return false end
  end
  return STATES[record.state or 0] and FORCED[record.forced or 0] and record.reason
    and string.find(record.epoch or '', '^[%w-]+$')
end
-- What a slip of the hand left counts as no record, so that a worker's own can take its place.
if not is_readable() then redis.call('DEL', key) end
local epoch = redis.call('HGET', key, 'epoch')

local function ms(number) return string.format('%.0f', number) end
local function get(name) return redis.call('HGET', key, name) end
local function number(name) return tonumber(get(name) or 0) end
local function probes()
  local all, expired, fields = {}, false, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 6) == 'probe:' then
      all[#all + 1] = fields[i]
      if tonumber(fields[i + 1]) <= now then expired = true end
    end
  end
  return all, expired
end

-- A transition in the future means that this clock stepped back: let the stay begin now.
local step = number('since') - now
if epoch and step > 0 then
  for _, name in ipairs({'since', 'open_until', 'cool_until', unpack((probes()))}) do
    redis.call('HSET', key, name, ms(number(name) - step))
  end
end

if verb == 'publish' and (not epoch or epoch == ARGV[2]) then
  -- expected, state, epoch, reason, forced, openings, successes, since, open, cool, probes...
  local cool = now + ARGV[11]
  if get('forced') == '' and ARGV[6] == '' then cool = math.max(cool, number('cool_until')) end
  redis.call('DEL', key)
  redis.call('HSET', key, 'state', ARGV[3], 'epoch', ARGV[4], 'reason', ARGV[5],
    'forced', ARGV[6], 'openings', ARGV[7], 'successes', ARGV[8], 'since', ms(now + ARGV[9]),
    'open_until', ms(now + ARGV[10]), 'cool_until', ms(cool))
  for i = 12, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ms(now + ARGV[i + 1])) end

elseif verb == 'lease' and epoch == ARGV[2] then
  -- epoch, probe, lasting, most
  local all, expired = probes()
  local waits = get('state') == 'closed' or number('open_until') > now or get('forced') ~= ''
  if not waits and not expired and #all < tonumber(ARGV[5]) then
    redis.call('HSET', key, 'state', 'half_open', ARGV[3], ms(now + ARGV[4]))
  end

elseif verb == 'finish' and epoch == ARGV[2] and number(ARGV[3]) > now then
  -- epoch, probe, success, enough, next epoch
  redis.call('HDEL', key, ARGV[3])
  local successes = redis.call('HINCRBY', key, 'successes', ARGV[4])
  if successes >= tonumber(ARGV[5]) then
    for _, probe in ipairs((probes())) do redis.call('HDEL', key, probe) end
    redis.call('HSET', key, 'state', 'closed', 'epoch', ARGV[6], 'reason', '', 'openings', 0,
      'successes', 0, 'since', ms(now), 'open_until', 0)
  end

elseif verb == 'cool_down' and epoch then
  redis.call('HSET', key, 'cool_until', ms(math.max(now + ARGV[2], number('cool_until'))))
end

return {ms(now), redis.call('HGETALL', key)}
"""
)


class RedisCircuitStore:
    """A CircuitStore that all workers of all hosts share."""

    def __init__(self, link: RedisLink, clock: Clock, config: BreakerConfig) -> None:
        self._link = link
        self._clock = clock
        self._config = config

    async def look(self, names: Sequence[str]) -> list[CircuitRecord | None]:
        """Read the records of all `names`, in their order, with one trip."""
        return await asyncio.gather(*(self._run(name, "look") for name in names))

    async def publish(
        self, name: str, record: CircuitRecord, *, expected: str
    ) -> CircuitRecord | None:
        """Replace the record if its epoch is `expected` or it is not there.

        A cool-down that stands there survives, unless an operator has spoken.
        """
        now = self._clock.monotonic()
        times = [record.since, record.open_until, record.cool_until]
        distances = [_ms(time - now) for time in times]
        probes: list[str | int] = []
        for lease_id, end in record.leases.items():
            probes += [PROBE_PREFIX + lease_id, _ms(end - now)]
        fields = [record.state.value, record.epoch, record.reason, record.forced.value]
        counts = [record.openings, record.successes]
        return await self._run(name, "publish", expected, *fields, *counts, *distances, *probes)

    async def lease(
        self, name: str, epoch: str, lease_id: str, lease_s: float
    ) -> CircuitRecord | None:
        """Take a probe's slot of this epoch, if one is free."""
        lasting, most = _ms(lease_s), self._config.probes
        return await self._run(name, "lease", epoch, PROBE_PREFIX + lease_id, lasting, most)

    async def finish(
        self, name: str, epoch: str, lease_id: str, *, succeeded: bool, next_epoch: str
    ) -> CircuitRecord | None:
        """Give a probe's slot back and count its success; enough of them close the breaker."""
        probe, enough = PROBE_PREFIX + lease_id, self._config.successes
        return await self._run(name, "finish", epoch, probe, int(succeeded), enough, next_epoch)

    async def cool_down(self, name: str, until: float) -> CircuitRecord | None:
        """Let the breaker rest at least until `until`."""
        return await self._run(name, "cool_down", _ms(until - self._clock.monotonic()))

    async def _run(self, name: str, verb: str, *args: str | int) -> CircuitRecord | None:
        with _translated():
            now_ms, fields = await self._link.script(SCRIPT, [circuit_key(name)], [verb, *args])
        texts = [_text(each) for each in fields]
        pairs = dict(zip(texts[::2], texts[1::2], strict=True))
        if not pairs:
            return None
        return _record(pairs, int(_text(now_ms)), self._clock.monotonic())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DependencyError, CapacityError) as error:
        raise CircuitStoreError from error


def _record(fields: dict[str, str], now_ms: int, now: float) -> CircuitRecord:
    def moment(text: str) -> float:
        return now + (int(text) - now_ms) / 1000.0

    leases = {
        field.removeprefix(PROBE_PREFIX): moment(end)
        for field, end in fields.items()
        if field.startswith(PROBE_PREFIX)
    }
    return CircuitRecord(
        state=CircuitState(fields["state"]),
        epoch=fields["epoch"],
        since=moment(fields["since"]),
        open_until=moment(fields["open_until"]),
        reason=fields["reason"],
        forced=Forced(fields["forced"]),
        openings=int(fields["openings"]),
        successes=int(fields["successes"]),
        cool_until=moment(fields["cool_until"]),
        leases=leases,
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000.0)


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
