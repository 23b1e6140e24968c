-- signs: every sign of life that is kept, and the time. Reads only.
--
-- KEYS  1 signs
-- ARGV  1 now override in µs
-- reply {'ok', time in µs, {field, value, …}}

return {'ok', clock(ARGV[1]), redis.call('HGETALL', KEYS[1])}
