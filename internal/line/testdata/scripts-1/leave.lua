-- leave: a visitor goes for good, waiting or unclaimed.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them  5 visitor  6 number
-- reply {'ok', where it stood: waiting, unclaimed, active or gone} | {'absent'|'epoch'}
-- Nothing is done for active (the shop says when) and gone. Whose number the line
-- lost leaves it without having come back.

local last, refused = guard(tonumber(ARGV[6]))
if not last then return {refused} end
local standing = stand(ARGV[5], ARGV[6], now_ms, lapse)
if standing == 'waiting' then
  redis.call('ZREM', queue, ARGV[5])
  redis.call('SETBIT', gone, ARGV[6], 1)
elseif standing == 'unclaimed' then
  redis.call('ZREM', unclaimed, ARGV[5])
elseif standing == 'unseen' then
  redis.call('SETBIT', back, ARGV[6], 0)
  standing = 'waiting'
else
  return {'ok', standing}
end
redis.call('HINCRBY', stats, 'left', 1)
return {'ok', standing}
