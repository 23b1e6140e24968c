-- join: new visitors to the tail of the line, a batch at once.
--
-- KEYS  as presence has them
-- ARGV  1 to 4 as guard has them  5 lane  6 batch number of the lane  7 greatest
--       number  then visitors
-- reply {'ok', first number, how many got one, 1 when repeated, 1 when the line was
--        empty before, {numbers one by one, if some visitor was known}}
--     | {'absent'|'epoch'|'recovering'|'stale'|'closed'|'sold_out'}
-- The first visitors of the batch got first, first+1, …; the rest met a full
-- room. A batch equal to the lane's last is answered as before and changes
-- nothing, since its reply may be lost without the caller knowing.

local last, refused = guard(0, true)
if not last then return {refused} end

-- The numbers of a batch in which somebody was known.
local function numbers(first, count)
  local each = {}
  for i = 1, count do
    each[i] = tonumber(redis.call('ZSCORE', queue, ARGV[7 + i]) or first + i - 1)
  end
  return each
end

local many_lanes, lane_life_ms = 256, 3600000 -- laneLife

-- The lane's last batch: epoch:batch:first:count:ms, and :k when somebody in it was
-- known. One that was given back has no first number.
local lane = redis.call('HGET', lanes, ARGV[5])
if lane then
  local epoch, before, first, count, known = string.match(lane, '^(%w+):(%d+):(%d+):(%d+):%d+:?(k?)$')
  if epoch == ARGV[1] then
    local batch = tonumber(ARGV[6])
    if batch < tonumber(before) or batch == tonumber(before) and first == '0' then return {'stale'} end
    if batch == tonumber(before) then
      first, count = tonumber(first), tonumber(count)
      return {'ok', first, count, 1, 0, known == 'k' and numbers(first, count) or {}}
    end
  end
end
if asking then return {'recovering'} end
local crowded = not lane and redis.call('HLEN', lanes) >= many_lanes

local asked = #ARGV - 7
local c = redis.call('HMGET', conf, 'state', 'sold_out', 'max_waiting', 'grace_ms')
if c[1] == 'closed' or c[2] == '1' then
  redis.pcall('HINCRBY', stats, 'refused', asked) -- a full memory must not hide why
  if c[1] == 'closed' then return {'closed'} end
  return {'sold_out'}
end

local waiting = redis.call('ZCARD', queue)
local space = math.min(tonumber(c[3]) - waiting, tonumber(ARGV[7]) - last)
local count = math.max(0, math.min(asked, space))
if count == 0 then
  redis.pcall('HINCRBY', stats, 'refused', asked)
  return {'ok', 0, 0, 0, 0, {}}
end

-- The first write asks for memory on purpose: a full Redis refuses a join here,
-- before anything is done.
local first = redis.call('INCRBY', seq, count) - count + 1
local members = {}
for i = 1, count do
  members[2 * i - 1] = first + i - 1
  members[2 * i] = ARGV[7 + i]
end
local added = redis.call('ZADD', queue, 'NX', unpack(members))
local field, each = '', {}
if added < count then
  -- A visitor in line already keeps its number. The one it got here is taken
  -- and nobody's: without its bit everyone behind would be one off for good.
  field, each = ':k', numbers(first, count)
  for i = 1, count do
    if each[i] ~= first + i - 1 then redis.call('SETBIT', gone, first + i - 1, 1) end
  end
end
redis.call('HSET', lanes, ARGV[5], table.concat({ARGV[1], ARGV[6], text(first), text(count), text(now_ms) .. field}, ':'))
if crowded then
  -- A lane that joined nobody for so long sends no batch again; none is left of a node
  -- that stopped, or was given up.
  local all, silent = redis.call('HGETALL', lanes), {}
  for i = 1, #all, 2 do
    local at = tonumber(string.match(all[i + 1], '^%w+:%d+:%d+:%d+:(%d+)') or '0')
    if now_ms - at > lane_life_ms then silent[#silent + 1] = all[i] end
  end
  if #silent > 0 then redis.call('HDEL', lanes, unpack(silent)) end
end
redis.call('HINCRBY', stats, 'joined', added)
fill(seen_at(now_ms, tonumber(c[4] or '120000')), first, first + count - 1)
if asked > count then redis.call('HINCRBY', stats, 'refused', asked - count) end

-- What a loss may take is measured here: joins in a second, and the most of those in
-- this minute and in the one before.
local second = math.floor(now_ms / 1000)
local l = redis.call('HMGET', life, 'second', 'now', 'peak', 'peak_at')
if tonumber(l[1] or '0') == second then
  redis.call('HINCRBY', life, 'now', added)
else
  local joined, peak = tonumber(l[2] or '0'), tonumber(l[3] or '0')
  local age = now_ms - tonumber(l[4] or '0')
  if age > 60000 or age < 0 then -- or the clock went back
    redis.call('HSET', life, 'before', age <= 120000 and text(peak) or '0', 'peak', text(joined), 'peak_at', text(now_ms))
  elseif joined > peak then
    redis.call('HSET', life, 'peak', text(joined))
  end
  redis.call('HSET', life, 'second', text(second), 'now', added)
end
signed()
return {'ok', first, count, 0, waiting == 0 and 1 or 0, each}
