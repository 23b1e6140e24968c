-- delete: a line and everything about it, for good.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 now override in µs  2 '1' to delete whatever is in there
-- reply {'ok', 1 when there was anything} | {'busy'}

local now_ms = math.floor(clock(ARGV[1]) / 1000)
if ARGV[2] ~= '1' then
  -- Who was admitted and may still claim waits too.
  if redis.call('ZCARD', queue) > 0
    or redis.call('ZCOUNT', unclaimed, now_ms + 1, '+inf') > 0
    or redis.call('XLEN', outbox) > 0 then
    return {'busy'}
  end
end
return {'ok', math.min(1, redis.call('UNLINK', unpack(KEYS)))}
