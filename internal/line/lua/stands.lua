-- stands: where visitors stand, for a node that looks after its own. Reads only.
--
-- KEYS  1 conf  2 seq  3 queue  4 unclaimed  5 active
-- ARGV  1 now override in µs, then visitor, number, …
-- reply {'ok', now in µs, {standing, deadline in ms, …}}
--     | {'absent'|'recovering'}

if redis.call('EXISTS', KEYS[1]) == 0 then return {'absent'} end
local last = tonumber(redis.call('GET', KEYS[2]) or '-1')
local now = clock(ARGV[1])
local now_ms = math.floor(now / 1000)
local stands = {}
for i = 2, #ARGV, 2 do
  if tonumber(ARGV[i + 1]) > last then return {'recovering'} end
  local standing, deadline = stand(KEYS[3], KEYS[4], KEYS[5], ARGV[i], ARGV[i + 1], now_ms)
  stands[#stands + 1] = standing
  stands[#stands + 1] = deadline
end
return {'ok', now, stands}
