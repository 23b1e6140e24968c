-- admit: one round: the next visitors of the line are let in, as far as credit,
-- slots, limit and outbox allow.
--
-- KEYS  1 conf  2 seq  3 queue  4 gone  5 unclaimed  6 active  7 outbox
--       8 bucket  9 stats
-- ARGV  1 epoch  2 mark  3 now override in µs  4 limit  5 greatest depth of the
--       outbox
-- reply {'ok', admitted, missed, lapsed, why it stopped, µs until the next is
--        due, greatest number admitted or 0, slots taken, waiting, outbox,
--        ever admitted, time in µs, state, sold_out, rate, max_active}
--     | {'absent'|'epoch'|'recovering'}
-- One act, since a visitor popped by a call whose reply is lost must be in
-- `unclaimed` and `outbox` all the same.

local conf, queue, gone, unclaimed, active = KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local outbox, bucket, stats = KEYS[7], KEYS[8], KEYS[9]
local last, refused = guard(conf, KEYS[2], ARGV[1], ARGV[2])
if not last then return {refused} end
local now = clock(ARGV[3])
local now_ms = math.floor(now / 1000)
local idle = 100000 -- µs: no round later than this, so what can't be foreseen is seen then

-- The first write must not ask for memory: a full Redis lets people in and out.
local missed = redis.call('ZREMRANGEBYSCORE', unclaimed, '-inf', now_ms)
local lapsed = redis.call('ZREMRANGEBYSCORE', active, '-inf', now_ms)
if missed > 0 then redis.call('HINCRBY', stats, 'missed', missed) end
if lapsed > 0 then redis.call('HINCRBY', stats, 'lapsed', lapsed) end

local waiting = redis.call('ZCARD', queue)
local slots = redis.call('ZCARD', unclaimed) + redis.call('ZCARD', active)
local depth = redis.call('XLEN', outbox)

local c = redis.call('HMGET', conf, 'state', 'sold_out', 'opens_at', 'rate', 'burst', 'max_active', 'claim_ms')
local opens, rate, burst = tonumber(c[3]), tonumber(c[4]), tonumber(c[5])
local cap, claim = tonumber(c[6]), tonumber(c[7])
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
local function answer(admitted, greatest, total)
  return {'ok', admitted, missed, lapsed, why, due, greatest, slots, waiting, depth,
    tonumber(total or '0'), now, c[1], tonumber(c[2] or '0'), rate, cap}
end
if why then return answer(0, 0, redis.call('HGET', stats, 'admitted')) end

local credit, stale = settle(bucket, rate, burst, now)
local most = math.min(tonumber(ARGV[4]), math.floor(credit / 1000000000), cap - slots, tonumber(ARGV[5]) - depth, waiting)
local greatest, admitted, total = 0, 0, nil
if most > 0 then
  local popped = redis.call('ZPOPMIN', queue, most)
  admitted = #popped / 2
  -- As text once: handed over as numbers, they were converted for each visitor.
  local at, deadline, deadlines = text(now), text(now_ms + claim), {}
  for i = 1, admitted do
    local visitor, number = popped[2 * i - 1], popped[2 * i]
    redis.call('SETBIT', gone, number, '1')
    deadlines[2 * i - 1] = deadline
    deadlines[2 * i] = visitor
    redis.call('XADD', outbox, '*', 'v', visitor, 'n', number, 'at', at, 'e', ARGV[1])
  end
  redis.call('ZADD', unclaimed, unpack(deadlines))
  total = redis.call('HINCRBY', stats, 'admitted', admitted)
  greatest = tonumber(popped[2 * admitted])
  waiting, slots, depth = waiting - admitted, slots + admitted, depth + admitted
end
if admitted > 0 or stale then
  credit = credit - admitted * 1000000000
  redis.call('HSET', bucket, 'credit', credit, 'at', now, 'rate', rate)
end

if waiting == 0 then
  why = 'empty'
elseif depth >= tonumber(ARGV[5]) then
  why = 'outbox'
elseif slots >= cap then
  why = 'cap'
  -- A finish may free a slot sooner; the next deadline does for certain.
  for i = 5, 6 do
    local first = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
    if first[2] then due = math.min(due, math.max(0, tonumber(first[2]) * 1000 - now)) end
  end
elseif credit < 1000000000 then
  why = 'rate'
  due = math.ceil((1000000000 - credit) / rate)
else
  why, due = 'more', 0
end
return answer(admitted, greatest, total or redis.call('HGET', stats, 'admitted'))
