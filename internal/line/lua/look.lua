-- look: what the nodes and operators read of a line, at one moment. Reads only.
-- Used when Redis refuses the MULTI of plain reads, as it does with any command
-- inside a MULTI once its memory is full; otherwise the MULTI costs a third.
--
-- KEYS  1 conf  2 seq  3 queue  4 gone  5 unclaimed  6 active  7 outbox
--       8 stats
-- ARGV  1 first byte of gone  2 last byte of gone
-- reply {'ok', time in s, µs, seq, number of the head or 0, waiting, unclaimed,
--        active, outbox, bytes of gone, {field, value, … of conf},
--        {field, value, … of stats}} | {'absent'}

local seq = redis.call('GET', KEYS[2])
if not seq or redis.call('EXISTS', KEYS[1]) == 0 then return {'absent'} end
local time = redis.call('TIME')
local head = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
return {'ok', tonumber(time[1]), tonumber(time[2]), tonumber(seq), tonumber(head[2] or '0'),
  redis.call('ZCARD', KEYS[3]), redis.call('ZCARD', KEYS[5]), redis.call('ZCARD', KEYS[6]), redis.call('XLEN', KEYS[7]),
  redis.call('GETRANGE', KEYS[4], ARGV[1], ARGV[2]), redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[8])}
