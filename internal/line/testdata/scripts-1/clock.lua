-- clock: put in front of every script.
--
-- A number becomes text only by `text`, since Lua's own conversion cuts
-- microseconds on Redis (and not on miniredis, where a test would stay green).
-- A number handed to redis.call or to the reply needs no text: both keep whole
-- numbers below 2^53 as they are.

local function text(x) return string.format('%.0f', x) end

-- clock: microseconds of this Redis, or the override when it is above 0.
local function clock(override)
  local us = tonumber(override)
  if us > 0 then return us end
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
