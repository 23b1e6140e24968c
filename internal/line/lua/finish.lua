-- finish: the shop is done with a visitor; its slot comes back, once.
--
-- KEYS  1 conf  2 seq  3 unclaimed  4 active  5 stats
-- ARGV  1 epoch  2 mark  3 now override in µs (unused)  4 visitor
-- reply {'ok', 1 when a slot came back} | {'absent'|'epoch'|'recovering'}
-- Unclaimed too: the shop takes a pass whose claim Redis may have lost.

local last, refused = guard(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not last then return {refused} end
local freed = redis.call('ZREM', KEYS[3], ARGV[4]) + redis.call('ZREM', KEYS[4], ARGV[4])
if freed > 0 then redis.call('HINCRBY', KEYS[5], 'finished', 1) end
return {'ok', freed}
