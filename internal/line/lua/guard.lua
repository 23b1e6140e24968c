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
  local leap = redis.call('HMGET', life, 'leap', 'leap_from')
  local had = redis.call('HGETALL', life)
  for i = 1, #had, 2 do
    if string.sub(had[i], 1, 3) == 'at:' then newest = math.max(newest, tonumber(had[i + 1])) end
    if string.sub(had[i], 1, 4) == 'ask:' then asked = true end
  end
  -- A word from before the clock went back lies ahead of now: beside it one of just now
  -- would look like an old one, and whoever said it would not be waited for. A word
  -- from before it went ahead looks old itself, until everybody has spoken again.
  local since = math.min(newest, now_ms) - alive_ms
  if leap[1] and now_ms < tonumber(leap[1]) + alive_ms then since = math.min(since, tonumber(leap[2]) - alive_ms) end
  for i = 1, #had, 2 do
    if string.sub(had[i], 1, 3) == 'at:' then
      redis.call('HDEL', life, had[i])
      if tonumber(had[i + 1]) >= since and had[i] ~= at then
        redis.call('HSET', life, (string.gsub(had[i], '^at:', 'ask:')), 1)
      end
    end
  end
  local known = (newest > 0 or asked) and not unheard
  local alone = not known and not flushed
  local hold = now_ms + (alone and hold_alone_ms or hold_ms)
  -- A hold is there until somebody is let in after it. What came back in its last seconds
  -- may be what was lost now, though every number is known.
  local held = hold_until > 0
  redis.call('HSET', life, 'replid', id, 'id', newborn(now), 'asking', text(now_ms + asking_ms),
    'hold', text(hold), 'latest', text(now_ms + hold_most_ms), 'lo', text(held and math.min(hold_lo, last) or last),
    'lost_at', text(now_ms), 'known', known and 1 or 0, 'alone', alone and 1 or 0)
  if not held then redis.call('HSET', life, 'lost', 0, 'restored', 0) end
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
    local peak = redis.call('HMGET', life, 'peak', 'now', 'before')
    local most = math.max(tonumber(peak[1] or '0'), tonumber(peak[2] or '0'), tonumber(peak[3] or '0'))
    local unseen = math.max(unseen_least, unseen_seconds * most)
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

-- signed: the caller is alive. A new one makes room for itself. When nobody has spoken
-- for as long as somebody counts as alive, either nobody was there or the clock went
-- ahead; the line takes the second, and remembers the time that it went from.
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
  local spoke = redis.call('HGET', life, 'spoke')
  if spoke and now_ms > tonumber(spoke) + alive_ms then
    -- A second step, before everybody had the time to speak since the first: it is one.
    local l = redis.call('HMGET', life, 'leap', 'leap_from')
    local from = spoke
    if l[1] and tonumber(spoke) < tonumber(l[1]) + alive_ms then from = text(math.min(tonumber(spoke), tonumber(l[2]))) end
    redis.call('HSET', life, 'leap', text(now_ms), 'leap_from', from)
  end
  redis.call('HSET', life, at, text(now_ms), 'spoke', text(now_ms))
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
