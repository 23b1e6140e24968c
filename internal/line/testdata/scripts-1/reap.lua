-- reap: visitors whom nobody saw for the room's grace leave the line.
--
-- KEYS  as presence has them
-- ARGV  1 to 4 as guard has them, then numbers
-- reply {'ok', how many left} | {'absent'|'epoch'|'unsure'}
-- Whoever came back since the caller looked is seen by now: this is the second look,
-- in the act itself. unsure: a span is missing, or the line lost something, and nobody
-- can say who is away.

local last, refused = guard()
if not last then return {refused} end
if asking or hold_until > now_ms then return {'unsure'} end
local s = span(now_ms, grace_ms())
local bitmaps = {}
for i = s - rings + 1, s do
  local tagged = redis.call('HGET', spans, text(i % rings)) == text(i)
  if i < s and not tagged then return {'unsure'} end
  if tagged then bitmaps[#bitmaps + 1] = KEYS[18 + i % rings] end
end
local reaped = 0
for i = 5, #ARGV do
  local number, there = ARGV[i], false
  for _, bitmap in ipairs(bitmaps) do
    if redis.call('GETBIT', bitmap, number) == 1 then
      there = true
      break
    end
  end
  if not there then
    local visitor = redis.call('ZRANGEBYSCORE', queue, number, number)[1]
    if visitor then
      redis.call('ZREM', queue, visitor)
      redis.call('SETBIT', gone, number, 1)
      redis.call('SETBIT', away, number, 1)
      reaped = reaped + 1
    end
  end
end
if reaped > 0 then redis.call('HINCRBY', stats, 'reaped', reaped) end
return {'ok', reaped}
