-- set: change some fields of a live room.
--
-- KEYS  the room's, as the prelude names them
-- ARGV  1 to 4 as guard has them  5 actor  6 acts kept  7 '1' when the values come
--       from flags  8 ms below which a flag's value is recent  9 ms until a
--       closed room ends  10 'pause', 'resume', 'reopen' or ''
--       11 revision of the stock for a reopen, 0 when it tells none
--       12 the rev that the act is made on, 0 for any  13 id of the act
--       14 bytes of the logo, when it is set  15 how many fields of the event follow
--       then the event's fields, then conf's: name, value, …
-- reply {'absent'} | {'recovering'}: an act that was lost may still come back
--     | {'state', the state that 7 does not begin from}
--     | {'stock', the revision at which the room was said to be sold out}
--     | {'changed', the rev there is, who made it}
--     | {'ok', rev, burst raised to or 0, {field, old, new, …},
--        {field, old, new, age in ms, …}, ms at which a closed room ends or 0}

local last, refused = guard()
if not last then return {refused} end
if settling then return {'recovering'} end
local rev = redis.call('HGET', conf, 'rev')
if ARGV[12] ~= '0' and ARGV[12] ~= rev then
  -- The newest act made this rev. It may be this very one: a client library that
  -- lost the reply sends a call again by itself.
  local by, id = '', nil
  for _, entry in ipairs(redis.call('XREVRANGE', acts, '+', '-', 'COUNT', 1)) do
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'actor' then by = entry[2][i + 1] end
      if entry[2][i] == 'id' then id = entry[2][i + 1] end
    end
  end
  if id ~= ARGV[13] then return {'changed', rev, by} end
end
local flags = ARGV[7] == '1'
local wanted, order, replaced = {}, {}, {}

-- A pause keeps in conf where it began (paused_from: open or opening) and the
-- notice that came with it (pause_notice). A pause by an older version, or by
-- `create`, keeps neither.
local step = ARGV[10]
local had = redis.call('HMGET', conf, 'state', 'opens_at', 'paused_from', 'notice', 'pause_notice', 'sold_out', 'stock_rev')
local state, opens_ms = had[1], tonumber(had[2] or '0')
local shown = state -- an opening room whose time has come is open, and nobody has written it
if state == 'opening' and opens_ms > 0 and now_ms >= opens_ms then shown = 'open' end
if step == 'pause' and shown == 'closed' or step == 'resume' and shown ~= 'paused' and shown ~= 'open' then
  return {'state', shown}
end
local stock, known = tonumber(ARGV[11]), tonumber(had[7] or '0')
if step == 'reopen' and had[6] == '1' and stock > 0 and stock <= known then return {'stock', had[7]} end

local event_from = 16
local conf_from = event_from + 2 * tonumber(ARGV[15])

