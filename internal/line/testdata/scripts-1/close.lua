-- close: put in front of the scripts that close a room, behind the prelude.
--
-- KEYS  the room's, as the prelude and presence name them
-- ARGV  the script's own
-- reply the script's

-- close: the room ends in so many ms: then expire takes its line away, and after
-- another day without anybody who runs that Redis does so by itself.
local function close(now_ms, life_ms)
  local net_ms = 86400000
  redis.call('HSET', conf, 'ends_ms', text(now_ms + life_ms))
  -- What a closed room may still write to must be there to expire.
  redis.call('SETBIT', gone, 0, 0)
  for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], text(life_ms + net_ms)) end
end
