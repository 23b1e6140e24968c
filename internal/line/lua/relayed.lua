-- relayed: Kafka has these admissions. Acknowledged and deleted in one act:
-- apart, an entry between the two counts in XLEN for ever, and the room stops.
--
-- KEYS  1 conf  2 seq  3 outbox
-- ARGV  1 epoch  2 mark  3 now override in µs (unused)  4 group, then entry ids
-- reply {'ok', entries deleted} | {'absent'|'epoch'|'recovering'}

local last, refused = guard(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not last then return {refused} end
local ids = {}
for i = 5, #ARGV do ids[#ids + 1] = ARGV[i] end
redis.call('XACK', KEYS[3], ARGV[4], unpack(ids))
return {'ok', redis.call('XDEL', KEYS[3], unpack(ids))}
