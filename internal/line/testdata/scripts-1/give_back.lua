-- give_back: the last batch of a lane belongs to nobody: its visitors leave the line,
-- and the lane takes no batch up to that number any more.
--
-- KEYS  as presence has them
-- ARGV  1 to 4 as guard has them  5 lane  6 number of the batch  7 '1' when some of it
--       may have been told: who shows such a place later comes back to its number, and
--       who has shown it since keeps it
-- reply {'ok', how many left the line} | {'absent'|'epoch'}
-- A batch that Redis has not seen yet may be on its way: it is refused when it comes.

local last, refused = guard()
if not last then return {refused} end
local lane = redis.call('HGET', lanes, ARGV[5])
local epoch, before, first, count = string.match(lane or '', '^(%w+):(%d+):(%d+):(%d+):')
local batch = tonumber(ARGV[6])
if epoch == ARGV[1] and tonumber(before) > batch then return {'ok', 0} end -- answered since
local given = 0
if epoch == ARGV[1] and tonumber(before) == batch and first ~= '0' then
  redis.call('HDEL', lanes, ARGV[5])
  first, count = tonumber(first), tonumber(count)
  local found = redis.call('ZRANGEBYSCORE', queue, first, first + count - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    if redis.call('GETBIT', heard, found[i + 1]) == 0 then
      redis.call('ZREM', queue, found[i])
      redis.call('SETBIT', gone, found[i + 1], 1)
      if ARGV[7] == '1' then redis.call('SETBIT', back, found[i + 1], 1) end
      given = given + 1
    end
  end
  if given > 0 then redis.call('HINCRBY', stats, 'given_back', given) end
end
redis.call('HDEL', lanes, ARGV[5])
redis.call('HSET', lanes, ARGV[5], table.concat({ARGV[1], ARGV[6], '0:0', text(now_ms)}, ':'))
return {'ok', given}
