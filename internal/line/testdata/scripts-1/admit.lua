-- admit: one round: the next visitors of the line are let in, as far as credit,
-- slots, limit and outbox allow.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them  5 limit  6 and 7 least and greatest depth of the
--       outbox at which it stops  8 seconds of the rate that it holds between them
--       9 admissions in one entry of it  10 deadlines looked at at most
-- reply {'ok', admitted, missed, lapsed, why it stopped, µs until the next is
--        due, greatest number admitted or 0, slots taken, waiting, outbox,
--        ever admitted, time in µs, state, sold_out, rate, max_active, last number, rev of the conf,
--        losses noticed so far}
--     | {'absent'|'epoch'}
-- One act, since a visitor popped by a call whose reply is lost must be in
-- `unclaimed` and `outbox` all the same.

local last, refused = guard()
if not last then return {refused} end
local idle = 100000 -- µs: no round later than this, so what can't be foreseen is seen then
local bound = tonumber(ARGV[10])

-- Deadlines that passed give their slots back. A first write must not ask for
-- memory: a full Redis lets people in and out. Beyond the bound they count as free
-- already and are taken out by the rounds to come.
local overdue = 0
local function prune(set, from)
  if now_ms < from then return 0 end
  local due = redis.call('ZCOUNT', set, '-inf', now_ms)
  if due == 0 then return 0 end
  local now_out = math.min(due, bound)
  redis.call('ZREMRANGEBYRANK', set, 0, now_out - 1)
  overdue = overdue + due - now_out
  return now_out
end
local missed, lapsed = prune(unclaimed, lapse), prune(active, 0)
if missed > 0 then redis.call('HINCRBY', stats, 'missed', missed) end
if lapsed > 0 then redis.call('HINCRBY', stats, 'lapsed', lapsed) end

local waiting = redis.call('ZCARD', queue)
local slots = redis.call('ZCARD', unclaimed) + redis.call('ZCARD', active) - overdue
local c = redis.call('HMGET', conf, 'state', 'sold_out', 'opens_at', 'rate', 'burst', 'max_active', 'claim_ms', 'pass_ms', 'rev')
local opens, rate, burst = tonumber(c[3]), tonumber(c[4]), tonumber(c[5])
local cap, claim = tonumber(c[6]), tonumber(c[7])
local b = redis.call('HMGET', bucket, 'depth', 'stepped')
local depth, entries = tonumber(b[1] or '0'), redis.call('XLEN', outbox)
if entries == 0 then depth = 0 elseif depth < entries then depth = entries end
local deepest = math.min(math.max(math.floor(rate / 1000) * tonumber(ARGV[8]), tonumber(ARGV[6])), tonumber(ARGV[7]))

local credit, stale, backwards = settle(rate, burst, now)
-- A clock that went back leaves deadlines of its future. Nobody has more than a whole
-- claim or pass from now on; so many that it takes several rounds, too.
if backwards > 1000000 or b[2] then
  local late = 0
  for set, most in pairs({[unclaimed] = now_ms + claim, [active] = now_ms + tonumber(c[8])}) do
    local found = redis.call('ZREVRANGEBYSCORE', set, '+inf', '(' .. text(most), 'LIMIT', 0, bound)
    for _, visitor in ipairs(found) do
      redis.call('ZREM', set, visitor)
      redis.call('ZADD', set, most, visitor)
    end
    late = late + #found
  end
  if late > 0 then
    redis.call('HSET', bucket, 'stepped', 1)
  elseif b[2] then
    redis.call('HDEL', bucket, 'stepped')
  end
end

local why, due = nil, idle
if c[1] == 'closed' then
  why = 'closed'
elseif c[2] == '1' then
  why = 'sold_out'
elseif c[1] == 'paused' then
  why = 'paused'
elseif c[1] == 'opening' and (opens == 0 or now_ms < opens) then
  why = 'opening'
  if opens > 0 then due = math.min(idle, opens * 1000 - now) end
end
local greatest, admitted, total = 0, 0, nil
local function answer()
  return {'ok', admitted, missed, lapsed, why, due, greatest, slots, waiting, depth,
    tonumber(total or redis.call('HGET', stats, 'admitted') or '0'), now, c[1], tonumber(c[2] or '0'), rate, cap, last, tonumber(c[9] or '0'),
    tonumber(redis.call('HGET', life, 'fences') or '0')}
end
if why then return answer() end

-- Who comes back to a number behind lo must not be overtaken.
local before, held = waiting, false
if hold_until > now_ms then
  before = redis.call('ZCOUNT', queue, '-inf', hold_lo)
  held = before < waiting
elseif hold_until > 0 then
  redis.call('HDEL', life, 'hold', 'lo', 'latest')
end

local most = math.min(tonumber(ARGV[5]), math.floor(credit / 1000000000), cap - slots, deepest - depth, before)
if most > 0 then
  local popped = redis.call('ZPOPMIN', queue, most)
  admitted = #popped / 2
  -- As text once: handed over as numbers, they were converted for each visitor.
  local at, deadline, deadlines, parts = text(now), text(now_ms + claim), {}, {}
  local from, to = nil, nil -- a run of numbers
  local size = tonumber(ARGV[9])
  for i = 1, admitted do
    local visitor, number = popped[2 * i - 1], popped[2 * i]
    local n = tonumber(number)
    if to and n == to + 1 then
      to = n
    else
      if from then fill(gone, from, to) end
      from, to = n, n
    end
    deadlines[2 * i - 1] = deadline
    deadlines[2 * i] = visitor
    parts[#parts + 1] = visitor
    parts[#parts + 1] = number
    if i % size == 0 or i == admitted then
      redis.call('XADD', outbox, '*', 'e', ARGV[1], 'at', at, 'c', #parts / 2, 'p', table.concat(parts, ' '))
      parts = {}
    end
  end
  fill(gone, from, to)
  redis.call('ZADD', unclaimed, unpack(deadlines))
  total = redis.call('HINCRBY', stats, 'admitted', admitted)
  greatest = to
  waiting, slots, depth, before = waiting - admitted, slots + admitted, depth + admitted, before - admitted
end
if admitted > 0 or stale then
  credit = credit - admitted * 1000000000
  redis.call('HSET', bucket, 'credit', credit, 'at', now, 'rate', rate, 'depth', depth)
end

if waiting == 0 then
  why = 'empty'
elseif depth >= deepest then
  why = 'outbox'
elseif before == 0 and held then
  why = 'recovering'
elseif slots >= cap then
  why = 'cap'
  -- A finish may free a slot sooner; the next deadline does for certain.
  for _, set in ipairs({unclaimed, active}) do
    local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if first[2] then due = math.min(due, math.max(0, tonumber(first[2]) * 1000 - now)) end
  end
elseif credit < 1000000000 then
  why = 'rate'
  due = math.ceil((1000000000 - credit) / rate)
else
  why, due = 'more', 0
end
return answer()
