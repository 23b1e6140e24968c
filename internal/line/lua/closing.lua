-- closing: notes when a closed room ends, or takes the note away.
--
-- KEYS  1 the closed rooms by their end
-- ARGV  1 room  2 ms of its end, or '' when it has none
-- reply {'ok'}
-- A script, since a full Redis refuses ZADD alone: the first write must not ask for
-- memory.

redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1]) end
return {'ok'}
