-- recreate: a line that Redis lost whole comes back, as one of its processes
-- remembers it: with its epoch and conf, and with every number up to the process's
-- mark given to somebody who has yet to come back. Then others tell what they know:
-- of two the newer line counts, of one line the newer conf, whatever else it lost; of
-- the shop's stock the newer one by itself, since no act goes with it.
--
-- KEYS  as presence has them, then the tombstone
-- ARGV  1 to 4 as guard has them  5 acts kept  6 actor  7 how many fields of conf
--       follow  8 the life of the line that the process read last  9 the event's rev, 0
--       when the process knows none  10 bytes of its logo
--       then conf's fields, then the event's: name, value, …
-- reply {'ok', 1 when the line is another one than before} | {'epoch'|'deleted'}
-- Nobody behind the last number known is admitted for some seconds, so a conf that
-- says open gives way in time to one that says paused.

local fields, told, of_event = {}, {}, {}
local event_from = 11 + 2 * tonumber(ARGV[7])
for i = 11, #ARGV do
  if i < event_from then fields[#fields + 1] = ARGV[i] else of_event[#of_event + 1] = ARGV[i] end
end
for i = 1, #fields, 2 do told[fields[i]] = fields[i + 1] end
-- By a deletion that this process has not heard of: of this line, or of a later one of
-- its name. A line that an operator brings back by hand tells no time.
local stone = redis.call('HMGET', KEYS[#KEYS], 'epoch', 'at')
local made_ms = tonumber(told.created_ms or '0')
if stone[1] == ARGV[1] or stone[1] == '' or made_ms > 0 and made_ms * 1000 <= tonumber(stone[2] or '0') then
  return {'deleted'}
end
local has = redis.call('HMGET', conf, 'epoch', 'rev', 'created_ms')
local by_hand = redis.call('HGET', life, 'by_hand') == '1'
local again = redis.call('HGET', life, 'recreated') == '1'
if has[1] and has[1] ~= ARGV[1] then
  if not (again and tonumber(told.created_ms or '0') > tonumber(has[3] or '0')) then return {'epoch'} end
  redis.call('UNLINK', unpack(KEYS)) -- brought back by who did not know of this one
  has = {false}
end
local made = 0
local stock = {told.sold_out, told.stock_rev, told.stock_ms} -- what the conf that gives way says
if not has[1] then
  redis.call('UNLINK', KEYS[#KEYS]) -- of a line before this one
  redis.call('HSET', conf, unpack(fields))
  redis.call('SET', seq, 0, 'NX')
  redis.call('HSET', stats, 'rev', told.rev or 1)
  redis.call('HSET', life, 'recreated', 1)
  if made_ms == 0 then redis.call('HSET', life, 'by_hand', 1) end
  redis.call('HSETNX', conf, 'created_ms', now_ms)
  redis.call('HSET', bucket, 'rate', told.rate)
  flushed = string.match(ARGV[8], '^%w+') == replication()
  made = 1
elseif tonumber(told.rev or '0') > tonumber(has[2] or '0') or by_hand and made_ms > 0 and has[2] == '1' then
  -- A later act; or the line's own conf, of one that was brought back by hand and not
  -- changed since.
  redis.call('HDEL', life, 'by_hand')
  stock = redis.call('HMGET', conf, 'sold_out', 'stock_rev', 'stock_ms')
  redis.call('DEL', conf)
  redis.call('HSET', conf, unpack(fields))
  redis.call('HSET', stats, 'rev', told.rev)
  made = 1
end
local known = redis.call('HMGET', conf, 'sold_out', 'stock_rev')
if tonumber(stock[2] or '0') > tonumber(known[2] or '0') then
  redis.call('HSET', conf, 'stock_rev', stock[2], 'stock_ms', stock[3] or '0')
  local was, is = known[1] or '0', stock[1] or '0'
  if is ~= was then -- that is an act, and of a rev that nobody has read
    redis.call('HSET', conf, 'sold_out', is)
    redis.call('HSET', stats, 'rev', redis.call('HINCRBY', conf, 'rev', 1))
    redis.call('XADD', acts, 'MAXLEN', ARGV[5], '*', 'at', now, 'actor', ARGV[6], 'act', 'set', 'old:sold_out', was,
      'new:sold_out', is, 'old:stock_rev', known[2] or '0', 'new:stock_rev', stock[2])
  end
end
-- The event is a key of its own: of one line the newer one counts too.
if #of_event > 0 and tonumber(ARGV[9]) > tonumber(redis.call('HGET', event, 'rev') or '0') then
  redis.call('DEL', event)
  redis.call('HSET', event, 'rev', ARGV[9], unpack(of_event))
  if ARGV[10] ~= '' then redis.call('HSET', event, 'logo_bytes', ARGV[10]) end
  if tonumber(ARGV[9]) > tonumber(redis.call('HGET', conf, 'event_rev') or '0') then
    redis.call('HSET', conf, 'event_rev', ARGV[9])
  end
end
if redis.call('HGET', conf, 'state') ~= 'closed' then
  for i = 1, #KEYS do redis.call('PERSIST', KEYS[i]) end -- its reopening may be what was lost
end
guard()
if made == 1 then
  redis.call('XADD', acts, 'MAXLEN', ARGV[5], '*', 'at', now, 'actor', ARGV[6], 'act', 'recreate', 'new:state', told.state)
end
return {'ok', made}
