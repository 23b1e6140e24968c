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
-- guard: put in front of every script that writes to a line as a process of the
-- fleet, behind the prelude.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 epoch, or * for whichever there is  2 mark, the greatest number that the caller heard from the line
--       3 now override in µs  4 the caller's process; '' for one that gives no numbers
--       and need not be asked; then the script's own
-- reply the script's
-- A line that knows less than its callers, or that runs under another replication
-- id than before, has perhaps lost writes: going on would give the same numbers
-- again. It is fenced first: nobody gets a number until those who were alive have
-- told their marks, and who has a number that the line does not know comes back to it.

local now = clock(ARGV[3])
local now_ms = math.floor(now / 1000)
local at, ask = 'at:' .. ARGV[4], 'ask:' .. ARGV[4]
local lapse = 0 -- ms before which no claim lapses
local asking = false -- whether processes are being asked
local hold_until, hold_lo = 0, 0
local settling = false -- acts that were lost may still come back: none is made meanwhile
local flushed = false -- the line was lost while its Redis ran on: its processes live
local signed_at = false

-- unknown: the numbers above last, up to hi, were given to somebody whom the line
-- does not know.
local function unknown(last, hi)
  if hi <= last then return end
  fill(gone, last + 1, hi)
  fill(back, last + 1, hi)
  redis.call('SET', seq, text(hi))
  redis.call('HINCRBY', life, 'lost', hi - last)
end

-- fence: begins a new life of the line and asks who was alive.
local function fence(last, most, id, claim_ms)
  redis.call('HDEL', life, 'replid')
  local newest, asked = 0, false
  -- Asked before, and nobody knows whom: a second loss changes nothing about that.
  local unheard = asking and redis.call('HGET', life, 'known') == '0'
  local had = redis.call('HGETALL', life)
  for i = 1, #had, 2 do
    if string.sub(had[i], 1, 3) == 'at:' then newest = math.max(newest, tonumber(had[i + 1])) end
    if string.sub(had[i], 1, 4) == 'ask:' then asked = true end
  end
  for i = 1, #had, 2 do
    if string.sub(had[i], 1, 3) == 'at:' then
      redis.call('HDEL', life, had[i])
      if tonumber(had[i + 1]) >= newest - alive_ms and had[i] ~= at then
        redis.call('HSET', life, (string.gsub(had[i], '^at:', 'ask:')), 1)
      end
    end
  end
  local known = (newest > 0 or asked) and not unheard
  local alone = not known and not flushed
  local hold = now_ms + (alone and hold_alone_ms or hold_ms)
  redis.call('HSET', life, 'replid', id, 'id', newborn(now), 'asking', text(now_ms + asking_ms),
    'hold', text(hold), 'latest', text(now_ms + hold_most_ms), 'lo', text(hold_until > now_ms and math.min(hold_lo, last) or last),
    'lost_at', text(now_ms), 'known', known and 1 or 0, 'alone', alone and 1 or 0)
  if hold_until <= now_ms then redis.call('HSET', life, 'lost', 0, 'restored', 0) end
  redis.call('HINCRBY', life, 'fences', 1)
  redis.call('HINCRBY', stats, 'fences', 1)
  -- Who was admitted and could not claim while this lasted has a claim's time.
  redis.call('HSET', life, 'lapse', text(now_ms + asking_ms + claim_ms))
  -- What the credit was is not known; nor whether the clock is the one of before: a
  -- replica that was promoted has its own.
  redis.call('HSET', bucket, 'credit', 0, 'at', now, 'stepped', 1)
end

