-- prelude: put in front of every script; what they share, nothing by itself.
--
-- A number becomes text only by `text`, since Lua's own conversion cuts
-- microseconds on Redis (and not on miniredis, where a test would stay green).
-- A number handed to redis.call or to the reply needs no text: both keep whole
-- numbers below 2^53 as they are.

local function text(x) return string.format('%.0f', x) end

-- clock: microseconds of this Redis, or the override when it is above 0.
local function clock(override)
  local us = tonumber(override)
  if us > 0 then return us end
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- guard: nil and why this line refuses the caller, or the last number given.
-- A line that knows less than its caller has lost writes: going on would give
-- the same numbers again.
local function guard(conf, seq, epoch, mark)
  local has = redis.call('HGET', conf, 'epoch')
  if not has then return nil, 'absent' end
  if has ~= epoch then return nil, 'epoch' end
  local last = tonumber(redis.call('GET', seq) or '-1')
  if last < 0 or last < tonumber(mark) then return nil, 'recovering' end
  return last
end

-- stand: where a visitor with a number stands, and its deadline in ms.
-- A number that is not the one in the queue is nobody's place.
local function stand(queue, unclaimed, active, visitor, number, now_ms)
  local deadline = redis.call('ZSCORE', active, visitor)
  if deadline then
    deadline = tonumber(deadline)
    if deadline > now_ms then return 'active', deadline end
    return 'gone', 0
  end
  deadline = redis.call('ZSCORE', unclaimed, visitor)
  if deadline then
    deadline = tonumber(deadline)
    if deadline > now_ms then return 'unclaimed', deadline end
    return 'gone', 0
  end
  local has = redis.call('ZSCORE', queue, visitor)
  if has and tonumber(has) == tonumber(number) then return 'waiting', 0 end
  return 'gone', 0
end

-- settle: the bucket's credit at now, in 1e-9 visitors. Thousandths per second
-- times microseconds is that unit, so nothing is rounded; all is below 2^53.
-- The smaller rate counts when the bucket was left at another one, a clock that
-- went back gives nothing, and a bucket that is missing starts empty.
local function settle(bucket, rate, burst, now)
  local b = redis.call('HMGET', bucket, 'credit', 'at', 'rate')
  if not (b[1] and b[2] and b[3]) then return 0, true end
  local elapsed = now - tonumber(b[2])
  local stale = elapsed < 0 or tonumber(b[3]) ~= rate
  if elapsed < 0 then elapsed = 0 end
  local credit = tonumber(b[1]) + elapsed * math.min(rate, tonumber(b[3]))
  return math.min(credit, burst * 1000000000), stale
end
