-- rejoin: visitors come back with their places. Who waits stays where it is;
-- nothing is written until places can come back into a gap.
--
-- KEYS  1 conf  2 seq  3 queue  4 unclaimed  5 active
-- ARGV  1 epoch  2 mark  3 now override in µs, then visitor, number, …
-- reply {'ok', now in µs, {standing, deadline in ms, …}}
--     | {'absent'|'epoch'|'recovering'}

local last, refused = guard(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not last then return {refused} end
local now = clock(ARGV[3])
local now_ms = math.floor(now / 1000)
local stands = {}
for i = 4, #ARGV, 2 do
  -- A place proves that its number was given: a line that never gave it has
  -- lost writes, and the place must not be called spent for that.
  if tonumber(ARGV[i + 1]) > last then return {'recovering'} end
  local standing, deadline = stand(KEYS[3], KEYS[4], KEYS[5], ARGV[i], ARGV[i + 1], now_ms)
  stands[#stands + 1] = standing
  stands[#stands + 1] = deadline
end
return {'ok', now, stands}
