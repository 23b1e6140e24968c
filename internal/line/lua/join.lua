-- join: new visitors to the tail of the line, a batch at once.
--
-- KEYS  1 conf  2 seq  3 queue  4 gone  5 stats  6 lane
-- ARGV  1 epoch  2 mark  3 now override in µs (unused, the same place in all)
--       4 batch number of the lane  5 greatest number  6 ms a lane is kept
--       then visitors
-- reply {'ok', first number, how many got one, 1 when repeated}
--     | {'absent'|'epoch'|'recovering'|'stale'|'closed'|'sold_out'}
-- The first visitors of the batch got first, first+1, …; the rest met a full
-- room. A batch equal to the lane's last is answered as before and changes
-- nothing, since its reply may be lost without the caller knowing.

local last, refused = guard(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not last then return {refused} end

-- The lane's last batch: epoch:batch:first:count.
local lane = redis.call('GET', KEYS[6])
if lane then
  local epoch, before, first, count = string.match(lane, '^(%w+):(%d+):(%d+):(%d+)$')
  if epoch == ARGV[1] then
    local batch = tonumber(ARGV[4])
    if batch == tonumber(before) then return {'ok', tonumber(first), tonumber(count), 1} end
    if batch < tonumber(before) then return {'stale'} end
  end
end

local asked = #ARGV - 6
local conf = redis.call('HMGET', KEYS[1], 'state', 'sold_out', 'max_waiting')
if conf[1] == 'closed' or conf[2] == '1' then
  redis.pcall('HINCRBY', KEYS[5], 'refused', asked) -- a full memory must not hide why
  if conf[1] == 'closed' then return {'closed'} end
  return {'sold_out'}
end

local space = math.min(tonumber(conf[3]) - redis.call('ZCARD', KEYS[3]), tonumber(ARGV[5]) - last)
local count = math.max(0, math.min(asked, space))
if count == 0 then
  redis.pcall('HINCRBY', KEYS[5], 'refused', asked)
  return {'ok', 0, 0, 0}
end

-- The first write asks for memory on purpose: a full Redis refuses a join here,
-- before anything is done.
local first = redis.call('INCRBY', KEYS[2], count) - count + 1
local members = {}
for i = 1, count do
  members[2 * i - 1] = first + i - 1
  members[2 * i] = ARGV[6 + i]
end
local added = redis.call('ZADD', KEYS[3], 'NX', unpack(members))
if added < count then
  -- A visitor in line already keeps its number. The one it got here is taken
  -- and nobody's: without its bit everyone behind would be one off for good.
  for i = 1, count do
    if tonumber(redis.call('ZSCORE', KEYS[3], members[2 * i])) ~= members[2 * i - 1] then
      redis.call('SETBIT', KEYS[4], members[2 * i - 1], 1)
    end
  end
end
redis.call('SET', KEYS[6], ARGV[1] .. ':' .. ARGV[4] .. ':' .. text(first) .. ':' .. text(count), 'PX', ARGV[6])
redis.call('HINCRBY', KEYS[5], 'joined', added)
if asked > count then redis.call('HINCRBY', KEYS[5], 'refused', asked - count) end
return {'ok', first, count, 0}
