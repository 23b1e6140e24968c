-- closing: notes when a closed room ends, or takes the note away.
--
-- KEYS  1 the closed rooms by their end
-- ARGV  1 room  2 ms of its end, 0 to take the note away  3 a note beyond these ms is
--       left as it is, 0 for none
-- reply {'ok'}
-- A script, since a full Redis refuses ZADD alone: the first write must not ask for
-- memory.

local most = tonumber(ARGV[3])
if most > 0 and tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0') > most then return {'ok'} end
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' then redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1]) end
return {'ok'}
