-- delete: a line and everything about it, for good.
--
-- KEYS  1 conf  2 queue  3 unclaimed  4 outbox, then every other key of the room
-- ARGV  1 now override in µs  2 '1' to delete whatever is in there
-- reply {'ok', 1 when there was anything} | {'busy'}

local now_ms = math.floor(clock(ARGV[1]) / 1000)
if ARGV[2] ~= '1' then
  -- Who was admitted and may still claim waits too.
  if redis.call('ZCARD', KEYS[2]) > 0
    or redis.call('ZCOUNT', KEYS[3], now_ms + 1, '+inf') > 0
    or redis.call('XLEN', KEYS[4]) > 0 then
    return {'busy'}
  end
end
return {'ok', math.min(1, redis.call('UNLINK', unpack(KEYS)))}
