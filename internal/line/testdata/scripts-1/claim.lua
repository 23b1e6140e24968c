-- claim: an admitted visitor shows up; the pass begins. A repeat answers the
-- same deadline, which is why unclaimed and active are two sets.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them  5 visitor  6 number  7 ms until a closed room's
--       keys expire
-- reply {'ok', now in µs, standing, deadline in ms} | {'absent'|'epoch'|'sold_out'}
-- A closed room lets in no one new; who was admitted before may still claim.
-- unseen: the line lost this number; rejoin brings it back.

local last, refused = guard(tonumber(ARGV[6]))
if not last then return {refused} end
local standing, deadline = stand(ARGV[5], ARGV[6], now_ms, lapse)
if standing ~= 'unclaimed' then return {'ok', now, standing, deadline} end

local c = redis.call('HMGET', conf, 'state', 'sold_out', 'pass_ms')
if c[2] == '1' then return {'sold_out'} end
deadline = now_ms + tonumber(c[3])
redis.call('ZREM', unclaimed, ARGV[5])
redis.call('ZADD', active, deadline, ARGV[5])
redis.call('HINCRBY', stats, 'claimed', 1)
if c[1] == 'closed' then redis.call('PEXPIRE', active, ARGV[7]) end
return {'ok', now, 'active', deadline}