-- resolve: ends the asking once everybody was heard and others had their time, or
-- nobody is waited for any longer. Whoever was not heard may have given numbers: as many as can have been
-- given in the seconds that a loss takes, by what this line measured.
local function resolve(last, l)
  local all = redis.call('HGETALL', life)
  local silent = {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 4) == 'ask:' then silent[#silent + 1] = all[i] end
  end
  local known = redis.call('HGET', life, 'known') == '1'
  if now_ms < l - asking_ms + heard_ms or (#silent > 0 or not known) and now_ms < l then return last end
  -- Of a line that nobody can speak for, the visitors tell what was given: until they
  -- are back no number is free.
  if now_ms < hold_until and redis.call('HGET', life, 'alone') == '1' then return last end
  redis.call('HDEL', life, 'asking', unpack(silent))
  asking = false
  if #silent > 0 or not known then
    local peak = redis.call('HMGET', life, 'peak', 'now')
    local unseen = math.max(unseen_least, unseen_seconds * math.max(tonumber(peak[1] or '0'), tonumber(peak[2] or '0')))
    local hi = math.min(last + unseen, 1073741824)
    unknown(last, hi)
    return hi
  end
  if redis.call('HGET', life, 'lost') == '0' then
    redis.call('HDEL', life, 'hold', 'lo', 'latest') -- nothing was lost: nobody has to come back
    hold_until = 0
  end
  return last
end

-- signed: the caller is alive. A new one makes room for itself.
local function signed()
  if ARGV[4] == '' then return end
  if signed_at and now_ms - tonumber(signed_at) < fresh_ms and now_ms >= tonumber(signed_at) then return end
  redis.call('HDEL', life, at)
  if not signed_at and redis.call('HLEN', life) > most_processes then
    local all = redis.call('HGETALL', life)
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 3) == 'at:' and tonumber(all[i + 1]) < now_ms - alive_ms then redis.call('HDEL', life, all[i]) end
    end
  end
  redis.call('HSET', life, at, text(now_ms))
end

-- guard: nil and why this line refuses the caller, or the last number given.
-- seen is the greatest number that somebody shows beside the caller's own mark;
-- late leaves it to the caller to say that it is alive (join, whose first write is
-- to ask for memory).
local function guard(seen, late)
  local c = redis.call('HMGET', conf, 'epoch', 'claim_ms')
  local has, claim_ms = c[1], tonumber(c[2] or '0')
  if not has then return nil, 'absent' end
  if has ~= ARGV[1] and ARGV[1] ~= '*' then return nil, 'epoch' end
  -- A full Redis refuses a script at its first write, if that asks for memory; after
  -- one that does not, nothing is refused.
  if not late then redis.call('HDEL', life, 'none') end
  local last = tonumber(redis.call('GET', seq) or '0')
  local most = math.max(tonumber(ARGV[2]), seen or 0)
  local l = redis.call('HMGET', life, 'replid', 'asking', 'hold', 'lo', 'lapse', at, ask, 'lost_at')
  local id = replication()
  hold_until, hold_lo, lapse = tonumber(l[3] or '0'), tonumber(l[4] or '0'), tonumber(l[5] or '0')
  if hold_until > now_ms + hold_most_ms or lapse > now_ms + asking_ms + claim_ms then
    -- The clock went back: neither lasts for as long as it went.
    redis.call('HDEL', life, 'hold', 'lapse')
    if hold_until > now_ms then hold_until = now_ms + hold_ms end
    lapse = math.min(lapse, now_ms + asking_ms + claim_ms)
    redis.call('HSET', life, 'hold', text(hold_until), 'latest', text(now_ms + hold_most_ms), 'lapse', text(lapse))
  end
  asking = l[2] ~= false
  local until_ms = tonumber(l[2] or '0')
  if l[1] ~= id or (most > last and not asking) then
    fence(last, most, id, claim_ms)
    l[6], l[7] = false, false
    local f = redis.call('HMGET', life, 'hold', 'lo', 'lapse')
    l[8] = text(now_ms)
    asking, until_ms, hold_until, hold_lo, lapse = true, now_ms + asking_ms, tonumber(f[1]), tonumber(f[2]), tonumber(f[3])
  elseif asking and until_ms > now_ms + asking_ms then
    until_ms = now_ms + asking_ms -- the clock went back
    redis.call('HDEL', life, 'asking')
    redis.call('HSET', life, 'asking', text(until_ms))
  end
  if most > last then
    unknown(last, most)
    last = most
  end
  if l[7] then redis.call('HDEL', life, ask) end
  signed_at = l[6]
  -- A process reads the line each second, and brings a lost act back a second later.
  local lost_at = tonumber(l[8] or '0')
  if lost_at > now_ms then -- the clock went back: nobody can say for how long they had time
    redis.call('HSET', life, 'lost_at', text(now_ms))
    lost_at = now_ms
  end
  settling = now_ms < lost_at + asking_ms
  if not late or asking then signed() end
  if asking then last = resolve(last, until_ms) end
  return last
end

-- came_back: visitors returned to their numbers; the others get a little more time.
local function came_back(count)
  redis.call('HINCRBY', life, 'restored', count)
  redis.call('HINCRBY', stats, 'restored', count)
  if hold_until > now_ms then
    local latest = tonumber(redis.call('HGET', life, 'latest') or '0')
    hold_until = math.min(math.max(hold_until, now_ms + hold_more_ms), math.max(latest, hold_until))
    redis.call('HSET', life, 'hold', text(hold_until))
  end
end
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
