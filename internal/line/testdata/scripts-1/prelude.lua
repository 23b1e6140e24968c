-- prelude: put in front of every script of a room; what they share, nothing by
-- itself. All of them take the same keys in the same order, so that no script can
-- call one by another's name.

local conf, seq, queue, gone, back, away, unclaimed, active, outbox, bucket, stats, life, lanes, acts, event =
  unpack(KEYS, 1, 15)

-- life is a hash about what this line lost, and who can tell:
--   replid      the replication id of Redis under which this line last wrote
--   id          of this life, replid:µs; another one after each fence
--   at:P        ms at which process P last wrote here
--   asking      ms until which processes are asked for their marks; no number is
--               given meanwhile
--   known       0 when nobody knows who was alive before the loss
--   alone       1 when nobody alive may have been there: its visitors tell what was given
--   ask:P       process P was alive before the loss and was not heard since
--   hold, lo    ms until which nobody beyond number lo is admitted, so that those
--               who come back are not overtaken
--   latest      ms beyond which the hold is not put off
--   lapse       ms before which no claim lapses
--   second, now how many joined in this second
--   peak, before  how many did at most in one of this minute, since peak_at, ms, and of
--               the minute before
--   lost_at, lost, restored, fences  for people who look

local hold_ms, hold_more_ms, hold_most_ms = 10000, 2000, 120000
local hold_alone_ms = 32000 -- a page that lost its node dials again within 30 s
local asking_ms = 3000
-- Least time of it. Who is known to nobody reads within a second that the line asks: a
-- process whose first call in the room is lost, or whose last one was long ago; and a
-- client library sends a call of before the loss again, with the mark of then.
local heard_ms = 2000
local alive_ms = 30000 -- who wrote so shortly before the last one counts as alive then
local fresh_ms = 5000 -- how old at:P grows before it is written again
local unseen_least, unseen_seconds = 65536, 4
local most_processes = 128

-- stand: where a visitor with a number stands, and its deadline in ms.
-- A number that is not the one in the queue is nobody's place: unseen while the line
-- does not know whose it was, away when nobody was seen there for the room's grace.
local function stand(visitor, number, now_ms, lapse)
  local deadline = redis.call('ZSCORE', active, visitor)
  if deadline then
    deadline = tonumber(deadline)
    if deadline > now_ms then return 'active', deadline end
    return 'gone', 0
  end
  deadline = redis.call('ZSCORE', unclaimed, visitor)
  if deadline then
    deadline = math.max(tonumber(deadline), lapse)
    if deadline > now_ms then return 'unclaimed', deadline end
    return 'gone', 0
  end
  local has = redis.call('ZSCORE', queue, visitor)
  if has and tonumber(has) == tonumber(number) then return 'waiting', 0 end
  if redis.call('GETBIT', back, number) == 1 then return 'unseen', 0 end
  if redis.call('GETBIT', away, number) == 1 then return 'away', 0 end
  return 'gone', 0
end

-- settle: the bucket's credit at now, in 1e-9 visitors. Thousandths per second
-- times microseconds is that unit, so nothing is rounded; all is below 2^53.
-- The smaller rate counts when the bucket was left at another one, a clock that
-- went back gives nothing, and a bucket that is missing starts empty. Third: by how
-- many µs the clock went back.
local function settle(rate, burst, now)
  local b = redis.call('HMGET', bucket, 'credit', 'at', 'rate')
  if not (b[1] and b[2] and b[3]) then return 0, true, 0 end
  local elapsed = now - tonumber(b[2])
  local stale = elapsed < 0 or tonumber(b[3]) ~= rate
  local backwards = math.max(0, -elapsed)
  if elapsed < 0 then elapsed = 0 end
  local credit = tonumber(b[1]) + elapsed * math.min(rate, tonumber(b[3]))
  return math.min(credit, burst * 1000000000), stale, backwards
end

-- replication: the id under which this Redis replicates; another one after each
-- restart and each promotion.
local function replication()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or 'none'
end

-- newborn: the id of a life that begins now.
local function newborn(now)
  return table.concat({replication(), text(now)}, ':')
end

-- fill: sets the bits from first to last of a bitmap. Ten bits are cheaper one by one.
local function fill(bitmap, first, last)
  if last - first < 10 then
    for n = first, last do redis.call('SETBIT', bitmap, n, 1) end
    return
  end
  while first % 8 > 0 do
    redis.call('SETBIT', bitmap, first, 1)
    first = first + 1
  end
  while last % 8 < 7 do
    redis.call('SETBIT', bitmap, last, 1)
    last = last - 1
  end
  if last > first then redis.call('SETRANGE', bitmap, first / 8, string.rep('\255', (last + 1 - first) / 8)) end
end
