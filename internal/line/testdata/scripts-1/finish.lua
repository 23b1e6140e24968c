-- finish: the shop is done with visitors; their slots come back, once.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them  then visitor, number, …
-- reply {'ok', how many slots came back} | {'absent'|'epoch'}
-- Unclaimed too: the shop takes a pass whose claim Redis may have lost. Waiting too:
-- it may have lost the admission, and whoever bought is not let in again.

local seen = 0
for i = 6, #ARGV, 2 do seen = math.max(seen, tonumber(ARGV[i])) end
local last, refused = guard(seen)
if not last then return {refused} end
local freed = 0
for i = 5, #ARGV, 2 do
  local visitor, number = ARGV[i], ARGV[i + 1]
  if redis.call('ZREM', active, visitor) + redis.call('ZREM', unclaimed, visitor) > 0 then
    freed = freed + 1
  elseif tonumber(redis.call('ZSCORE', queue, visitor) or '0') == tonumber(number) then
    redis.call('ZREM', queue, visitor)
    redis.call('SETBIT', gone, number, 1)
    freed = freed + 1
  elseif redis.call('GETBIT', back, number) == 1 then
    redis.call('SETBIT', back, number, 0) -- nobody has to come back to it
  end
end
if freed > 0 then redis.call('HINCRBY', stats, 'finished', freed) end
return {'ok', freed}
