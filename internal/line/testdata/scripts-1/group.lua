-- group: the consumer group that reads the outbox, from its beginning.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 group
-- reply {'ok', 1 when it was made} | {'absent'}

if redis.call('EXISTS', conf) == 0 then return {'absent'} end
-- A full Redis refuses XGROUP CREATE, unless a write came before it.
redis.call('HDEL', life, 'none')
local made = redis.pcall('XGROUP', 'CREATE', outbox, ARGV[1], 0, 'MKSTREAM')
return {'ok', type(made) == 'table' and made.err and 0 or 1}
