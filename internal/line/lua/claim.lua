-- claim: an admitted visitor shows up; the pass begins. A repeat answers the
-- same deadline, which is why unclaimed and active are two sets.
--
-- KEYS  1 conf  2 seq  3 queue  4 unclaimed  5 active  6 stats
-- ARGV  1 epoch  2 mark  3 now override in µs  4 visitor  5 number
--       6 ms until a closed room's keys expire
-- reply {'ok', now in µs, standing, deadline in ms}
--     | {'absent'|'epoch'|'recovering'|'sold_out'}
-- A closed room lets in no one new; who was admitted before may still claim.

local last, refused = guard(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not last or tonumber(ARGV[5]) > last then return {refused or 'recovering'} end
local now = clock(ARGV[3])
local now_ms = math.floor(now / 1000)
local standing, deadline = stand(KEYS[3], KEYS[4], KEYS[5], ARGV[4], ARGV[5], now_ms)
if standing ~= 'unclaimed' then return {'ok', now, standing, deadline} end

local conf = redis.call('HMGET', KEYS[1], 'state', 'sold_out', 'pass_ms')
if conf[2] == '1' then return {'sold_out'} end
deadline = now_ms + tonumber(conf[3])
redis.call('ZREM', KEYS[4], ARGV[4])
redis.call('ZADD', KEYS[5], deadline, ARGV[4])
redis.call('HINCRBY', KEYS[6], 'claimed', 1)
if conf[1] == 'closed' then redis.call('PEXPIRE', KEYS[5], ARGV[6]) end
return {'ok', now, 'active', deadline}
