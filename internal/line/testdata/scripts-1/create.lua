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
