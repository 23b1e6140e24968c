-- relayed: Kafka has these entries. Acknowledged and deleted in one act: apart, an
-- entry between the two counts in the stream for ever, and the room stops.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them  5 group, then entry id, visitors in it, …
-- reply {'ok', entries deleted} | {'absent'|'epoch'}

local last, refused = guard()
if not last then return {refused} end
local deleted, visitors = 0, 0
for i = 6, #ARGV, 2 do
  redis.call('XACK', outbox, ARGV[5], ARGV[i])
  if redis.call('XDEL', outbox, ARGV[i]) == 1 then
    deleted = deleted + 1
    visitors = visitors + tonumber(ARGV[i + 1])
  end
end
if deleted > 0 then redis.call('HINCRBY', bucket, 'depth', -visitors) end
return {'ok', deleted}
