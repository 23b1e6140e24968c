-- recreate: a line that Redis lost whole comes back, as one of its processes
-- remembers it: with its epoch and conf, and with every number up to the process's
-- mark given to somebody who has yet to come back. Then others tell what they know:
-- of two the newer line counts, of one line the newer conf, whatever else it lost.
--
-- KEYS  as presence has them, then the tombstone
-- ARGV  1 to 4 as guard has them  5 acts kept  6 actor  7 how many fields of conf
--       follow  8 the life of the line that the process read last
--       then conf's fields, then the event's: name, value, …
-- reply {'ok', 1 when the line is another one than before} | {'epoch'|'deleted'}
-- Nobody behind the last number known is admitted for some seconds, so a conf that
-- says open gives way in time to one that says paused.

local ended = redis.call('HGET', KEYS[#KEYS], 'epoch') -- by a deletion that this process has not heard of
if ended == ARGV[1] or ended == '' then return {'deleted'} end
local fields, told, of_event = {}, {}, {}
local event_from = 9 + 2 * tonumber(ARGV[7])
for i = 9, #ARGV do
  if i < event_from then fields[#fields + 1] = ARGV[i] else of_event[#of_event + 1] = ARGV[i] end
end
for i = 1, #fields, 2 do told[fields[i]] = fields[i + 1] end
local has = redis.call('HMGET', conf, 'epoch', 'rev', 'created_ms')
local again = redis.call('HGET', life, 'recreated') == '1'
if has[1] and has[1] ~= ARGV[1] then
  if not (again and tonumber(told.created_ms or '0') > tonumber(has[3] or '0')) then return {'epoch'} end
  redis.call('UNLINK', unpack(KEYS)) -- brought back by who did not know of this one
  has = {false}
end
local made = 0
if not has[1] then
  redis.call('UNLINK', KEYS[#KEYS]) -- of a line before this one
  redis.call('HSET', conf, unpack(fields))
  redis.call('SET', seq, 0, 'NX')
  redis.call('HSET', stats, 'rev', told.rev or 1)
  redis.call('HSET', life, 'recreated', 1)
  redis.call('HSET', bucket, 'rate', told.rate)
  flushed = string.match(ARGV[8], '^%w+') == replication()
  made = 1
elseif tonumber(told.rev or '0') > tonumber(has[2] or '0') then
  redis.call('DEL', conf)
  redis.call('HSET', conf, unpack(fields))
  redis.call('HSET', stats, 'rev', told.rev)
  made = 1
end
if #of_event > 0 and redis.call('EXISTS', event) == 0 then redis.call('HSET', event, unpack(of_event)) end
guard()
if made == 1 then
  redis.call('XADD', acts, 'MAXLEN', ARGV[5], '*', 'at', now, 'actor', ARGV[6], 'act', 'recreate', 'new:state', told.state)
end
return {'ok', made}