for i = conf_from, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  local apply = true
  if flags then
    local last = redis.call('HMGET', conf, 'flag:' .. field, 'flag_at:' .. field)
    if last[1] == value then
      apply = false -- the same flag again: whatever was set since then stays
    else
      local age = now_ms - tonumber(last[2] or '0')
      if last[1] and age < tonumber(ARGV[8]) then
        replaced[#replaced + 1] = field
        replaced[#replaced + 1] = last[1]
        replaced[#replaced + 1] = value
        replaced[#replaced + 1] = age
      end
      redis.call('HSET', conf, 'flag:' .. field, value, 'flag_at:' .. field, now_ms)
    end
  end
  if apply then
    wanted[field] = value
    order[#order + 1] = field
  end
end

local given_notice = wanted.notice
if step == 'pause' then
  wanted.state = 'paused'
  order[#order + 1] = 'state'
elseif step == 'resume' and state == 'paused' then
  wanted.state = 'open'
  if opens_ms > now_ms and had[3] ~= 'open' or opens_ms == 0 and had[3] == 'opening' then
    wanted.state = 'opening'
  end
  order[#order + 1] = 'state'
end
if step == 'reopen' then
  wanted.sold_out = '0'
  order[#order + 1] = 'sold_out'
  if stock > known then
    wanted.stock_rev = ARGV[11]
    order[#order + 1] = 'stock_rev'
  end
end
if state == 'paused' and (wanted.state == 'open' or wanted.state == 'opening')
  and had[5] and had[5] == had[4] and not given_notice then
  wanted.notice = ''
  order[#order + 1] = 'notice'
end

-- What the next resume has to know. It is no change of the room by itself.
if wanted.state == 'paused' then
  if state ~= 'paused' then
    redis.call('HSET', conf, 'paused_from', shown)
    redis.call('HDEL', conf, 'pause_notice')
  end
  if step == 'pause' and given_notice then redis.call('HSET', conf, 'pause_notice', given_notice) end
elseif state == 'paused' then
  if wanted.state then
    redis.call('HDEL', conf, 'paused_from', 'pause_notice')
  elseif tonumber(wanted.opens_at or '0') > now_ms then
    redis.call('HSET', conf, 'paused_from', 'opening') -- postponed: a resume must let nobody in before
  end
end
if given_notice and step ~= 'pause' and had[5] then redis.call('HDEL', conf, 'pause_notice') end

-- As room.Rate.MinBurst: what the rate gives in 100 ms, and at least 2. The bound
-- of the rate keeps the raised burst far below its own bound.
local old_rate = tonumber(redis.call('HGET', conf, 'rate'))
local old_burst = tonumber(redis.call('HGET', conf, 'burst'))
local rate = tonumber(wanted.rate or old_rate)
local least = math.max(2, math.floor((rate + 9999) / 10000))
local raised = 0
if #order > 0 and tonumber(wanted.burst or old_burst) < least then
  raised = least
  if not wanted.burst then order[#order + 1] = 'burst' end
  wanted.burst = text(least)
end

local changed, entry = {}, {}
for _, field in ipairs(order) do
  local old = redis.call('HGET', conf, field) or ''
  if old ~= wanted[field] then
    changed[#changed + 1] = field
    changed[#changed + 1] = old
    changed[#changed + 1] = wanted[field]
    entry[#entry + 1] = 'old:' .. field
    entry[#entry + 1] = old
    entry[#entry + 1] = 'new:' .. field
    entry[#entry + 1] = wanted[field]
  else
    wanted[field] = nil
  end
end

-- The event is a key of its own, so that the nodes' read of conf each second
-- carries no logo; `event_rev` there tells them when to read it. Its field `logo`
-- says which one, and stands for the bytes in whatever is compared or told.
local told = {}
for i = event_from, conf_from - 1, 2 do
  local field = ARGV[i]
  local old = redis.call('HGET', event, field) or ''
  if old ~= ARGV[i + 1] then
    told[#told + 1] = field
    told[#told + 1] = old
    told[#told + 1] = ARGV[i + 1]
    entry[#entry + 1] = 'old:' .. field
    entry[#entry + 1] = old
    entry[#entry + 1] = 'new:' .. field
    entry[#entry + 1] = ARGV[i + 1]
    redis.call('HSET', event, field, ARGV[i + 1])
    if field == 'logo' then redis.call('HSET', event, 'logo_bytes', ARGV[14]) end
  end
end
if #told > 0 then
  redis.call('HSET', event, 'rev', redis.call('HINCRBY', conf, 'event_rev', 1))
  -- A line that an older version made notes no time; from now on it counts as newer
  -- than those of its name before, and stays older than those to come.
  redis.call('HSETNX', conf, 'created_ms', now_ms)
  local ttl = redis.call('PTTL', conf) -- the first event of a closed room goes with it
  if ttl > 0 then
    redis.call('PEXPIRE', event, ttl)
  else
    redis.call('PERSIST', event) -- an older version opens a room without knowing this key
  end
end

if #changed + #told > 0 then
  -- Until now the old rate and burst held: what the bucket gained is counted
  -- by them, so that no order of changes admits more than rate·t + burst.
  if wanted.rate or wanted.burst then
    local credit = settle(old_rate, old_burst, now)
    local burst = tonumber(wanted.burst or old_burst)
    credit = math.min(credit, burst * 1000000000)
    redis.call('HSET', bucket, 'credit', credit, 'at', now, 'rate', rate)
  end
  for i = 1, #changed, 3 do redis.call('HSET', conf, changed[i], changed[i + 2]) end
  rev = redis.call('HINCRBY', conf, 'rev', 1)
  redis.call('HSET', stats, 'rev', rev) -- all that is read of a room that stands still
  redis.call('XADD', acts, 'MAXLEN', ARGV[6], '*', 'at', now, 'actor', ARGV[5], 'act', 'set', 'id', ARGV[13],
    unpack(entry))
  if wanted.state then
    state = wanted.state
    if state == 'closed' then
      close(now_ms, tonumber(ARGV[9]))
    else
      redis.call('HDEL', conf, 'ends_ms')
      for i = 1, #KEYS do redis.call('PERSIST', KEYS[i]) end
    end
  end
end
for _, v in ipairs(told) do changed[#changed + 1] = v end
return {'ok', tonumber(rev), raised, changed, replaced, tonumber(redis.call('HGET', conf, 'ends_ms') or '0')}
