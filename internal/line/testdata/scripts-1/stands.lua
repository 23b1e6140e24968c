-- stands: where visitors stand, for a node that looks after its own. Reads only.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 now override in µs, then visitor, number, …
-- reply {'ok', now in µs, {standing, deadline in ms, …}} | {'absent'}
-- unseen: a number that this line never gave, or whose holder it does not know any
-- more. Who shows it to rejoin comes back to it.

if redis.call('EXISTS', conf) == 0 then return {'absent'} end
local last = tonumber(redis.call('GET', seq) or '0')
local lapse = tonumber(redis.call('HGET', life, 'lapse') or '0')
local now = clock(ARGV[1])
local now_ms = math.floor(now / 1000)
local stands = {}
for i = 2, #ARGV, 2 do
  local standing, deadline = stand(ARGV[i], ARGV[i + 1], now_ms, lapse)
  if standing == 'gone' and tonumber(ARGV[i + 1]) > last then standing = 'unseen' end
  stands[#stands + 1] = standing
  stands[#stands + 1] = deadline
end
return {'ok', now, stands}
