-- rejoin: visitors come back with their places. Who waits stays where it is; who
-- has a number whose holder the line does not know any more comes back to it.
--
-- KEYS  as presence has them
-- ARGV  1 to 4 as guard has them  then visitor, number, …
-- reply {'ok', now in µs, {standing, deadline in ms, …}, how many came back}
--     | {'absent'|'epoch'}

-- A place proves that its number was given: a line that never gave it has lost
-- writes, and the place must not be called spent for that.
local seen = 0
for i = 6, #ARGV, 2 do seen = math.max(seen, tonumber(ARGV[i])) end
local last, refused = guard(seen)
if not last then return {refused} end
local stands, returned, bitmap = {}, 0, nil
for i = 5, #ARGV, 2 do
  local visitor, number = ARGV[i], ARGV[i + 1]
  local standing, deadline = stand(visitor, number, now_ms, lapse)
  if standing == 'unseen' and not redis.call('ZSCORE', queue, visitor) then
    redis.call('ZADD', queue, number, visitor)
    redis.call('SETBIT', gone, number, 0)
    redis.call('SETBIT', back, number, 0)
    standing, returned = 'waiting', returned + 1
  end
  if standing == 'waiting' then
    bitmap = bitmap or seen_at(now_ms, grace_ms())
    redis.call('SETBIT', bitmap, number, 1)
    redis.call('SETBIT', heard, number, 1)
  end
  stands[#stands + 1] = standing
  stands[#stands + 1] = deadline
end
if returned > 0 then came_back(returned) end
return {'ok', now, stands, returned}
