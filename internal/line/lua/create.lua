-- create: a new line, empty, with its first number still to give.
--
-- KEYS  1 conf  2 seq  3 bucket  4 acts  5 queue  6 gone  7 unclaimed
--       8 active  9 outbox  10 stats
-- ARGV  1 now override in µs  2 actor  3 acts kept
--       then conf's fields: name, value, …
-- reply {'ok'} | {'exists', epoch}: epoch is '' when a line without its conf
--       is in the way

local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch then return {'exists', epoch} end
-- Never a new line over the rest of an old one: its places would come back.
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return {'exists', ''} end
end
local now = clock(ARGV[1])
local fields = {}
for i = 4, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('HSET', KEYS[1], 'rev', 1)
redis.call('SET', KEYS[2], 0)
local rate = redis.call('HGET', KEYS[1], 'rate')
redis.call('HSET', KEYS[3], 'credit', 0, 'at', now, 'rate', rate)
redis.call('XADD', KEYS[4], 'MAXLEN', ARGV[3], '*', 'at', now, 'actor', ARGV[2], 'act', 'create')
return {'ok'}
