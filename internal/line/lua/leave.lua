-- leave: a visitor goes for good, waiting or unclaimed.
--
-- KEYS  1 conf  2 seq  3 queue  4 gone  5 unclaimed  6 active  7 stats
-- ARGV  1 epoch  2 mark  3 now override in µs  4 visitor  5 number
-- reply {'ok', where it stood: waiting, unclaimed, active or gone}
--     | {'absent'|'epoch'|'recovering'}
-- Nothing is done for active (the shop says when) and gone.

local last, refused = guard(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not last or tonumber(ARGV[5]) > last then return {refused or 'recovering'} end
local now_ms = math.floor(clock(ARGV[3]) / 1000)
local standing = stand(KEYS[3], KEYS[5], KEYS[6], ARGV[4], ARGV[5], now_ms)
if standing == 'waiting' then
  redis.call('ZREM', KEYS[3], ARGV[4])
  redis.call('SETBIT', KEYS[4], ARGV[5], 1)
elseif standing == 'unclaimed' then
  redis.call('ZREM', KEYS[5], ARGV[4])
else
  return {'ok', standing}
end
redis.call('HINCRBY', KEYS[7], 'left', 1)
return {'ok', standing}
