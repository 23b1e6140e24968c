-- presence: put in front of scripts that say or ask who is there, behind the prelude.
--
-- KEYS  the room's, as the prelude names them, then spans, scratch, seen:0 to seen:8,
--       heard
-- ARGV  the script's own
-- reply the script's
-- Time is cut into spans of an eighth of the room's grace. Each span has a bitmap of
-- the numbers that some node saw in it; nine of them take turns, and spans says which
-- span each is of. So nothing has to be written when somebody goes, and nothing is
-- lost for good when a write is: the next span says it again.

local spans, scratch = KEYS[16], KEYS[17]
local rings = 9
local heard = KEYS[18 + rings]

-- span: the number of the span at a moment, for a room's grace.
local function span(now_ms, grace)
  return math.floor(now_ms / math.max(1, math.floor(grace / (rings - 1))))
end

-- seen_at: the bitmap of the span at now, emptied when it is another span's.
local function seen_at(now_ms, grace)
  local s = span(now_ms, grace)
  local i = s % rings
  local bitmap = KEYS[18 + i]
  if redis.call('HGET', spans, text(i)) ~= text(s) then
    redis.call('UNLINK', bitmap)
    redis.call('HSET', spans, text(i), text(s))
  end
  return bitmap
end

-- grace of the room in ms. Two minutes where a line does not say.
local function grace_ms() return tonumber(redis.call('HGET', conf, 'grace_ms') or '120000') end
