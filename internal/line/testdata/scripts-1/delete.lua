-- delete: a line and everything about it, for good.
--
-- KEYS  as bury has them
-- ARGV  1 to 7 as bury has them  8 '1' to delete whatever is in there
--       9 '1' to look whether it may be deleted, and change nothing
--       10 '1' when the room was listed
-- reply {'ok', 1 when it is gone by this, 0 when nothing was there} | {'busy'}
--     | {'recovering'}: it looks empty, and who was in it may be on the way back

if ARGV[8] ~= '1' then
  guard() -- of a room without a line there is nobody to come back to it
  if settling or hold_until > now_ms then return {'recovering'} end
  -- Who was admitted and may still claim waits too.
  if redis.call('ZCARD', queue) > 0
    or redis.call('ZCOUNT', unclaimed, now_ms + 1, '+inf') > 0
    or redis.call('XLEN', outbox) > 0 then
    return {'busy'}
  end
end
if ARGV[9] == '1' then return {'ok', 1} end
local there = 0
for i = 1, #KEYS - 1 do
  if KEYS[i] ~= acts then there = there + redis.call('EXISTS', KEYS[i]) end
end
-- Of a room that is listed and has no line Redis lost the line; an operator may end
-- that too. One that has a tombstone was ended before.
if there == 0 and (ARGV[10] ~= '1' or redis.call('EXISTS', tombstone) == 1) then return {'ok', 0} end
bury('delete')
return {'ok', 1}
