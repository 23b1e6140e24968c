-- expire: a closed room whose time has come ends, as if it was deleted.
--
-- KEYS  as bury has them
-- ARGV  1 to 7 as bury has them  8 '1' when the room is listed  9 ms of the end that
--       was noted  10 ms from a room's end until its keys expire by themselves
-- reply {'ok', 'gone', 0} | {'ok', 'closed', ms of its end} | {'ok', 'open', 0}
--     | {'ok', 'wait', 0}: it has no line, which Redis may have lost

local c = redis.call('HMGET', conf, 'epoch', 'state', 'ends_ms')
if c[1] then
  if c[2] ~= 'closed' then return {'ok', 'open', 0} end
  local ends = tonumber(c[3] or '0')
  if now_ms < ends then return {'ok', 'closed', ends} end
elseif redis.call('EXISTS', tombstone) == 1 then
  return {'ok', 'gone', 0} -- by a call that was cut short
elseif ARGV[8] ~= '1' then
  return {'ok', 'open', 0} -- nobody's
elseif now_ms < tonumber(ARGV[9]) + tonumber(ARGV[10]) then
  return {'ok', 'wait', 0}
end
bury('expire')
return {'ok', 'gone', 0}
