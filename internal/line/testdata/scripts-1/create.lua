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
--   second, now, peak  how many joined in this second, and at most in one of the
--               last minute; peak_at, ms
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
-- create: a new line, empty, with its first number still to give.
--
-- KEYS  the room's, as the prelude and presence name them, the tombstone last
-- ARGV  1 now override in µs  2 actor  3 acts kept  4 ms until a closed room ends
--       5 the group that reads the outbox  6 bytes of the logo
--       7 how many fields of the event are told, 0 for no event
--       then the event's fields, then conf's: name, value, …
-- reply {'ok' or 'exists', epoch, ms at which a closed room ends or 0}: epoch is ''
--       when a line without its conf is in the way

local function answer(head)
  local c = redis.call('HMGET', conf, 'epoch', 'ends_ms')
  return {head, c[1] or '', tonumber(c[2] or '0')}
end
if redis.call('HEXISTS', conf, 'epoch') == 1 then return answer('exists') end
-- Never a new line over the rest of an old one: its places would come back.
-- What the sale before was for is no such rest, nor are the acts of one that was
-- deleted.
local tombstone = KEYS[#KEYS]
local buried = redis.call('EXISTS', tombstone) == 1
for i = 2, #KEYS - 1 do
  local rest = KEYS[i] ~= event and not (buried and KEYS[i] == acts)
  if rest and redis.call('EXISTS', KEYS[i]) == 1 then return answer('exists') end
end
local now = clock(ARGV[1])
local event_from = 8
local conf_from = event_from + 2 * tonumber(ARGV[7])
local fields = {}
for i = conf_from, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', conf, unpack(fields))
if buried then redis.call('UNLINK', tombstone, acts) end
-- In ms, so that who knows several lines of this name knows the newest.
redis.call('HSET', conf, 'rev', 1, 'created_ms', math.floor(now / 1000))
redis.call('DEL', event)
if conf_from > event_from then
  redis.call('HSET', conf, 'event_rev', 1)
  redis.call('HSET', event, 'rev', 1, 'logo_bytes', ARGV[6])
  for i = event_from, conf_from - 1, 2 do redis.call('HSET', event, ARGV[i], ARGV[i + 1]) end
end
redis.call('SET', seq, 0)
-- Here, so that no relay has to on a full Redis.
redis.call('XGROUP', 'CREATE', outbox, ARGV[5], '0', 'MKSTREAM')
redis.call('HSET', stats, 'rev', 1)
redis.call('HSET', life, 'replid', replication(), 'id', newborn(now))
local rate = redis.call('HGET', conf, 'rate')
redis.call('HSET', bucket, 'credit', 0, 'at', now, 'rate', rate)
redis.call('XADD', acts, 'MAXLEN', ARGV[3], '*', 'at', now, 'actor', ARGV[2], 'act', 'create')
if redis.call('HGET', conf, 'state') == 'closed' then close(math.floor(now / 1000), tonumber(ARGV[4])) end
return answer('ok')
