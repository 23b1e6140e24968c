-- list: a room stands in the registry.
--
-- KEYS  1 the registry
-- ARGV  1 room
-- reply {'ok'}
-- A script, since a full Redis refuses SADD alone: the first write must not ask for
-- memory.

redis.call('SREM', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[1], ARGV[1])
return {'ok'}
