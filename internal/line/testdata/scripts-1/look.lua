-- look: what the nodes and operators read of a line, at one moment. Reads only.
-- Used when Redis refuses the MULTI of plain reads, as it does with any command
-- inside a MULTI once its memory is full; otherwise the MULTI costs a third.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 first byte of gone  2 last byte of gone
-- reply {'ok', time in s, µs, seq, number of the head or 0, waiting, unclaimed,
--        active, outbox, bytes of gone, {field, value, … of conf},
--        {field, value, … of stats}, {values of lifeFields}} | {'absent'}

local seq = redis.call('GET', seq)
if not seq or redis.call('EXISTS', conf) == 0 then return {'absent'} end
local time = redis.call('TIME')
local depth = redis.call('XLEN', outbox) -- entries; of admissions there are more
if depth > 0 then depth = math.max(depth, tonumber(redis.call('HGET', bucket, 'depth') or '0')) end
local head = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
return {'ok', tonumber(time[1]), tonumber(time[2]), tonumber(seq), tonumber(head[2] or '0'),
  redis.call('ZCARD', queue), redis.call('ZCARD', unclaimed), redis.call('ZCARD', active), depth,
  redis.call('GETRANGE', gone, ARGV[1], ARGV[2]), redis.call('HGETALL', conf), redis.call('HGETALL', stats),
  redis.call('HMGET', life, 'id', 'asking', 'hold', 'lost_at', 'lost', 'restored', 'fences')}
